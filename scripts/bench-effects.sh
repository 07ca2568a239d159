#!/bin/sh
# Compiles bench/effects and measures what effects cost: scripts/bench-effects.sh [ROUNDS]
set -eu
cd "$(dirname "$0")/.."
out=.make/bench-effects
mkdir -p "$out"
"${TOPOS:-${CARGO_TARGET_DIR:-target}/release/topos}" build -o "$out" bench/effects/Micro.topos bench/effects/Programs.topos
for lib in _build/default/lib/*/ebin; do paths="${paths:-} -pa $lib"; done
erlc -o "$out" bench/topos_bench_effects.erl
# shellcheck disable=SC2086
exec erl -noshell -noinput $paths -pa "$out" \
  -eval 'topos_bench_effects:main(init:get_plain_arguments()), halt(0).' -extra "$@"
