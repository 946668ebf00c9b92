# Stages by name, index and in other letters; one that is not needed, and would fail.
ARG TAG=1
FROM --platform=$BUILDPLATFORM base:$TAG AS Build
ARG TAG
ARG DEBUG=no
ENV MODE=$DEBUG
RUN make

FROM build
ENV DEBUG=yes
RUN echo "$DEBUG"

FROM scratch AS unneeded
COPY --from=nowhere /a /b

FROM other AS final
COPY --from=BUILD /out /
COPY --from=1 /x /y/
COPY --from=tools:2 /bin/tool /bin/
RUN --mount=from=build,target=/b --mount=type=bind,from=tools:2,source=s,target=t,rw true
