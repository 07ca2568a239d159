#!/bin/sh
# Builds the NIF library and installs it into priv/. Called by rebar3 before it compiles.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if ! command -v cargo >/dev/null 2>&1; then
    echo "topos_partisan needs Rust to build its native library: install it with rustup (https://rustup.rs) and try again." >&2
    exit 1
fi
target=${CARGO_TARGET_DIR:-$root/target}
(cd "$root" && cargo build --release --locked --quiet -p topos-nif)
mkdir -p "$root/priv"
lib=$target/release/libtopos_nif.so
[ -f "$lib" ] || lib=$target/release/libtopos_nif.dylib
# Rename, never truncate: a running VM may have the old library mapped.
cp "$lib" "$root/priv/.topos_nif.so.$$"
mv -f "$root/priv/.topos_nif.so.$$" "$root/priv/topos_nif.so"
