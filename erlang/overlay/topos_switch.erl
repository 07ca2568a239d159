%% @doc Switches the topology of the cluster: the process that carries out what `topos_switch_core' decides.
%%
%% It starts, activates and stops the machines of `topos_overlay', talks to the same process of other members on the control channel, and tells
%% the core who they are. How a switch goes, and what holds when nodes fail, is told there.
-module(topos_switch).
-behaviour(gen_server).
-behaviour(topos_delivery).

-include("topos_frame.hrl").

-export([start_link/0, set_topology/2, status/0, pause/1, reconnect/1, left/0]).
-export([deliver/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([status/0]).

%% `state': `stable', or what is under way.
-type status() :: #{epoch := topos_switch_core:epoch(), state := stable | preparing | adopting | releasing}.
%% Who waits for links, until when, and how many milliseconds that were.
-type waiting() :: {gen_server:from(), Deadline :: integer(), Timeout :: pos_integer()}.
-record(state, {
    node :: node(),
    core :: topos_switch_core:t(),
    members_at :: integer(),
    %% Callers of reconnect/1.
    reconnects = [] :: [waiting()]
}).
-type state() :: #state{}.

-define(TICK, 50).
%% While nothing is under way members are looked at so often, besides at their events.
-define(MEMBERS_INTERVAL, 1_000).
-define(SETTINGS, #{resend => 300, grace => 2_000, adopt => 5_000, takeover => 5_000, heartbeat => 1_000}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc See `topos_topology:set_topology/2'. It takes at most two `Timeout's: one to prepare, one to complete.
-spec set_topology(topos_config_topology:t(), Timeout :: pos_integer()) -> ok | {error, topos_error:t()}.
set_topology(Topology, Timeout) ->
    gen_server:call(?MODULE, {set_topology, topos_switch_message:cluster_wide(Topology), Timeout}, infinity).

-spec status() -> status().
status() -> gen_server:call(?MODULE, status).

%% @doc No member of the cluster takes or joins new members for so many milliseconds; 0 ends it.
-spec pause(0..3_600_000) -> ok.
pause(Time) -> gen_server:call(?MODULE, {pause, Time}).

%% @doc Dials what the topology wants links to and has none, and waits for the links.
-spec reconnect(Timeout :: pos_integer()) -> ok | {error, topos_error:t()}.
reconnect(Timeout) -> gen_server:call(?MODULE, {reconnect, Timeout}, infinity).

%% @doc The node left its cluster and goes on alone, with the topology it was configured with.
-spec left() -> ok.
left() -> gen_server:call(?MODULE, left, infinity).

%% @doc A message of another member (`topos_delivery').
-spec deliver(topos_delivery:from(), binary(), {bytes, binary()} | {term, term()}) -> ok | {error, topos_delivery:reason()}.
deliver({Node, _}, _Destination, Message) ->
    case topos_delivery:message(Message) of
        {ok, Term} -> gen_server:cast(?MODULE, {received, Node, Term});
        {error, _} = Error -> Error
    end.

%% gen_server

-spec init([]) -> {ok, state()} | {stop, topos_error:t()}.
init([]) ->
    ok = topos_delivery:claim(?TOPOS_DEST_SWITCH, ?MODULE),
    Node = topos_local:config(node),
    %% A machine that the process before this one had started is nobody's.
    ok = topos_overlay:release(topos_local:topology_epoch()),
    case topos_events:subscribe(self()) of
        {ok, _} ->
            _ = erlang:send_after(?TICK, self(), tick),
            {ok, members(#state{node = Node, core = core(Node), members_at = now_ms()})};
        {error, Error} ->
            {stop, Error}
    end.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()} | {noreply, state()}.
handle_call({set_topology, Topology, Timeout}, From, State) ->
    {noreply, event({set_topology, From, Topology, Timeout}, members(State))};
handle_call(status, _From, #state{core = Core} = State) ->
    {Epoch, _} = topos_switch_core:current(Core),
    What = case topos_switch_core:status(Core) of idle -> stable; {Doing, _} -> Doing end,
    {reply, #{epoch => Epoch, state => What}, State};
handle_call({pause, Time}, _From, State) ->
    ok = topos_cluster:pause(Time),
    ok = lists:foreach(fun(Node) -> send(Node, {pause, Time}) end, topos_cluster:up()),
    {reply, ok, State};
handle_call({reconnect, Timeout}, From, #state{reconnects = Waiting} = State) ->
    _ = topos_overlay:redial(),
    {noreply, reconnected(State#state{reconnects = [{From, now_ms() + Timeout, Timeout} | Waiting]})};
handle_call(left, _From, #state{node = Node, core = Core} = State) ->
    Gone = topos_error:new(not_connected, #{node => Node, status => left}),
    _ = [gen_server:reply(From, {error, Gone}) || From <- topos_switch_core:callers(Core)],
    {Epoch, _} = topos_switch_core:current(Core),
    ok = topos_overlay:release(Epoch),
    ok = case topos_switch_core:boot() of
        Epoch ->
            ok;
        Boot ->
            ok = topos_overlay:activate(Boot, topos_local:configured_topology()),
            topos_overlay:release(Boot)
    end,
    {reply, ok, members(State#state{core = core(Node)})}.

-spec handle_cast({received, node(), term()}, state()) -> {noreply, state()}.
handle_cast({received, Node, Term}, State) ->
    case topos_switch_message:check(Term) of
        {ok, {pause, Time}} ->
            ok = topos_cluster:pause(Time),
            {noreply, State};
        {ok, Message} ->
            {noreply, event({received, Node, Message}, members(State))};
        error ->
            ok = topos_local:count(malformed_frames),
            {noreply, State}
    end.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info(tick, State) ->
    _ = erlang:send_after(?TICK, self(), tick),
    {noreply, reconnected(event(tick, looked(State)))};
handle_info({topos_overlay, Epoch, Reached}, State) ->
    {noreply, event({machine, Epoch, Reached}, State)};
handle_info({topos, _, _}, State) ->
    {noreply, members(State)};
handle_info(_, State) ->
    {noreply, State}.

%% internal

-spec core(node()) -> topos_switch_core:t().
core(Node) ->
    Active = {topos_local:topology_epoch(), topos_switch_message:cluster_wide(topos_local:config(topology))},
    topos_switch_core:new({Node, topos_local:incarnation()}, Active, ?SETTINGS, now_ms()).

-spec looked(state()) -> state().
looked(#state{core = Core, members_at = At} = State) ->
    case topos_switch_core:status(Core) =/= idle orelse now_ms() >= At of
        true -> members(State);
        false -> State
    end.

%% A change of members may come before the message that rests on it.
-spec members(state()) -> state().
members(State) ->
    Members = maps:from_list([{Node, Status} || #{node := Node, status := Status} <- topos_cluster:members(), Status =/= left]),
    event({members, Members}, State#state{members_at = now_ms() + ?MEMBERS_INTERVAL}).

-spec event(topos_switch_core:event(), state()) -> state().
event(Event, #state{core = Core} = State) ->
    {Next, Actions} = topos_switch_core:handle(Event, now_ms(), Core),
    actions(Actions, State#state{core = Next}).

-spec actions([topos_switch_core:action()], state()) -> state().
actions([], State) ->
    State;
actions([{start, Epoch, Topology} | Rest], #state{node = Node} = State) ->
    case topos_overlay:start_machine(Epoch, topos_switch_message:of_node(Topology, Node)) of
        ok ->
            actions(Rest, State);
        {error, Error} ->
            %% It is given up at once; who heard of it would be busy with it for a moment.
            Unheard = actions([Action || Action <- Rest, not announces(Action, Epoch)], State),
            event({machine, Epoch, {failed, Error}}, Unheard)
    end;
actions([Action | Rest], State) ->
    actions(Rest, action(Action, State)).

-spec announces(topos_switch_core:action(), topos_switch_core:epoch()) -> boolean().
announces({send, _, {prepare, Epoch, _, _, _, _}}, Epoch) -> true;
announces(_, _) -> false.

-spec action(topos_switch_core:action(), state()) -> state().
action({send, Node, Message}, State) ->
    ok = send(Node, Message),
    State;
action({activate, Epoch, Topology}, #state{node = Node} = State) ->
    ok = topos_overlay:activate(Epoch, topos_switch_message:of_node(Topology, Node)),
    State;
action({drop, Epoch}, State) ->
    ok = topos_overlay:drop(Epoch),
    over(State);
action({release, Epoch}, State) ->
    ok = topos_overlay:release(Epoch),
    over(State);
action({reply, From, Answer}, State) ->
    gen_server:reply(From, Answer),
    State.

%% A switch is over, one way or the other: new members may come.
-spec over(state()) -> state().
over(State) ->
    ok = topos_cluster:resume(),
    State.

%% The core repeats what is not answered, so a message that cannot be sent now is not missed.
-spec send(node(), topos_switch_core:message() | {pause, non_neg_integer()}) -> ok.
send(Node, Message) ->
    _ = topos_lane:send(Node, {?TOPOS_DEST_SWITCH, <<>>}, Message, #{channel => control, key => ?MODULE}),
    ok.

-spec reconnected(state()) -> state().
reconnected(#state{reconnects = []} = State) ->
    State;
reconnected(#state{reconnects = Waiting} = State) ->
    case topos_overlay:missing() of
        [] ->
            _ = [gen_server:reply(From, ok) || {From, _, _} <- Waiting],
            State#state{reconnects = []};
        [Missing | _] ->
            {Over, Rest} = lists:partition(fun({_, Deadline, _}) -> now_ms() >= Deadline end, Waiting),
            _ = [
                gen_server:reply(From, {error, topos_error:new(unreachable, #{node => Missing, timeout => Timeout, why => no_answer})})
             || {From, _, Timeout} <- Over
            ],
            State#state{reconnects = Rest}
    end.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
