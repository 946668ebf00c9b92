FROM alpine
ARG PORTS="80/UDP 127.0.0.1::9"
EXPOSE 8080:80/Tcp
EXPOSE $PORTS
# check=skip=ExposeProtoCasing,ExposeInvalidFormat
EXPOSE 1:2/TCP
EXPOSE 443/tcp 53/udp 9
