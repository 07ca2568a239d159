#!/bin/sh
# Builds what is written in Rust and installs it in priv/: `build.sh` or `build.sh nif` the NIF library, topos_nif.so;
# `build.sh topos` the compiler, topos. The first is called by rebar3 before it compiles, the second by the rebar3 plugin, in the
# folder of this application: the root of a clone, _build/default/{lib,plugins}/topos_partisan of a project, or its _checkouts.
#
# Cargo is asked only when a source is newer than the result, so a VM's own rebuilds stay fast, and a copy that came with
# its results needs no Rust. Honours CARGO_TARGET_DIR and the rest of cargo's configuration.
set -eu
cd "$(dirname "$0")/.."
case ${1:-nif} in
    nif)
        package=topos-nif result=priv/topos_nif.so what="native library" sources=native
        field='"filenames":\["\([^"]*libtopos_nif\.[a-z]*\)"'
        ;;
    topos)
        # The compiler carries the standard library and tables of the run time.
        package=topos-cli result=priv/topos what="Topos compiler" sources="native topos_stdlib examples erlang"
        field='"executable":"\([^"]*\)"'
        ;;
    *)
        echo "usage: build.sh [nif|topos]" >&2
        exit 2
        ;;
esac

# shellcheck disable=SC2086 # several folders
if [ -f "$result" ] && [ -z "$(find $sources Cargo.toml Cargo.lock -newer "$result" ! -type d -print | head -n 1)" ]; then
    exit 0
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "topos_partisan needs Rust to build its $what: install it with rustup (https://rustup.rs) and try again." >&2
    exit 1
fi
# In a project that has this both as a dependency and as a plugin, what both need is built once.
case $PWD in
    */_build/*/lib/topos_partisan | */_build/*/plugins/topos_partisan)
        : "${CARGO_TARGET_DIR:=${PWD%/*/*/*}/topos_cargo}"
        export CARGO_TARGET_DIR
        ;;
esac

mkdir -p priv
new=priv/.$package.$$
started=priv/.$package.started.$$
trap 'rm -f "$new" "$started"' EXIT
# What changes while cargo runs is newer than this, and so built the next time.
: >"$started"
echo "Building the $what (a minute the first time)"
# Cargo shows its progress on stderr, and on stdout tells where it put the result, wherever it is configured to.
built=$(cargo build --release --locked -p "$package" --message-format=json-render-diagnostics |
    sed -n "s/.*$field.*/\1/p" | tail -n 1)
if [ -z "$built" ]; then
    echo "topos_partisan: the $what was not built; cargo's messages above say why." >&2
    exit 1
fi
# Rename, never truncate: a running VM may have the old library mapped.
cp "$built" "$new"
touch -r "$started" "$new"
mv -f "$new" "$result"
