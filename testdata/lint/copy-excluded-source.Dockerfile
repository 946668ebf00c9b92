FROM scratch AS other
COPY keep /
FROM scratch
COPY notes /
COPY keep /
COPY *.log /
COPY --from=other notes /
ADD https://example.org/notes /
# check=skip=CopyExcludedSource
ADD notes /
