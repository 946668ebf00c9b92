FROM a
COPY --from=$S \
  b c
