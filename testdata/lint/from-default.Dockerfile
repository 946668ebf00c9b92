ARG TAG
ARG NAME=
ARG REGISTRY
FROM alpine:$TAG
FROM $NAME AS b
FROM alpine:${TAG:-latest} AS c
FROM ${REGISTRY}alpine AS d
# check=skip=InvalidDefaultArgInFrom
FROM alpine:${TAG} AS e
