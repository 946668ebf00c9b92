FROM a
HEALTHCHECK --interval=soon CMD a
