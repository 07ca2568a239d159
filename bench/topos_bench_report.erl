%% @doc What the link benchmarks print: a table as it goes, ratios against their goals at the end, JSON on demand.
-module(topos_bench_report).

-export([machine/0, rtt/1, heading/1, figures/1, row/1, skip/2, summary/2, median/1]).
-export_type([row/0]).

%% `ratio' is `figure' over that of `against', measured in the same run.
-type row() :: #{
    line := string(), subject := string(), figure => number(), unit => string(), against => string(), ratio => float(),
    at_least => float() | none, at_most => float() | none, skipped => string()
}.

-define(PINGS, 500).

%% @doc The machine, and the round trip of one byte over a loopback connection: the least that anything here can take.
-spec machine() -> #{atom() => term()}.
machine() ->
    #{
        cores => erlang:system_info(schedulers_online),
        otp => erlang:system_info(otp_release),
        loopback_rtt_us => rtt({127, 0, 0, 1})
    }.

%% @doc Median round trip over a TCP connection between two processes, in microseconds.
-spec rtt(inet:ip4_address()) -> number().
rtt(Ip) ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, Ip}, {active, false}, {nodelay, true}, binary]),
    {ok, Port} = inet:port(Listen),
    {Pid, Ref} = spawn_monitor(fun() -> {ok, Socket} = gen_tcp:accept(Listen), answer(Socket) end),
    {ok, Socket} = gen_tcp:connect(Ip, Port, [{active, false}, {nodelay, true}, binary]),
    Times = [
        begin
            Started = erlang:monotonic_time(microsecond),
            ok = gen_tcp:send(Socket, <<0>>),
            {ok, _} = gen_tcp:recv(Socket, 1),
            erlang:monotonic_time(microsecond) - Started
        end
     || _ <- lists:seq(1, ?PINGS)
    ],
    ok = gen_tcp:close(Socket),
    receive {'DOWN', Ref, process, Pid, _} -> ok end,
    ok = gen_tcp:close(Listen),
    median(Times).

-spec heading(string()) -> ok.
heading(Text) -> io:format(standard_error, "~n~ts~n", [Text]).

-spec figures([{string(), number(), string()}]) -> ok.
figures(Figures) ->
    lists:foreach(
        fun({Label, Figure, Unit}) -> io:format(standard_error, "  ~-28ts ~12b ~ts~n", [Label, round(Figure), Unit]) end,
        Figures
    ).

%% @doc Checks nothing; a place to see all rows pass.
-spec row(row()) -> row().
row(Row) -> Row.

-spec skip(string(), string()) -> row().
skip(Line, Why) ->
    ok = heading(lists:concat([Line, ": skipped: ", Why])),
    #{line => Line, subject => "", skipped => Why}.

%% @doc The ratios: a table, or JSON on standard output.
-spec summary(#{json := boolean(), machine := map()}, [row()]) -> ok.
summary(#{json := true, machine := Machine}, Rows) ->
    io:format("~ts~n", [json(Machine#{ratios => [maps:without([unit | none_of(R)], R#{met => met(R)}) || R <- Rows]})]);
summary(#{json := false, machine := #{cores := Cores, otp := Otp, loopback_rtt_us := Rtt, sockets := Sockets}}, Rows) ->
    ok = io:setopts(standard_io, [{encoding, unicode}]),
    io:format("~nratios: ~b core(s), Erlang/OTP ~s, loopback round trip ~b µs~n", [Cores, Otp, Rtt]),
    io:format("TCP connections of a pair:~ts~n", [lists:join(",", [io_lib:format(" ~ts ~b", [K, V]) || {K, V} <- lists:sort(maps:to_list(Sockets))])]),
    lists:foreach(fun print/1, Rows).

-spec median([number(), ...]) -> number().
median(List) ->
    Sorted = lists:sort(List),
    lists:nth((length(Sorted) + 1) div 2, Sorted).

%% internal

-spec answer(gen_tcp:socket()) -> ok.
answer(Socket) ->
    case gen_tcp:recv(Socket, 1) of
        {ok, Byte} -> ok = gen_tcp:send(Socket, Byte), answer(Socket);
        {error, closed} -> ok
    end.

-spec print(row()) -> ok.
print(#{line := Line, skipped := Why}) ->
    io:format("  ~-28ts skipped: ~ts~n", [Line, Why]);
print(#{line := Line, subject := Subject, against := Against, ratio := Ratio} = Row) ->
    Goal =
        case Row of
            #{at_least := Least} when is_float(Least) -> io_lib:format("goal >= ~.2f", [Least]);
            #{at_most := Most} when is_float(Most) -> io_lib:format("goal <= ~.2f", [Most]);
            _ -> "no goal"
        end,
    Verdict = case met(Row) of true -> "met"; false -> "MISSED"; null -> "" end,
    io:format("  ~-28ts ~-20ts ~8.2f x ~-20ts ~-14ts ~s~n", [Line, Subject, Ratio, Against, Goal, Verdict]).

-spec met(row()) -> boolean() | null.
met(#{ratio := Ratio, at_least := Least}) when is_float(Least) -> Ratio >= Least;
met(#{ratio := Ratio, at_most := Most}) when is_float(Most) -> Ratio =< Most;
met(_) -> null.

-spec none_of(row()) -> [atom()].
none_of(Row) -> [Key || {Key, none} <- maps:to_list(Row)].

%% Maps of atoms, lists of maps, strings, numbers, booleans, null: all that occurs here.
-spec json(term()) -> iolist().
json(Map) when is_map(Map) ->
    ["{", lists:join(",", [[json(atom_to_list(K)), ":", json(V)] || {K, V} <- lists:sort(maps:to_list(Map))]), "}"];
json([Map | _] = List) when is_map(Map) -> ["[", lists:join(",", [json(M) || M <- List]), "]"];
json(Number) when is_integer(Number) -> integer_to_list(Number);
json(Number) when is_float(Number) -> float_to_list(Number, [{decimals, 4}, compact]);
json(Atom) when Atom =:= true; Atom =:= false; Atom =:= null -> atom_to_list(Atom);
json(Text) when is_list(Text) -> ["\"", [escape(C) || C <- Text], "\""].

-spec escape(char()) -> iolist() | char().
escape(C) when C =:= $"; C =:= $\\ -> [$\\, C];
escape(C) when C < 32 -> io_lib:format("\\u~4.16.0b", [C]);
escape(C) -> C.
