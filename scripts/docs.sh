#!/bin/sh
# HTML of the Erlang modules under erlang/, and of nothing else: _build/doc/index.html.
set -eu
cd "$(dirname "$0")/.."
exec erl -noshell -noinput -eval '
    Files = filelib:wildcard("erlang/**/*.erl"),
    Options = [{dir, "_build/doc"}, {preprocess, true}, {includes, ["include"]}, {application, topos_partisan}],
    ok = edoc:run(Files, Options),
    io:format("~b modules documented in _build/doc/index.html~n", [length(Files)]),
    halt(0).'
