#!/bin/sh
# Compiles bench/*.erl outside the application and runs the comparisons: scripts/bench.sh [ROUNDS]
set -eu
cd "$(dirname "$0")/.."
out=.make/bench
mkdir -p "$out"
for lib in _build/default/lib/*/ebin; do paths="${paths:-} -pa $lib"; done
# shellcheck disable=SC2086
erlc $paths -o "$out" bench/*.erl
# shellcheck disable=SC2086
erl -noshell -noinput $paths -pa "$out" -eval 'topos_bench_term:main(), halt(0).'
# shellcheck disable=SC2086
exec erl -noshell -noinput $paths -pa "$out" -eval 'topos_bench_send:main(init:get_plain_arguments())' -extra "$@"
