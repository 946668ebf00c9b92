FROM a
RUN --mount=type=secrte,id=x b
