# escape=`
FROM a
RUN a `
  b
COPY <<EOF /a
one
EOF
