%% @doc The process that looks after this node's peers: it gives each a `topos_peer_core', carries out its effects, and is
%% the sink of the engine's events.
%%
%% It tells its owner (the process that called {@link own/0}, `topos_cluster') what it may decide on:
%% ```
%% {topos_link, {greeted, Name, Incarnation, Known, Addresses}}   a node that knows the cookie dials us; Name is a binary
%% {topos_link, {opened, Node, topos_peer_core:session()}}   a peer proved itself; admit/1, refuse/2 or forget/1 it
%% {topos_link, {status, Node, From, To, Reason}}
%% {topos_link, {confirmed, Node}}                            frames arrive again; those of the session or transport before may be lost
%% {topos_link, {frame, Node, gossip | leave | leave_ack, Payload}}   from a peer with a session
%% {topos_link, {refused, Node, topos_error:t()}}            the handshake failed
%% {topos_link, {refute, Incarnation}}                       somebody knows a higher incarnation of this node
%% {topos_link, {transport, Node, up | {down, Reason}}}
%% {topos_link, reset}                                       the engine lost everything
%% '''
%% and to the lanes of a peer `{topos_lane, opened | closed | gone}'.
-module(topos_link).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/0, own/0, expect/2, admit/1, refuse/2, known/2, forget/1, verdict/2, send/3, new_life/0, engine_started/1, peers/0, status/1]).
-export([routes_changed/1, topology_changed/0, transports/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([frame_kind/0]).

-type frame_kind() :: gossip | leave | leave_ack.
-record(state, {
    owner = undefined :: pid() | undefined,
    engine = undefined :: reference() | undefined,
    peers = #{} :: #{node() => topos_peer_core:t()},
    %% Peers that the engine has a transport to. Others are reached by routes over them (`topos_relay').
    direct = #{} :: #{node() => true},
    %% Nodes that dialled us and cannot be taken, until when they are told so.
    guests = #{} :: #{node() => integer()},
    settings :: topos_peer_core:settings(),
    tick :: pos_integer(),
    ticked :: integer()
}).
-type state() :: #state{}.

%% An attacker can make this node dial so many addresses at once, each for so many milliseconds.
-define(MAX_GUESTS, 16).
-define(GUEST_TIME, 3_000).
%% So long a guest stays when it is connected: a few greetings.
-define(TELLING_TIME, 500).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?TOPOS_DEST_PROCESS_LINK}, ?MODULE, [], []).

%% @doc Makes the calling process the owner.
-spec own() -> ok.
own() -> gen_server:call(?MODULE, own).

%% @doc The cluster wants this peer: what its frames say is heard from now on. `Known' is the highest incarnation heard of.
-spec expect(node(), Known :: non_neg_integer()) -> ok.
expect(Node, Known) -> gen_server:call(?MODULE, {expect, Node, Known}).

%% @doc Takes the peer of the open session: its echoes are answered from now on.
-spec admit(node()) -> ok.
admit(Node) -> gen_server:cast(?MODULE, {admit, Node}).

%% @doc Tells the peer that it is not taken, and why.
-spec refuse(node(), too_many_members) -> ok.
refuse(Node, Why) -> gen_server:cast(?MODULE, {refuse, Node, Why}).

%% @doc Sessions with an earlier incarnation of the peer are no use; a peer that still has one moves above.
-spec known(node(), topos_incarnation:t()) -> ok.
known(Node, Incarnation) -> gen_server:cast(?MODULE, {known, Node, Incarnation}).

%% @doc Drops all that is known about the peer. What lanes hold for it is given up.
-spec forget(node()) -> ok.
forget(Node) -> gen_server:call(?MODULE, {forget, Node}).

%% @doc What the failure detector of the cluster (`topos_swim') says of a peer.
-spec verdict(node(), topos_peer_core:verdict()) -> ok.
verdict(Node, Verdict) -> gen_server:cast(?MODULE, {verdict, Node, Verdict}).

%% @doc Sends a frame to a peer that has a session; a frame to another goes nowhere.
-spec send(node(), frame_kind(), iodata()) -> ok.
send(Node, Kind, Payload) -> gen_server:cast(?MODULE, {send, Node, Kind, Payload}).

%% @doc This node has a new incarnation: all handshakes begin again.
-spec new_life() -> ok.
new_life() -> gen_server:call(?MODULE, new_life).

%% @doc The engine to watch: its end is a loss of every transport.
-spec engine_started(pid()) -> ok.
engine_started(Pid) -> gen_server:call(?MODULE, {engine_started, Pid}).

%% @doc The rows of `topos_routes' for these names are new, different or gone; `all': of any name.
-spec routes_changed([binary()] | all) -> ok.
routes_changed(Names) -> gen_server:cast(?MODULE, {routes_changed, Names}).

%% @doc The topology of `topos_local' is another one.
-spec topology_changed() -> ok.
topology_changed() -> gen_server:cast(?MODULE, topology_changed).

%% @doc The peers that the engine has a transport to.
-spec transports() -> [node()].
transports() -> gen_server:call(?MODULE, transports).

%% @doc Peers and their status, as any process may read it.
-spec peers() -> [{node(), topos_peer_core:status()}].
peers() -> [{Node, Status} || {Node, Status, _, _} <- ets:tab2list(topos_peers)].

%% @doc Status and incarnation of one peer.
-spec status(node()) -> {topos_peer_core:status(), non_neg_integer()} | unknown.
status(Node) ->
    case ets:lookup(topos_peers, Node) of
        [{_, Status, Incarnation, _}] -> {Status, Incarnation};
        [] -> unknown
    end.

%% gen_server

-spec init([]) -> {ok, state()}.
init([]) ->
    #{echo_interval := Echo} = Settings = settings(topos_local:config()),
    %% A restart of this process: what the one before knew about peers is found out anew.
    true = ets:delete_all_objects(topos_peers),
    true = ets:delete_all_objects(topos_sessions),
    Tick = max(5, min(50, Echo div 4)),
    _ = erlang:send_after(Tick, self(), tick),
    {ok, #state{settings = Settings, tick = Tick, ticked = now_ms()}}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok | [node()], state()}.
handle_call(transports, _From, #state{direct = Direct} = State) ->
    {reply, maps:keys(Direct), State};
handle_call(own, {Pid, _}, State) ->
    {reply, ok, State#state{owner = Pid}};
handle_call({engine_started, Pid}, _From, State) ->
    ok = topos_local:set_addresses((topos_local:engine()):addresses()),
    {reply, ok, State#state{engine = monitor(process, Pid)}};
handle_call({expect, Node, Known}, _From, #state{guests = Guests} = State) ->
    Expected = ensure(Node, State#state{guests = maps:remove(Node, Guests)}),
    {reply, ok, with_peer(Node, fun(P) -> {topos_peer_core:known(Known, P), []} end, Expected)};
handle_call({forget, Node}, _From, State) ->
    {reply, ok, forget_peer(Node, State)};
handle_call(new_life, _From, #state{peers = Peers} = State) ->
    Self = topos_local:self(),
    Next = maps:fold(
        fun(Node, Peer, Acc) ->
            carry_out(Node, topos_peer_core:self_changed(Self, {topos_auth:nonce(), now_ms()}, Peer), Acc)
        end, State, Peers),
    {reply, ok, Next}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({admit, Node}, State) ->
    {noreply, with_peer(Node, fun(P) -> topos_peer_core:admit(now_ms(), P) end, State)};
handle_cast({refuse, Node, Why}, State) ->
    {noreply, with_peer(Node, fun(P) -> topos_peer_core:reject(Why, P) end, State)};
handle_cast({verdict, Node, Verdict}, State) ->
    {noreply, with_peer(Node, fun(P) -> topos_peer_core:verdict(Verdict, now_ms(), P) end, State)};
handle_cast({known, Node, Incarnation}, State) ->
    {noreply, with_peer(Node, fun(P) -> {topos_peer_core:known(Incarnation, P), []} end, State)};
handle_cast(topology_changed, #state{peers = Peers} = State) ->
    Settings = settings(topos_local:config()),
    Told = maps:map(fun(_, Peer) -> topos_peer_core:settings(Settings, Peer) end, Peers),
    {noreply, State#state{settings = Settings, peers = Told}};
handle_cast({routes_changed, all}, #state{peers = Peers} = State) ->
    {noreply, lists:foldl(fun(Node, Acc) -> reach(Node, no_route, Acc) end, State, maps:keys(Peers))};
handle_cast({routes_changed, Names}, State) ->
    {noreply, lists:foldl(
        fun(Name, Acc) ->
            case node_of(Name, Acc) of
                {ok, Node} -> reach(Node, no_route, Acc);
                unknown -> Acc
            end
        end, State, Names)};
handle_cast({send, Node, Kind, Payload}, State) ->
    {noreply, with_peer(Node, fun(P) -> {P, topos_peer_core:send(kind(Kind), Payload, P)} end, State)}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({topos, _Version, _Epoch, Frame}, State) ->
    {noreply, on_frame(topos_frame:decode(Frame), State)};
handle_info(tick, State) ->
    {noreply, on_tick(now_ms(), State)};
handle_info({topos_engine, {up, Node}}, State) ->
    tell({transport, Node, up}, State),
    #state{guests = Guests, direct = Direct} = State,
    Shorter = case Guests of
        #{Node := _} -> State#state{guests = Guests#{Node := now_ms() + ?TELLING_TIME}};
        _ -> State
    end,
    {noreply, reach(Node, none, Shorter#state{direct = Direct#{Node => true}})};
handle_info({topos_engine, {down, Node, Reason}}, #state{direct = Direct} = Before) ->
    State = Before#state{direct = maps:remove(Node, Direct)},
    tell({transport, Node, {down, Reason}}, State),
    case State of
        %% A guest that was told has closed its side.
        #state{guests = Guests} when is_map_key(Node, Guests) -> {noreply, dismiss(Node, State)};
        _ -> {noreply, reach(Node, Reason, State)}
    end;
handle_info({topos_engine, reset}, State) ->
    {noreply, all_down(engine_reset, State)};
handle_info({'DOWN', Ref, process, _, Reason}, #state{engine = Ref} = State) ->
    %% `shutdown': the node stops, and the engine goes first.
    _ = Reason =:= shutdown orelse ?LOG_WARNING("topos_partisan: the engine ended: ~0tp", [Reason]),
    {noreply, all_down(engine_ended, State#state{engine = undefined})};
handle_info(_, State) ->
    {noreply, State}.

%% internal

-spec on_frame({ok, topos_frame:t()} | {error, malformed | {version, byte(), binary()}}, state()) -> state().
on_frame({ok, #{kind := Kind, source := Source} = Frame}, State) ->
    case node_of(Source, State) of
        {ok, Node} when Kind =:= ?TOPOS_FRAME_HELLO; Kind =:= ?TOPOS_FRAME_HELLO_ACK; Kind =:= ?TOPOS_FRAME_REJECT ->
            ok = case Kind of ?TOPOS_FRAME_HELLO -> moved(Node, Frame, State); _ -> ok end,
            with_peer(Node, fun(P) -> topos_peer_core:frame(Frame, now_ms(), P) end, State);
        {ok, Node} ->
            case topos_lanes:is_genuine(Frame) of
                {true, _} -> on_session_frame(Kind, Node, Frame, State);
                false -> refused(State)
            end;
        unknown when Kind =:= ?TOPOS_FRAME_HELLO ->
            on_stranger(Frame, topos_frame:decode_hello(maps:get(payload, Frame)), State);
        unknown ->
            refused(State)
    end;
on_frame({error, {version, _, _}}, State) ->
    refused(State);
on_frame({error, malformed}, State) ->
    ok = topos_local:count(malformed_frames),
    State.

%% A peer that greets while we cannot reach it may listen elsewhere now: it was started anew.
-spec moved(node(), topos_frame:t(), state()) -> ok.
moved(Node, #{payload := Payload} = Frame, #state{peers = Peers, guests = Guests} = State) ->
    Away = not topos_peer_core:has_transport(maps:get(Node, Peers)) andalso not is_map_key(Node, Guests),
    case Away andalso topos_frame:decode_hello(Payload) of
        {ok, Hello} ->
            case is_ours(Frame, Hello) andalso is_proved(Frame, Hello) of
                true -> tell_greeted(Frame, Hello, State);
                false -> ok
            end;
        _ ->
            ok
    end.

%% A node that this one did not ask for. The engine can answer it only over a connection of our own, so it says where.
-spec on_stranger(topos_frame:t(), {ok, topos_frame:hello()} | {error, malformed}, state()) -> state().
on_stranger(_, {error, malformed}, State) ->
    ok = topos_local:count(malformed_frames),
    State;
on_stranger(#{source := Source} = Frame, {ok, #{addresses := Addresses} = Hello}, State) ->
    Own = topos_local:name(),
    case is_ours(Frame, Hello) andalso is_proved(Frame, Hello) of
        _ when Source =:= Own ->
            %% A greeting of ours that came back, or another node of our name.
            refused(State);
        true ->
            ok = tell_greeted(Frame, Hello, State),
            State;
        false ->
            guest(guest_name(Frame, Hello), Addresses, State)
    end.

-spec is_ours(topos_frame:t(), topos_frame:hello()) -> boolean().
is_ours(#{version := Version}, #{cluster := Cluster}) ->
    #{cluster := Ours} = topos_local:self(),
    Version =:= ?TOPOS_FRAME_VERSION andalso Cluster =:= Ours.

%% Whether its sender knows the cookie, whatever his version and cluster.
-spec is_proved(topos_frame:t(), topos_frame:hello()) -> boolean().
is_proved(Frame, #{nonce := Nonce, proof := Proof, cluster := Cluster, addresses := Addresses}) ->
    #{version := Version, source := Source, incarnation := Incarnation, destination := Known} = Frame,
    #{key := Key} = topos_local:self(),
    topos_auth:equal(Proof, topos_auth:greeting(Key, Version, Cluster, {Source, Incarnation, Nonce}, Known, Addresses)).

-spec tell_greeted(topos_frame:t(), topos_frame:hello(), state()) -> ok.
tell_greeted(#{source := Source, incarnation := Incarnation, destination := Known}, #{addresses := Addresses}, State) ->
    tell({greeted, Source, Incarnation, Known, Addresses}, State).

%% Of who knows the cookie the name may become an atom; of another one, only an engine that made it can carry an answer.
-spec guest_name(topos_frame:t(), topos_frame:hello()) -> {ok, node()} | error.
guest_name(#{source := Source} = Frame, Hello) ->
    case is_proved(Frame, Hello) of
        true ->
            topos_local:node_atom(Source);
        false ->
            try
                {ok, binary_to_existing_atom(Source)}
            catch
                error:badarg -> error
            end
    end.

%% Dialled for a moment, so that it learns from our greeting why it is not taken.
-spec guest({ok, node()} | error, [topos_engine:address()], state()) -> state().
guest({ok, Node}, Addresses, #state{guests = Guests} = State) when map_size(Guests) < ?MAX_GUESTS ->
    ok = (topos_local:engine()):connect(#{node => Node, addresses => Addresses}),
    ensure(Node, State#state{guests = Guests#{Node => now_ms() + ?GUEST_TIME}});
guest(_, _, State) ->
    refused(State).

-spec dismiss_guests(integer(), state()) -> state().
dismiss_guests(_Now, #state{guests = Guests} = State) when map_size(Guests) =:= 0 -> State;
dismiss_guests(Now, #state{guests = Guests} = State) ->
    maps:fold(
        fun(Node, Until, Acc) when Now >= Until ->
                dismiss(Node, Acc);
           (_, _, Acc) ->
                Acc
        end, State, Guests).

-spec dismiss(node(), state()) -> state().
dismiss(Node, State) ->
    ok = (topos_local:engine()):disconnect(Node),
    forget_peer(Node, State).

%% A peer has a transport while the engine has one or a route is known. When one of two is gone, or the route is another, what
%% was under way on it may be lost: lanes send again what was not acknowledged, and the receiver drops what it has.
-spec reach(node(), term(), state()) -> state().
reach(Node, Reason, #state{peers = Peers, direct = Direct} = State) ->
    case Peers of
        #{Node := Peer} ->
            case {topos_peer_core:has_transport(Peer), is_map_key(Node, Direct) orelse topos_relay:is_routed(Node)} of
                {false, true} ->
                    carry_out(Node, topos_peer_core:transport_up(topos_auth:nonce(), now_ms(), Peer), State);
                {true, false} ->
                    carry_out(Node, topos_peer_core:transport_down(Reason, now_ms(), Peer), State);
                {true, true} ->
                    ok = case topos_peer_core:status(Peer) of up -> to_lanes(Node, opened); _ -> ok end,
                    State;
                {false, false} ->
                    State
            end;
        _ ->
            State
    end.

%% Where nodes are reached over others, a way may be missing for a moment while the topology mends itself: then a peer has
%% as long to come back as one that is silent.
-spec settings(topos_config:t()) -> topos_peer_core:settings().
settings(#{topology := full_mesh, fault_detection := Settings}) -> Settings;
settings(#{fault_detection := #{down_after := DownAfter} = Settings}) -> Settings#{flap_grace => DownAfter}.

-spec on_session_frame(byte(), node(), topos_frame:t(), state()) -> state().
on_session_frame(Kind, Node, #{payload := Payload} = Frame, State) ->
    case Kind of
        ?TOPOS_FRAME_GOSSIP -> tell({frame, Node, gossip, Payload}, State);
        ?TOPOS_FRAME_LEAVE -> tell({frame, Node, leave, Payload}, State);
        ?TOPOS_FRAME_LEAVE_ACK -> tell({frame, Node, leave_ack, Payload}, State);
        _ -> ok
    end,
    Heard = with_peer(Node, fun(P) -> topos_peer_core:frame(Frame, now_ms(), P) end, State),
    with_peer(Node, fun(P) -> topos_peer_core:heard(now_ms(), P) end, Heard).

-spec refused(state()) -> state().
refused(State) ->
    ok = topos_local:count(refused_frames),
    State.

%% No atom is made of a name that came in a frame: the engine or the cluster named every peer there is.
-spec node_of(binary(), state()) -> {ok, node()} | unknown.
node_of(Source, #state{peers = Peers}) ->
    try binary_to_existing_atom(Source) of
        Node when is_map_key(Node, Peers) -> {ok, Node};
        _ -> unknown
    catch
        error:badarg -> unknown
    end.

-spec ensure(node(), state()) -> state().
ensure(Node, #state{peers = Peers} = State) when is_map_key(Node, Peers) -> State;
ensure(Node, #state{peers = Peers, settings = Settings} = State) ->
    Peer = topos_peer_core:new(atom_to_binary(Node), topos_local:self(), Settings),
    true = ets:insert(topos_peers, {Node, connecting, 0, undefined}),
    reach(Node, none, State#state{peers = Peers#{Node => Peer}}).

-spec with_peer(node(), fun((topos_peer_core:t()) -> {topos_peer_core:t(), [topos_peer_core:effect()]}), state()) -> state().
with_peer(Node, Fun, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := Peer} -> carry_out(Node, Fun(Peer), State);
        _ -> State
    end.

-spec carry_out(node(), {topos_peer_core:t(), [topos_peer_core:effect()]}, state()) -> state().
carry_out(Node, {Peer, Effects}, #state{peers = Peers} = State) ->
    Next = State#state{peers = Peers#{Node => Peer}},
    ok = lists:foreach(fun(Effect) -> effect(Effect, Node, Peer, Next) end, Effects),
    Next.

-spec effect(topos_peer_core:effect(), node(), topos_peer_core:t(), state()) -> ok.
effect({send, Frame}, Node, _Peer, _State) ->
    %% What is lost here is asked for again: greetings and echoes repeat, gossip is periodic.
    _ = topos_relay:send(topos_local:engine(), Node, control, 0, ?TOPOS_DEST_PROCESS_LINK, Frame),
    ok;
effect({session, #{incarnation := Incarnation, token_in := In, token_out := Out} = Session}, Node, Peer, State) ->
    case ets:lookup(topos_peers, Node) of
        [{_, _, Before, _}] when Before =/= 0, Before =/= Incarnation -> ok = to_lanes(Node, gone);
        _ -> ok
    end,
    true = ets:insert(topos_sessions, {atom_to_binary(Node), Node, Incarnation, In, new_heard()}),
    true = ets:insert(topos_peers, {Node, topos_peer_core:status(Peer), Incarnation, Out}),
    tell({opened, Node, Session}, State);
effect({status, From, To, Reason}, Node, _Peer, State) ->
    true = ets:update_element(topos_peers, Node, {2, To}),
    ok = case To of down -> to_lanes(Node, closed); _ -> ok end,
    tell({status, Node, From, To, Reason}, State);
effect(confirmed, Node, _Peer, State) ->
    ok = to_lanes(Node, opened),
    tell({confirmed, Node}, State);
effect({refused, Reason, Details}, Node, _Peer, State) ->
    tell({refused, Node, topos_error:new(Reason, Details#{node => Node})}, State);
effect({refute, Incarnation}, _Node, _Peer, State) ->
    tell({refute, Incarnation}, State).

-spec forget_peer(node(), state()) -> state().
forget_peer(Node, #state{peers = Peers} = State) ->
    true = ets:delete(topos_peers, Node),
    true = ets:delete(topos_sessions, atom_to_binary(Node)),
    ok = to_lanes(Node, gone),
    State#state{peers = maps:remove(Node, Peers), guests = maps:remove(Node, State#state.guests)}.

-spec to_lanes(node(), opened | closed | gone) -> ok.
to_lanes(Node, Event) ->
    ok = topos_lanes:peer(Node, Event),
    Senders = ets:match_object(topos_lane_senders, {{Node, '_', '_'}, '_', '_', '_'}),
    %% A sender of an earlier life ends later than the next life is up: whoever learns of that must not find it any more.
    true = Event =/= gone orelse lists:all(fun(Row) -> ets:delete_object(topos_lane_senders, Row) end, Senders),
    lists:foreach(fun({_, Pid, _, _}) -> Pid ! {topos_lane, Event} end, Senders).

-spec all_down(term(), state()) -> state().
all_down(Reason, #state{peers = Peers, direct = Direct} = State) ->
    ok = lists:foreach(fun(Node) -> tell({transport, Node, {down, Reason}}, State) end, maps:keys(Direct)),
    %% Every route begins with a transport of the engine.
    ok = topos_relay:clear(),
    Lost = maps:fold(
        fun(Node, Peer, Acc) -> carry_out(Node, topos_peer_core:transport_down(Reason, now_ms(), Peer), Acc) end,
        State#state{direct = #{}}, Peers),
    tell(reset, Lost),
    Lost.

-spec on_tick(integer(), state()) -> state().
on_tick(Now, #state{tick = Tick, ticked = Before, settings = #{echo_interval := Echo}} = State) ->
    _ = erlang:send_after(Tick, self(), tick),
    Late = Now - Before - Tick,
    #state{peers = Peers, direct = Direct} = Dismissed = dismiss_guests(Now, State#state{ticked = Now}),
    Away = away_pace(map_size(Peers)),
    maps:fold(
        fun(Node, Peer, Acc) ->
            %% A node that was stopped itself has heard nobody; that is no reason to take them for dead.
            Rested = case Late > Echo of true -> topos_peer_core:paused(Late, Peer); false -> Peer end,
            Pace = case is_map_key(Node, Direct) orelse not topos_peer_core:has_transport(Peer) of true -> 1; false -> Away end,
            case Late > Echo orelse topos_peer_core:is_due(Pace, Now, Rested) of
                true ->
                    {Heard, Effects} = heard_on_lanes(Node, topos_peer_core:pace(Pace, Now, Rested)),
                    {Ticked, More} = topos_peer_core:tick(Now, Heard),
                    carry_out(Node, {Ticked, Effects ++ More}, Acc);
                false ->
                    Acc
            end
        end,
        Dismissed,
        Peers
    ).

%% Peers that are reached over others are asked for echoes less often the more there are, so that all of them together cost about as
%% much as eight neighbours. That such a peer failed is mostly told by its neighbours: no route leads to it any more.
-spec away_pace(non_neg_integer()) -> pos_integer().
away_pace(Peers) -> 2 + Peers div 8.

%% The lanes note when they heard a peer, so that a link full of data is not taken for a dead one.
-spec heard_on_lanes(node(), topos_peer_core:t()) -> {topos_peer_core:t(), [topos_peer_core:effect()]}.
heard_on_lanes(Node, Peer) ->
    case ets:lookup(topos_sessions, atom_to_binary(Node)) of
        [{_, _, _, _, Heard}] ->
            case atomics:exchange(Heard, 1, 0) of
                0 -> {Peer, []};
                _ -> topos_peer_core:heard(now_ms(), Peer)
            end;
        [] ->
            {Peer, []}
    end.

-spec new_heard() -> atomics:atomics_ref().
new_heard() -> atomics:new(1, [{signed, false}]).

-spec tell(term(), state()) -> ok.
tell(_, #state{owner = undefined}) -> ok;
tell(Event, #state{owner = Owner}) -> Owner ! {topos_link, Event}, ok.

-spec kind(frame_kind()) -> ?TOPOS_FRAME_GOSSIP | ?TOPOS_FRAME_LEAVE | ?TOPOS_FRAME_LEAVE_ACK.
kind(gossip) -> ?TOPOS_FRAME_GOSSIP;
kind(leave) -> ?TOPOS_FRAME_LEAVE;
kind(leave_ack) -> ?TOPOS_FRAME_LEAVE_ACK.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
