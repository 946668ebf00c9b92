FROM a
COPY --chwon=1 b c
