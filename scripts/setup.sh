#!/usr/bin/env bash
# Installs the real clients and servers that the test suites and the bench run against.
# A second run finds everything and ends at once. It never fails a developer's `npm test`: what it
# cannot install it names, with the command that would, and the suites skip it. With CI=true a
# missing tool is an error.
#
#   servers          as its argument: only what servers the suites start, which is quick; the rest
#                    can be built beside the first of them
#   HOLDFAST_TOOLS   where built tools go (default: .cache/tools in the checkout); an absolute path
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname "$here")
export TOOLS=${HOLDFAST_TOOLS:-$checkout/.cache/tools}
export PATH=$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin
mkdir -p "$TOOLS/bin" "$TOOLS/stamps"

missing=()
say() { printf 'setup: %s\n' "$*" >&2; }
lacking() { missing+=("$1"); say "missing: $1 — $2"; }

source "$here/setup/debian.sh"
source "$here/setup/go.sh"
source "$here/setup/oras.sh"

# Two runs at once would fight for apt's lock and build everything twice.
exec 9>"$TOOLS/.lock"
if command -v flock >/dev/null; then flock 9; fi

install_debian
if [[ ${1:-} == servers ]]; then
  build_go_tools versitygw
else
  build_go_tools
  fetch_oras
fi

if ((${#missing[@]} > 0)); then
  [[ ${CI:-} == true ]] && { say "CI needs all of them"; exit 1; }
  say "the suites skip what is missing"
fi
exit 0
