#!/bin/sh
# Runs every PropEr property, the functions prop_*/0 of the modules tests/prop_*.erl, and closes with
# "properties: N passed, M failed". TOPOS_NUMTESTS sets the number of cases a property (default 200); a module whose cases are
# cheap makes as many as its numtests/0 says if that is more. Arguments choose modules.
set -eu
cd "$(dirname "$0")/.."
export TOPOS_PROPERTIES="$*"
rebar3 as test compile >/dev/null
set --
for lib in _build/test/lib/*; do
    set -- "$@" -pa "$lib/ebin"
    [ -d "$lib/tests" ] && set -- "$@" -pa "$lib/tests"
done
exec erl -noshell -noinput "$@" -eval '
    NumTests = list_to_integer(os:getenv("TOPOS_NUMTESTS", "200")),
    Chosen = string:lexemes(os:getenv("TOPOS_PROPERTIES"), " "),
    Modules = [list_to_atom(Name) || F <- lists:sort(filelib:wildcard("tests/prop_*.erl")),
               Name <- [filename:basename(F, ".erl")], Chosen =:= [] orelse lists:member(Name, Chosen)],
    %% A dot for each of 10,000 cases tells nobody anything.
    Output = fun(".", []) -> ok; (Format, Args) -> io:format(Format, Args) end,
    Least = fun(M) -> case erlang:function_exported(M, numtests, 0) of true -> M:numtests(); false -> 0 end end,
    Run = fun(M, P) ->
        io:format("~s:~s ", [M, P]),
        proper:quickcheck(M:P(), [{numtests, max(NumTests, Least(M))}, {on_output, Output}]) =:= true
    end,
    Results = [Run(M, P) || M <- Modules, {module, _} <- [code:ensure_loaded(M)],
               {P, 0} <- lists:sort(M:module_info(exports)), lists:prefix("prop_", atom_to_list(P))],
    Failed = length([R || R <- Results, not R]),
    io:format("properties: ~b passed, ~b failed~n", [length(Results) - Failed, Failed]),
    halt(case Failed of 0 -> 0; _ -> 1 end).'
