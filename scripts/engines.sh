#!/bin/sh
# Says which engines this machine runs. rebar3 must have compiled the project.
set -eu
cd "$(dirname "$0")/.."
for lib in _build/default/lib/*/ebin _build/test/lib/*/ebin; do
    [ -d "$lib" ] && set -- "$@" -pa "$lib"
done
exec erl -noshell -noinput "$@" -eval '
    Available = topos_engine:available(),
    Line = fun(E) -> case lists:member(E, Available) of
        true -> io_lib:format("~s", [E]);
        false -> io_lib:format("~s (skipped: not installed)", [E]) end end,
    io:format("engines: ~ts~n", [lists:join(", ", [Line(E) || E <- topos_engine:names()])]),
    halt(0).'
