# escape=`
FROM a
RUN a `
  b
ENV P=C:\dir\ Q=x` y
RUN echo \
CMD c
