# At what peers are compared, and the table. Sourced by tests/bench.sh.
#
# A work W is W_context DIR (made once), W_title, W_round PEER (what is timed), and W_bare (the same effect without any
# builder) where there is such a thing. W_ready PEER, if there is one, is done before each round and not timed.

# A number that grows, so that what is edited is never what it once was.
edits=0

noop_title="nothing changed: 12 steps, all cached"
noop_context() {
  { echo "FROM localhost/busybox"; for step in {1..11}; do echo "RUN echo $step >/step"; done; } >"$1/Dockerfile"
}
noop_warm() { "$1_build" "$2" cached; }
noop_round() { "$1_build" "$2" cached; }

run20_title='`RUN true`, 20 times, each a layer'
run20_context() { { echo "FROM localhost/busybox"; for step in {1..20}; do echo "RUN true $step"; done; } >"$1/Dockerfile"; }
run20_round() { "$1_build" "$2"; }
run20_bare() {
  local user=--map-root-user
  is_root && user=--net
  for _ in {1..20}; do unshare $user --mount --pid --ipc --uts --fork true; done
}

copy10k_title="COPY of 10,000 small files"
copy10k_context() { files "$1/src" 10000; printf 'FROM localhost/busybox\nCOPY src /src\n' >"$1/Dockerfile"; }
copy10k_round() { "$1_build" "$2"; }
copy10k_bare() { copied "$1/src"; }

edit1_title="one of 10,000 files edited: COPY and RUN again"
edit1_context() { files "$1/src" 10000; printf 'FROM localhost/busybox\nCOPY src /src\nRUN true\n' >"$1/Dockerfile"; }
edit1_warm() { "$1_build" "$2" cached; }
edit1_ready() { edits=$((edits + 1)); echo "$edits" >"$2/src/d7/f700"; }
edit1_round() { "$1_build" "$2" cached; }
edit1_bare() { copied "$1/src"; }

# What nobody can do without: the files once more, and a digest of them as a tar.
copied() {
  rm -rf "$scratch/copied"
  cp -a "$1" "$scratch/copied"
  tar -cf - -C "$scratch/copied" . | sha256sum
}

stages4_title="four independent stages of one second"
stages4_context() {
  {
    for stage in a b c d; do printf 'FROM localhost/busybox AS %s\nRUN sleep 1 && echo %s >/%s\n' $stage $stage $stage; done
    echo "FROM localhost/busybox"
    for stage in a b c d; do echo "COPY --from=$stage /$stage /$stage"; done
  } >"$1/Dockerfile"
}
stages4_round() { "$1_build" "$2"; }
stages4_bare() { for _ in {1..4}; do sleep 1 & done; wait $(jobs -p | tail -n 4); }

push_title="push of a new layer of 64 MiB, half of it random"
push_context() {
  for _ in {1..64}; do head -c 524288 /dev/urandom; head -c 524288 /dev/zero; done >"$1/data"
  printf 'FROM localhost/busybox\nCOPY data stamp /\n' >"$1/Dockerfile"
}
# Another random start, so that neither the registry nor the peer knows the layer.
push_ready() { head -c 65536 /dev/urandom | dd of="$2/data" conv=notrunc status=none; now >"$2/stamp"; "$1_build" "$2" cached; }
push_round() { "$1_push" "127.0.0.1:$registry/bench-$1:1"; }

pull_title="pull of that image"
pull_context() { push_context "$1"; }
pull_warm() { now >"$2/stamp"; "$1_build" "$2" cached && "$1_push" "127.0.0.1:$registry/bench-$1:1"; }
pull_ready() { "$1_forget" "127.0.0.1:$registry/bench-$1:1" || true; }
pull_round() { "$1_pull" "127.0.0.1:$registry/bench-$1:1"; }

registry=
start_registry() {
  here_is docker-registry || { say "push, pull: docker-registry is not installed"; return 1; }
  [ -z "$registry" ] || return 0
  # A port that nothing has: the registry says so if there is no such luck, and the next one is tried.
  local port
  for port in $((20000 + RANDOM % 10000)) $((30000 + RANDOM % 2000)) $((10000 + RANDOM % 10000)); do
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
      "$scratch" "$port" >"$scratch/registry.yml"
    docker-registry serve "$scratch/registry.yml" </dev/null >"$scratch/registry.log" 2>&1 &
    daemons+=($!)
    for _ in {1..100}; do
      kill -0 "${daemons[-1]}" 2>/dev/null || break
      (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && { registry=$port; return 0; }
      sleep 0.05
    done
  done
  say "push, pull: docker-registry does not start: $(tail -n 1 "$scratch/registry.log")"
  return 1
}

# One round of one work with one peer, in microseconds.
round() {
  local work=$1 peer=$2 dir=$3 before after
  if [ "$peer" != bare ] && declare -F "${work}_ready" >/dev/null; then quiet "${work}_ready" "$peer" "$dir"; fi
  settle
  before=$(now)
  if [ "$peer" = bare ]; then quiet "${work}_bare" "$dir"; else quiet "${work}_round" "$peer" "$dir"; fi
  after=$(now)
  taken=$((after - before))
}

takes_part() {
  [ "$2" != bare ] || { declare -F "$1_bare" >/dev/null; return; }
  case $1 in push | pull) declare -F "$2_$1" >/dev/null ;; esac
}

# A row of the table: a work with all peers in turn.
row() {
  local work=$1 peer dir line median least most
  local -A times=() dirs=()
  for peer in "${present[@]}"; do
    takes_part "$work" "$peer" || continue
    dir="$scratch/$work-$peer"
    mkdir -p "$dir"
    "${work}_context" "$dir"
    dirs[$peer]=$dir
    if [ "$peer" != bare ] && declare -F "${work}_warm" >/dev/null; then quiet "${work}_warm" "$peer" "$dir"; fi
  done
  for ((number = 1; number <= rounds; number++)); do
    for peer in "${present[@]}"; do
      [ -n "${dirs[$peer]:-}" ] || continue
      round "$work" "$peer" "${dirs[$peer]}"
      times[$peer]+=" $taken"
      say "$work, round $number, $peer: $(human $taken)"
    done
  done
  local title=${work}_title
  line="| ${!title} |"
  for peer in "${present[@]}"; do
    if [ -z "${times[$peer]:-}" ]; then line+=" – |"; continue; fi
    # shellcheck disable=SC2086
    read -r median least most < <(middle ${times[$peer]})
    line+=" **$(human "$median")** ($(human "$least")..$(human "$most")) |"
  done
  echo "$line"
  rm -rf "${dirs[@]}" "$scratch/copied"
}

compare() {
  local peer work all="bare kiln buildah docker" known="noop run20 copy10k edit1 stages4 push pull"
  local -a wanted=("$@")
  present=()
  [ ${#wanted[@]} -gt 0 ] || read -ra wanted <<<"$known"
  for work in "${wanted[@]}"; do
    [[ " $known " = *" $work "* ]] || fail "there is no work $work; there are $known"
  done
  for peer in $(tr , ' ' <<<"${peers:-$all}"); do
    [[ " $all podman " = *" $peer "* ]] || fail "there is no peer $peer; there are $all podman"
    if "${peer}_setup"; then present+=("$peer"); else say "not measured: $peer"; fi
  done
  [ ${#present[@]} -gt 0 ] || fail "nobody is here who could be measured"

  local rows=""
  for work in "${wanted[@]}"; do
    case $work in push | pull) start_registry || continue ;; esac
    row "$work" >"$scratch/row"
    rows+="$(cat "$scratch/row")"$'\n'
  done
  printf '| work |'; printf ' %s |' "${present[@]}"; echo
  printf '|---|'; printf -- '---|%.0s' "${present[@]}"; echo
  printf '%s' "$rows"
  printf '\nThe median of %s rounds in turns, and the extremes. %s.\n' "$rounds" "$(machine)"
  for peer in "${present[@]}"; do printf -- '- %s: %s%s\n' "$peer" "$("${peer}_version" | head -n 1)" "${isolation[$peer]:+ (--isolation ${isolation[$peer]})}"; done
}
