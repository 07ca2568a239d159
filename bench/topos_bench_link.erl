%% @doc `make bench-link': the bridge beside plain Partisan and Distributed Erlang, in one run.
%%
%% Arguments: `--json' prints one JSON object instead of the table of ratios (what is measured goes to standard error
%% either way), `--quick' smaller loads, `--rounds N', `--only burst,latency,requests,window'. Rounds of the contestants
%% alternate, so that a noisy machine hurts all of them alike; a ratio is that of the medians.
-module(topos_bench_link).

-export([main/1]).

-type options() :: #{json := boolean(), quick := boolean(), rounds := pos_integer(), only := [string()]}.

-define(PARTS, ["burst", "latency", "requests", "window"]).

%% @doc Entry of `scripts/bench.sh'.
-spec main([string()]) -> no_return().
main(Args) ->
    case options(Args, #{json => false, quick => false, rounds => 5, only => ?PARTS}) of
        {ok, Options} ->
            ok = io:setopts(standard_error, [{encoding, unicode}]),
            ok = run(Options),
            halt(0);
        {error, Why} ->
            io:format(standard_error, "bench-link: ~ts~n", [Why]),
            halt(2)
    end.

%% internal

-spec options([string()], options()) -> {ok, options()} | {error, string()}.
options([], Options) ->
    {ok, Options};
options(["--json" | Rest], Options) ->
    options(Rest, Options#{json := true});
options(["--quick" | Rest], Options) ->
    options(Rest, Options#{quick := true, rounds := 3});
options(["--rounds", Text | Rest], Options) ->
    case string:to_integer(Text) of
        {Rounds, ""} when Rounds > 0 -> options(Rest, Options#{rounds := Rounds});
        _ -> {error, "--rounds takes a number above 0, not " ++ Text}
    end;
options(["--only", Text | Rest], Options) ->
    Parts = string:lexemes(Text, ","),
    case Parts -- ?PARTS of
        [] -> options(Rest, Options#{only := Parts});
        [Unknown | _] -> {error, lists:concat(["there is no part ", Unknown, "; the parts are ", lists:join(", ", ?PARTS)])}
    end;
options([Unknown | _], _) ->
    {error, lists:concat(["what is ", Unknown, "? Options: --json --quick --rounds N --only PART,PART"])}.

-spec run(options()) -> ok.
run(#{json := Json, only := Only, rounds := Rounds} = Options) ->
    #{cores := Cores, otp := Otp, loopback_rtt_us := Rtt} = Machine = topos_bench_report:machine(),
    io:format(standard_error, "~b core(s), Erlang/OTP ~s, loopback round trip ~b µs, medians of ~b rounds~n",
              [Cores, Otp, Rtt, Rounds]),
    {Sockets, Rows} = on_loopback(Options, [Part || Part <- Only, Part =/= "window"]),
    Window = case lists:member("window", Only) of true -> topos_bench_window:run(Options); false -> [] end,
    topos_bench_report:summary(#{json => Json, machine => Machine#{sockets => Sockets}}, Rows ++ Window).

-spec on_loopback(options(), [string()]) -> {#{atom() => non_neg_integer()}, [topos_bench_report:row()]}.
on_loopback(_, []) ->
    {#{}, []};
on_loopback(Options, Parts) ->
    Pairs = [topos_bench_vm:start(Name) || Name <- topos_bench_vm:available()],
    try
        Sockets = [{topos_bench_vm:label(Name), topos_bench_vm:sockets(Pair)} || #{name := Name} = Pair <- Pairs],
        ok = topos_bench_report:heading("TCP connections of each pair"),
        ok = topos_bench_report:figures([{Label, Count, ""} || {Label, Count} <- Sockets]),
        {maps:from_list([{list_to_atom(L), C} || {L, C} <- Sockets]), lists:append([part(Part, Pairs, Options) || Part <- Parts])}
    after
        lists:foreach(fun topos_bench_vm:stop/1, Pairs)
    end.

-spec part(string(), [topos_bench_vm:pair()], options()) -> [topos_bench_report:row()].
part("burst", Pairs, Options) -> topos_bench_burst:run(Pairs, maps:with([rounds, quick], Options));
part("latency", Pairs, Options) -> topos_bench_latency:under_bulk(Pairs, maps:with([rounds, quick], Options));
part("requests", Pairs, Options) ->
    Effort = maps:with([rounds, quick], Options),
    topos_bench_latency:requests_apart(Effort) ++ topos_bench_latency:requests(Pairs, Effort).
