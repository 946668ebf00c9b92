#!/bin/bash
# Measures kiln: side by side with the builders that are installed, and how its times grow. Prints tables in Markdown.
#
# Here are the options, the scratch directory and the tables; who is measured is in bench/peers.sh, at what in bench/works.sh,
# and the curves of `scale` in bench/scale.sh.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'END'
tests/bench.sh [-n ROUNDS] [--peers PEER,…] [WORK…]
    Does the same work with each peer in turn, A B C A B C, and prints the median of the rounds and their extremes.
    PEER: bare (the work without a builder), kiln, buildah, docker, podman; all but podman, which is buildah, if none are named
    WORK: noop run20 copy10k edit1 stages4, and push pull where docker-registry is installed; all if none is named

tests/bench.sh scale [--full] [--most N] [CURVE…]
    Prints how the times of kiln grow, and what of them is the processor's.
    CURVE: steps files builds images; all if none is named
    --full    up to the largest sizes in every curve; takes several times as long
    --most N  only sizes up to N

--no-sync does not wait, before each measurement, until the disk has what was written before: quicker, and less exact.

KILN=PATH is the binary, by default target/release/kiln. Everything is done in a directory below TMPDIR (/tmp) that is removed
at the end. Needs no network. An ordinary user can measure kiln, and docker if its daemon is running and lets him; buildah,
podman and a daemon of docker's own are started as root only.
END
}

rounds=5 peers= mode=compare full= most=0 no_sync=
works=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    -n | --rounds) rounds=${2:?"$1 needs a number"}; shift ;;
    --peers) peers=${2:?"$1 needs names"}; shift ;;
    --most) most=${2:?"$1 needs a number"}; shift ;;
    --full) full=1 ;;
    --no-sync) no_sync=1 ;;
    -*) echo "bench: unknown option $1; see --help" >&2; exit 2 ;;
    scale) mode=scale ;;
    *) works+=("$1") ;;
  esac
  shift
done
[[ $rounds =~ ^[1-9][0-9]*$ && $most =~ ^[0-9]+$ ]] || { echo "bench: not a number: $rounds, $most" >&2; exit 2; }

say() { printf '%s\n' "$*" >&2; }
fail() { say "bench: $*"; exit 1; }

kiln=$(realpath -m -- "${KILN:-$here/../target/release/kiln}")
[ -x "$kiln" ] || fail "there is no $kiln: run cargo build --release, or set KILN"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/kiln-bench.XXXXXX")
daemons=()

clean_up() {
  trap '' INT TERM
  # What is still being measured, then the daemons, which unmount what they have mounted.
  for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
  for pid in "${daemons[@]}"; do
    kill "$pid" 2>/dev/null || continue
    for _ in {1..200}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
    kill -KILL "$pid" 2>/dev/null || true
  done
  wait 2>/dev/null || true
  # An interrupted buildah leaves its mounts; the deepest first.
  awk -v dir="$scratch/" 'index($5, dir) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r mount; do
    umount "$(printf '%b' "$mount")" 2>/dev/null || true
  done
  gone "$scratch"
}

# Removes a directory, when nobody uses it any more: kiln leaves a process behind that waits for the disk.
gone() {
  local process
  # The directory is told to grep by its input, lest it finds itself.
  while read -r process; do
    process=${process#/proc/}
    kill -KILL "${process%/cmdline}" 2>/dev/null || true
  done < <(grep -lszFf - /proc/[0-9]*/cmdline <<<"$1")
  for _ in {1..20}; do
    rm -rf "$1" 2>/dev/null && return
    sleep 0.1
  done
  # Layers may hold directories without write permission, and, without root, files of other users of a user namespace.
  chmod -R u+rwx "$1" 2>/dev/null || true
  rm -rf "$1" 2>/dev/null || unshare --map-root-user --map-auto rm -rf "$1" 2>/dev/null || say "bench: cannot remove $1"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command out of sight; if it fails, that is the end, and its last words are shown.
quiet() {
  if ! "$@" >"$scratch/log" 2>&1; then
    tail -n 15 "$scratch/log" >&2
    fail "this failed: $*"
  fi
}

# Lets the disk catch up: what an earlier measurement has left to be written is not the next one's.
settle() { [ -n "$no_sync" ] || sync -f "$scratch"; }

now() { echo "${EPOCHREALTIME/[.,]/}"; }

# Microseconds as people read them.
human() {
  awk -v us="$1" 'BEGIN {
    if (us < 9950) printf "%.1f ms", us / 1000
    else if (us < 999500) printf "%.0f ms", us / 1000
    else if (us < 99500000) printf "%.2f s", us / 1000000
    else printf "%.0f s", us / 1000000
  }'
}

# The median of numbers, then the least and the greatest.
middle() {
  printf '%s\n' "$@" | sort -n | awk '{v[NR] = $1} END {
    m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
    printf "%d %d %d\n", m, v[1], v[NR]
  }'
}

machine() {
  local cpu disk
  cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
  disk=$(df -PT "$scratch" | awk 'NR == 2 {print $2 " on " $1}')
  echo "$(nproc) cores (${cpu:-unknown}), $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo), Linux $(uname -r), $disk, load before $load"
}
load=$(cut -d ' ' -f 1 /proc/loadavg)

# Makes $2 files of 100 bytes and a bit in the directory $1: a hundred in each directory, or with `flat` all in one.
files() {
  local dir=$1 count=$2 shape=${3:-}
  mkdir -p "$dir"
  [ "$shape" = flat ] || seq 0 $(((count - 1) / 100)) | sed "s|^|$dir/d|" | xargs mkdir -p
  awk -v dir="$dir" -v count="$count" -v shape="$shape" 'BEGIN {
    for (i = 0; i < count; i++) {
      file = shape == "flat" ? dir "/f" i : dir "/d" int(i / 100) "/f" i
      printf "%0100d %d\n", i * 7919, i > file
      close(file)
    }
  }'
}

# shellcheck source=tests/bench/peers.sh
. "$here/bench/peers.sh"
if [ "$mode" = scale ]; then
  . "$here/bench/scale.sh"
  scale "${works[@]}"
else
  . "$here/bench/works.sh"
  compare "${works[@]}"
fi
