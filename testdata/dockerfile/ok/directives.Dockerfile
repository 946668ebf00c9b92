# syntax=docker/dockerfile:1.7 --opt
# Check = skip=A,B;error=true and a comment
#escape = \
# later=ignored
# escape=`
FROM a
