%% @doc The effect `Topos.Partisan.Distributed' in a simulation: it means what `topos_effect_distributed' means, on
%% virtual nodes.
-module(topos_sim_distributed).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1, '$handle_undefined_function'/2]).
-export([create_cluster/2, join_cluster/3, leave/1, node_name/1, self/1, members/1, statuses/1]).
-export([current_topology/1, neighbours/1, route/2]).
-export([set_topology/2, pause_new_connections/1, resume_new_connections/1, reconnect_all/1, metrics/1]).
-export([send/3, send_with/4, default_channel/1, broadcast/3, recv/1, recv_within/2, next_event/1,
    next_event_within/2]).
-export([monitor/2, demonitor/2, on_up/2, on_down/2, cancel/2]).
%% For `Topos.Remote'.
-export([spawn_on/3, spawn_through/4, send_to_process/4, this_process/1]).
%% For other modules of the simulation.
-export([say_goodbye/0, not_simulated/2, ask/1, send_message/5]).
-export_type([instance/0]).

-compile({no_auto_import, [monitor/2, demonitor/2]}).
-dialyzer(no_underspecs).

-record(distributed, {evidence :: topos_effect:evidence()}).
-opaque instance() :: #distributed{}.
-type error() :: topos_effect_distributed:error().
-type outcome() :: {ok, ok} | {error, error()}.

%% As on real nodes, in milliseconds.
-define(PAUSE, 30_000).

%% @doc Makes the handler (a list of arguments and evidence), or performs `init' (an instance and the program's
%% `Config').
-spec init([], topos_effect:evidence()) -> {ok, instance()};
          (instance(), Config :: map()) -> outcome().
init([], Ev) ->
    {ok, #distributed{evidence = Ev}};
init(#distributed{}, #{topology := {native, _}}) ->
    no_manager("Distributed.init");
init(#distributed{}, Config) ->
    Node = atom_to_list(topos_sim_nodes:about()),
    Environment = fun("TOPOS_NODE") -> Node; ("TOPOS_COOKIE") -> "simulation"; (_) -> false end,
    %% The engine of the configuration gives way to that of the run, as on real nodes. There is no name of it that a
    %% real node could have, so it is checked as one that is always there; looking for the best takes a walk through the
    %% code path.
    Given = topos_effect_distributed:configuration(Config, Environment),
    outcome(ask({init, (maps:remove(listen, Given))#{engine => otp}})).

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, #distributed{}) -> ok.

-spec portable(instance()) -> false.
portable(#distributed{}) -> false.

%% @private An operation that the effect has and this module has not.
-spec '$handle_undefined_function'(atom(), [term()]) -> no_return().
'$handle_undefined_function'(Operation, _) -> not_simulated('Distributed', Operation).

%% What Partisan does with its own managers, Partisan knows.
-spec no_manager(string()) -> outcome().
no_manager(Operation) ->
    outcome({error, topos_error:new(not_simulated, #{operation => Operation ++ " with the topology Native: there is no Partisan in it"})}).

-spec create_cluster(instance(), binary()) -> outcome().
create_cluster(#distributed{}, Cluster) -> outcome(ask({enter, Cluster})).

-spec join_cluster(instance(), binary(), binary()) -> outcome().
join_cluster(#distributed{}, Contact, Cluster) ->
    case topos_node_spec:parse_peer(Contact) of
        {ok, #{node := Node}} ->
            case ask({enter, Cluster}) of
                ok -> answered(ask({join, Node}));
                {error, _} = Error -> outcome(Error)
            end;
        error ->
            outcome({error, topos_error:new(unknown_node, #{node => Contact})})
    end.

-spec leave(instance()) -> outcome().
leave(#distributed{}) -> outcome(ask(leave)).

-spec node_name(instance()) -> binary().
node_name(#distributed{}) -> hd(binary:split(atom_to_binary(topos_sim_nodes:about()), <<"@">>)).

-spec self(instance()) -> node().
self(#distributed{}) -> topos_effect_distributed:value(ask(self)).

-spec members(instance()) -> [node()].
members(#distributed{}) -> topos_effect_distributed:value(ask(up)).

-spec statuses(instance()) -> [#{node := node(), status := topos_partisan:status(), incarnation := integer()}].
statuses(#distributed{}) -> topos_effect_distributed:value(ask(members)).

-spec current_topology(instance()) -> topos_effect_distributed:topology().
current_topology(#distributed{}) ->
    #{topology := Topology} = topos_effect_distributed:value(ask(config)),
    topos_effect_distributed:shown_topology(Topology).

-spec set_topology(instance(), topos_effect_distributed:topology()) -> outcome().
set_topology(#distributed{}, {native, _}) -> no_manager("Distributed.set_topology");
set_topology(#distributed{}, Topology) -> outcome(ask({set_topology, topos_effect_distributed:topology(Topology)})).

-spec pause_new_connections(instance()) -> outcome().
pause_new_connections(#distributed{}) -> outcome(ask({close_until, ?PAUSE})).

-spec resume_new_connections(instance()) -> outcome().
resume_new_connections(#distributed{}) -> outcome(ask({close_until, 0})).

-spec reconnect_all(instance()) -> outcome().
reconnect_all(#distributed{}) -> outcome(ask({topology, unreached})).

-spec metrics(instance()) -> #{
    node_count := integer(), message_rate := float(), average_latency := integer(),
        network_partition_detected := boolean()
}.
metrics(#distributed{}) -> topos_effect_distributed:value(ask({topology, metrics})).

-spec neighbours(instance()) -> [node()].
neighbours(#distributed{}) -> topos_effect_distributed:value(ask({topology, neighbours})).

-spec route(instance(), node()) -> {ok, [node()]} | {error, error()}.
route(#distributed{}, Node) -> answered(ask({topology, {route, Node}})).

-spec send(instance(), node(), term()) -> outcome().
send(#distributed{}, Node, Message) -> outcome(send_message(send, Node, Message, data, none)).

-spec send_with(instance(), node(), term(), topos_effect_distributed:options()) -> outcome().
send_with(#distributed{}, Node, Message, Options) ->
    patiently(Options, fun(Channel, Key, How) -> send_message(How, Node, Message, Channel, Key) end).

-spec default_channel(instance()) -> binary().
default_channel(#distributed{}) -> <<"data">>.

-spec broadcast(instance(), [node()], term()) -> [{node(), error()}].
broadcast(#distributed{} = Instance, Nodes, Message) ->
    [{Node, Error} || Node <- Nodes, {error, Error} <- [send(Instance, Node, Message)]].

-spec recv(instance()) -> term().
recv(#distributed{}) ->
    {some, {message, _Sender, Message}} = taken(ask({take, messages, infinity})),
    Message.

-spec recv_within(instance(), integer()) -> {some, term()} | none.
recv_within(#distributed{}, Timeout) ->
    case taken(ask({take, messages, topos_effect_distributed:wait(Timeout)})) of
        {some, {message, _Sender, Message}} -> {some, Message};
        none -> none
    end.

-spec next_event(instance()) -> tuple().
next_event(#distributed{}) ->
    {some, Item} = taken(ask({take, all, infinity})),
    topos_effect_distributed:item(Item).

-spec next_event_within(instance(), integer()) -> {some, tuple()} | none.
next_event_within(#distributed{}, Timeout) ->
    case taken(ask({take, all, topos_effect_distributed:wait(Timeout)})) of
        {some, Item} -> {some, topos_effect_distributed:item(Item)};
        none -> none
    end.

-spec monitor(instance(), node()) -> term().
monitor(#distributed{}, Node) -> topos_effect_distributed:value(ask({monitor, Node})).

-spec demonitor(instance(), term()) -> ok.
demonitor(#distributed{}, Monitor) -> forget(Monitor).

-spec on_up(instance(), topos_program_node:callback()) -> term().
on_up(#distributed{evidence = Ev}, Callback) -> topos_effect_distributed:value(ask({on, up, callback(Callback, Ev)})).

-spec on_down(instance(), topos_program_node:callback()) -> term().
on_down(#distributed{evidence = Ev}, Callback) ->
    topos_effect_distributed:value(ask({on, down, callback(Callback, Ev)})).

-spec cancel(instance(), term()) -> ok.
cancel(#distributed{}, Subscription) -> forget(Subscription).

-spec spawn_on(instance(), node(), fun((ok, topos_effect:evidence()) -> term())) -> {ok, term()} | {error, error()}.
spawn_on(#distributed{} = Instance, Node, Body) -> spawn_through(Instance, Node, Body, Body).

%% @doc All virtual nodes have the modules of the program, so the inner body's version needs no check; what it captured does, as
%% on real nodes.
-spec spawn_through(instance(), node(), Inner, Outer) -> {ok, term()} | {error, error()} when
    Inner :: fun((ok, topos_effect:evidence()) -> term()), Outer :: fun((ok, topos_effect:evidence()) -> term()).
spawn_through(#distributed{}, Node, Inner, Outer) ->
    case topos_portable:check(Inner, fun is_process_reference/1) of
        ok -> answered(ask({spawn_on, Node, topos_sim_process:body(Outer, topos_effect:root())}));
        {error, _} = Error -> answered(Error)
    end.

-spec crossing(term(), fun(() -> Answer)) -> Answer | {error, topos_error:t()}.
crossing(Message, Send) ->
    case topos_portable:check(Message, fun is_process_reference/1) of
        ok -> Send();
        {error, _} = Error -> Error
    end.

%% A `RemoteRef' of a simulation, whose process is named by its pid.
-spec is_process_reference(tuple()) -> boolean().
is_process_reference({topos_sim_ref, _Node, _Incarnation, Pid}) -> is_pid(Pid);
is_process_reference(_) -> false.

-spec send_to_process(instance(), topos_effect_distributed:options(), term(), term()) -> outcome().
send_to_process(#distributed{}, Options, Message, Process) ->
    patiently(Options, fun(Channel, Key, How) ->
        crossing(Message, fun() -> ask({to_process, How, Process, Message, Channel, Key}) end)
    end).

-spec this_process(instance()) -> {ok, term()} | {error, error()}.
this_process(#distributed{}) -> answered(ask(this_process)).

%% @doc A program that ends says good-bye to its cluster, if it is in one.
-spec say_goodbye() -> ok.
say_goodbye() ->
    case ask(leave) of
        ok -> ok;
        {error, {not_started, _}} -> ok
    end.

%% @doc Fails with `not_simulated' (TP1082), naming the operation.
-spec not_simulated(atom(), atom()) -> no_return().
not_simulated(Effect, Operation) ->
    Named = <<(atom_to_binary(Effect))/binary, $., (atom_to_binary(Operation))/binary>>,
    erlang:error(topos_error:new(not_simulated, #{operation => Named})).

%% @doc Sends a message of a program to a node, if it may cross, as on real nodes.
-spec send_message(atom(), node(), term(), atom(), none | {some, binary()}) -> ok | {error, topos_error:t()}.
send_message(How, Node, Message, Channel, Key) ->
    crossing(Message, fun() -> ask({How, Node, {message, Message}, Channel, Key}) end).

%% @doc Asks the calling process's node.
-spec ask(term()) -> term().
ask(Request) -> topos_sim_scheduler:call(topos_sim_program, Request).

%% internal

-spec outcome(ok | {error, topos_error:t()}) -> outcome().
outcome(Result) -> topos_effect_distributed:outcome(Result).

-spec answered({ok, Value} | {error, topos_error:t() | error()}) -> {ok, Value} | {error, error()}.
answered({ok, _} = Answer) -> Answer;
answered({error, #{code := _}} = Answer) -> Answer;
answered({error, _} = Error) -> outcome(Error).

%% With the options of a program: where the queue is full, tries again while it may wait.
patiently(#{channel := Name, key := Key, wait := Wait, acknowledged := Acknowledged}, Send) ->
    case ask({channels, {channel, case Name of <<>> -> <<"data">>; _ -> Name end}}) of
        {ok, Channel} ->
            How = case Acknowledged of true -> send_acknowledged; false -> send end,
            Try = fun() -> Send(Channel, Key, How) end,
            outcome(until_room(Try, topos_sim_time:monotonic(time) + Wait));
        {error, _} = Error ->
            outcome(Error)
    end.

until_room(Try, Deadline) ->
    case Try() of
        {error, {overloaded, _}} = Full ->
            case topos_sim_time:monotonic(time) < Deadline of
                true ->
                    ok = topos_sim_scheduler:call(topos_sim_process, {sleep, 1}),
                    until_room(Try, Deadline);
                false ->
                    Full
            end;
        Answer ->
            Answer
    end.

-spec taken({some, Item} | none | {error, topos_error:t()}) ->
    {some, Item} | none when Item :: topos_program_queue:item().
taken({error, Error}) -> erlang:error(Error);
taken(Answer) -> Answer.

-spec forget(term()) -> ok.
forget(What) ->
    case ask({forget, What}) of
        ok -> ok;
        {error, {not_started, _}} -> ok
    end.

-spec callback(topos_program_node:callback(), topos_effect:evidence()) -> fun((node()) -> topos_sim_scheduler:reason()).
callback(Callback, Ev) -> fun(Node) -> (topos_sim_process:body(fun(ok, E) -> Callback(Node, E) end, Ev))() end.
