FROM a
RUN --network=hots b
