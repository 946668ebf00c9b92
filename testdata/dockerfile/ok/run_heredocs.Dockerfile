FROM a
RUN <<EOF
a
  b \
# c
EOF
RUN <<-EOF
	a
	EOF
RUN 3<<'E O F' cat <&3 && cat <<$X
1
E O F
2
$X
RUN cat <<<x "<<EOF" '<<EOF' \<<EOF
RUN <<EMPTY
EMPTY
RUN --mount=type=tmpfs,target=/t <<"#!"
#!/bin/sh
#!
RUN cat > a \
  <<EOF
b
EOF
