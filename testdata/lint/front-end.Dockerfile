# escape=\
# syntax=example.com/evil/frontend:1 --option
FROM a
ENV A=1
