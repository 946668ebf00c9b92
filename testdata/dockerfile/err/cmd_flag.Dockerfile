FROM a
CMD --shell a
