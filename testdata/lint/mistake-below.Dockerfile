FROM alpine AS Upper
MAINTAINER me
RUM true
MAINTAINER never read
