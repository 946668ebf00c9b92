# Who is measured: how each peer is set up in the scratch directory, and how it builds. Sourced by tests/bench.sh.
#
# A peer P is three functions: P_setup (fails, and says why, if it cannot be had here), P_version, and
# P_build CONTEXT [cached] (all from the beginning, but for `cached`). All have the image localhost/busybox, and build without
# a network. A peer with P_push NAME and P_pull NAME takes part in these; after P_forget NAME it has no layer of it, and where
# it can have several stores, pulls are into one of their own.

base="$scratch/base.tar"
base() { [ -f "$base" ] || quiet "$here/base.sh" "$base"; }

is_root() { [ "$(id -u)" = 0 ]; }
here_is() { command -v "$1" >/dev/null; }

kiln() { "$kiln" --root "$scratch/kiln" "$@"; }
kiln_setup() { base; quiet kiln import "$base" localhost/busybox; }
kiln_version() { "$kiln" --version; }
kiln_build() { kiln build --network=none -t localhost/bench $([ "${2:-}" = cached ] || echo --no-cache) "$1"; }
kiln_push() { kiln tag localhost/bench "$1" && kiln push "$1"; }
kiln_forget() { gone "$scratch/kiln-pull"; }
kiln_pull() { "$kiln" --root "$scratch/kiln-pull" pull "$1"; }

buildah() { command buildah --root "$scratch/buildah/root" --runroot "$scratch/buildah/run" --storage-driver overlay "$@"; }
buildah_setup() {
  is_root || { say "buildah: measured as root only"; return 1; }
  here_is buildah || return 1
  base
  local container
  container=$(buildah from scratch) && quiet buildah add "$container" "$base" / &&
    quiet buildah commit --rm "$container" localhost/busybox || return 1
  works_with_buildah buildah
}
buildah_version() { command buildah --version; }
buildah_build() { layered buildah "$@"; }
buildah_push() { buildah tag localhost/bench "$1" && buildah push --tls-verify=false "$1"; }
buildah_forget() { emptied "$scratch/buildah-pull"; }
buildah_pull() {
  local place="$scratch/buildah-pull"
  command buildah --root "$place/root" --runroot "$place/run" --storage-driver overlay pull --tls-verify=false "$1"
}

podman() {
  command podman --root "$scratch/podman/root" --runroot "$scratch/podman/run" --tmpdir "$scratch/podman/tmp" \
    --storage-driver overlay --cgroup-manager cgroupfs --events-backend none "$@"
}
podman_setup() {
  is_root || { say "podman: measured as root only"; return 1; }
  here_is podman || return 1
  base
  quiet podman import "$base" localhost/busybox
  works_with_buildah podman
}
podman_version() { command podman --version; }
podman_build() { layered podman "$@"; }
podman_push() { podman tag localhost/bench "$1" && podman push --tls-verify=false "$1"; }
podman_forget() { emptied "$scratch/podman-pull"; }
podman_pull() {
  local place="$scratch/podman-pull"
  command podman --root "$place/root" --runroot "$place/run" --tmpdir "$place/tmp" --storage-driver overlay pull \
    --tls-verify=false "$1"
}

# Removes a store of buildah, which mounts its directory upon itself.
emptied() {
  umount "$1/root/overlay" 2>/dev/null || true
  rm -rf "$1"
}

declare -A isolation
# buildah and podman build alike; how they isolate a RUN is what works here, the strictest first.
works_with_buildah() {
  mkdir -p "$scratch/probe"
  printf 'FROM localhost/busybox\nRUN true\n' >"$scratch/probe/Dockerfile"
  local way
  for way in "oci" "oci --runtime runc" "chroot"; do
    isolation[$1]=$way
    layered "$1" "$scratch/probe" >"$scratch/log" 2>&1 && return 0
  done
  say "$1: cannot run a command here: $(tail -n 1 "$scratch/log")"
  return 1
}
layered() {
  # shellcheck disable=SC2086
  "$1" build --layers --pull=never --network=none --isolation ${isolation[$1]} -t localhost/bench \
    $([ "${3:-}" = cached ] || echo --no-cache) "$2"
}

docker() { DOCKER_CONFIG="$scratch/docker/config" command docker "$@"; }
docker_setup() {
  here_is docker || return 1
  base
  mkdir -p "$scratch/docker"
  docker info >/dev/null 2>&1 || docker_start || return 1
  docker image inspect localhost/busybox >/dev/null 2>&1 || quiet docker import "$base" localhost/busybox
}
docker_start() {
  is_root || { say "docker: no daemon is running, and one is started as root only"; return 1; }
  here_is dockerd || return 1
  local dir="$scratch/docker"
  export DOCKER_HOST="unix://$dir/socket"
  dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" -H "$DOCKER_HOST" --bridge=none \
    --iptables=false --ip-forward=false --ip-masq=false </dev/null >"$dir/log" 2>&1 &
  daemons+=($!)
  for _ in {1..400}; do
    docker info >/dev/null 2>&1 && return 0
    kill -0 "${daemons[-1]}" 2>/dev/null || break
    sleep 0.05
  done
  say "docker: its daemon does not start: $(tail -n 1 "$dir/log")"
  return 1
}
docker_version() {
  docker version --format "docker {{.Server.Version}}$(docker buildx version >/dev/null 2>&1 || echo ', classic builder')"
}
docker_build() { docker build --network=none -t localhost/bench $([ "${2:-}" = cached ] || echo --no-cache) "$1"; }
docker_push() { docker tag localhost/bench "$1" && docker push "$1"; }
docker_forget() { docker rmi -f "$1" localhost/bench; }
docker_pull() { docker pull "$1"; }

# The bare work has functions of its own in works.sh.
bare_setup() { is_root || unshare --map-root-user true 2>/dev/null; }
bare_version() { echo "the bare work: no builder"; }
