FROM scratch
ARG NAME=secret
COPY ./notes/todo.txt good /
ADD $NAME.log /
COPY a.log b.log /
COPY <<notes /
text
notes
