#!/bin/sh
# Compiles bench/*.erl outside the application and runs what is asked for:
#
#   scripts/bench.sh              typed terms, and the link with small loads
#   scripts/bench.sh term         typed terms
#   scripts/bench.sh link [...]   the link in full: --json --quick --rounds N --only burst,latency,requests,window
set -eu
cd "$(dirname "$0")/.."
out=.make/bench
rm -rf "$out"
mkdir -p "$out"
for lib in _build/default/lib/*/ebin; do paths="${paths:-} -pa $lib"; done
# shellcheck disable=SC2086
erlc -Werror $paths -o "$out" bench/*.erl

term() {
    # shellcheck disable=SC2086
    erl -noshell -noinput $paths -pa "$out" -eval 'topos_bench_term:main(), halt(0).'
}
# The window benchmark needs it; without root it says so and is skipped.
link() {
    case $(uname) in Linux) cargo build --release --locked --quiet -p topos-router ;; esac
    # shellcheck disable=SC2086
    erl +Bd -noshell -noinput $paths -pa "$out" -eval 'topos_bench_link:main(init:get_plain_arguments()).' -extra "$@"
}

case ${1:-all} in
    all) term && link --quick ;;
    term) term ;;
    link) shift && link "$@" ;;
    *)
        echo "bench.sh: there is no benchmark '$1'; there are term and link" >&2
        exit 2
        ;;
esac
