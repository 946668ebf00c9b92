FROM alpine AS plain
ENTRYPOINT run it
FROM alpine AS shell
SHELL ["/bin/sh", "-ec"]
CMD start
FROM shell
CMD start again
