FROM a
ADD <<one b <<"two" /d/
1 $A
one
2 $A
two
