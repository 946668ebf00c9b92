# escape=`
# syntax=a
# escape=`
FROM a
