%% @doc The failure detector SWIM as a state machine in Rust, driven by one Erlang process.
%%
%% ```
%% {ok, Swim} = topos_swim_nif:new(#{own => <<"a@host">>, incarnation => 1}, Seed),
%% {ok, [{schedule_tick, _}]} = topos_swim_nif:handle(Swim, 0, {joined, <<"b@host">>}),
%% {ok, [{send, <<"b@host">>, Ping}, {schedule_tick, 300}]} = topos_swim_nif:handle(Swim, 1_000, tick).
%% '''
%% Times are milliseconds from any fixed moment. `{schedule_tick, Ms}' replaces the tick scheduled before; `{send, Node, Bytes}' goes to the machine
%% of that node as `{received, From, Bytes}', and may be lost. What the machine does is told in `native/topos-overlay/src/swim/mod.rs'.
-module(topos_swim_nif).

-export([new/2, handle/3]).
-export_type([swim/0, params/0, event/0, action/0, name/0, verdict/0]).

-type swim() :: topos_nif:swim().
-type name() :: binary().
%% `own' and `incarnation' are required. Times in milliseconds: `period' (1,000, between two probes), `ping_timeout' (300, until others are asked).
%% `indirect' (3): how many others; `suspicion_periods' (8): how long a suspicion may be refuted; `max_members' (16,384).
-type params() :: #{own := name(), incarnation := non_neg_integer(), atom() => non_neg_integer()}.
-type verdict() :: alive | suspect | dead.
-type event() :: {joined, name()} | {left, name()} | {received, name(), binary()} | tick.
-type action() :: {send, name(), binary()} | {changed, name(), verdict()} | {schedule_tick, non_neg_integer()}.

%% @doc A detector that watches nobody. The error is `invalid_overlay'; or that of {@link topos_nif:status/0}, without a library.
-spec new(params(), Seed :: 0..16#FFFFFFFFFFFFFFFF) -> {ok, swim()} | {error, topos_error:t()}.
new(#{own := _, incarnation := _} = Params, Seed) ->
    Defaults = #{period => 1_000, ping_timeout => 300, indirect => 3, suspicion_periods => 8, max_members => 16_384},
    case topos_nif:status() of
        ok -> result(topos_nif:swim_new(maps:merge(Defaults, Params), Seed));
        {error, _} = Error -> Error
    end.

%% @doc Takes an event that happened at `Now'. An error (`invalid_overlay' for bytes that are no message, `overlay_full') leaves it as it was.
-spec handle(swim(), Now :: non_neg_integer(), event()) -> {ok, [action()]} | {error, topos_error:t()}.
handle(Swim, Now, Event) -> result(topos_nif:swim_handle(Swim, Now, Event)).

%% internal

-spec result({ok, T} | {error, tuple()}) -> {ok, T} | {error, topos_error:t()}.
result({ok, _} = Ok) -> Ok;
result({error, {too_many_members, Limit}}) -> {error, topos_error:new(overlay_full, #{limit => Limit})};
result({error, {invalid_node, Bytes}}) -> invalid(node, <<"a name of 1..1020 bytes">>, {Bytes, bytes});
result({error, {invalid_message, Why}}) -> invalid(message, <<"bytes that another detector made">>, Why);
result({error, {invalid_parameters, [{Name, Expected, Got} | _]}}) -> invalid(Name, Expected, Got).

-spec invalid(term(), binary(), term()) -> {error, topos_error:t()}.
invalid(Parameter, Expected, Got) ->
    {error, topos_error:new(invalid_overlay, #{parameter => Parameter, expected => Expected, got => Got})}.
