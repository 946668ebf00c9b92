FROM a
LABEL a=b "c d"=e f.g="h i"
LABEL legacy value of it
LABEL empty=""
