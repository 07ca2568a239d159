#!/bin/bash
# Every check that needs no running system: rustfmt, clippy, rustdoc, xref, Dialyzer. Warnings are errors.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0
check() {
    printf '== %s\n' "$*"
    "$@" || { status=1; printf '!! failed: %s\n' "$*"; }
}
check cargo fmt --all --check
check cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
RUSTDOCFLAGS='-D warnings' check cargo doc --workspace --no-deps --locked --quiet
check rebar3 xref
check rebar3 dialyzer
[ $status -eq 0 ] && echo "lint: clean"
exit $status
