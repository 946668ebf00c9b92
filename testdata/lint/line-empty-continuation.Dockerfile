FROM scratch
COPY a \

     b \
     # a comment is none

     /
COPY a \
# nor is this
     b
