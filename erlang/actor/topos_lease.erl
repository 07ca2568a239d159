%% @doc The watched side of remote monitors, as a pure state machine: the leases this node holds for others.
%%
%% See `topos_watch' for the protocol. A lease lasts until its watcher says to forget it, until the watcher's node is
%% given up, or until the watcher begins a new generation. The end of a process is kept, and repeated at every renewal,
%% until the watcher acknowledges it. All requests of one watcher arrive in the order in which they were sent.
-module(topos_lease).

-export([new/2, watch/5, forget/4, renew/5, process_down/3, node_down/2, count/1]).
-export_type([t/0, action/0, key/0]).

-type action() ::
    {monitor, key(), Process :: term()}
    | {demonitor, key()}
    | {push, node(), topos_watch:generation(), [{topos_watch:lease(), Reason :: term()}]}.
%% What the owner of this state names a process monitor by.
-type key() :: {node(), topos_watch:generation(), topos_watch:lease()}.

-record(watcher, {
    generation :: topos_watch:generation(),
    session :: topos_watch:session(),
    leases = #{} :: #{topos_watch:lease() => live | {ended, Reason :: term()}}
}).

-record(lease, {
    limit :: pos_integer(),
    count = 0 :: non_neg_integer(),
    %% Sessions grow, also over restarts of the owner: it gives the first one.
    next_session :: topos_watch:session(),
    watchers = #{} :: #{node() => #watcher{}}
}).

-opaque t() :: #lease{}.

-spec new(Limit :: pos_integer(), FirstSession :: topos_watch:session()) -> t().
new(Limit, Session) -> #lease{limit = Limit, next_session = Session}.

%% @doc Leases held, over all watchers.
-spec count(t()) -> non_neg_integer().
count(#lease{count = Count}) -> Count.

%% @doc A node asks for a lease. Asking again for the same one changes nothing.
-spec watch(node(), topos_watch:generation(), topos_watch:lease(), Process :: term(), t()) ->
    {topos_watch:outcome(), t(), [action()]}.
watch(Node, Generation, Lease, Process, State) ->
    case watcher(Node, Generation, State) of
        {old, _} ->
            {failed, State, []};
        {#watcher{session = Session, leases = #{Lease := Known}}, State1, Actions} ->
            case Known of
                live -> {{ok, Session}, State1, Actions};
                {ended, Reason} -> {{down, Reason}, State1, Actions}
            end;
        {_, #lease{limit = Limit, count = Limit} = State1, Actions} ->
            {{down, overloaded}, State1, Actions};
        {#watcher{session = Session, leases = Leases} = Watcher, #lease{count = Count} = State1, Actions} ->
            State2 = put_watcher(Node, Watcher#watcher{leases = Leases#{Lease => live}},
                State1#lease{count = Count + 1}),
            {{ok, Session}, State2, Actions ++ [{monitor, {Node, Generation, Lease}, Process}]}
    end.

%% @doc A watcher cancels leases, or has taken note of their end.
-spec forget(node(), topos_watch:generation(), [topos_watch:lease()], t()) -> {t(), [action()]}.
forget(Node, Generation, Forgotten, #lease{watchers = Watchers, count = Count} = State) ->
    case Watchers of
        #{Node := #watcher{generation = Generation, leases = Leases} = Watcher} ->
            Kept = maps:without(Forgotten, Leases),
            State1 = State#lease{count = Count - (map_size(Leases) - map_size(Kept))},
            {
                put_watcher(Node, Watcher#watcher{leases = Kept}, State1),
                [{demonitor, {Node, Generation, Lease}} || Lease <- Forgotten, maps:get(Lease, Leases, none) =:= live]
            };
        #{} ->
            {State, []}
    end.

%% @doc A watcher asks whether its leases still hold. What was held in an older generation is
%% dropped.
-spec renew(node(), topos_watch:generation(), topos_watch:session() | undefined, [topos_watch:lease()], t()) ->
    {topos_watch:renewal(), t(), [action()]}.
renew(Node, Generation, Session, Forgotten, #lease{watchers = Watchers} = State) ->
    case Watchers of
        #{Node := #watcher{generation = Generation, session = Ours}} when Session =:= Ours; Session =:= undefined ->
            {State1, Actions} = forget(Node, Generation, Forgotten, State),
            #{Node := #watcher{leases = Leases}} = State1#lease.watchers,
            {{ok, [{Lease, Reason} || {Lease, {ended, Reason}} <- maps:to_list(Leases)]}, State1, Actions};
        #{Node := #watcher{generation = Older}} when Older < Generation ->
            {State1, Actions} = node_down(Node, State),
            {gone, State1, Actions};
        #{Node := #watcher{generation = Generation}} ->
            {moved, State, []};
        #{} ->
            {gone, State, []}
    end.

%% @doc The process of a lease ended.
-spec process_down(key(), Reason :: term(), t()) -> {t(), [action()]}.
process_down({Node, Generation, Lease}, Reason, #lease{watchers = Watchers} = State) ->
    case Watchers of
        #{Node := #watcher{generation = Generation, leases = #{Lease := live} = Leases} = Watcher} ->
            Ended = Watcher#watcher{leases = Leases#{Lease := {ended, Reason}}},
            {put_watcher(Node, Ended, State), [{push, Node, Generation, [{Lease, Reason}]}]};
        #{} ->
            {State, []}
    end.

%% @doc A watcher's node went down or left: its leases end.
-spec node_down(node(), t()) -> {t(), [action()]}.
node_down(Node, #lease{watchers = Watchers} = State) ->
    case maps:take(Node, Watchers) of
        {Watcher, Rest} -> dropped(Node, Watcher, State#lease{watchers = Rest});
        error -> {State, []}
    end.

%% internal

%% The watcher of a node in that generation; a newer one replaces what was held for the older.
-spec watcher(node(), topos_watch:generation(), t()) -> {#watcher{}, t(), [action()]} | {old, t()}.
watcher(Node, Generation, #lease{watchers = Watchers} = State) ->
    case Watchers of
        #{Node := #watcher{generation = Generation} = Watcher} -> {Watcher, State, []};
        #{Node := #watcher{generation = Newer}} when Newer > Generation -> {old, State};
        #{Node := Watcher} ->
            {State1, Actions} = dropped(Node, Watcher, State),
            {New, State2} = new_watcher(Node, Generation, State1),
            {New, State2, Actions};
        #{} ->
            {New, State1} = new_watcher(Node, Generation, State),
            {New, State1, []}
    end.

-spec new_watcher(node(), topos_watch:generation(), t()) -> {#watcher{}, t()}.
new_watcher(Node, Generation, #lease{next_session = Session} = State) ->
    Watcher = #watcher{generation = Generation, session = Session},
    {Watcher, put_watcher(Node, Watcher, State#lease{next_session = Session + 1})}.

-spec dropped(node(), #watcher{}, t()) -> {t(), [action()]}.
dropped(Node, #watcher{generation = Generation, leases = Leases}, #lease{count = Count} = State) ->
    {
        State#lease{count = Count - map_size(Leases)},
        [{demonitor, {Node, Generation, Lease}} || {Lease, live} <- maps:to_list(Leases)]
    }.

-spec put_watcher(node(), #watcher{}, t()) -> t().
put_watcher(Node, Watcher, #lease{watchers = Watchers} = State) -> State#lease{watchers = Watchers#{Node => Watcher}}.

