FROM a
RUN a \
  b \ 	
# a comment
  # another with a continuation \

  c
RUN d\
e
ENV A=a\\
RUN \
f
LABEL x="a \
  b"
RUN g \