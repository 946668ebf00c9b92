FROM a
HEALTHCHECK --start-period=5ns CMD a
