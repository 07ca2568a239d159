%% @doc The watching side of remote monitors, as a pure state machine: events in, actions out.
%%
%% Each monitor of a process on another node is a *lease* held by that node (`topos_lease'): it watches the process for
%% us. What can go wrong between the two is met like this:
%% <ul>
%% <li>A *generation* numbers our dealings with a node. It grows whenever we give the node up (it went down), so the
%% node drops what it still held for us, and what is left of an earlier generation on the wire is recognised and
%% ignored.</li>
%% <li>A *session* is the node's answer: it names the memory our leases are kept in. If the node lost that memory (its
%%   server was restarted, or it had given us up) the session differs, and every lease is asked for again.</li>
%% <li>The news that a process ended is pushed at once, and repeated in the answer to each renewal until
%% acknowledged.</li>
%% <li>A lease that was not confirmed, for whatever reason, is asked for again as long as its node is not down: at the next tick, then after two,
%%   four, and at most eight, until the node answers. A node that is slow because many ask must not be asked more for it. Requests are idempotent.</li>
%% </ul>
%% So each monitor ends in exactly one delivery, unless it was cancelled before: by the end of the process, or because
%% its node went down. The laws are properties of `tests/prop_topos_watch.erl'.
-module(topos_watch).

-export([new/1, monitor/5, demonitor/2, watched/5, pushed/4, tick/1, renewed/6, node_down/3, node_up/2, monitors/1]).
-export_type([t/0, generation/0, lease/0, session/0, action/0, outcome/0, renewal/0]).

%% `{Seed, Counter}', ordered; the seed grows with each start of the owner within an incarnation of the node.
-type generation() :: {integer(), non_neg_integer()}.
-type lease() :: pos_integer().
-type session() :: integer().
%% The answer to the request for a lease. `failed': none came, or the node does not know this generation any more.
-type outcome() :: {ok, session()} | {down, Reason :: term()} | failed.
%% `gone': the node holds nothing for us. `moved': it does, but in another session.
-type renewal() :: {ok, [{lease(), Reason :: term()}]} | gone | moved | failed.
-type action() ::
    %% Tell the owner that the process is gone.
    {deliver, reference(), term()}
    %% The node watches the process now.
    | {confirmed, reference()}
    | {watch, node(), generation(), lease(), Process :: term()}
    | {forget, node(), generation(), [lease()]}
    | {renew, node(), generation(), session() | undefined, Forget :: [lease()]}.

-record(link, {
    generation :: generation(),
    session :: session() | undefined,
    %% Leases the node should hold.
    leases = #{} :: #{lease() => {reference(), term(), confirmed | asked}},
    %% Leases it should forget: cancelled, or reported to us.
    forget = #{} :: #{lease() => true},
    %% The node may still hold leases of an earlier generation: it has to be told of this one.
    owed = false :: boolean(),
    %% Ticks that pass without a renewal, and how many did after the last one that was not answered.
    rest = 0 :: non_neg_integer(),
    rested = 0 :: non_neg_integer()
}).

-record(watch, {
    seed :: integer(),
    counter = 0 :: non_neg_integer(),
    next = 1 :: lease(),
    links = #{} :: #{node() => #link{}},
    monitors = #{} :: #{reference() => {node(), lease()}}
}).

-opaque t() :: #watch{}.

%% More leases to forget are left to the next renewal.
-define(FORGET_AT_ONCE, 1_000).
%% At most so many ticks pass between two renewals.
-define(MAX_REST, 8).

-spec new(Seed :: integer()) -> t().
new(Seed) -> #watch{seed = Seed}.

-spec monitors(t()) -> non_neg_integer().
monitors(#watch{monitors = Monitors}) -> map_size(Monitors).

%% @doc Begins a monitor of a process on a node. What `Process' is only the node knows. `Reachable' tells whether the
%% node can be asked at all; if not, the monitor ends at once.
-spec monitor(reference(), node(), Process :: term(), Reachable :: true | {false, Reason :: term()}, t()) -> {t(),
    [action()]}.
monitor(Ref, _, _, {false, Reason}, Watch) ->
    {Watch, [{deliver, Ref, Reason}]};
monitor(Ref, Node, Process, true, #watch{next = Lease, monitors = Monitors} = Watch) ->
    {#link{generation = Generation, leases = Leases} = Link, Watch1} = link(Node, Watch),
    Link1 = Link#link{leases = Leases#{Lease => {Ref, Process, asked}}},
    Watch2 = Watch1#watch{next = Lease + 1, monitors = Monitors#{Ref => {Node, Lease}}},
    {put_link(Node, Link1, Watch2), [{watch, Node, Generation, Lease, Process}]}.

%% @doc Cancels a monitor. Nothing is delivered for it any more.
-spec demonitor(reference(), t()) -> {t(), [action()]}.
demonitor(Ref, #watch{monitors = Monitors} = Watch) ->
    case maps:take(Ref, Monitors) of
        {{Node, Lease}, Rest} ->
            #{Node := #link{generation = Generation} = Link} = Watch#watch.links,
            {put_link(Node, forget(Lease, Link), Watch#watch{monitors = Rest}), [{forget, Node, Generation, [Lease]}]};
        error ->
            {Watch, []}
    end.

%% @doc The answer to `{watch, ..}'.
-spec watched(node(), generation(), lease(), outcome(), t()) -> {t(), [action()]}.
watched(Node, Generation, Lease, Outcome, Watch) ->
    case current(Node, Generation, Watch) of
        {ok, Link} ->
            case Outcome of
                {down, Reason} -> ended([{Lease, Reason}], Node, Link, Watch);
                {ok, Session} ->
                    {Link1, Actions} = in_session(Node, Session, Link),
                    {Link2, Confirmed} = confirm(Lease, Link1),
                    {put_link(Node, Link2, Watch), Confirmed ++ Actions};
                %% The next tick asks again.
                failed -> {Watch, []}
            end;
        old ->
            {Watch, []}
    end.

%% @doc The node says, unasked, that the process of a lease ended.
-spec pushed(node(), generation(), [{lease(), Reason :: term()}], t()) -> {t(), [action()]}.
pushed(Node, Generation, Ended, Watch) ->
    case current(Node, Generation, Watch) of
        {ok, Link} -> ended(Ended, Node, Link, Watch);
        old -> {Watch, []}
    end.

%% @doc Time for a renewal of every link that was answered: asks for what is not confirmed, and whether the rest still holds.
-spec tick(t()) -> {t(), [action()]}.
tick(#watch{links = Links} = Watch) ->
    maps:fold(
        fun(Node, Link, {Acc, Actions}) ->
            {Next, New} = renewal(Node, Link),
            {put_link(Node, Next, Acc), New ++ Actions}
        end, {Watch, []}, Links).

%% @doc The answer to `{renew, ..}', with the leases that were to be forgotten.
-spec renewed(node(), generation(), session() | undefined, Forgotten :: [lease()], renewal(), t()) -> {t(), [action()]}.
renewed(Node, Generation, Session, Forgotten, Renewal, Watch) ->
    case current(Node, Generation, Watch) of
        {ok, #link{session = Session} = Link} when Renewal =/= failed ->
            renewed_now(Node, Forgotten, Renewal, Link#link{rest = 0, rested = 0}, Watch);
        %% An answer to a question of an earlier session, or none.
        _ -> {Watch, []}
    end.

%% @doc The node went down, left, or came back as another incarnation: all its monitors end.
-spec node_down(node(), Reason :: term(), t()) -> {t(), [action()]}.
node_down(Node, Reason, #watch{links = Links, monitors = Monitors, seed = Seed, counter = Counter} = Watch) ->
    case Links of
        #{Node := #link{leases = Leases}} ->
            Refs = [Ref || {Ref, _, _} <- maps:values(Leases)],
            Watch1 = Watch#watch{monitors = maps:without(Refs, Monitors), counter = Counter + 1},
            {put_link(Node, #link{generation = {Seed, Counter}}, Watch1), [{deliver, Ref, Reason} || Ref <- Refs]};
        #{} ->
            {Watch, []}
    end.

%% @doc The node can be asked again, or this state is new. It is told our generation at the next tick, and drops what it
%% held for us in an earlier one.
-spec node_up(node(), t()) -> t().
node_up(Node, Watch) ->
    {Link, Watch1} = link(Node, Watch),
    put_link(Node, Link#link{owed = true}, Watch1).

%% internal

-spec link(node(), t()) -> {#link{}, t()}.
link(Node, #watch{links = Links, seed = Seed, counter = Counter} = Watch) ->
    case Links of
        #{Node := Link} -> {Link, Watch};
        #{} -> {#link{generation = {Seed, Counter}}, Watch#watch{counter = Counter + 1}}
    end.

-spec put_link(node(), #link{}, t()) -> t().
put_link(Node, Link, #watch{links = Links} = Watch) -> Watch#watch{links = Links#{Node => Link}}.

-spec current(node(), generation(), t()) -> {ok, #link{}} | old.
current(Node, Generation, #watch{links = Links}) ->
    case Links of
        #{Node := #link{generation = Generation} = Link} -> {ok, Link};
        #{} -> old
    end.

-spec forget(lease(), #link{}) -> #link{}.
forget(Lease, #link{leases = Leases, forget = Forget} = Link) ->
    Link#link{leases = maps:remove(Lease, Leases), forget = Forget#{Lease => true}}.

%% Every report is acknowledged, also one of a lease that we do not hold any more: else it would be repeated for ever.
-spec ended([{lease(), term()}], node(), #link{}, t()) -> {t(), [action()]}.
ended(Ended, Node, Link, Watch) ->
    {Link1, Watch1, Actions} = lists:foldl(
        fun({Lease, Reason}, {AccLink, #watch{monitors = Monitors} = AccWatch, Acc}) ->
            case AccLink#link.leases of
                #{Lease := {Ref, _, _}} ->
                    {forget(Lease, AccLink), AccWatch#watch{monitors = maps:remove(Ref, Monitors)},
                     [{deliver, Ref, Reason} | Acc]};
                #{} ->
                    {forget(Lease, AccLink), AccWatch, Acc}
            end
        end,
        {Link, Watch, []},
        Ended
    ),
    {put_link(Node, Link1, Watch1), lists:reverse(Actions)}.

%% A lease that was cancelled meanwhile stands in `forget'.
-spec confirm(lease(), #link{}) -> {#link{}, [action()]}.
confirm(Lease, #link{leases = Leases} = Link) ->
    case Leases of
        #{Lease := {Ref, Process, _}} ->
            {Link#link{leases = Leases#{Lease := {Ref, Process, confirmed}}}, [{confirmed, Ref}]};
        #{} ->
            {Link, []}
    end.

%% Another session than the one we knew: the node holds none of our leases but the one that was just asked for.
-spec in_session(node(), session(), #link{}) -> {#link{}, [action()]}.
in_session(_, Session, #link{session = Session} = Link) -> {Link, []};
in_session(_, Session, #link{session = undefined} = Link) -> {Link#link{session = Session}, []};
in_session(Node, Session, Link) -> ask_again(Node, Link#link{session = Session}).

-spec ask_again(node(), #link{}) -> {#link{}, [action()]}.
ask_again(Node, #link{generation = Generation, leases = Leases} = Link) ->
    Asked = maps:map(fun(_, {Ref, Process, _}) -> {Ref, Process, asked} end, Leases),
    {Link#link{leases = Asked}, [{watch, Node, Generation, Lease, Process}
        || {Lease, {_, Process, _}} <- maps:to_list(Asked)]}.

-spec renewal(node(), #link{}) -> {#link{}, [action()]}.
renewal(_, #link{leases = Leases, forget = Forget, owed = false} = Link) when map_size(Leases) + map_size(Forget) =:= 0 ->
    {Link, []};
renewal(_, #link{rest = Rest} = Link) when Rest > 0 ->
    {Link#link{rest = Rest - 1}, []};
renewal(Node, #link{generation = Generation, session = Session, leases = Leases, forget = Forget, rested = Rested} = Link) ->
    Asks = [{watch, Node, Generation, Lease, Process} || {Lease, {_, Process, asked}} <- maps:to_list(Leases)],
    Resting = min(?MAX_REST - 1, 2 * Rested + 1),
    {Link#link{rest = Rested, rested = Resting}, [{renew, Node, Generation, Session, some(Forget)} | Asks]}.

-spec some(#{lease() => true}) -> [lease()].
some(Forget) -> lists:sublist(lists:sort(maps:keys(Forget)), ?FORGET_AT_ONCE).

-spec renewed_now(node(), [lease()], {ok, [{lease(), Reason :: term()}]} | gone | moved, #link{}, t()) -> {t(), [action()]}.
renewed_now(Node, Forgotten, gone, #link{forget = Forget} = Link, Watch) ->
    %% What was cancelled after the question may have been asked for before it, and is held since the answer.
    {Link1, Actions} = ask_again(Node, Link#link{session = undefined, forget = maps:without(Forgotten, Forget), owed = false}),
    {put_link(Node, Link1, Watch), Actions};
renewed_now(Node, _, moved, Link, Watch) ->
    {Link1, Actions} = ask_again(Node, Link#link{session = undefined}),
    {put_link(Node, Link1, Watch), Actions};
renewed_now(Node, Forgotten, {ok, Ended}, #link{forget = Forget} = Link, Watch) ->
    %% A lease that is reported again although we asked to forget it was not forgotten when the answer was made.
    ended(Ended, Node, Link#link{forget = maps:without(Forgotten, Forget), owed = false}, Watch).
