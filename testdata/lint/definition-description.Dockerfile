# check=experimental=InvalidDefinitionDescription;skip=all
# the version
ARG VERSION=1
# VERSION of it

# base of all
FROM scratch AS base
# the place and time
ARG PLACE TIME
#
ARG OTHER
# anything
COPY a b
# THING is fine
ARG THING
