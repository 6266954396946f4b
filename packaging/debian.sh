# What the scripts beside it share: messages, root rights and Debian packages. Sourced, never run.

say() { echo "${0##*/}: $*" >&2; }
die() { say "$*"; exit 1; }

# Whether a person watches; asked before any output is captured.
if [ -t 2 ]; then watched=1; else watched=; fi

# Runs a command with root rights. Only a person at a terminal is ever asked for a password, and only by sudo itself.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; return; fi
  command -v sudo >/dev/null || die "needs root for: $* (become root, or install sudo)"
  if [ -n "$watched" ]; then sudo "$@"; else
    sudo -n true 2>/dev/null || die "needs root for: $* (run it as root, or allow sudo without a password)"
    sudo -n "$@"
  fi
}

# Whether what a package brings is there. By what is used, not by the package's name: a protoc from elsewhere is as good.
present() {
  case $1 in
    gcc | g++ | make | cmake | curl) command -v "$1" >/dev/null ;;
    libc6-dev) [ -e /usr/include/stdio.h ] || [ -e /usr/local/include/stdio.h ] ;;
    protobuf-compiler) [ -n "${PROTOC:-}" ] || command -v protoc >/dev/null ;;
    libprotobuf-dev) has_descriptor ;;
    docker.io) command -v dockerd >/dev/null && command -v docker >/dev/null ;;
    iptables) command -v iptables >/dev/null ;;
    iproute2) command -v ip >/dev/null ;;
    etcd-server) command -v etcd >/dev/null ;;
    python3-venv) python3 -c 'import venv, ensurepip' 2>/dev/null ;;
    docker-registry) command -v docker-registry >/dev/null ;;
    mariadb-server-core) command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null ;;
    mariadb-client-core) command -v my_print_defaults >/dev/null ;;
    redis-server) command -v redis-server >/dev/null ;;
    *) dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' ;;
  esac
}

# protoc finds the well-known files beside itself or in the system's include folder.
has_descriptor() {
  local home
  home=$(command -v protoc || true)
  for dir in "${PROTOC_INCLUDE:-/usr/include}" /usr/include /usr/local/include "${home%/bin/protoc}/include"; do
    if [ -e "$dir/google/protobuf/descriptor.proto" ]; then return 0; fi
  done
  return 1
}

# install_missing PACKAGE...: asks nothing, says what it does, does nothing when all is there.
install_missing() {
  local need=() package
  for package in "$@"; do
    present "$package" || need+=("$package")
  done
  if [ ${#need[@]} -eq 0 ]; then return 0; fi
  command -v apt-get >/dev/null ||
    die "missing: ${need[*]} (Debian's names); there is no apt-get here, install them your way and come again"
  say "installing from Debian: ${need[*]}"
  apt update
  apt install -y --no-install-recommends "${need[@]}"
  for package in "${need[@]}"; do
    present "$package" || die "$package was installed but what it should bring is still not found"
  done
}

# apt-get without questions, waiting for another apt instead of failing on its lock. Silent unless it fails.
apt() {
  local told status=0
  told=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null 2>&1) || status=$?
  if [ "$status" != 0 ]; then
    echo "$told" >&2
    die "apt-get $1 failed with status $status; what it said is above"
  fi
}

# A fresh rustup puts cargo into ~/.cargo/bin, which only the next login shell knows.
find_rust() {
  PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin
  export PATH
  local root want have
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
  command -v cargo >/dev/null && command -v rustc >/dev/null ||
    die "no Rust toolchain found; Hancock needs Rust $want or newer: see https://rustup.rs, then run this again"
  have=$(rustc --version | cut -d' ' -f2)
  printf '%s\n%s\n' "$want" "$have" | sort -V -C ||
    die "Rust $have is too old, Hancock needs $want or newer: run \"rustup update stable\""
}
