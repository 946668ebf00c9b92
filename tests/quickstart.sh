#!/bin/sh
# From a fresh checkout to a built, run and cached image with one command. Works as root or not, with a network or without.
#
#   tests/quickstart.sh                  in a store that is removed at the end
#   KILN_ROOT=DIR tests/quickstart.sh    in a store that stays
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
work=$(mktemp -d)
store=${KILN_ROOT:-$work/store}

clean_up() {
  # Layers may hold directories without write permission, and, without root, files of other users of a user namespace.
  chmod -R u+rwx "$work" 2>/dev/null || true
  rm -rf "$work" 2>/dev/null || unshare --map-root-user --map-auto rm -rf "$work" 2>/dev/null ||
    echo "quickstart: cannot remove $work" >&2
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }
kiln() { "$here/target/release/kiln" --root "$store" "$@"; }
seconds() { awk '{print $1}' /proc/uptime; }

command -v cargo >/dev/null || fail "cargo is needed: install Rust from your distribution or https://rustup.rs"

say "Compile"
# An optimised build of the one binary; --locked: exactly the dependencies that were tested.
(cd "$here" && CARGO_TARGET_DIR="$here/target" cargo build --release --locked)
started=$(seconds)

say "Get a base image"
if timeout 4 "$here/target/release/kiln" --root "$store" pull busybox >"$work/pull.log" 2>&1; then
  echo "pulled busybox"
else
  echo "no registry within reach, so one made here:"
  "$here/tests/base.sh" "$work/base.tar"
  kiln import "$work/base.tar" busybox:latest
fi

say "Build testdata/hello"
kiln build --progress=plain -t hello:1 "$here/testdata/hello"

say "Run it"
greeting=$(kiln run --rm hello:1)
echo "$greeting"
[ "$greeting" = "Hello, world!
built by kiln" ] || fail "this is not what the image should say"

say "Build it again: nothing is left to do"
kiln build --progress=plain -t hello:1 "$here/testdata/hello" 2>"$work/again.log"
cat "$work/again.log"
# Each of the four steps that make a file system says CACHED.
cached=$(grep -c ' CACHED' "$work/again.log") || true
[ "$cached" -ge 4 ] || fail "only $cached steps came from the cache"

say "The images"
kiln images

awk -v from="$started" -v to="$(seconds)" 'BEGIN { printf "\nquickstart: done in %.1f s after compiling\n", to - from }'
