%% @doc The options of a simulation.
%%
%% `topos run' checks what its user gives, and hands it over as words `KEY=VALUE'; times are in microseconds, shares
%% from 0 to 1. Faults are divided by semicolons, their parts by commas: `partition,seed+node2,5000' or `crash,0.3,',
%% times in milliseconds.
-module(topos_sim_options).

-export([parse/1, defaults/0]).
-export_type([t/0]).

-type t() :: #{
    names := [binary(), ...], host := binary(), seed := non_neg_integer(),
    %% The first and the last of the seeds to try, instead of one.
    seeds => {non_neg_integer(), non_neg_integer()},
    %% One way, in microseconds.
    delay := {non_neg_integer(), non_neg_integer()},
    loss := float(), duplicate := float(),
    nemesis := [topos_sim_nodes:fault()],
    %% Whether the first node runs a test, and the others what that calls (`topos_sim_calls').
    tests := boolean(),
    %% Virtual milliseconds; operations and events; messages that a process has not taken.
    max_time := pos_integer(), max_steps := pos_integer(), max_mailbox := pos_integer(),
    trace := boolean(), color := boolean(),
    tell := topos_sim_output:tell()
}.

-spec defaults() -> t().
defaults() ->
    #{
        names => [<<"seed">>], host => <<"127.0.0.1">>, seed => 1, delay => {1_000, 10_000}, loss => 0.0,
            duplicate => 0.0,
        nemesis => [], tests => false, max_time => 3_600_000, max_steps => 100_000_000, max_mailbox => 1_000_000,
        trace => false, color => false, tell => fun(_, _) -> ok end
    }.

%% @doc Reads the words of `topos run'.
-spec parse([string()]) -> t().
parse(Words) -> lists:foldl(fun word/2, defaults(), Words).

%% internal

word(Word, Options) ->
    [Key, Value] = string:split(Word, "="),
    option(Key, Value, Options).

option("nodes", Value, Options) -> Options#{names := names(list_to_integer(Value))};
option("host", Value, Options) -> Options#{host := unicode:characters_to_binary(Value)};
option("seed", Value, Options) -> Options#{seed := list_to_integer(Value)};
option("seeds", Value, Options) -> Options#{seeds => range(Value)};
option("delay", Value, Options) -> Options#{delay := range(Value)};
option("loss", Value, Options) -> Options#{loss := share(Value)};
option("duplicate", Value, Options) -> Options#{duplicate := share(Value)};
option("nemesis", Value, Options) ->
    Options#{nemesis := [fault(string:split(Fault, ",", all)) || Fault <- string:lexemes(Value, ";")]};
option("max_time", Value, Options) -> Options#{max_time := list_to_integer(Value)};
option("max_steps", Value, Options) -> Options#{max_steps := list_to_integer(Value)};
option("trace", Value, Options) -> Options#{trace := Value =:= "true"};
option("color", Value, Options) -> Options#{color := Value =:= "true"}.

%% As those of a run on real nodes are called.
-spec names(pos_integer()) -> [binary(), ...].
names(Count) -> [<<"seed">> | [<<"node", (integer_to_binary(N))/binary>> || N <- lists:seq(2, Count)]].

-spec range(string()) -> {non_neg_integer(), non_neg_integer()}.
range(Text) ->
    [First, Last] = string:split(Text, ".."),
    {list_to_integer(First), list_to_integer(Last)}.

-spec share(string()) -> float().
share(Text) ->
    case string:find(Text, ".") of
        nomatch -> float(list_to_integer(Text));
        _ -> list_to_float(Text)
    end.

-spec fault([string()]) -> topos_sim_nodes:fault().
fault(["wait", Time]) -> {wait, list_to_integer(Time)};
fault(["loss", Share, Time]) -> {loss, share(Share), list_to_integer(Time)};
fault(["crash", Who, ""]) -> {crash, who(Who), none};
fault(["crash", Who, Time]) -> {crash, who(Who), list_to_integer(Time)};
fault(["partition", Who, Time]) -> {partition, who(Who), list_to_integer(Time)};
fault(["pause", Who, Time]) -> {pause, who(Who), list_to_integer(Time)};
fault(["hold", Who, Time]) -> {hold, who(Who), list_to_integer(Time)}.

%% Names of nodes begin with a letter.
-spec who(string()) -> topos_sim_nodes:who().
who([Digit | _] = Share) when Digit >= $0, Digit =< $9 -> {share, share(Share)};
who(Names) -> {nodes, [unicode:characters_to_binary(Name) || Name <- string:lexemes(Names, "+")]}.
