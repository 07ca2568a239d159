%% @doc Arrows of a live topology: a message that goes from node to node over a list of them, with a pure function applied at each, confirmed at every step.
%%
%% Runs in the VMs of the nodes. What came where is kept under the arrow's number, with how often.
-module(topos_ct_routes).

-export([start/0, carry/3, arrived/1, doubled/0, apply_to/2]).
-export_type([step/0, change/0]).

-type change() :: none | twice | size | reverse.
-type step() :: {node(), change()}.

-define(CALL, 60_000).

%% @doc Starts the process that takes and passes on; ends the one before.
-spec start() -> ok.
start() ->
    _ = case whereis(?MODULE) of
        undefined -> ok;
        Old -> exit(Old, kill), await_gone(Old)
    end,
    Pid = spawn(fun() -> loop(#{}) end),
    true = register(?MODULE, Pid),
    ok.

%% @doc Sends a payload along the steps, the first of which is this node. `ok' when the next one confirmed it.
-spec carry(Number :: integer(), [step(), ...], term()) -> ok | {error, term()}.
carry(Number, [{_, Change} | Rest], Payload) -> pass(Number, Rest, apply_to(Change, Payload)).

%% @doc What came for an arrow that ends here.
-spec arrived(Number :: integer()) -> [term()].
arrived(Number) ->
    ?MODULE ! {ask, self(), Number},
    receive {?MODULE, Number, All} -> All after ?CALL -> error(no_answer) end.

%% @doc The arrows that more than one payload came for, up to now.
-spec doubled() -> [Number :: integer()].
doubled() ->
    ?MODULE ! {ask, self(), all},
    receive {?MODULE, all, All} -> [Number || {Number, [_, _ | _]} <- maps:to_list(All)] after ?CALL -> error(no_answer) end.

%% @doc The functions that are applied on the way.
-spec apply_to(change(), term()) -> term().
apply_to(none, Payload) -> Payload;
apply_to(twice, Payload) -> {Payload, Payload};
apply_to(size, Payload) -> erlang:external_size(Payload);
apply_to(reverse, Payload) when is_list(Payload) -> lists:reverse(Payload);
apply_to(reverse, Payload) -> [Payload].

%% internal

pass(Number, [], Payload) ->
    ?MODULE ! {arrived, Number, Payload},
    ok;
pass(Number, [{Node, _} | _] = Steps, Payload) ->
    topos_partisan:send(Node, ?MODULE, {carry, Number, Steps, Payload}, #{ack => true, timeout => ?CALL}).

loop(Arrived) ->
    receive
        {carry, Number, [{_, Change} | Rest], Payload} ->
            %% A step that is refused ends this process, and with it the test.
            ok = pass(Number, Rest, apply_to(Change, Payload)),
            loop(Arrived);
        {arrived, Number, Payload} ->
            loop(maps:update_with(Number, fun(All) -> [Payload | All] end, [Payload], Arrived));
        {ask, From, all} ->
            From ! {?MODULE, all, Arrived},
            loop(Arrived);
        {ask, From, Number} ->
            From ! {?MODULE, Number, maps:get(Number, Arrived, [])},
            loop(Arrived)
    end.

await_gone(Pid) ->
    Ref = monitor(process, Pid),
    receive {'DOWN', Ref, process, Pid, _} -> ok end.
