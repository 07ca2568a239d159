#!/bin/sh
# Runs every PropEr property, the functions prop_*/0 of the modules tests/prop_*.erl, and closes with
# "properties: N passed, M failed". TOPOS_NUMTESTS sets the number of cases a property (default 200).
set -eu
cd "$(dirname "$0")/.."
rebar3 as test compile >/dev/null
for lib in _build/test/lib/*; do
    set -- "$@" -pa "$lib/ebin"
    [ -d "$lib/tests" ] && set -- "$@" -pa "$lib/tests"
done
exec erl -noshell -noinput "$@" -eval '
    NumTests = list_to_integer(os:getenv("TOPOS_NUMTESTS", "200")),
    Modules = [list_to_atom(filename:basename(F, ".erl")) || F <- lists:sort(filelib:wildcard("tests/prop_*.erl"))],
    Run = fun(M, P) ->
        io:format("~s:~s ", [M, P]),
        proper:quickcheck(M:P(), [{numtests, NumTests}, {to_file, user}]) =:= true
    end,
    Results = [Run(M, P) || M <- Modules, {module, _} <- [code:ensure_loaded(M)],
               {P, 0} <- lists:sort(M:module_info(exports)), lists:prefix("prop_", atom_to_list(P))],
    Failed = length([R || R <- Results, not R]),
    io:format("properties: ~b passed, ~b failed~n", [length(Results) - Failed, Failed]),
    halt(case Failed of 0 -> 0; _ -> 1 end).'
