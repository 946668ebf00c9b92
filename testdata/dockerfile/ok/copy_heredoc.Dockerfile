FROM a
COPY <<EOF f <<-'QUOTED' g /d/
$A \
# no comment
EOF
	$A
		b
	QUOTED
COPY <<'one two' /x
1
one two
COPY "<<EOF" /x
COPY ["<<EOF", "/x"]
COPY << EOF /y
2
EOF
