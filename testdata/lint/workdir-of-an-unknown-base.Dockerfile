FROM mcr.microsoft.com/windows/nanoserver
WORKDIR C:\\go
FROM alpine
WORKDIR c
FROM mcr.microsoft.com/windows/nanoserver
WORKDIR C:/go
