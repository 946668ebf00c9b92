# check=skip=StageNameCasing;error=true
FROM alpine AS One
MAINTAINER one
MAINTAINER two
CMD x
