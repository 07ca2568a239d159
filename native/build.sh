#!/bin/sh
# Builds the NIF library and installs it as priv/topos_nif.so. Called by rebar3 before it compiles, in the folder of this
# application: the root of a clone, _build/default/lib/topos_partisan of a project that depends on it, or its _checkouts.
#
# Cargo is asked only when a Rust file is newer than the library, so a VM's own rebuilds stay fast, and a copy that came with
# its library needs no Rust. Honours CARGO_TARGET_DIR and the rest of cargo's configuration.
set -eu
cd "$(dirname "$0")/.."
lib=priv/topos_nif.so

if [ -f "$lib" ] && [ -z "$(find native Cargo.toml Cargo.lock -newer "$lib" ! -type d -print | head -n 1)" ]; then
    exit 0
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "topos_partisan needs Rust to build its native library: install it with rustup (https://rustup.rs) and try again." >&2
    exit 1
fi

mkdir -p priv
new=priv/.topos_nif.so.$$
started=priv/.topos_nif.started.$$
trap 'rm -f "$new" "$started"' EXIT
# What changes while cargo runs is newer than this, and so built the next time.
: >"$started"
echo "Building the native library (a minute the first time)"
# Cargo shows its progress on stderr, and on stdout tells where it put the library, wherever it is configured to.
built=$(cargo build --release --locked -p topos-nif --message-format=json-render-diagnostics |
    sed -n 's/.*"filenames":\["\([^"]*libtopos_nif\.[a-z]*\)".*/\1/p' | tail -n 1)
if [ -z "$built" ]; then
    echo "topos_partisan: the native library was not built; cargo's messages above say why." >&2
    exit 1
fi
# Rename, never truncate: a running VM may have the old library mapped.
cp "$built" "$new"
touch -r "$started" "$new"
mv -f "$new" "$lib"
