%% @doc Placeholder until the router exists.
-module(topos_bench_window).
-export([run/1]).
-spec run(map()) -> [topos_bench_report:row()].
run(_) -> [].
