FROM alpine AS one
FROM one
FROM scratch AS two
# check=skip=InvalidBaseImagePlatform
FROM busybox AS three
