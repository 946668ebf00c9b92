FROM alpine
WORKDIR relative
COPY $NOTHING /
EXPOSE nonsense
WORKDIR never/read
CMD never read
