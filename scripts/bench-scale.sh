#!/bin/sh
# What a cluster costs each of its nodes: simulated HyParView of 100 to 10,000 nodes, then real nodes.
#
#   scripts/bench-scale.sh                        both; real nodes on the best engine there is, 10, 20 and 50 of them
#   scripts/bench-scale.sh otp hyparview 10 20    real nodes alone: engines, topologies (full_mesh, hyparview, client_server)
#                                                 and sizes; without one of a kind all of it, of engines the best
#
# The real nodes are children of one VM and end with it, also when this is interrupted; after 60 minutes it is ended.
set -eu
cd "$(dirname "$0")/.."
topos=${TOPOS:-${CARGO_TARGET_DIR:-target}/release/topos}
out=.make/bench-scale
mkdir -p "$out"
for lib in _build/default/lib/*/ebin; do paths="${paths:-} -pa $lib"; done
# shellcheck disable=SC2086
erlc -Werror $paths -o "$out" bench/topos_bench_scale.erl bench/topos_bench_node.erl
if [ $# -eq 0 ]; then
    printf 'HyParView, simulated\n\n'
    # A process each: what one has freed would count for the next.
    first=1
    for nodes in 100 300 1000 3000 10000; do
        "$topos" simulate --experiments growth --nodes "$nodes" | tail -n "+$first"
        first=3
    done
    printf '\n'
fi
# An error is printed; a dump of the VM says no more.
export ERL_CRASH_DUMP_BYTES=0
# shellcheck disable=SC2086
exec timeout -k 10 3600 erl -noshell -noinput $paths -pa "$out" \
    -eval 'topos_bench_scale:main(init:get_plain_arguments()), halt(0).' -extra "$@"
