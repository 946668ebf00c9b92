
# escape=`
# syntax=x
FROM a
