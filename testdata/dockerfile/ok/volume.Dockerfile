FROM a
VOLUME /a /b c
VOLUME ["/a b", "/c"]
VOLUME $d
