%% @doc Who wants to know: subscriptions to the events of members and messages.
%%
%% A function that was subscribed runs in a process of its own, one call after the other, so it can neither hold up nor
%% hurt anybody else. Subscriptions belong to the node and not to the engine: no loss of the engine touches them.
-module(topos_events).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, on/3, subscribe/1, cancel/1, publish/1, transition/2, in_doubt/2, undeliverable/2, expired/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([event/0]).

-type event() ::
    {up, node(), topos_incarnation:t()} | {suspect, node()} | {recovered, node()} | {down, node(), term()} | {left, node()}
    | {in_doubt, node(), pos_integer()} | {undeliverable, node(), topos_error:t()}
    | {expired, node(), topos_engine:channel(), pos_integer()}.
-type edge() :: up | down.
-type subscription() ::
    {call, edge(), node() | any, Worker :: pid(), Flag :: atomics:atomics_ref()}
    | {message, Subscriber :: pid(), Monitor :: reference()}.
-type state() :: #{reference() => subscription()}.

%% A function's flag: it waits, runs, or is cancelled. Exactly one of "a call begins" and "it is cancelled" comes first.
-define(WAITING, 0).
-define(RUNNING, 1).
-define(CANCELLED, 2).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Calls the function at each such transition of the node (or of any peer).
-spec on(edge(), node() | any, fun((node()) -> any())) -> {ok, reference()} | {error, topos_error:t()}.
on(Edge, Node, Fun) -> gen_server:call(?MODULE, {on, Edge, Node, Fun}).

%% @doc Sends `{topos, Ref, event()}' to the process from now on.
-spec subscribe(pid()) -> {ok, reference()} | {error, topos_error:t()}.
subscribe(Pid) -> gen_server:call(?MODULE, {subscribe, Pid}).

%% @doc Ends a subscription. A call that runs already runs on.
-spec cancel(reference()) -> ok.
cancel(Ref) -> gen_server:call(?MODULE, {cancel, Ref}).

-spec publish(event()) -> ok.
publish(Event) -> gen_server:cast(?MODULE, {publish, Event}).

%% @doc A peer became `up', or ceased to be up or suspect.
-spec transition(edge(), node()) -> ok.
transition(Edge, Node) -> gen_server:cast(?MODULE, {transition, Edge, Node}).

-spec in_doubt(node(), non_neg_integer()) -> ok.
in_doubt(_Node, 0) -> ok;
in_doubt(Node, Count) -> publish({in_doubt, Node, Count}).

-spec undeliverable(node(), topos_error:t()) -> ok.
undeliverable(Node, Error) -> publish({undeliverable, Node, Error}).

%% @doc So many messages waited longer in a lane than their channel allows, and were dropped.
-spec expired(node(), topos_engine:channel(), pos_integer()) -> ok.
expired(Node, Channel, Count) -> publish({expired, Node, Channel, Count}).

%% gen_server

-spec init([]) -> {ok, state()}.
init([]) ->
    {ok, #{}}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call({cancel, Ref}, _From, State) ->
    {reply, ok, cancel(Ref, State)};
handle_call(Request, _From, State) ->
    #{max_subscriptions := Limit} = topos_local:config(limits),
    case map_size(State) >= Limit of
        true -> {reply, {error, topos_error:new(too_many_subscriptions, #{limit => Limit})}, State};
        false -> subscribed(Request, State)
    end.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({publish, Event}, State) ->
    _ = [Pid ! {topos, Ref, Event} || {Ref, {message, Pid, _}} <- maps:to_list(State)],
    %% Only now: a message of the node comes behind the event that the node is up.
    ok = case Event of
        {up, Node, Incarnation} -> topos_lanes:announced(Node, Incarnation);
        {down, Node, _} -> topos_lanes:silenced(Node);
        _ -> ok
    end,
    {noreply, State};
handle_cast({transition, Edge, Node}, State) ->
    _ = [Worker ! {call, Node}
         || {call, E, Wanted, Worker, _} <- maps:values(State), E =:= Edge, Wanted =:= any orelse Wanted =:= Node],
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({'DOWN', Monitor, process, _, _}, State) ->
    {noreply, maps:filter(
        fun(_, {message, _, M}) -> M =/= Monitor;
           (_, _) -> true
        end, State)};
handle_info(_, State) ->
    {noreply, State}.

%% internal

-spec subscribed(term(), state()) -> {reply, {ok, reference()}, state()}.
subscribed({on, Edge, Node, Fun}, State) ->
    Ref = make_ref(),
    Flag = atomics:new(1, []),
    Worker = spawn_link(fun() -> work(Fun, Flag) end),
    {reply, {ok, Ref}, State#{Ref => {call, Edge, Node, Worker, Flag}}};
subscribed({subscribe, Pid}, State) ->
    Ref = make_ref(),
    {reply, {ok, Ref}, State#{Ref => {message, Pid, monitor(process, Pid)}}}.

-spec cancel(reference(), state()) -> state().
cancel(Ref, State) ->
    case maps:take(Ref, State) of
        {{call, _, _, Worker, Flag}, Rest} ->
            ok = atomics:put(Flag, 1, ?CANCELLED),
            Worker ! cancelled,
            Rest;
        {{message, _, Monitor}, Rest} ->
            true = demonitor(Monitor, [flush]),
            Rest;
        error ->
            State
    end.

-spec work(fun((node()) -> any()), atomics:atomics_ref()) -> ok.
work(Fun, Flag) ->
    receive
        cancelled ->
            ok;
        {call, Node} ->
            case atomics:compare_exchange(Flag, 1, ?WAITING, ?RUNNING) of
                ok ->
                    ok = call(Fun, Node),
                    %% A cancellation during the call stays.
                    _ = atomics:compare_exchange(Flag, 1, ?RUNNING, ?WAITING),
                    work(Fun, Flag);
                ?CANCELLED ->
                    ok
            end
    end.

-spec call(fun((node()) -> any()), node()) -> ok.
call(Fun, Node) ->
    try
        _ = Fun(Node),
        ok
    catch
        Class:Reason:Stack ->
            ?LOG_ERROR("topos_partisan: a subscribed function failed for ~0tp: ~0tp:~0tp~n~0tp", [Node, Class, Reason, Stack])
    end.
