FROM a
RUN a && b | c > "d e" # f
RUN ["a", "b c", "$d"]
RUN --network=none --security=insecure a
RUN --network=host --security=sandbox -- --a
RUN --network=default a
