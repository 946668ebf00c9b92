FROM a
RUN --mount=type=bind,targte=/x b
