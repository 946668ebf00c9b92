FROM a
HEALTHCHECK NONE
HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0s --start-interval=.5s --retries=3 CMD curl  -f x
HEALTHCHECK cmd ["a", "b"]
HEALTHCHECK --interval= CMD a
