%% @doc The process that keeps this node's monitors of processes of other nodes, and the leases other nodes hold here.
%%
%% It carries out what `topos_watch' (our monitors) and `topos_lease' (theirs) decide, over messages on the control
%% channel. Monitors stand in the table `topos_monitors', owned by the supervisor, so they outlive a restart of this
%% process: it begins them anew. The alias of each monitor admits one message, so a `DOWN' is never seen twice.
-module(topos_actors).
-behaviour(gen_server).
-behaviour(topos_delivery).

-include("topos_frame.hrl").

-export([start_link/0, new_table/0, monitor/2, demonitor/1, monitors/0, leases/0]).
-export([deliver/3]).
-export([init/1, handle_call/3, handle_continue/2, handle_cast/2, handle_info/2]).

-define(TABLE, topos_monitors).
-define(CONFIRMED_WITHIN, 1_000).

-record(state, {
    watch :: topos_watch:t(),
    lease :: topos_lease:t(),
    subscription :: reference(),
    tick :: pos_integer(),
    %% The life in which each node was last seen.
    lives = #{} :: #{node() => topos_incarnation:t()},
    %% Who owns which monitors.
    owners = #{} :: #{pid() => {reference(), #{reference() => true}}},
    %% Callers of monitor/2 that wait until the other node watches.
    callers = #{} :: #{reference() => gen_server:from()},
    %% Monitors of processes of this node: of the process, of whom it is for.
    local = #{} :: #{reference() => reference()},
    %% Process monitors of leases, both ways.
    leased = #{} :: #{reference() => topos_lease:key()},
    keys = #{} :: #{topos_lease:key() => reference()}
}).
-type state() :: #state{}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Creates the table of monitors; the caller owns it and keeps it as long as the node runs.
-spec new_table() -> ok.
new_table() ->
    ?TABLE = ets:new(?TABLE, [named_table, public, {write_concurrency, true}]),
    ok.

%% @doc Begins a monitor for the calling process. `Alias' is an alias of it that closes with its first message. Answers
%% when the process is watched, so that its reason to end is not missed; after a second in any case, the monitor then
%% begins as soon as the node can be asked.
-spec monitor(Alias :: reference(), topos_remote:t()) -> ok | {error, topos_error:t()}.
monitor(Alias, Ref) -> call({monitor, Alias, Ref}).

-spec demonitor(Alias :: reference()) -> ok | {error, topos_error:t()}.
demonitor(Alias) -> call({demonitor, Alias}).

%% @doc Monitors of this node's processes that are open.
-spec monitors() -> non_neg_integer() | {error, topos_error:t()}.
monitors() -> call(monitors).

%% @doc Leases that other nodes hold here.
-spec leases() -> non_neg_integer() | {error, topos_error:t()}.
leases() -> call(leases).

%% topos_delivery: in the process of the lane

-spec deliver(topos_delivery:from(), binary(), {bytes, binary()} | {term, term()}) ->
    ok | {error, topos_delivery:reason()}.
deliver({Node, Incarnation}, _, Message) ->
    case topos_delivery:message(Message) of
        {ok, Term} ->
            case whereis(?MODULE) of
                undefined -> {error, ?TOPOS_UNDELIVERED_NO_HANDLER};
                Pid -> Pid ! {?MODULE, Node, Incarnation, Term}, ok
            end;
        {error, Reason} -> {error, Reason}
    end.

%% gen_server

-spec init([]) -> {ok, state(), {continue, begin_anew}}.
init([]) ->
    #{limits := #{max_leases := Limit}, fault_detection := #{suspect_after := Tick}} = topos_local:config(),
    ok = topos_delivery:claim(?TOPOS_DEST_MONITOR, ?MODULE),
    {ok, Subscription} = topos_events:subscribe(self()),
    Now = erlang:system_time(microsecond),
    _ = erlang:send_after(Tick, self(), tick),
    State = #state{watch = topos_watch:new(Now), lease = topos_lease:new(Limit, Now), subscription = Subscription,
        tick = Tick},
    {ok, State, {continue, begin_anew}}.

%% What an earlier run of this process had begun.
-spec handle_continue(begin_anew, state()) -> {noreply, state()}.
handle_continue(begin_anew, State) ->
    Up = [{Node, Incarnation} || {Node, Status} <- topos_link:peers(), Status =:= up orelse Status =:= suspect,
                                 {_, Incarnation} <- [topos_link:status(Node)]],
    Seen = lists:foldl(fun({Node, Incarnation}, Acc) -> came_up(Node, Incarnation, Acc) end, State, Up),
    {noreply, lists:foldl(
        fun({Alias, Owner, Ref}, Acc) -> begin_monitor(Alias, Owner, Ref, Acc) end, Seen, ets:tab2list(?TABLE)
    )}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()} | {noreply, state()}.
handle_call({monitor, Alias, Ref}, {Owner, _} = From, #state{callers = Callers} = State) ->
    #{max_leases := Limit} = topos_local:config(limits),
    case ets:info(?TABLE, size) of
        Size when Size >= Limit ->
            {reply, {error, topos_error:new(too_many_monitors, #{limit => Limit})}, State};
        _ ->
            true = ets:insert(?TABLE, {Alias, Owner, Ref}),
            _ = erlang:send_after(?CONFIRMED_WITHIN, self(), {answer, Alias}),
            {noreply, begin_monitor(Alias, Owner, Ref, State#state{callers = Callers#{Alias => From}})}
    end;
handle_call({demonitor, Alias}, {Owner, _}, State) ->
    case ets:lookup(?TABLE, Alias) of
        [{_, Owner, _}] -> {reply, ok, cancel(Alias, Owner, State)};
        _ -> {reply, ok, State}
    end;
handle_call(monitors, _From, State) ->
    {reply, ets:info(?TABLE, size), State};
handle_call(leases, _From, #state{lease = Lease} = State) ->
    {reply, topos_lease:count(Lease), State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_, State) -> {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({?MODULE, Node, Incarnation, Message}, State) ->
    {noreply, from_peer(Message, Node, came_up(Node, Incarnation, State))};
handle_info({topos, Subscription, Event}, #state{subscription = Subscription} = State) ->
    {noreply, on_event(Event, State)};
handle_info({answer, Alias}, State) ->
    {noreply, answer(Alias, State)};
handle_info(tick, #state{tick = Tick, watch = Watch} = State) ->
    _ = erlang:send_after(Tick, self(), tick),
    {noreply, watching(topos_watch:tick(Watch), State)};
handle_info({'DOWN', Monitor, process, Pid, Reason}, State) ->
    {noreply, process_down(Monitor, Pid, Reason, State)};
handle_info(_, State) ->
    {noreply, State}.

%% internal

-spec call(term()) -> term().
call(Request) ->
    try
        gen_server:call(?MODULE, Request)
    catch
        exit:{timeout, _} -> {error, topos_error:new(timeout, #{operation => monitor, timeout => 5_000})};
        exit:{_, _} -> {error, topos_error:new(not_started, #{})}
    end.

-spec begin_monitor(reference(), pid(), topos_remote:t(), state()) -> state().
begin_monitor(Alias, Owner, Ref, State) ->
    Owned = own(Alias, Owner, State),
    Node = topos_remote:node(Ref),
    case topos_local:config(node) of
        Node -> monitor_here(Alias, topos_remote:local_pid(Ref), Owned);
        _ -> watching(topos_watch:monitor(Alias, Node, topos_remote:id(Ref), reachable(Ref), Owned#state.watch), Owned)
    end.

-spec monitor_here(reference(), {ok, pid()} | {error, topos_error:t()}, state()) -> state().
monitor_here(Alias, {ok, Pid}, #state{local = Local} = State) ->
    answer(Alias, State#state{local = Local#{erlang:monitor(process, Pid) => Alias}});
monitor_here(Alias, {error, Error}, State) ->
    ended(Alias, reason(topos_error:reason(Error)), State).

-spec reason(topos_error:reason()) -> term().
reason(no_such_process) -> noproc;
reason(Reason) -> Reason.

-spec reachable(topos_remote:t()) -> true | {false, term()}.
reachable(Ref) ->
    Life = topos_remote:incarnation(Ref),
    case topos_link:status(topos_remote:node(Ref)) of
        {Status, Life} when Status =:= up; Status =:= suspect -> true;
        {Status, _} when Status =:= up; Status =:= suspect -> {false, stale_incarnation};
        _ -> {false, noconnection}
    end.

%% Another life of a node is another node: what was asked of the earlier one ends.
-spec came_up(node(), topos_incarnation:t(), state()) -> state().
came_up(Node, Incarnation, #state{lives = Lives} = State) ->
    case Lives of
        #{Node := Incarnation} -> State;
        #{Node := _} -> came_up(Node, Incarnation, gone(Node, State));
        #{} ->
            State#state{lives = Lives#{Node => Incarnation}, watch = topos_watch:node_up(Node, State#state.watch)}
    end.

-spec gone(node(), state()) -> state().
gone(Node, #state{lives = Lives, watch = Watch} = State) ->
    #state{lease = Lease} = Next =
        watching(topos_watch:node_down(Node, noconnection, Watch), State#state{lives = maps:remove(Node, Lives)}),
    leasing(topos_lease:node_down(Node, Lease), Next).

-spec on_event(topos_events:event(), state()) -> state().
on_event({up, Node, Incarnation}, State) -> came_up(Node, Incarnation, State);
on_event({down, Node, _}, State) -> gone(Node, State);
on_event({left, Node}, State) -> gone(Node, State);
on_event(_, State) -> State.

-spec from_peer(term(), node(), state()) -> state().
from_peer({watch, Generation, Lease, Process}, Node, #state{lease = Leases} = State) ->
    {Outcome, Next, Actions} = topos_lease:watch(Node, Generation, Lease, Process, Leases),
    Done = leasing({Next, Actions}, State),
    ok = send(Node, {watched, Generation, Lease, Outcome}),
    Done;
from_peer({forget, Generation, Forget}, Node, #state{lease = Leases} = State) ->
    leasing(topos_lease:forget(Node, Generation, Forget, Leases), State);
from_peer({renew, Generation, Session, Forget}, Node, #state{lease = Leases} = State) ->
    {Renewal, Next, Actions} = topos_lease:renew(Node, Generation, Session, Forget, Leases),
    ok = send(Node, {renewed, Generation, Session, Forget, Renewal}),
    leasing({Next, Actions}, State);
from_peer({watched, Generation, Lease, Outcome}, Node, #state{watch = Watch} = State) ->
    watching(topos_watch:watched(Node, Generation, Lease, Outcome, Watch), State);
from_peer({renewed, Generation, Session, Forget, Renewal}, Node, #state{watch = Watch} = State) ->
    watching(topos_watch:renewed(Node, Generation, Session, Forget, Renewal, Watch), State);
from_peer({pushed, Generation, Ended}, Node, #state{watch = Watch} = State) ->
    watching(topos_watch:pushed(Node, Generation, Ended, Watch), State).

-spec watching({topos_watch:t(), [topos_watch:action()]}, state()) -> state().
watching({Watch, Actions}, State) ->
    lists:foldl(fun watch_action/2, State#state{watch = Watch}, Actions).

-spec watch_action(topos_watch:action(), state()) -> state().
watch_action({deliver, Alias, Reason}, State) -> ended(Alias, topos_remote:unpack(Reason), State);
watch_action({confirmed, Alias}, State) -> answer(Alias, State);
watch_action({watch, Node, Generation, Lease, Process}, State) ->
    ok = send(Node, {watch, Generation, Lease, Process}),
    State;
watch_action({forget, Node, Generation, Leases}, State) ->
    ok = send(Node, {forget, Generation, Leases}),
    State;
watch_action({renew, Node, Generation, Session, Forget}, State) ->
    ok = send(Node, {renew, Generation, Session, Forget}),
    State.

-spec leasing({topos_lease:t(), [topos_lease:action()]}, state()) -> state().
leasing({Lease, Actions}, State) ->
    lists:foldl(fun lease_action/2, State#state{lease = Lease}, Actions).

-spec lease_action(topos_lease:action(), state()) -> state().
lease_action({monitor, Key, Id}, #state{leased = Leased, keys = Keys, lease = Lease} = State) ->
    case topos_remote:pid(Id) of
        {ok, Pid} ->
            Monitor = erlang:monitor(process, Pid),
            State#state{leased = Leased#{Monitor => Key}, keys = Keys#{Key => Monitor}};
        error ->
            leasing(topos_lease:process_down(Key, noproc, Lease), State)
    end;
lease_action({demonitor, Key}, #state{leased = Leased, keys = Keys} = State) ->
    {Monitor, Rest} = maps:take(Key, Keys),
    true = erlang:demonitor(Monitor, [flush]),
    State#state{leased = maps:remove(Monitor, Leased), keys = Rest};
lease_action({push, Node, Generation, Ended}, State) ->
    ok = send(Node, {pushed, Generation, Ended}),
    State.

%% What is lost here is asked for again, or repeated, at the next tick.
-spec send(node(), term()) -> ok.
send(Node, Message) ->
    _ = topos_lane:send(Node, {?TOPOS_DEST_MONITOR, <<>>}, Message, #{channel => control, key => ?MODULE}),
    ok.

-spec process_down(reference(), pid(), term(), state()) -> state().
process_down(Monitor, Pid, Reason, #state{owners = Owners, local = Local, leased = Leased, keys = Keys} = State) ->
    case State of
        #state{local = #{Monitor := Alias}} ->
            ended(Alias, topos_remote:portable(Reason), State#state{local = maps:remove(Monitor, Local)});
        #state{leased = #{Monitor := Key}, lease = Lease} ->
            Next = State#state{leased = maps:remove(Monitor, Leased), keys = maps:remove(Key, Keys)},
            leasing(topos_lease:process_down(Key, topos_remote:pack(Reason), Lease), Next);
        #state{owners = #{Pid := {Monitor, Aliases}}} ->
            lists:foldl(fun(Alias, Acc) -> end_monitor(Alias, Acc) end, State#state{owners = maps:remove(Pid, Owners)},
                        maps:keys(Aliases));
        _ ->
            State
    end.

-spec answer(reference(), state()) -> state().
answer(Alias, #state{callers = Callers} = State) ->
    case maps:take(Alias, Callers) of
        {From, Rest} ->
            ok = gen_server:reply(From, ok),
            State#state{callers = Rest};
        error ->
            State
    end.

%% The message first: if this process ended between the two, its successor would send it again, and the alias, closed by
%% the first, would drop it.
-spec ended(reference(), term(), state()) -> state().
ended(Alias, Reason, State) ->
    case ets:lookup(?TABLE, Alias) of
        [{_, Owner, Ref}] ->
            Alias ! {'DOWN', Alias, process, Ref, Reason},
            true = ets:delete(?TABLE, Alias),
            disown(Alias, Owner, answer(Alias, State));
        [] ->
            State
    end.

-spec cancel(reference(), pid(), state()) -> state().
cancel(Alias, Owner, State) -> end_monitor(Alias, disown(Alias, Owner, State)).

-spec end_monitor(reference(), state()) -> state().
end_monitor(Alias, #state{callers = Callers, local = Local, watch = Watch} = State0) ->
    true = ets:delete(?TABLE, Alias),
    State = State0#state{callers = maps:remove(Alias, Callers)},
    case [Monitor || {Monitor, A} <- maps:to_list(Local), A =:= Alias] of
        [Monitor] ->
            true = erlang:demonitor(Monitor, [flush]),
            State#state{local = maps:remove(Monitor, Local)};
        [] ->
            watching(topos_watch:demonitor(Alias, Watch), State)
    end.

-spec own(reference(), pid(), state()) -> state().
own(Alias, Owner, #state{owners = Owners} = State) ->
    {Monitor, Aliases} =
        case Owners of
            #{Owner := Known} -> Known;
            #{} -> {erlang:monitor(process, Owner), #{}}
        end,
    State#state{owners = Owners#{Owner => {Monitor, Aliases#{Alias => true}}}}.

-spec disown(reference(), pid(), state()) -> state().
disown(Alias, Owner, #state{owners = Owners} = State) ->
    case Owners of
        #{Owner := {Monitor, #{Alias := true} = Aliases}} when map_size(Aliases) =:= 1 ->
            true = erlang:demonitor(Monitor, [flush]),
            State#state{owners = maps:remove(Owner, Owners)};
        #{Owner := {Monitor, Aliases}} ->
            State#state{owners = Owners#{Owner := {Monitor, maps:remove(Alias, Aliases)}}};
        #{} ->
            State
    end.
