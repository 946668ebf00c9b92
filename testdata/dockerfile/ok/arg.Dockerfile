ARG VERSION=1 MODE
ARG "QUOTED"="a b"
FROM a:${VERSION}
ARG MODE EMPTY= PLAIN=x\ y SINGLE='$z'
arg --flag-that-is-dropped OTHER=b=c
