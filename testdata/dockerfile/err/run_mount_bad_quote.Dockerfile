FROM a
RUN --mount='target="x' b
