FROM a
CMD echo  "a"   $b
CMD ["a", "b c"]
CMD []
CMD
CMD ["a"] trailing
CMD ['a']
CMD [ -f x ] && y
