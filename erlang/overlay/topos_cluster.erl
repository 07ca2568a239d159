%% @doc The cluster as this node sees it: who belongs to it, who is up, and how one gets in and out.
%%
%% It owns the membership (`topos_membership'), hears from `topos_link' whom it can talk to, tells the overlay whom there is
%% to connect to, and publishes what changes (`topos_events').
%%
%% == Standing of a peer ==
%% A <em>candidate</em> is dialled but was not up yet: a node that {@link join/2} names, or one that dialled us and
%% proved to know the cookie. When it is up it becomes a member; when it is not in time it is dropped without a trace. A
%% member that is down is dialled until `forget_after'; then it is forgotten, and gossip about that life of it is ignored
%% for twice as long, so that no other node's memory brings it back. The tombstone of a node that left is kept as long.
%%
%% == Gossip ==
%% Every change is sent to all peers that are up by the node that made it, and passed on to some by those that learn of it.
%% Once a second a node sends its digest to one peer; if the digests differ, both send all they have.
-module(topos_cluster).
-behaviour(gen_server).

-export([start_link/0, join/2, leave/1, members/0, up/0, pause/1, resume/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([status/0, member/0]).

-type status() :: joining | up | suspect | down | left.
-type member() :: #{
    node := node(), status := status(), incarnation := topos_incarnation:t(), addresses := [topos_engine:address()],
    metadata := #{binary() => binary()}
}.
%% Who waits, until when, and how many milliseconds that were.
-type waiting() :: {gen_server:from(), Deadline :: integer(), Timeout :: pos_integer()}.
-record(candidate, {
    addresses :: [topos_engine:address()],
    deadline :: integer(),
    %% There is no place for it: it is dialled to be told so.
    refused = false :: boolean(),
    waiting = [] :: [waiting()]
}).
-record(peer, {status :: status(), since :: integer()}).
-record(state, {
    node :: node(),
    own :: topos_membership:entry(),
    members :: topos_membership:t(),
    peers = #{} :: #{node() => #peer{}},
    candidates = #{} :: #{node() => #candidate{}},
    %% Lives that were given up: their gossip is ignored until then.
    forgotten = #{} :: #{topos_membership:name() => {topos_incarnation:t(), Until :: integer()}},
    left_at = 0 :: non_neg_integer(),
    leaving = none :: none | {gen_server:from(), [node()], Timer :: reference()},
    %% Calls that wait for members that are known already.
    joins = [] :: [{node(), gen_server:from(), integer(), pos_integer()}],
    gossip_at :: integer(),
    %% No new members until then.
    paused = none :: none | integer()
}).
-type state() :: #state{}.

-define(TICK, 50).
-define(GOSSIP_INTERVAL, 1_000).
-define(FANOUT, 4).
%% A candidate that dialled us has this long to complete the handshake.
-define(CANDIDATE_TIME, 30_000).
%% So long a node that left stays connected, to get its confirmation.
-define(FAREWELL, 100).
-define(ENTRIES, 0).
-define(DIGEST, 1).
-define(EXCHANGE, 2).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc See `topos_partisan:join/2'. Addresses: where to find the node; `[]' where it is known or the engine needs none.
-spec join(node(), #{addresses := [topos_engine:address()], timeout := pos_integer()}) -> ok | {error, topos_error:t()}.
join(Node, Options) -> gen_server:call(?MODULE, {join, Node, Options}, infinity).

%% @doc See `topos_partisan:leave/1'.
-spec leave(pos_integer()) -> ok | {error, topos_error:t()}.
leave(Timeout) -> gen_server:call(?MODULE, {leave, Timeout}, infinity).

%% @doc No new member gets in or is joined by this node for so many milliseconds.
-spec pause(non_neg_integer()) -> ok.
pause(Time) -> gen_server:cast(?MODULE, {pause, Time}).

%% @doc Ends a {@link pause/1}.
-spec resume() -> ok.
resume() -> pause(0).

%% @doc All members, this node too, by name. Read without asking the process.
-spec members() -> [member()].
members() ->
    lists:sort(
        fun(#{node := A}, #{node := B}) -> A =< B end,
        [#{node => Node, status => Status, incarnation => Incarnation, addresses => Addresses, metadata => Metadata}
         || {Node, Status, #{incarnation := Incarnation, addresses := Addresses, metadata := Metadata}, _}
                <- ets:tab2list(topos_members)]
    ).

%% @doc The peers that are up, sorted.
-spec up() -> [node()].
up() ->
    Own = topos_local:config(node),
    lists:sort([Node || {Node, up, _, _} <- ets:tab2list(topos_members), Node =/= Own]).

%% gen_server

-spec init([]) -> {ok, state()}.
init([]) ->
    ok = topos_link:own(),
    #{node := Node, metadata := Metadata} = topos_local:config(),
    #{name := Name, incarnation := Incarnation, addresses := Addresses} = topos_local:self(),
    Own = topos_membership:entry(Name, Incarnation, Addresses, Metadata),
    Rows = [Row || {N, _, _, _} = Row <- ets:tab2list(topos_members), N =/= Node],
    Members = lists:foldl(
        fun({_, _, Entry, _}, Acc) -> element(2, topos_membership:merge_entry(Entry, Acc)) end,
        element(2, topos_membership:merge_entry(Own, topos_membership:new())),
        Rows
    ),
    true = ets:insert(topos_members, {Node, up, Own, now_ms()}),
    _ = erlang:send_after(?TICK, self(), tick),
    {ok, lists:foldl(fun resume/2, #state{node = Node, own = Own, members = Members, gossip_at = now_ms()}, Rows)}.

-spec handle_call(term(), gen_server:from(), state()) -> {noreply, state()} | {reply, term(), state()}.
handle_call({join, Node, _}, _From, #state{node = Node} = State) ->
    {reply, {error, topos_error:new(self_join, #{node => Node})}, State};
handle_call({join, Node, Options}, From, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{status = up}} -> {reply, ok, State};
        #{Node := #peer{status = Status}} when Status =/= left -> {noreply, await_member(Node, From, Options, State)};
        _ ->
            case paused(State) of
                0 -> {noreply, dial(Node, From, Options, State)};
                Remaining -> {reply, {error, topos_error:new(connections_paused, #{remaining => Remaining})}, State}
            end
    end;
handle_call({leave, Timeout}, From, #state{leaving = none, own = #{incarnation := Incarnation}} = State) ->
    Told = [Node || {Node, #peer{status = Status}} <- maps:to_list(State#state.peers), Status =:= up orelse Status =:= suspect],
    ok = lists:foreach(fun(Node) -> topos_link:send(Node, leave, <<Incarnation:64>>) end, Told),
    Timer = erlang:start_timer(case Told of [] -> 0; _ -> Timeout end, self(), leave),
    {noreply, State#state{leaving = {From, Told, Timer}}};
handle_call({leave, _}, _From, State) ->
    {reply, {error, topos_error:new(not_connected, #{node => State#state.node, status => leaving})}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({pause, Time}, State) -> {noreply, State#state{paused = now_ms() + Time}}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({topos_link, Event}, State) ->
    {noreply, on_link(Event, State)};
handle_info({timeout, Timer, leave}, #state{leaving = {_, _, Timer}} = State) ->
    {noreply, has_left(State)};
handle_info({farewell, Node}, State) ->
    {noreply, farewell(Node, State)};
handle_info(tick, State) ->
    _ = erlang:send_after(?TICK, self(), tick),
    {noreply, on_tick(now_ms(), State)};
handle_info(_, State) ->
    {noreply, State}.

%% internal: getting in

-spec dial(node(), gen_server:from(), map(), state()) -> state().
dial(Node, From, #{addresses := Addresses, timeout := Timeout}, #state{candidates = Candidates} = State) ->
    Deadline = now_ms() + Timeout,
    case Candidates of
        #{Node := #candidate{waiting = Waiting} = Candidate} ->
            Longer = Candidate#candidate{
                waiting = [{From, Deadline, Timeout} | Waiting], deadline = max(Deadline, Candidate#candidate.deadline),
                refused = false
            },
            ok = case Addresses of [] -> ok; _ -> topos_overlay:dial(Node, Addresses, Timeout) end,
            State#state{candidates = Candidates#{Node := Longer}};
        _ ->
            candidate(Node, #candidate{addresses = Addresses, deadline = Deadline, waiting = [{From, Deadline, Timeout}]}, State)
    end.

-spec candidate(node(), #candidate{}, state()) -> state().
candidate(Node, #candidate{addresses = Addresses, deadline = Deadline} = Candidate, #state{candidates = Candidates} = State) ->
    ok = topos_link:expect(Node, known(atom_to_binary(Node), State)),
    %% One that a way leads to already needs no link of its own.
    ok = case topos_relay:is_routed(Node) of
        true -> topos_overlay:joined(Node, Addresses);
        false -> topos_overlay:dial(Node, Addresses, max(1, Deadline - now_ms()))
    end,
    State#state{candidates = Candidates#{Node => Candidate}}.

%% The lowest incarnation with which the node would be welcome: above the one it left with.
-spec known(topos_membership:name(), state()) -> non_neg_integer().
known(Name, #state{members = Members}) ->
    case topos_membership:find(Name, Members) of
        {ok, #{standing := left, incarnation := Incarnation}} -> Incarnation + 1;
        {ok, #{incarnation := Incarnation}} -> Incarnation;
        error -> 0
    end.

-spec await_member(node(), gen_server:from(), map(), state()) -> state().
await_member(Node, From, #{addresses := Addresses, timeout := Timeout}, #state{joins = Joins} = State) ->
    ok = case Addresses of [] -> ok; _ -> topos_overlay:dial(Node, Addresses, Timeout) end,
    State#state{joins = [{Node, From, now_ms() + Timeout, Timeout} | Joins]}.

-spec greeted(node(), topos_incarnation:t(), non_neg_integer(), [topos_engine:address()], state()) -> state().
greeted(Node, Incarnation, Known, Addresses, #state{left_at = Left, candidates = Candidates} = State) ->
    Highest = known(atom_to_binary(Node), State),
    case State of
        _ when is_map_key(Node, Candidates) ->
            ok = topos_overlay:answer(Node, Addresses),
            State;
        _ when Known > 0, Known =< Left ->
            %% It has not heard that this node left. It will, from the others, or when it forgets us.
            State;
        #state{peers = #{Node := #peer{status = Status}}} when Status =/= left ->
            ok = case Incarnation >= Highest of true -> topos_overlay:answer(Node, Addresses); false -> ok end,
            State;
        #state{peers = #{Node := _}} when Incarnation + 1 =:= Highest ->
            %% The life that left, on its way out: an answer would call it back.
            State;
        _ ->
            stranger(Node, Addresses, paused(State), State)
    end.

%% While no member is taken it is not answered: it greets again.
-spec stranger(node(), [topos_engine:address()], non_neg_integer(), state()) -> state().
stranger(_, _, Paused, State) when Paused > 0 ->
    State;
stranger(Node, Addresses, 0, State) ->
    Candidate = #candidate{addresses = Addresses, deadline = now_ms() + ?CANDIDATE_TIME, refused = is_full(State)},
    candidate(Node, Candidate, State).

%% How long no new member is taken.
-spec paused(state()) -> non_neg_integer().
paused(#state{paused = none}) -> 0;
paused(#state{paused = Until}) -> max(0, Until - now_ms()).

-spec is_full(state()) -> boolean().
is_full(#state{members = Members, candidates = Candidates}) ->
    #{max_members := Max} = topos_local:config(limits),
    Alive = length([1 || #{standing := alive} <- topos_membership:entries(Members)]),
    Alive + map_size(Candidates) >= Max.

%% internal: what the link tells

-spec on_link(term(), state()) -> state().
on_link({greeted, Name, Incarnation, Known, Addresses}, State) ->
    case topos_membership:is_node_name(Name) andalso topos_local:node_atom(Name) of
        {ok, Node} -> greeted(Node, Incarnation, Known, Addresses, State);
        _ -> State
    end;
on_link({opened, Node, #{incarnation := Incarnation}}, State) ->
    opened(Node, Incarnation, State);
on_link({status, Node, _From, To, Reason}, State) ->
    Known = status(Node, To, Reason, State),
    %% Members that know of the leave close their links, and with them the ways that confirmations of others would come by.
    case To of
        up -> Known;
        _ -> told(Node, Known)
    end;
on_link({frame, Node, Kind, Payload}, State) ->
    frame(Kind, Node, Payload, State);
on_link({refused, Node, Error}, State) ->
    drop_candidate(Node, Error, State);
on_link({refute, _}, #state{leaving = Leaving} = State) when Leaving =/= none ->
    %% It begins a new life when it has left.
    State;
on_link({refute, Incarnation}, State) ->
    new_life(Incarnation, State);
on_link({confirmed, Node}, State) ->
    ok = topos_overlay:confirmed(Node),
    State;
on_link({transport, Node, up}, State) ->
    ok = topos_overlay:link(Node, up),
    State;
on_link({transport, Node, {down, _}}, State) ->
    ok = topos_overlay:link(Node, down),
    State;
on_link(reset, State) ->
    State.

-spec opened(node(), topos_incarnation:t(), state()) -> state().
opened(Node, Incarnation, #state{candidates = Candidates, peers = Peers} = State) ->
    Known = known(atom_to_binary(Node), State),
    case State of
        _ when Incarnation < Known ->
            ok = topos_link:known(Node, Known),
            State;
        #state{candidates = #{Node := #candidate{refused = true}}} ->
            ok = topos_link:refuse(Node, too_many_members),
            State;
        _ when is_map_key(Node, Candidates); is_map_key(Node, Peers) ->
            ok = topos_link:admit(Node),
            State;
        _ ->
            State
    end.

-spec status(node(), topos_peer_core:status(), term(), state()) -> state().
status(Node, To, Reason, #state{peers = Peers} = State) ->
    case {To, Peers} of
        {up, #{Node := #peer{status = suspect}}} ->
            ok = topos_events:publish({recovered, Node}),
            set_status(Node, up, State);
        {up, _} ->
            is_up(Node, State);
        {suspect, #{Node := #peer{status = up}}} ->
            ok = topos_events:publish({suspect, Node}),
            set_status(Node, suspect, State);
        {down, #{Node := #peer{status = Before}}} when Before =:= up; Before =:= suspect ->
            ok = topos_events:transition(down, Node),
            ok = topos_events:publish({down, Node, Reason}),
            set_status(Node, down, State);
        _ ->
            State
    end.

-spec is_up(node(), state()) -> state().
is_up(Node, #state{candidates = Candidates, peers = Peers, members = Members} = State) ->
    Name = atom_to_binary(Node),
    {Addresses, Waiting} =
        case maps:get(Node, Candidates, none) of
            #candidate{addresses = Dialled, waiting = Froms} -> {Dialled, Froms};
            none -> {[], []}
        end,
    %% The link may have been told to forget it since.
    case (is_map_key(Node, Peers) orelse is_map_key(Node, Candidates)) andalso topos_link:status(Node) of
        false ->
            State;
        unknown ->
            State;
        {_, Incarnation} ->
            %% Its own gossip brings the rest of its entry.
            {Changed, Merged} =
                case topos_membership:find(Name, Members) of
                    {ok, #{incarnation := Incarnation, standing := alive}} -> {unchanged, Members};
                    _ -> topos_membership:merge_entry(topos_membership:entry(Name, Incarnation, Addresses, #{}), Members)
                end,
            Up = set_status(Node, up, State#state{
                candidates = maps:remove(Node, Candidates), members = Merged,
                forgotten = maps:remove(Name, State#state.forgotten)
            }),
            ok = topos_events:transition(up, Node),
            ok = topos_events:publish({up, Node, Incarnation}),
            ok = topos_link:send(Node, gossip, everything(Up)),
            ok = case Changed of changed -> tell([Name], peers_up(Up) -- [Node], Up); unchanged -> ok end,
            _ = [gen_server:reply(From, ok) || {From, _, _} <- Waiting],
            {Here, Others} = lists:partition(fun({N, _, _, _}) -> N =:= Node end, Up#state.joins),
            _ = [gen_server:reply(From, ok) || {_, From, _, _} <- Here],
            Up#state{joins = Others}
    end.

-spec frame(topos_link:frame_kind(), node(), binary(), state()) -> state().
frame(gossip, Node, Payload, State) ->
    case is_map_key(Node, State#state.peers) orelse is_map_key(Node, State#state.candidates) of
        true -> gossip(Node, Payload, State);
        false -> State
    end;
frame(leave, Node, <<Incarnation:64>>, State) ->
    ok = topos_link:send(Node, leave_ack, <<Incarnation:64>>),
    learn([topos_membership:left(atom_to_binary(Node), Incarnation)], Node, State);
frame(leave_ack, Node, _, State) ->
    told(Node, State);
frame(_, _, _, State) ->
    State.

%% internal: gossip

-spec gossip(node(), binary(), state()) -> state().
gossip(Node, <<?DIGEST, Theirs:32/binary>>, #state{members = Members} = State) ->
    ok = case topos_membership:digest(Members) of
        Theirs -> ok;
        _ -> topos_link:send(Node, gossip, [?EXCHANGE, topos_membership:encode(topos_membership:entries(Members))])
    end,
    State;
gossip(Node, <<Kind, Bytes/binary>>, State) when Kind =:= ?ENTRIES; Kind =:= ?EXCHANGE ->
    #{max_members := Max} = topos_local:config(limits),
    case topos_membership:decode(Bytes, 4 * Max) of
        {ok, Entries} ->
            Learned = learn(Entries, Node, State),
            ok = case Kind of ?EXCHANGE -> topos_link:send(Node, gossip, everything(Learned)); ?ENTRIES -> ok end,
            Learned;
        {error, malformed} ->
            ok = topos_local:count(malformed_frames),
            State
    end;
gossip(_, _, State) ->
    ok = topos_local:count(malformed_frames),
    State.

-spec everything(state()) -> iolist().
everything(#state{members = Members}) -> [?ENTRIES, topos_membership:encode(topos_membership:entries(Members))].

%% Merges what a peer told and passes on what was new.
-spec learn([topos_membership:entry()], node(), state()) -> state().
learn(Entries, From, State) ->
    {Learned, News} = lists:foldl(fun learn_entry/2, {State, []}, Entries),
    Others = peers_up(Learned) -- [From],
    Some = lists:sublist([N || {_, N} <- lists:sort([{rand:uniform(), N} || N <- Others])], ?FANOUT),
    ok = tell(News, Some, Learned),
    Learned.

-spec learn_entry(topos_membership:entry(), {state(), [topos_membership:name()]}) -> {state(), [topos_membership:name()]}.
learn_entry(#{name := Name} = Entry, {#state{own = #{name := Name}} = State, News}) ->
    {refute(Entry, State), News};
learn_entry(#{name := Name, incarnation := Incarnation} = Entry, {#state{members = Members} = State, News}) ->
    Ignored =
        case State#state.forgotten of
            #{Name := {Given, _}} -> Incarnation =< Given;
            _ -> false
        end,
    case Ignored orelse topos_membership:merge_entry(Entry, Members) of
        true ->
            {State, News};
        {unchanged, _} ->
            {State, News};
        {changed, Merged} ->
            Known = topos_membership:find(Name, Members) =/= error,
            case Known orelse not is_full(State) of
                true ->
                    case topos_local:node_atom(Name) of
                        {ok, Node} -> {apply_entry(Node, Entry, State#state{members = Merged}), [Name | News]};
                        error -> {State, News}
                    end;
                false ->
                    {State, News}
            end
    end.

-spec apply_entry(node(), topos_membership:entry(), state()) -> state().
apply_entry(Node, #{standing := left} = Entry, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{status = left}} ->
            store(Node, Entry, State);
        #{Node := #peer{status = Status}} ->
            ok = case Status of
                _ when Status =:= up; Status =:= suspect -> topos_events:transition(down, Node);
                _ -> ok
            end,
            ok = topos_events:publish({left, Node}),
            _ = erlang:send_after(?FAREWELL, self(), {farewell, Node}),
            set_status(Node, left, State);
        _ ->
            set_status(Node, left, State)
    end;
apply_entry(Node, #{incarnation := Incarnation, addresses := Addresses} = Entry, #state{peers = Peers} = State) ->
    ok = topos_link:expect(Node, Incarnation),
    ok = topos_overlay:joined(Node, Addresses),
    case Peers of
        #{Node := #peer{status = Status}} when Status =/= left -> store(Node, Entry, State);
        _ -> set_status(Node, case topos_link:status(Node) of {up, _} -> up; _ -> joining end, State)
    end.

-spec farewell(node(), state()) -> state().
farewell(Node, #state{peers = Peers, candidates = Candidates} = State) ->
    case Peers of
        #{Node := #peer{status = left}} when not is_map_key(Node, Candidates) -> disconnect(Node);
        _ -> ok
    end,
    State.

-spec disconnect(node()) -> ok.
disconnect(Node) ->
    ok = topos_link:forget(Node),
    ok = topos_swim:status(Node, forgotten),
    topos_overlay:left(Node).

%% Somebody has another idea of this node: it left, or it has a life that this one does not know.
-spec refute(topos_membership:entry(), state()) -> state().
refute(#{incarnation := Theirs, standing := Standing}, #state{own = #{incarnation := Ours}} = State) ->
    case Theirs > Ours orelse (Theirs =:= Ours andalso Standing =:= left) of
        true when State#state.leaving =:= none -> new_life(Theirs, State);
        _ -> State
    end.

-spec new_life(topos_incarnation:t(), state()) -> state().
new_life(Above, #state{node = Node, own = Own, members = Members} = State) ->
    Incarnation = topos_local:live_again(Above),
    ok = topos_link:new_life(),
    ok = topos_overlay:live_again(Incarnation),
    Fresh = Own#{incarnation := Incarnation, version := 0},
    {_, Merged} = topos_membership:merge_entry(Fresh, Members),
    true = ets:insert(topos_members, {Node, up, Fresh, now_ms()}),
    State#state{own = Fresh, members = Merged}.

-spec tell([topos_membership:name()], [node()], state()) -> ok.
tell([], _, _) -> ok;
tell(_, [], _) -> ok;
tell(Names, Nodes, #state{members = Members}) ->
    Entries = [Entry || Name <- Names, {ok, Entry} <- [topos_membership:find(Name, Members)]],
    Payload = [?ENTRIES, topos_membership:encode(Entries)],
    lists:foreach(fun(Node) -> topos_link:send(Node, gossip, Payload) end, Nodes).

-spec peers_up(state()) -> [node()].
peers_up(#state{peers = Peers}) -> [Node || {Node, #peer{status = up}} <- maps:to_list(Peers)].

%% internal: getting out

%% The member confirmed the leave, or cannot any more.
-spec told(node(), state()) -> state().
told(Node, #state{leaving = {From, Told, Timer}} = State) ->
    case lists:delete(Node, Told) of
        [] -> _ = erlang:cancel_timer(Timer), has_left(State#state{leaving = {From, [], Timer}});
        Rest -> State#state{leaving = {From, Rest, Timer}}
    end;
told(_, State) ->
    State.

-spec has_left(state()) -> state().
has_left(#state{leaving = {From, _, _}, peers = Peers, candidates = Candidates, own = Own, node = Node} = State) ->
    ok = maps:foreach(
        fun(Peer, #peer{status = Status}) ->
            ok = disconnect(Peer),
            true = ets:delete(topos_members, Peer),
            case Status =:= up orelse Status =:= suspect of
                true ->
                    ok = topos_events:transition(down, Peer),
                    ok = topos_events:publish({down, Peer, this_node_left});
                false ->
                    ok
            end
        end, Peers),
    Gone = topos_error:new(not_connected, #{node => Node, status => left}),
    Dropped = lists:foldl(fun(C, Acc) -> drop_candidate(C, Gone, Acc) end, State, maps:keys(Candidates)),
    _ = [gen_server:reply(F, {error, Gone}) || {_, F, _, _} <- Dropped#state.joins],
    #{incarnation := Old} = Own,
    Alone = new_life(Old, Dropped#state{
        peers = #{}, members = topos_membership:new(), joins = [], leaving = none, left_at = Old, forgotten = #{}
    }),
    ok = topos_switch:left(),
    ok = gen_server:reply(From, ok),
    Alone.

-spec drop_candidate(node(), topos_error:t() | fun((waiting()) -> topos_error:t()), state()) -> state().
drop_candidate(Node, Error, State) when is_tuple(Error) -> drop_candidate(Node, fun(_) -> Error end, State);
drop_candidate(Node, Error, #state{candidates = Candidates} = State) ->
    case maps:take(Node, Candidates) of
        {#candidate{waiting = Waiting}, Rest} ->
            _ = [gen_server:reply(From, {error, Error(Who)}) || {From, _, _} = Who <- Waiting],
            ok = case State#state.peers of
                %% It became a member meanwhile: who asked for it gets no answer, but it is waited for as any other.
                #{Node := #peer{status = Status}} when Status =/= left -> ok;
                _ -> disconnect(Node)
            end,
            State#state{candidates = Rest};
        error ->
            State
    end.

%% internal: time

-spec on_tick(integer(), state()) -> state().
on_tick(Now, State) ->
    Late = maps:fold(fun(Node, Candidate, Acc) -> check_candidate(Now, Node, Candidate, Acc) end, State, State#state.candidates),
    Waiting = lists:filter(fun(Join) -> is_waiting(Now, Join) end, Late#state.joins),
    Forgotten = maps:fold(fun(Node, Peer, Acc) -> check_peer(Now, Node, Peer, Acc) end, Late#state{joins = Waiting}, Late#state.peers),
    Kept = maps:filter(fun(_, {_, Until}) -> Now < Until end, Forgotten#state.forgotten),
    exchange(Now, Forgotten#state{forgotten = Kept}).

-spec check_candidate(integer(), node(), #candidate{}, state()) -> state().
check_candidate(Now, Node, #candidate{deadline = Deadline, waiting = Waiting}, #state{candidates = Candidates} = State) ->
    Failure = failure(Node),
    case Failure of
        {failed, {rejected, Why}} when Waiting =/= [] ->
            drop_candidate(Node, rejection(Node, Why), State);
        _ when Now >= Deadline ->
            drop_candidate(Node, fun({_, _, Timeout}) -> unreachable(Node, Failure, Timeout) end, State);
        _ ->
            {Over, Rest} = lists:partition(fun({_, Until, _}) -> Now >= Until end, Waiting),
            _ = [gen_server:reply(From, {error, unreachable(Node, Failure, Timeout)}) || {From, _, Timeout} <- Over],
            State#state{candidates = Candidates#{Node := (maps:get(Node, Candidates))#candidate{waiting = Rest}}}
    end.

-spec is_waiting(integer(), {node(), gen_server:from(), integer(), pos_integer()}) -> boolean().
is_waiting(Now, {Node, From, Deadline, Timeout}) when Now >= Deadline ->
    gen_server:reply(From, {error, unreachable(Node, failure(Node), Timeout)}),
    false;
is_waiting(_, _) ->
    true.

-spec check_peer(integer(), node(), #peer{}, state()) -> state().
check_peer(Now, Node, #peer{status = Status, since = Since}, State) ->
    ForgetAfter = topos_local:config(forget_after),
    if
        (Status =:= down orelse Status =:= joining) andalso Now - Since >= ForgetAfter -> forget(Now, Node, State);
        Status =:= left andalso Now - Since >= 2 * ForgetAfter -> forget(Now, Node, State);
        true -> State
    end.

-spec forget(integer(), node(), state()) -> state().
forget(Now, Node, #state{peers = Peers, members = Members, forgotten = Forgotten} = State) ->
    Name = atom_to_binary(Node),
    {ok, #{incarnation := Incarnation}} = topos_membership:find(Name, Members),
    ok = case is_map_key(Node, State#state.candidates) of true -> ok; false -> disconnect(Node) end,
    true = ets:delete(topos_members, Node),
    State#state{
        peers = maps:remove(Node, Peers),
        members = topos_membership:remove(Name, Members),
        forgotten = Forgotten#{Name => {Incarnation, Now + 2 * topos_local:config(forget_after)}}
    }.

-spec exchange(integer(), state()) -> state().
exchange(Now, #state{gossip_at = At} = State) when Now < At -> State;
exchange(Now, #state{members = Members} = State) ->
    ok = case peers_up(State) of
        [] -> ok;
        Up -> topos_link:send(lists:nth(rand:uniform(length(Up)), Up), gossip, [?DIGEST, topos_membership:digest(Members)])
    end,
    State#state{gossip_at = Now + ?GOSSIP_INTERVAL}.

%% internal: errors

-spec failure(node()) -> none | {failed, topos_engine:failure()}.
failure(Node) -> (topos_local:engine()):failure(Node).

%% What the engine heard when the other side turned it down.
-spec rejection(node(), cookie_or_name | not_partisan | {tls, binary()} | {unexpected_peer, node() | unknown}) ->
    topos_error:t().
rejection(Node, cookie_or_name) -> topos_error:new(cookie_mismatch, #{node => Node});
rejection(Node, {tls, Why}) -> topos_error:new(no_certificate, #{node => Node, why => Why});
rejection(Node, {unexpected_peer, Found}) -> topos_error:new(wrong_node, #{node => Node, found => Found});
rejection(Node, Why) -> topos_error:new(not_a_node, #{node => Node, why => Why}).

-spec unreachable(node(), none | {failed, topos_engine:failure()}, pos_integer()) -> topos_error:t().
unreachable(Node, Failure, Timeout) ->
    topos_error:new(unreachable, #{node => Node, timeout => Timeout, why => why(Failure)}).

-spec why(none | {failed, topos_engine:failure()}) -> term().
why(none) -> no_answer;
why({failed, Why}) -> Why.

%% internal: tables

-spec set_status(node(), status(), state()) -> state().
set_status(Node, Status, #state{peers = Peers, members = Members} = State) ->
    {ok, Entry} = topos_membership:find(atom_to_binary(Node), Members),
    Now = now_ms(),
    true = ets:insert(topos_members, {Node, Status, Entry, Now}),
    ok = topos_overlay:status(Node, Status),
    ok = topos_swim:status(Node, Status),
    State#state{peers = Peers#{Node => #peer{status = Status, since = Now}}}.

-spec store(node(), topos_membership:entry(), state()) -> state().
store(Node, Entry, State) ->
    true = ets:update_element(topos_members, Node, {3, Entry}),
    State.

%% After a restart of this process: members are dialled again; who was up and is not is down.
-spec resume({node(), status(), topos_membership:entry(), integer()}, state()) -> state().
resume({Node, left, _, Since}, #state{peers = Peers} = State) ->
    State#state{peers = Peers#{Node => #peer{status = left, since = Since}}};
resume({Node, Status, #{incarnation := Incarnation, addresses := Addresses}, Since}, #state{peers = Peers} = State) ->
    ok = topos_overlay:status(Node, Status),
    ok = topos_link:expect(Node, Incarnation),
    ok = topos_overlay:joined(Node, Addresses),
    Known = State#state{peers = Peers#{Node => #peer{status = Status, since = Since}}},
    case topos_link:status(Node) of
        {Now, _} when Now =:= up; Now =:= suspect -> set_status(Node, Now, Known);
        _ when Status =:= up; Status =:= suspect -> status(Node, down, restarted, Known);
        _ -> Known
    end.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
