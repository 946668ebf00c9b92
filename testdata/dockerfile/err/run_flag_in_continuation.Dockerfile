FROM a
# above
RUN --mount=target=/x \
  # between
  --netwrok=none \
  b
