FROM a
RUN b
what \
  is this
RUN c
