#!/bin/sh
# Makes a tiny root file system to build upon, as a tar that `kiln import` takes: base.sh OUT.tar [ARCHITECTURE]
#
# For another architecture (Debian's name) the busybox is fetched by apt, with lists of its own; nothing is installed.
#
# From a static busybox where there is one (Debian's busybox-static, installed, or fetched when apt can do that without
# installing), else from this machine's own shell and tools with the libraries that they name. Needs no privileges: the tar
# says that root owns everything, whoever made it. The same input gives the same bytes.
set -eu

out=${1:?usage: base.sh OUT.tar [ARCHITECTURE]}
architecture=${2:-}
work=$(mktemp -d)
trap 'chmod -R u+rwx "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
root=$work/root

# What the Dockerfiles of the tests and of testdata/hello call.
tools="sh cat ls echo mkdir rm rmdir ln cp mv touch chmod chown stat id env sed grep wc head tail sort sleep true false test
  readlink find seq sha256sum hostname mount umount ps printf pwd dd tr cut expr kill uname date mknod mkfifo tar basename"

static_busybox() {
  for candidate in /bin/busybox /usr/bin/busybox "$work"/deb/bin/busybox "$work"/deb/usr/bin/busybox; do
    # Only a static one runs alone in an image; ldd says so by failing.
    if [ -x "$candidate" ] && ! ldd "$candidate" >/dev/null 2>&1; then
      echo "$candidate"
      return 0
    fi
  done
  return 1
}

fetch_busybox() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  (cd "$work" && timeout 20 apt-get -qq download busybox-static >/dev/null 2>&1 && dpkg-deb -x busybox-static_*.deb deb) 2>/dev/null
}

# The busybox of another architecture, which apt of this machine need not know.
fetch_foreign() {
  . /etc/os-release
  case $ID in
    debian) source="http://deb.debian.org/debian $VERSION_CODENAME main" ;;
    ubuntu) source="http://ports.ubuntu.com/ubuntu-ports $VERSION_CODENAME main universe" ;;
    *) return 1 ;;
  esac
  mkdir -p "$work/lists/partial" "$work/archives/partial"
  echo "deb [arch=$1] $source" >"$work/sources.list"
  cat >"$work/apt.conf" <<END
APT::Architectures { "$(dpkg --print-architecture)"; "$1"; };
APT::Sandbox::User "root";
Dir::State::Lists "$work/lists";
Dir::Cache "$work";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::SourceList "$work/sources.list";
END
  export APT_CONFIG="$work/apt.conf"
  (cd "$work" && timeout 120 apt-get -qq update && timeout 60 apt-get -qq download "busybox-static:$1" &&
    dpkg-deb -x busybox-static_*.deb deb) >&2
}

from_busybox() {
  cp "$1" "$root/bin/busybox"
  for applet in ${2:-$("$1" --list)}; do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  echo "base: busybox ($1)" >&2
}

# A tool of the host, with its libraries in the places where its loader looks for them.
add_tool() {
  path=$(command -v "$1") || return 0
  case $path in /*) ;; *) path=/bin/$1 ;; esac
  [ -x "$path" ] || return 0
  cp -L "$path" "$root/bin/$1"
  for library in $(ldd "$path" 2>/dev/null | grep -o '/[^ ]*'); do
    mkdir -p "$root$(dirname "$library")"
    [ -e "$root$library" ] || cp -L "$library" "$root$library"
  done
}

from_host() {
  for tool in $tools; do add_tool "$tool"; done
  echo "base: the shell and tools of this machine" >&2
}

# The umask of the caller must not show in the image.
umask 022
mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/home/app" "$root/tmp" "$root/var" "$root/usr/bin"
printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\napp:x:1000:1000:app:/home/app:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\ndaemon:x:1:\nstaff:x:50:app\napp:x:1000:\n' >"$root/etc/group"

if [ -n "$architecture" ]; then
  fetch_foreign "$architecture"
  from_busybox "$(ls "$work"/deb/bin/busybox "$work"/deb/usr/bin/busybox 2>/dev/null | head -n 1)" "$tools"
elif busybox=$(static_busybox) || { fetch_busybox && busybox=$(static_busybox); }; then
  from_busybox "$busybox"
else
  from_host
fi

chmod 755 "$root" "$root"/bin/*[a-z0-9] 2>/dev/null || true
chmod 700 "$root/root"
chmod 1777 "$root/tmp"
tar --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mtime=@1700000000 -C "$root" -cf "$work/base.tar" .
mv "$work/base.tar" "$out"
