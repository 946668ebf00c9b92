# check=warn=true
FROM alpine AS Upper
