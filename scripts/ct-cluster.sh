#!/bin/sh
# Clusters of full size, each node a VM of its own: HyParView of 50, 5 hubs with 20 clients, a full mesh of 10, a ring of 6 that a module decides on.
# Every pair of nodes sends to each other, a broadcast goes to all, a third is killed under traffic, one comes back, one leaves; prints the figures.
#
#   scripts/ct-cluster.sh [ENGINE]      partisan or otp; without one, all that are installed
#
# TOPOS_NODES is another size. Fifty nodes take about three gigabytes and, on two cores, some minutes an engine.
set -eu
cd "$(dirname "$0")/.."
figures=$PWD/.make/ct-cluster.txt
mkdir -p .make
: >"$figures"
cases=hyparview_carries_everything,hubs_carry_everything,full_mesh_carries_everything,custom_carries_everything
status=0
for engine in ${1:-partisan otp}; do
    printf '%s:\n' "$engine" >>"$figures"
    TOPOS_NODES=${TOPOS_NODES:-50} TOPOS_FIGURES=$figures \
        rebar3 ct --readable=false --suite ct_suites/topos_topology_SUITE --group "$engine" --case "$cases" || status=1
done
cat "$figures"
exit $status
