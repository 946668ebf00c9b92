# check=skip=all
FROM alpine
MAINTAINER me
