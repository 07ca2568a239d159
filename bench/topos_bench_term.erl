%% @doc Typed terms against the BIFs that know no types, side by side in one run: `make bench'.
%%
%% The sides are measured in turns, a few milliseconds each; a ratio is that of the medians, and above 1.00 the typed side is
%% faster. `decode' reads and checks: it is compared with `binary_to_term/1' (b2t), which checks nothing, and with that
%% followed by `topos_term:check/2' (b2t+check), which does the same work. `encode' checks, too, and sorts maps.
-module(topos_bench_term).

-export([main/0, rows/1]).

-define(ROUNDS, 41).

%% @doc Prints the table.
-spec main() -> ok.
main() ->
    io:format(
        "typed terms, microseconds a value~n"
        "~-21s ~7s ~9s ~9s ~6s ~9s ~6s ~9s ~9s ~6s~n",
        ["", "bytes", "decode", "b2t", "ratio", "b2t+check", "ratio", "encode", "t2b", "ratio"]
    ),
    lists:foreach(
        fun(#{name := Name, size := Size, decode := D, binary_to_term := B, check := C, encode := E, term_to_binary := T}) ->
            io:format(
                "~-21s ~7b ~9.2f ~9.2f ~6.2f ~9.2f ~6.2f ~9.2f ~9.2f ~6.2f~n",
                [Name, Size, D, B, B / D, B + C, (B + C) / D, E, T, T / E]
            )
        end,
        rows(?ROUNDS)
    ).

%% @doc The figures, in microseconds a call.
-spec rows(pos_integer()) -> [#{atom() => term()}].
rows(Rounds) ->
    [row(Name, Shape, Value, Rounds) || {Name, Shape, Value} <- cases()].

%% internal

-spec row(string(), topos_term:shape(), term(), pos_integer()) -> #{atom() => term()}.
row(Name, Shape, Value, Rounds) ->
    {ok, Descriptor} = topos_term:descriptor(Shape),
    Bytes = term_to_binary(Value),
    {ok, Value} = topos_term:decode(Descriptor, Bytes),
    {ok, Canonical} = topos_term:encode(Descriptor, Value),
    Value = binary_to_term(Canonical),
    Sides = [
        {decode, fun() -> topos_term:decode(Descriptor, Bytes) end},
        {binary_to_term, fun() -> binary_to_term(Bytes) end},
        {encode, fun() -> topos_term:encode(Descriptor, Value) end},
        {term_to_binary, fun() -> term_to_binary(Value) end},
        {check, fun() -> topos_term:check(Descriptor, Value) end}
    ],
    Count = max(1, 1_000_000 div (200 + 5 * byte_size(Bytes))),
    Rounded = [[{Side, measure(Fun, Count)} || {Side, Fun} <- Sides] || _ <- lists:seq(1, Rounds)],
    Medians = [{Side, median([proplists:get_value(Side, Round) || Round <- Rounded])} || {Side, _} <- Sides],
    maps:from_list([{name, Name}, {size, byte_size(Bytes)} | Medians]).

%% In a process of its own, so that each side begins with an empty heap.
-spec measure(fun(() -> term()), pos_integer()) -> float().
measure(Fun, Count) ->
    Self = self(),
    {Pid, Monitor} = spawn_opt(
        fun() ->
            Begin = erlang:monotonic_time(nanosecond),
            ok = loop(Fun, Count),
            Self ! {self(), (erlang:monotonic_time(nanosecond) - Begin) / Count / 1000}
        end,
        [monitor, {min_heap_size, 100_000}]
    ),
    receive
        {Pid, Micros} ->
            true = erlang:demonitor(Monitor, [flush]),
            Micros;
        {'DOWN', Monitor, process, Pid, Reason} ->
            error(Reason)
    end.

-spec loop(fun(() -> term()), non_neg_integer()) -> ok.
loop(_, 0) ->
    ok;
loop(Fun, N) ->
    _ = Fun(),
    loop(Fun, N - 1).

-spec median([float()]) -> float().
median(Values) -> lists:nth((length(Values) + 1) div 2, lists:sort(Values)).

-spec cases() -> [{string(), topos_term:shape(), term()}].
cases() ->
    User = {record, [{name, text}, {age, int}, {email, text}, {active, bool}, {score, float}]},
    Tree = {recursive, tree, {variant, [{leaf, []}, {node, [{reference, tree}, int, {reference, tree}]}]}},
    Event = {variant, [{joined, [text, int]}, {left, [text]}, {moved, [{record, [{x, int}, {y, int}]}]}, {tick, []}]},
    [
        {"record", User, user(1)},
        {"100 records", {list, User}, [user(N) || N <- lists:seq(1, 100)]},
        {"2,000 records", {list, User}, [user(N) || N <- lists:seq(1, 2000)]},
        {"1,000 integers", {list, int}, [N * 7919 || N <- lists:seq(1, 1000)]},
        {"1,000 floats", {list, float}, [N / 7 || N <- lists:seq(1, 1000)]},
        {"text of 10,000", text, binary:copy(<<"topology ">>, 1111)},
        {"100 texts of 40", {list, text}, [binary:copy(<<"abcd">>, 10) || _ <- lists:seq(1, 100)]},
        {"100 events", {list, Event}, [event(N) || N <- lists:seq(1, 100)]},
        {"tree of 127 variants", Tree, tree(6)},
        {"map of 100", {map, text, int}, maps:from_list([{integer_to_binary(N), N} || N <- lists:seq(1, 100)])}
    ].

-spec user(integer()) -> map().
user(N) ->
    Name = integer_to_binary(N),
    #{name => <<"user ", Name/binary>>, age => N rem 90, email => <<Name/binary, "@example.org">>,
      active => N rem 2 =:= 0, score => N / 3}.

-spec event(integer()) -> term().
event(N) when N rem 4 =:= 0 -> tick;
event(N) when N rem 4 =:= 1 -> {joined, integer_to_binary(N), N};
event(N) when N rem 4 =:= 2 -> {left, integer_to_binary(N)};
event(N) -> {moved, #{x => N, y => -N}}.

-spec tree(non_neg_integer()) -> term().
tree(0) -> leaf;
tree(N) -> {node, tree(N - 1), N, tree(N - 1)}.
