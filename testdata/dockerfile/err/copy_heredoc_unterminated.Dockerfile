FROM a
COPY <<EOF /b
x
EOF x
