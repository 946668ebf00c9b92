FROM a
VOLUME ["/a", null]
