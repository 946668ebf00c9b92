ARG TAG
FROM a
FROM --platform=$BUILDPLATFORM a:$TAG AS Build-1.x_y
from scratch as b
FROM --platform= a
FROM	a	AS	c
