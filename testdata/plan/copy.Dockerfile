FROM scratch
ARG D=dir
WORKDIR /w
COPY a b c/ $D/
COPY ["a b", "."]
COPY --chown=1:2 --chmod=u=rwX --link a /x
COPY --link --exclude=*.o --exclude=$D . ./
COPY --parents src/./a/*.txt /p/.
ADD --checksum=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --unpack=true https://example.org/x.tar.gz /opt/
ADD --keep-git-dir https://example.org/repo.git#main local.tar /src
COPY <<ONE <<"TWO" plain /files/
$D stays "quoted" \$D
ONE
$D
TWO
COPY <<-TABS renamed
	first
		second
	TABS
