# The arguments of all Dockerfiles.
ARG GREETING=hello
