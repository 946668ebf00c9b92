FROM alpine AS base
ARG WHERE=here
WORKDIR $WHERE
WORKDIR there
FROM base AS child
WORKDIR again
FROM alpine AS absolute
WORKDIR /app
WORKDIR src
FROM alpine
# check=skip=WorkdirRelativePath
WORKDIR x
