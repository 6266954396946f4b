# What the benches beside it share. Sourced, never run; the sourcing script keeps `set -euo pipefail`.
#
# HANCOCK=PATH measures that binary; without it the dist build is made first (`dist_build`).

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/debian.sh
find_rust

target=${CARGO_TARGET_DIR:-target}
dir=$(mktemp -d)
pids=()
cleanup() {
  local pid
  for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap cleanup EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# await WHAT COMMAND...: polls for at most 60 s.
await() {
  local what=$1 tries=600
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then die "waited 60 s for $what"; fi
    sleep 0.1
  done
}

# User and kernel time of a process and of its threads, in ticks of 1/100 s.
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# Sets hancock to the binary to measure.
dist_build() {
  if [ -n "${HANCOCK:-}" ]; then
    hancock=$(realpath "$HANCOCK")
    return
  fi
  cargo build --quiet --profile dist
  hancock=$(cd "$target/dist" && pwd)/hancock
}

# What a figure has to carry with it.
machine() { echo "$(git describe --always --dirty), $(nproc) cores, $(uname -sr), load before $(cut -d' ' -f1 /proc/loadavg)"; }
