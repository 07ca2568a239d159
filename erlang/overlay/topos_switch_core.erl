%% @doc What a node does to switch the topology of its cluster together with all others: events in, actions out, no clock and no process.
%%
%% == Protocol ==
%% A switch is a two-phase commit. Its <em>epoch</em>, `{Counter, Coordinator, Incarnation}', stands for one topology for
%% ever; epochs are ordered as terms, and a node routes by the greatest committed one it knows.
%% ```
%% coordinator                                  every member
%%   PREPARE(Epoch, Base, Topology, Members) ->   checks; starts the machine of Epoch beside the old one
%%                                           <-   READY, once the new machine reaches every member
%%   all are READY: the switch is decided
%%   COMMIT(Epoch, Topology)                 ->   routes by the new machine; the old one and its links stay
%%                                           <-   COMMITTED
%%   all are COMMITTED
%%   RELEASE(Epoch)                          ->   stops the old machine, closes links that only it wanted
%% '''
%% Until RELEASE the links of both topologies are there, so nodes before and after COMMIT reach each other. Order and the
%% removal of duplicates are the lanes', from end to end, whatever the route; a switch neither delays nor repeats what they do.
%%
%% All messages repeat until they are answered: they may be lost, doubled and reordered.
%%
%% == When something fails ==
%% <ul>
%% <li>Before the decision: a refusal, a member that is down, or the deadline rolls the switch back everywhere. The old machine
%%     was never stopped, so nothing is lost. The caller is told who did not follow.</li>
%% <li>Two coordinators at once: the one with the smaller epoch gives up before its decision (`switch_conflict').</li>
%% <li>The coordinator is lost before a member has seen COMMIT: the member asks the others, and rolls back when nobody tells
%%     of a decision for `grace'.</li>
%% <li>It is lost after a member has seen COMMIT: that member tells all others the decision until they confirm it; it
%%     releases when all have. A member that had rolled back follows a decision all the same.</li>
%% <li>A member that is declared down is no longer waited for. When it comes back, like a node that joins, it is told the
%%     epoch and adopts it: starts the machine, activates it when it reaches all, or after `adopt' at the latest.</li>
%% </ul>
%% Nodes compare epochs when they meet, and each with one other every `heartbeat'; the greater wins. So of two parts of a
%% cluster that switched apart from each other, both end on the greater epoch.
%%
%% == What holds ==
%% An epoch has one topology. A node's epoch only grows. A node has at most two machines. While a node has both, no
%% link of either is closed by the switch. Nodes that reach each other end on one epoch (`tests/prop_topos_switch.erl').
-module(topos_switch_core).

-export([new/4, handle/3, current/1, status/1, callers/1, boot/0]).
-export_type([t/0, epoch/0, topology/0, event/0, action/0, message/0, why/0, settings/0, member_status/0]).

-type ms() :: integer().
%% `boot/0' is the epoch of the configured topology.
-type epoch() :: {Counter :: non_neg_integer(), Coordinator :: node(), Incarnation :: non_neg_integer()}.
%% The same on every node: without `role'.
-type topology() :: full_mesh | #{type := atom(), atom() => term()}.
-type member_status() :: up | suspect | joining | down.
-type settings() :: #{
    %% Between two sendings of what was not answered.
    resend => pos_integer(),
    %% How long the others are asked for a decision before a switch is rolled back.
    grace => pos_integer(),
    %% How long a machine of a decided switch may take to reach all others before it is activated all the same.
    adopt => pos_integer(),
    %% How long the coordinator may take to release before the others do it.
    takeover => pos_integer(),
    heartbeat => pos_integer()
}.
%% Why a member is not ready or refuses.
-type why() ::
    {down, [node()]} | {suspect, [node()]} | {members, Missing :: [node()], Extra :: [node()]} | {busy, epoch()}
    | {behind, epoch()} | releasing | {waiting, [node()]} | {not_started, topos_error:t()}.
-type message() ::
    {prepare, epoch(), Base :: epoch(), topology(), Members :: [node()], Patience :: pos_integer()}
    | {ready, epoch()}
    | {not_ready, epoch(), why()}
    | {refused, epoch(), why()}
    | {abort, epoch()}
    | {commit, epoch(), topology()}
    | {committed, epoch()}
    | {release, epoch()}
    | {ask, epoch()}
    | {active, epoch()}.
-type event() ::
    %% The other members; those that left are not among them.
    {members, #{node() => member_status()}}
    | {set_topology, From :: term(), topology(), Timeout :: pos_integer()}
    | {received, node(), message()}
    %% What the machine of this epoch reaches.
    | {machine, epoch(), ready | {waiting, [node()]} | {failed, topos_error:t()}}
    | tick.
-type action() ::
    {send, node(), message()}
    %% Start a machine beside the active one.
    | {start, epoch(), topology()}
    %% Route by it. The machine before stays, with its links.
    | {activate, epoch(), topology()}
    %% Stop this machine, which was not activated, and close links that only it wants.
    | {drop, epoch()}
    %% Stop all machines but this one.
    | {release, epoch()}
    | {reply, From :: term(), ok | {error, topos_error:t()}}.

%% A machine beside the active one.
-record(next, {
    epoch :: epoch(),
    topology :: topology(),
    ready = false :: boolean(),
    decided = false :: boolean(),
    waiting = [] :: [node()],
    deadline :: ms(),
    resend_at :: ms(),
    %% The others are being asked, until then.
    asking = no :: no | ms()
}).
%% The machine before is still there.
-record(draining, {confirmed = #{} :: #{node() => true}, takeover_at :: ms(), resend_at :: ms()}).
%% This node coordinates.
-record(lead, {
    from :: {caller, term()} | answered,
    epoch :: epoch(),
    topology :: topology(),
    phase = preparing :: preparing | committing,
    ready = #{} :: #{node() => true},
    reasons = #{} :: #{node() => why()},
    timeout :: pos_integer(),
    deadline :: ms(),
    resend_at :: ms()
}).
-record(core, {
    own :: node(),
    incarnation :: non_neg_integer(),
    settings :: settings(),
    members = #{} :: #{node() => member_status()},
    active :: {epoch(), topology()},
    %% The highest counter seen.
    last = 0 :: non_neg_integer(),
    next = none :: none | #next{},
    draining = none :: none | #draining{},
    lead = none :: none | #lead{},
    heartbeat_at :: ms(),
    told = none :: none | node(),
    now :: ms(),
    %% Newest first.
    actions = [] :: [action()]
}).
-opaque t() :: #core{}.

-define(MAX_PATIENCE, 1_200_000).

%% @doc The epoch of the configured topology.
-spec boot() -> epoch().
boot() -> {0, '', 0}.

%% @doc A node that routes by this epoch, and knows of no other member.
-spec new({node(), Incarnation :: non_neg_integer()}, {epoch(), topology()}, settings(), ms()) -> t().
new({Own, Incarnation}, {{Counter, _, _}, _} = Active, Settings, Now) ->
    Defaults = #{resend => 200, grace => 1_000, adopt => 5_000, takeover => 3_000, heartbeat => 1_000},
    #core{
        own = Own, incarnation = Incarnation, settings = maps:merge(Defaults, Settings), active = Active, last = Counter,
        now = Now, heartbeat_at = Now
    }.

%% @doc The epoch and the topology that this node routes by.
-spec current(t()) -> {epoch(), topology()}.
current(#core{active = Active}) -> Active.

%% @doc What is under way here: nothing, a machine that is getting ready, or an old one that was not released.
-spec status(t()) -> idle | {preparing | adopting | releasing, epoch()}.
status(#core{next = #next{epoch = Epoch, decided = true}}) -> {adopting, Epoch};
status(#core{next = #next{epoch = Epoch}}) -> {preparing, Epoch};
status(#core{draining = #draining{}, active = {Epoch, _}}) -> {releasing, Epoch};
status(#core{}) -> idle.

%% @doc Who waits for an answer.
-spec callers(t()) -> [term()].
callers(#core{lead = #lead{from = {caller, From}}}) -> [From];
callers(#core{}) -> [].

%% @doc Takes an event that happened at `Now' (milliseconds of any clock that does not go back). `tick' is due some times a `resend'.
-spec handle(event(), ms(), t()) -> {t(), [action()]}.
handle(Event, Now, #core{now = Before} = Core) ->
    #core{actions = Actions} = Handled = event(Event, Core#core{now = max(Now, Before)}),
    {Handled#core{actions = []}, lists:reverse(Actions)}.

%% internal

-spec event(event(), t()) -> t().
event({members, Members}, Core) -> members(maps:remove(Core#core.own, Members), Core);
event({set_topology, From, Topology, Timeout}, Core) -> set_topology(From, Topology, Timeout, Core);
event({received, Node, Message}, Core) -> received(Message, Node, Core);
event({machine, Epoch, State}, #core{next = #next{epoch = Epoch} = Next} = Core) -> machine(State, Next, Core);
event({machine, _, _}, Core) -> Core;
event(tick, Core) -> heartbeat(tick_draining(tick_next(tick_lead(Core)))).

%% internal: members

-spec members(#{node() => member_status()}, t()) -> t().
members(Members, #core{members = Before, active = {Epoch, _}} = Core) ->
    Known = Core#core{members = Members},
    Met = [Node || {Node, up} <- maps:to_list(Members), maps:get(Node, Before, down) =/= up],
    Told = case boot() of
        Epoch -> Known;
        _ -> to_all(Met, {active, Epoch}, Known)
    end,
    check_draining(check_lead(judge_lead(Met, Told))).

%% A switch that is not decided needs everybody.
-spec judge_lead(Met :: [node()], t()) -> t().
judge_lead(Met, #core{lead = #lead{phase = preparing, topology = Topology, ready = Ready}} = Core) ->
    Strangers = hubs(Topology) -- everybody(Core),
    case with_status(down, Core) of
        [_ | _] = Down ->
            fail_lead(not_followed(Down, maps:from_list([{Node, down} || Node <- Down]), Core), Core);
        [] when Strangers =/= [] ->
            fail_lead(topos_error:new(unknown_node, #{node => hd(Strangers)}), Core);
        [] ->
            %% Who joined meanwhile is asked too.
            lists:foldl(fun prepare_to/2, Core, [Node || Node <- Met, not is_map_key(Node, Ready)])
    end;
judge_lead(_, Core) ->
    Core.

%% internal: the coordinator

-spec set_topology(term(), topology(), pos_integer(), t()) -> t().
set_topology(From, Topology, Timeout, #core{last = Last, own = Own, incarnation = Incarnation, now = Now} = Core) ->
    case obstacle(Topology, Core) of
        none ->
            Epoch = {Last + 1, Own, Incarnation},
            Lead = #lead{
                from = {caller, From}, epoch = Epoch, topology = Topology, timeout = Timeout, deadline = Now + Timeout,
                resend_at = Now + setting(resend, Core)
            },
            Begun = start(Epoch, Topology, false, Now + 2 * Timeout, Core#core{lead = Lead, last = Last + 1}),
            lists:foldl(fun prepare_to/2, Begun, maps:keys(Core#core.members));
        same ->
            act({reply, From, ok}, Core);
        Error ->
            act({reply, From, {error, Error}}, Core)
    end.

%% Why no switch can begin here.
-spec obstacle(topology(), t()) -> none | same | topos_error:t().
obstacle(Topology, #core{members = Members} = Core) ->
    Away = [Node || {Node, Status} <- lists:sort(maps:to_list(Members)), Status =/= up],
    case {status(Core), Core#core.lead, hubs(Topology) -- everybody(Core)} of
        {_, #lead{epoch = Epoch}, _} -> in_progress(Epoch);
        {{_, Epoch}, _, _} -> in_progress(Epoch);
        {idle, none, [Stranger | _]} -> topos_error:new(unknown_node, #{node => Stranger});
        {idle, none, []} when Away =/= [] -> topos_error:new(partition_suspected, #{nodes => Away});
        {idle, none, []} when element(2, Core#core.active) =:= Topology -> same;
        {idle, none, []} -> none
    end.

-spec in_progress(epoch()) -> topos_error:t().
in_progress({_, Coordinator, _} = Epoch) -> topos_error:new(switch_in_progress, #{node => Coordinator, epoch => Epoch}).

-spec prepare_to(node(), t()) -> t().
prepare_to(Node, #core{lead = #lead{epoch = Epoch, topology = Topology, timeout = Timeout}, active = {Base, _}} = Core) ->
    send(Node, {prepare, Epoch, Base, Topology, everybody(Core), 2 * Timeout}, Core).

%% All are ready: decided. A coordinator that was paused until after its deadline does not decide, for members may have
%% given up by then.
-spec check_lead(t()) -> t().
check_lead(#core{lead = #lead{phase = preparing} = Lead, next = #next{ready = true} = Next, now = Now} = Core) ->
    #lead{ready = Ready, epoch = Epoch, topology = Topology, deadline = Deadline, timeout = Timeout} = Lead,
    case [Node || Node <- maps:keys(Core#core.members), not is_map_key(Node, Ready)] of
        [] when Now < Deadline ->
            Decided = Core#core{
                lead = Lead#lead{phase = committing, deadline = Now + Timeout, resend_at = Now + setting(resend, Core)},
                next = Next#next{decided = true}
            },
            Told = to_all(maps:keys(Core#core.members), {commit, Epoch, Topology}, Decided),
            activate(Told);
        _ ->
            Core
    end;
check_lead(Core) ->
    Core.

%% Before the decision: everybody goes back.
-spec fail_lead(topos_error:t(), t()) -> t().
fail_lead(Error, #core{lead = #lead{epoch = Epoch, phase = preparing}} = Core) ->
    Told = to_all(maps:keys(Core#core.members), {abort, Epoch}, Core),
    drop_next(answer({error, Error}, Told)).

%% The switch of this node is over for its caller, and this node coordinates no more.
-spec answer(ok | {error, topos_error:t()}, t()) -> t().
answer(Answer, #core{lead = #lead{from = {caller, From}}} = Core) -> act({reply, From, Answer}, Core#core{lead = none});
answer(_, Core) -> Core#core{lead = none}.

-spec not_followed([node()], #{node() => why() | down | no_answer}, t()) -> topos_error:t().
not_followed(Nodes, Why, #core{lead = #lead{timeout = Timeout, topology = Topology}}) ->
    Details = #{nodes => lists:sort(Nodes), why => Why, timeout => Timeout, topology => type(Topology)},
    topos_error:new(switch_rolled_back, Details).

-spec type(topology()) -> atom().
type(full_mesh) -> full_mesh;
type(#{type := Type}) -> Type.

-spec tick_lead(t()) -> t().
tick_lead(#core{lead = #lead{phase = preparing, deadline = Deadline} = Lead, now = Now, own = Own} = Core) when Now >= Deadline ->
    #lead{ready = Ready, reasons = Reasons} = Lead,
    Late = [Node || Node <- maps:keys(Core#core.members), not is_map_key(Node, Ready)],
    %% Who says nothing at all is the reason why others are not ready.
    Whom = case {[Node || Node <- Late, not is_map_key(Node, Reasons)], Late} of
        {[_ | _] = Silent, _} -> Silent;
        {[], [_ | _]} -> Late;
        {[], []} -> [Own]
    end,
    #next{waiting = Waiting} = Core#core.next,
    All = (maps:with(Late, Reasons))#{Own => {waiting, Waiting}},
    Why = maps:from_list([{Node, maps:get(Node, All, no_answer)} || Node <- Whom]),
    fail_lead(not_followed(Whom, Why, Core), Core);
tick_lead(#core{lead = #lead{phase = preparing, resend_at = At, ready = Ready} = Lead, now = Now} = Core) when Now >= At ->
    Late = [Node || Node <- maps:keys(Core#core.members), not is_map_key(Node, Ready)],
    lists:foldl(fun prepare_to/2, Core#core{lead = Lead#lead{resend_at = Now + setting(resend, Core)}}, Late);
tick_lead(#core{lead = #lead{phase = committing, deadline = Deadline, from = {caller, From}} = Lead, now = Now} = Core) when
    Now >= Deadline
->
    %% It is decided and goes on; the caller is told how far it is.
    Details = #{nodes => unconfirmed(Core), timeout => Lead#lead.timeout, topology => type(Lead#lead.topology)},
    act({reply, From, {error, topos_error:new(switch_unconfirmed, Details)}}, Core#core{lead = Lead#lead{from = answered}});
tick_lead(Core) ->
    Core.

%% internal: the machine beside the active one

-spec start(epoch(), topology(), Decided :: boolean(), Deadline :: ms(), t()) -> t().
start(Epoch, Topology, Decided, Deadline, #core{now = Now, last = Last} = Core) ->
    Next = #next{
        epoch = Epoch, topology = Topology, decided = Decided, deadline = Deadline, resend_at = Now + setting(resend, Core)
    },
    act({start, Epoch, Topology}, Core#core{next = Next, last = max(Last, element(1, Epoch))}).

-spec drop_next(t()) -> t().
drop_next(#core{next = #next{epoch = Epoch}} = Core) -> act({drop, Epoch}, Core#core{next = none});
drop_next(#core{next = none} = Core) -> Core.

-spec machine(ready | {waiting, [node()]} | {failed, topos_error:t()}, #next{}, t()) -> t().
machine(ready, #next{ready = true}, Core) ->
    Core;
machine(ready, #next{decided = true} = Next, Core) ->
    activate(Core#core{next = Next#next{ready = true, waiting = []}});
machine(ready, #next{epoch = Epoch} = Next, #core{lead = Lead} = Core) ->
    Ready = Core#core{next = Next#next{ready = true, waiting = []}},
    case Lead of
        #lead{epoch = Epoch} -> check_lead(Ready);
        _ -> send(coordinator(Epoch), {ready, Epoch}, Ready)
    end;
machine({waiting, Nodes}, Next, Core) ->
    Core#core{next = Next#next{waiting = Nodes}};
machine({failed, _}, #next{decided = true}, Core) ->
    %% It is started again at the deadline.
    Core;
machine({failed, Error}, #next{epoch = Epoch}, #core{lead = #lead{epoch = Epoch}} = Core) ->
    fail_lead(Error, Core#core{next = none});
machine({failed, Error}, #next{epoch = Epoch}, Core) ->
    send(coordinator(Epoch), {refused, Epoch, {not_started, Error}}, Core#core{next = none}).

%% The machine of a decided switch takes over.
-spec activate(t()) -> t().
activate(#core{next = #next{epoch = Epoch, topology = Topology, decided = true}, now = Now} = Core) ->
    Draining = #draining{takeover_at = Now + setting(takeover, Core), resend_at = Now + setting(resend, Core)},
    Active = act({activate, Epoch, Topology}, Core#core{active = {Epoch, Topology}, next = none, draining = Draining}),
    check_draining(send(coordinator(Epoch), {committed, Epoch}, Active)).

-spec tick_next(t()) -> t().
tick_next(#core{next = #next{decided = true, deadline = Deadline} = Next, now = Now} = Core) when Now >= Deadline ->
    %% Others route by it already: to wait on helps nobody.
    activate(Core#core{next = Next#next{ready = true}});
tick_next(#core{next = #next{decided = false, epoch = {_, Own, _}}, own = Own} = Core) ->
    Core;
tick_next(#core{next = #next{decided = false, asking = Until}, now = Now} = Core) when is_integer(Until), Now >= Until ->
    drop_next(Core);
tick_next(#core{next = #next{decided = false, epoch = Epoch, asking = no, deadline = Deadline} = Next, now = Now} = Core) ->
    case is_reachable(coordinator(Epoch), Core) andalso Now < Deadline of
        true when Now >= Next#next.resend_at ->
            Message = case Next#next.ready of true -> ready; false -> ask end,
            send(coordinator(Epoch), {Message, Epoch}, Core#core{next = Next#next{resend_at = Now + setting(resend, Core)}});
        true ->
            Core;
        false ->
            ask_all(Core#core{next = Next#next{asking = Now + setting(grace, Core)}})
    end;
tick_next(#core{next = #next{decided = false, resend_at = At}, now = Now} = Core) when Now >= At ->
    ask_all(Core);
tick_next(Core) ->
    Core.

-spec ask_all(t()) -> t().
ask_all(#core{next = #next{epoch = Epoch} = Next, now = Now} = Core) ->
    to_all(reachable(Core), {ask, Epoch}, Core#core{next = Next#next{resend_at = Now + setting(resend, Core)}}).

%% internal: the machine before the active one

%% Who is waited for before the old links go: all members that are not down.
-spec unconfirmed(t()) -> [node()].
unconfirmed(#core{draining = #draining{confirmed = Confirmed}} = Core) ->
    [Node || Node <- reachable(Core), not is_map_key(Node, Confirmed)];
unconfirmed(_) ->
    [].

-spec check_draining(t()) -> t().
check_draining(#core{draining = #draining{}, active = {Epoch, _}} = Core) ->
    case unconfirmed(Core) of
        [] -> release(to_all(reachable(Core), {release, Epoch}, Core));
        _ -> Core
    end;
check_draining(Core) ->
    Core.

-spec release(t()) -> t().
release(#core{draining = #draining{}, active = {Epoch, _}, lead = Lead} = Core) ->
    Released = act({release, Epoch}, Core#core{draining = none}),
    case Lead of
        #lead{epoch = Epoch} -> answer(ok, Released);
        _ -> Released
    end.

-spec tick_draining(t()) -> t().
tick_draining(#core{draining = #draining{resend_at = At} = Draining, now = Now, active = {Epoch, Topology}} = Core) when Now >= At ->
    Later = Core#core{draining = Draining#draining{resend_at = Now + setting(resend, Core)}},
    Coordinator = coordinator(Epoch),
    Waits = Now < Draining#draining.takeover_at andalso is_reachable(Coordinator, Core),
    case Core#core.lead of
        none when Waits -> send(Coordinator, {committed, Epoch}, Later);
        _ -> to_all(unconfirmed(Later), {commit, Epoch, Topology}, Later)
    end;
tick_draining(Core) ->
    Core.

%% internal: messages

-spec received(message(), node(), t()) -> t().
received({prepare, {_, Node, _} = Epoch, Base, Topology, Members, Patience}, Node, Core) ->
    on_prepare(Epoch, Node, {Base, Topology, Members, min(Patience, ?MAX_PATIENCE)}, Core);
received({ready, Epoch}, Node, #core{lead = #lead{epoch = Epoch, phase = preparing, ready = Ready} = Lead} = Core) ->
    check_lead(Core#core{lead = Lead#lead{ready = Ready#{Node => true}}});
received({Kind, Epoch}, Node, Core) when Kind =:= ready; Kind =:= ask ->
    on_ask(Epoch, Node, Core);
received({not_ready, Epoch, Why}, Node, #core{lead = #lead{epoch = Epoch, phase = preparing, reasons = Reasons} = Lead} = Core) ->
    Core#core{lead = Lead#lead{reasons = Reasons#{Node => Why}}};
received({refused, Epoch, Why}, Node, #core{lead = #lead{epoch = Epoch, phase = preparing}} = Core) ->
    fail_lead(refusal(Why, Node, Core), Core);
received({abort, {_, Node, _} = Epoch}, Node, #core{next = #next{epoch = Epoch, decided = false}} = Core) ->
    drop_next(Core);
received({commit, Epoch, Topology}, Node, Core) ->
    on_commit(Epoch, Topology, Node, Core);
received({committed, Epoch}, Node, Core) ->
    on_committed(Epoch, Node, Core);
received({release, Epoch}, _Node, #core{active = {Epoch, _}, draining = #draining{}} = Core) ->
    release(Core);
received({active, Epoch}, Node, #core{active = {Ours, _}} = Core) when Epoch < Ours ->
    decision_to(Node, Core);
received({active, Epoch}, Node, #core{active = {Ours, _}, next = Next} = Core) when Epoch > Ours ->
    case Next of
        #next{decided = true, epoch = Adopting} when Adopting >= Epoch -> Core;
        _ -> send(Node, {active, Ours}, Core)
    end;
received(_, _, Core) ->
    Core.

-spec decision_to(node(), t()) -> t().
decision_to(Node, #core{active = {Epoch, Topology}} = Core) -> send(Node, {commit, Epoch, Topology}, Core).

-spec on_prepare(epoch(), node(), {epoch(), topology(), [node()], pos_integer()}, t()) -> t().
on_prepare(Epoch, Node, _, #core{active = {Epoch, _}} = Core) ->
    send(Node, {committed, Epoch}, Core);
on_prepare(Epoch, Node, _, #core{active = {Ours, _}} = Core) when Epoch < Ours ->
    decision_to(Node, Core);
on_prepare(Epoch, Node, _, #core{next = #next{epoch = Epoch, ready = true}} = Core) ->
    send(Node, {ready, Epoch}, Core);
on_prepare(Epoch, Node, _, #core{next = #next{epoch = Epoch, waiting = Waiting}} = Core) ->
    send(Node, {not_ready, Epoch, {waiting, Waiting}}, Core);
on_prepare(Epoch, Node, Given, #core{lead = #lead{phase = preparing, epoch = Ours}} = Core) when Epoch > Ours ->
    on_prepare(Epoch, Node, Given, fail_lead(topos_error:new(switch_conflict, #{node => Node, epoch => Epoch}), Core));
on_prepare(Epoch, Node, _, #core{next = #next{epoch = Other, decided = Decided}} = Core) when Decided; Epoch < Other ->
    send(Node, {refused, Epoch, {busy, Other}}, Core);
on_prepare(Epoch, Node, _, #core{next = #next{epoch = Other}} = Core) ->
    %% The coordinator of the other gives up when it hears of this one.
    send(Node, {not_ready, Epoch, {busy, Other}}, Core);
on_prepare(Epoch, Node, {Base, Topology, Members, Patience}, Core) ->
    case objection(Base, Members, Core) of
        none -> start(Epoch, Topology, false, Core#core.now + Patience, Core);
        {Kind, Why} -> send(Node, {Kind, Epoch, Why}, compare(Base, Node, Core))
    end.

%% Why this node cannot prepare, now or at all.
-spec objection(epoch(), [node()], t()) -> none | {not_ready | refused, why()}.
objection(Base, Members, #core{active = {Ours, _}, draining = Draining} = Core) ->
    Own = everybody(Core),
    case {with_status(down, Core), with_status(suspect, Core)} of
        _ when Base =/= Ours -> {not_ready, {behind, min(Base, Ours)}};
        _ when Draining =/= none -> {not_ready, releasing};
        {[_ | _] = Down, _} -> {refused, {down, Down}};
        {[], [_ | _] = Suspect} -> {not_ready, {suspect, Suspect}};
        %% Not the same members: gossip is on its way.
        {[], []} when Own =/= Members -> {not_ready, {members, Members -- Own, Own -- Members}};
        {[], []} -> none
    end.

%% One of the two does not know the other's topology.
-spec compare(epoch(), node(), t()) -> t().
compare(Base, Node, #core{active = {Ours, _}} = Core) when Base < Ours -> decision_to(Node, Core);
compare(Base, Node, #core{active = {Ours, _}} = Core) when Base > Ours -> send(Node, {active, Ours}, Core);
compare(_, _, Core) -> Core.

-spec refusal(why(), node(), t()) -> topos_error:t().
refusal({down, Nodes}, _, _) -> topos_error:new(partition_suspected, #{nodes => Nodes});
refusal({busy, {_, Other, _} = Epoch}, _, _) -> topos_error:new(switch_conflict, #{node => Other, epoch => Epoch});
refusal(Why, Node, Core) -> not_followed([Node], #{Node => Why}, Core).

%% A member wants to know what became of this epoch.
-spec on_ask(epoch(), node(), t()) -> t().
on_ask(Epoch, Node, #core{active = {Ours, _}} = Core) when Epoch =< Ours ->
    %% That one, or a greater one is decided.
    decision_to(Node, Core);
on_ask(Epoch, Node, #core{next = #next{epoch = Epoch, decided = true, topology = Topology}} = Core) ->
    send(Node, {commit, Epoch, Topology}, Core);
on_ask(Epoch, _, #core{lead = #lead{epoch = Epoch}} = Core) ->
    Core;
on_ask({_, Own, _} = Epoch, Node, #core{own = Own} = Core) ->
    %% Ours, and neither decided nor under way.
    send(Node, {abort, Epoch}, Core);
on_ask(_, _, Core) ->
    Core.

-spec on_commit(epoch(), topology(), node(), t()) -> t().
on_commit(Epoch, _, Node, #core{active = {Epoch, _}, draining = Draining} = Core) ->
    send(Node, {case Draining of none -> release; _ -> committed end, Epoch}, Core);
on_commit(Epoch, _, Node, #core{active = {Ours, _}} = Core) when Epoch < Ours ->
    decision_to(Node, Core);
on_commit(Epoch, _, _, #core{next = #next{epoch = Epoch, decided = true}} = Core) ->
    Core;
on_commit(Epoch, _, _, #core{next = #next{epoch = Epoch, ready = Ready} = Next, now = Now} = Core) ->
    %% Our own epoch is decided by this node alone, so it is another's.
    Decided = Core#core{next = Next#next{decided = true, deadline = Now + setting(adopt, Core)}},
    case Ready of
        true -> activate(Decided);
        false -> Decided
    end;
on_commit(Epoch, _, Node, #core{next = #next{epoch = Greater, decided = true, topology = Topology}} = Core) when Greater > Epoch ->
    send(Node, {commit, Greater, Topology}, Core);
on_commit(Epoch, Topology, Node, #core{now = Now} = Core) ->
    Alone = give_way(Epoch, Node, Core),
    Free = case Alone of
        #core{draining = #draining{}, active = {Ours, _}} -> act({release, Ours}, Alone#core{draining = none});
        _ -> Alone
    end,
    start(Epoch, Topology, true, Now + setting(adopt, Core), drop_next(Free)).

%% A greater epoch is decided: what this node coordinates is over.
-spec give_way(epoch(), node(), t()) -> t().
give_way(Epoch, _, #core{lead = #lead{phase = Phase}} = Core) ->
    Error = topos_error:new(switch_conflict, #{node => coordinator(Epoch), epoch => Epoch}),
    case Phase of
        preparing -> fail_lead(Error, Core);
        committing -> answer({error, Error}, Core)
    end;
give_way(_, _, Core) ->
    Core.

-spec on_committed(epoch(), node(), t()) -> t().
on_committed(Epoch, Node, #core{active = {Epoch, _}, draining = #draining{confirmed = Confirmed} = Draining} = Core) ->
    check_draining(Core#core{draining = Draining#draining{confirmed = Confirmed#{Node => true}}});
on_committed(Epoch, Node, #core{active = {Epoch, _}} = Core) ->
    send(Node, {release, Epoch}, Core);
on_committed(Epoch, Node, #core{active = {Ours, _}} = Core) when Epoch < Ours ->
    decision_to(Node, Core);
on_committed(Epoch, Node, #core{next = #next{epoch = Epoch, decided = false, topology = Topology}} = Core) ->
    on_commit(Epoch, Topology, Node, Core);
on_committed(_, Node, #core{active = {Ours, _}, next = none} = Core) ->
    send(Node, {active, Ours}, Core);
on_committed(_, _, Core) ->
    Core.

%% internal: comparing

%% One member after the other, by name.
-spec heartbeat(t()) -> t().
heartbeat(#core{now = Now, heartbeat_at = At, active = {Epoch, _}, members = Members, told = Told} = Core) when Now >= At ->
    Later = Core#core{heartbeat_at = Now + setting(heartbeat, Core)},
    Up = lists:sort([Node || {Node, up} <- maps:to_list(Members)]),
    case lists:dropwhile(fun(Node) -> Told =/= none andalso Node =< Told end, Up) ++ Up of
        [Node | _] when element(1, Epoch) > 0 -> send(Node, {active, Epoch}, Later#core{told = Node});
        _ -> Later
    end;
heartbeat(Core) ->
    Core.

%% internal: small things

-spec act(action(), t()) -> t().
act(Action, #core{actions = Actions} = Core) -> Core#core{actions = [Action | Actions]}.

-spec send(node(), message(), t()) -> t().
send(Own, _, #core{own = Own} = Core) -> Core;
send(Node, Message, Core) -> act({send, Node, Message}, Core).

-spec to_all([node()], message(), t()) -> t().
to_all(Nodes, Message, Core) -> lists:foldl(fun(Node, Acc) -> send(Node, Message, Acc) end, Core, Nodes).

-spec coordinator(epoch()) -> node().
coordinator({_, Node, _}) -> Node.

%% This node and all other members, sorted.
-spec everybody(t()) -> [node()].
everybody(#core{own = Own, members = Members}) -> lists:sort([Own | maps:keys(Members)]).

-spec with_status(member_status(), t()) -> [node()].
with_status(Status, #core{members = Members}) -> lists:sort([Node || {Node, S} <- maps:to_list(Members), S =:= Status]).

-spec reachable(t()) -> [node()].
reachable(#core{members = Members}) -> lists:sort([Node || {Node, Status} <- maps:to_list(Members), Status =/= down]).

-spec is_reachable(node(), t()) -> boolean().
is_reachable(Node, #core{members = Members}) -> maps:get(Node, Members, down) =/= down.

-spec hubs(topology()) -> [node()].
hubs(#{type := client_server, hubs := Hubs}) -> Hubs;
hubs(_) -> [].

-spec setting(atom(), t()) -> pos_integer().
setting(Key, #core{settings = Settings}) -> maps:get(Key, Settings).
