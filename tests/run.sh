#!/bin/sh
# Runs every test of the workspace: first the examples in the documentation, then all others. Further arguments go to the runner.
# `tests/run.sh --tools` only installs.
#
# As root on Debian it first installs the tools that some tests ask for and that are missing; elsewhere those tests say what they
# skip and why. KILN_REQUIRE=root,userns,… (or 1 for everything) turns a skip into a failure.
set -eu

cd "$(dirname "$0")/.."

# Package and the command that shows that it is there.
wanted="uidmap:newuidmap passt:pasta busybox-static:busybox docker-registry:docker-registry skopeo:skopeo podman:podman docker.io:dockerd python3:python3"

install_missing() {
  missing=
  for entry in $wanted; do
    command -v "${entry#*:}" >/dev/null || missing="$missing ${entry%%:*}"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "tests: not installed here:$missing" >&2
    return 0
  fi
  echo "tests: installing$missing" >&2
  # One by one: a package that one Debian lacks must not keep the others away.
  apt-get -qq update >/dev/null 2>&1 || true
  for package in $missing; do
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$package" >/dev/null 2>&1 ||
      echo "tests: cannot install $package" >&2
  done
}

install_missing </dev/null
[ "${1:-}" != --tools ] || exit 0

cargo test --workspace --doc --locked --quiet
if cargo nextest --version >/dev/null 2>&1; then
  exec cargo nextest run --workspace --locked "$@"
else
  exec cargo test --workspace --all-targets --locked "$@"
fi
