# Named contexts in place of an image, of a stage, and of nothing else.
FROM base AS one
COPY --from=files /a /b
COPY --from=replaced /c /d
RUN --mount=from=image-context,target=/i true

FROM nowhere AS replaced
RUN never

FROM replaced
COPY --from=one /b /e
