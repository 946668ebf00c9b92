# How the times of kiln grow: with steps, files, builds at once, and images in the store. Sourced by tests/bench.sh.
#
# A curve C is C_curve, which prints a table. Each cell is the time that passed, and in brackets the processor time of all
# processes of kiln, of all cores together, which other work on the machine changes less.

TIMEFORMAT='%R %U %S'

# Runs a command, which must succeed, and prints a cell.
cell() {
  local taken real user system
  if ! taken=$({ time "$@" >"$scratch/log" 2>&1; } 2>&1); then
    tail -n 15 "$scratch/log" >&2
    fail "this failed: $*"
  fi
  read -r real user system <<<"$taken"
  printf ' %s (%s) |' "$(human "$(micro "$real")")" "$(human $(($(micro "$user") + $(micro "$system"))))"
}

# Seconds as bash prints them, in microseconds.
micro() { awk -v s="${1/,/.}" 'BEGIN { printf "%d", s * 1000000 }'; }

# The sizes that are wanted, of all there are.
sizes() {
  local size
  for size in "$@"; do
    if [ "$most" = 0 ] || [ "$size" -le "$most" ]; then echo "$size"; fi
  done
}

heading() {
  local column
  printf '| %s |' "$1"; shift
  for column in "$@"; do printf ' %s |' "$column"; done
  printf '\n|---|'
  printf -- '---|%.0s' "$@"
  echo
}

# A store with nothing but the base image.
fresh() {
  gone "$scratch/kiln"
  kiln_setup
  settle
}

build() { kiln build --network=none "$@"; }

steps_curve() {
  local size dir
  heading "steps" "RUN: all are run" "RUN: all cached" "COPY: all are run" "COPY: all cached"
  for size in $(sizes 10 50 100 250 499); do
    fresh
    for kind in RUN COPY; do
      dir="$scratch/$kind"
      mkdir "$dir"
      {
        echo "FROM localhost/busybox"
        for ((step = 1; step <= size; step++)); do
          if [ $kind = RUN ]; then echo "RUN true $step"; else echo "COPY f$step /d/"; echo "$step" >"$dir/f$step"; fi
        done
      } >"$dir/Dockerfile"
    done
    printf '| %s |' "$size"
    for kind in RUN COPY; do
      cell build -t steps "$scratch/$kind"
      cell build -t steps "$scratch/$kind"
    done
    echo
    rm -rf "$scratch/RUN" "$scratch/COPY"
  done
}

files_curve() {
  local size shape dir="$scratch/files"
  for shape in tree flat; do
    local largest=200000
    if [ $shape = flat ]; then
      echo
      [ -n "$full" ] || largest=50000
      heading "files in one directory" "COPY" "nothing changed" "one edited"
    else
      heading "files, 100 in a directory" "COPY" "nothing changed" "one edited"
    fi
    for size in $(sizes 1 100 1000 10000 50000 200000); do
      [ "$size" -le $largest ] || continue
      fresh
      files "$dir/src" "$size" $shape
      printf 'FROM scratch\nCOPY src /src\n' >"$dir/Dockerfile"
      settle
      # What was written a moment ago is read again by the next build, since it may have changed in that moment.
      sleep 1
      printf '| %s |' "$size"
      cell build -t files "$dir"
      cell build -t files "$dir"
      find "$dir/src" -name f0 -exec sh -c 'echo edited >"$1"' sh {} \;
      settle
      cell build -t files "$dir"
      echo
      rm -rf "$dir"
    done
  done
}

# So many builds at once: all of one Dockerfile, or each of its own.
at_once() {
  local kind=$1 count=$2 number failed=0 pids=()
  for ((number = 0; number < count; number++)); do
    build -q -t "build$number" "$scratch/builds/$kind$([ "$kind" = same ] || echo $number)" &
    pids+=($!)
  done
  for number in "${pids[@]}"; do wait "$number" || failed=$((failed + 1)); done
  [ $failed = 0 ] || { echo "$failed of $count builds failed"; return 1; }
}

builds_curve() {
  local size dir
  heading "builds at once, of 5 RUN each" "one Dockerfile" "nothing changed" "each its own" "nothing changed"
  for size in $(sizes 1 4 16 64); do
    for dir in same $(seq 0 $((size - 1)) | sed 's/^/own/'); do
      mkdir -p "$scratch/builds/$dir"
      { echo "FROM localhost/busybox"; for step in {1..5}; do echo "RUN echo $dir $step >/f$step"; done; } \
        >"$scratch/builds/$dir/Dockerfile"
    done
    printf '| %s |' "$size"
    for kind in same own; do
      fresh
      cell at_once $kind "$size"
      cell at_once $kind "$size"
    done
    echo
    rm -rf "$scratch/builds"
  done
}

# Makes images that differ in a label, each with a name, many in one build.
more_images() {
  local from=$1 to=$2 number last targets dir="$scratch/many"
  mkdir -p "$dir"
  while [ "$from" -le "$to" ]; do
    last=$((from + 49 < to ? from + 49 : to))
    : >"$dir/Dockerfile"
    targets=()
    for ((number = from; number <= last; number++)); do
      printf 'FROM localhost/busybox AS s%d\nLABEL number=%d\n' $number $number >>"$dir/Dockerfile"
      targets+=("--target=s$number=many$((number % 10)):$number")
    done
    build -q "${targets[@]}" "$dir" || return 1
    from=$((last + 1))
  done
}

images_curve() {
  local size there=0 ids dir="$scratch/one"
  fresh
  mkdir "$dir"
  printf 'FROM localhost/busybox\nCOPY f /f\n' >"$dir/Dockerfile"
  now >"$dir/f"
  heading "images" "all made" "\`images\`" "\`images -q\`" "nothing changed" "one step" "\`tag\`" "\`rmi\` NAME" "\`rmi\` IMAGE" \
    "\`prune -f\`" "\`rmi\` of a tenth" "\`prune -af\`"
  for size in $(sizes 10 100 1000 10000); do
    printf '| %s |' "$size"
    cell more_images $((there + 1)) "$size"
    # Names are as many again.
    cell kiln images
    cell kiln images -q
    quiet build -t one "$dir"
    cell build -t one "$dir"
    now >"$dir/f"
    cell build -t one "$dir"
    cell kiln tag one two
    cell kiln rmi two
    now >"$dir/f"
    quiet build -t three "$dir"
    cell kiln rmi three
    cell kiln prune -f
    ids=$(kiln images -q many1)
    # shellcheck disable=SC2086
    cell kiln rmi $ids
    cell kiln prune -a -f
    echo
    fresh
    there=0
  done
}

scale() {
  local curve known="steps files builds images"
  local -a wanted=("$@")
  [ ${#wanted[@]} -gt 0 ] || read -ra wanted <<<"$known"
  for curve in "${wanted[@]}"; do
    [[ " $known " = *" $curve "* ]] || fail "there is no curve $curve; there are $known"
  done
  for curve in "${wanted[@]}"; do
    say "$curve …"
    "${curve}_curve"
    echo
  done
  echo "The time that passed, and in brackets the processor time. $("$kiln" --version), $(machine)."
}
