FROM a
ADD --from=b c /d
