FROM base
ARG VERSION=1.0
ARG HTTP_PROXY
WORKDIR /src
USER app
RUN echo "$VERSION" $UNKNOWN
RUN ["ls", "-l", "$VERSION"]
RUN <<EOF
set -e
make
EOF
RUN <<-'SCRIPT'
	#!/usr/bin/env python3
	print("$VERSION")
	SCRIPT
RUN cat <<A - && cat <<-B
one
A
	two
	B
RUN --network=none --security=insecure true
RUN --mount=type=cache,target=cache \
    --mount=type=cache,id=id-$VERSION,target=/cache,sharing=locked,uid=10,mode=0700 \
    --mount=type=tmpfs,target=/tmp,size=64m \
    --mount=type=secret,id=dir/token,env=TOKEN \
    --mount=type=secret,id=dir/file,required=true \
    --mount=type=secret,target=/etc/key,mode=0444 \
    --mount=type=ssh --mount=type=ssh,id=other,target=/agent \
    --mount=target=context,source=../$VERSION \
    use "$TOKEN" "$VERSION"
