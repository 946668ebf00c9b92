//! How long the language takes: a long Dockerfile to a tree, to a plan, and to what could be better about it.

#![allow(clippy::unwrap_used, reason = "a measurement stops at its first surprise")]

use std::{collections::BTreeMap, hint::black_box};

use divan::{Bencher, counter::BytesCount};
use dockerfile::{BaseImage, BaseRef, Dockerfile, Lowered, Request};
use oci::{Digest, ImageConfig, ImageId, Platform};

/// As people write them: packages one a line, comments in between, mounts, variables, a heredoc, files of an earlier stage.
const STAGE: &str = r#"
# What stage NUMBER needs to compile.
FROM debian:bookworm AS buildNUMBER
ARG VERSION=1.2.NUMBER
ARG TARGETARCH
ENV DEBIAN_FRONTEND=noninteractive \
    PATH=/opt/tool/bin:$PATH \
    FLAGS="-O2 -g ${VERSION:+-DVERSION=$VERSION}"
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends \
        build-essential \
        ca-certificates \
        # needed to verify what is downloaded
        curl \
        git \
        libssl-dev \
        pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY --chown=1000:1000 --exclude=*.md Cargo.toml Cargo.lock ./
COPY src ./src
RUN --mount=type=secret,id=token,env=TOKEN \
    --mount=type=bind,source=tools,target=/tools,rw <<SCRIPT
set -eu
for part in one two three; do
  echo "building $part for ${TARGETARCH} with $FLAGS"
  make -C "$part" -j"$(nproc)" install DESTDIR=/out
done
SCRIPT
RUN curl -fsSL "https://example.org/v${VERSION%.*}/tool-${VERSION}.tar.gz" | tar -xz -C /opt \
    && /opt/tool/bin/tool --version
USER 1000:1000

FROM debian:bookworm AS stageNUMBER
LABEL org.opencontainers.image.title="part NUMBER" org.opencontainers.image.licenses=Apache-2.0
COPY --from=buildNUMBER --link /out /usr/local
COPY --from=stageBEFORE /etc/passwd /etc/passwd
EXPOSE 8080/tcp 9090
VOLUME ["/data", "/cache"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --retries=3 CMD curl -f http://localhost:8080/health || exit 1
ENTRYPOINT ["/usr/local/bin/serve"]
CMD ["--port", "8080"]
"#;

const STAGES: usize = 40;

fn main() {
    divan::main();
}

/// Some 2000 lines in 80 stages, all of which the last one needs.
fn text() -> String {
    let stage = |number: usize| {
        let before = number.wrapping_sub(1).to_string();
        let text = STAGE.replace("NUMBER", &number.to_string()).replace("BEFORE", &before);
        match number {
            0 => {
                text.replace("COPY --from=stage18446744073709551615 /etc/passwd /etc/passwd\n", "")
            }
            _ => text,
        }
    };
    (0..STAGES).map(stage).collect()
}

fn file(text: &str) -> Dockerfile {
    dockerfile::parse("Dockerfile", text.as_bytes()).unwrap()
}

/// The plan, once the bases are known.
fn plan(file: &Dockerfile, request: &Request, known: &BTreeMap<BaseRef, BaseImage>) -> plan::Plan {
    match dockerfile::lower(file, request, known).unwrap() {
        Lowered::Ready(plan) => plan,
        Lowered::Needs(bases) => panic!("{bases:?}"),
    }
}

fn known(file: &Dockerfile, request: &Request) -> BTreeMap<BaseRef, BaseImage> {
    let Lowered::Needs(bases) = dockerfile::lower(file, request, &BTreeMap::new()).unwrap() else {
        return BTreeMap::new();
    };
    let id = ImageId::new(Digest::of(b"base"));
    let image = BaseImage { id, config: ImageConfig::default() };
    bases.into_iter().map(|base| (base, image.clone())).collect()
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let text = text();
    bencher.counter(BytesCount::of_str(&text)).bench(|| file(black_box(&text)));
}

#[divan::bench]
fn lower(bencher: Bencher<'_, '_>) {
    let file = file(&text());
    let request = Request::new(Platform::parse("linux/amd64").unwrap());
    let known = known(&file, &request);
    // Two stages each, and none of them is left out.
    assert_eq!(plan(&file, &request, &known).stages.len(), 2 * STAGES);
    bencher.bench(|| plan(black_box(&file), &request, &known));
}
