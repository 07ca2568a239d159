%% Laws of remote monitors: a watching node `a' and a watched node `b' joined by two queues that keep their order but
%% may lose anything, each side free to give the other up, or to restart its server, at any moment.
-module(prop_topos_watch).
-include_lib("proper/include/proper.hrl").

-export([prop_each_monitor_ends_once/0, prop_leases_stay_within_the_limit/0, numtests/0]).

-define(PROCESSES, 4).

-record(world, {
    watch = topos_watch:new(1),
    lease = topos_lease:new(1000, 0),
    seed = 1,
    session = 0,
    to_b = [],
    to_a = [],
    %% Processes of b: alive or how they ended. Leases of b: what it monitors.
    processes = maps:from_list([{P, alive} || P <- lists:seq(1, ?PROCESSES)]),
    monitored = #{},
    %% Monitors of a: {Process, open | cancelled, Deliveries}
    monitors = #{}
}).

%% Cheap, and what went wrong so far took some ten thousand courses to be found.
numtests() -> 20_000.

%% Once losses stop, every open monitor of a dead process has been delivered exactly once, none of a living one, none
%% after it was cancelled; and b holds exactly one lease for each monitor that is still open.
prop_each_monitor_ends_once() ->
    ?FORALL(
        Steps,
        list(step()),
        begin
            World = settle(lists:foldl(fun run/2, #world{}, Steps)),
            #world{monitors = Monitors, processes = Processes, lease = Lease, monitored = Monitored,
                watch = Watch} = World,
            Wrong = [{Ref, M} || {Ref, M} <- maps:to_list(Monitors), not is_right(M, Processes)],
            Open = [Ref || {Ref, {_, open, []}} <- maps:to_list(Monitors)],
            ?WHENFAIL(
                io:format("wrong: ~p~n~p~n", [Wrong, World]),
                Wrong =:= [] andalso topos_lease:count(Lease) =:= length(Open) andalso
                    map_size(Monitored) =:= length(Open) andalso topos_watch:monitors(Watch) =:= length(Open)
            )
        end
    ).

%% Beyond the limit a monitor ends at once, and says why; the count never passes the limit.
prop_leases_stay_within_the_limit() ->
    ?FORALL(
        {Limit, Asked},
        {range(1, 10), range(0, 20)},
        begin
            {Outcomes, State} = lists:mapfoldl(
                fun(Lease, Acc) ->
                    {Outcome, Acc1, _} = topos_lease:watch(a, {1, 0}, Lease, p, Acc),
                    {Outcome, Acc1}
                end,
                topos_lease:new(Limit, 7),
                lists:seq(1, Asked)
            ),
            {Granted, Refused} = lists:split(min(Limit, Asked), Outcomes),
            topos_lease:count(State) =:= length(Granted) andalso
                lists:all(fun(O) -> O =:= {ok, 7} end, Granted) andalso
                lists:all(fun(O) -> O =:= {down, overloaded} end, Refused)
        end
    ).

step() ->
    frequency([
        {6, {monitor, range(1, ?PROCESSES)}},
        {3, {demonitor, range(0, 20)}},
        {2, {die, range(1, ?PROCESSES)}},
        {4, tick},
        {8, at_b},
        {8, at_a},
        {2, lose_to_b},
        {2, lose_to_a},
        {1, restart_a},
        {1, restart_b},
        {1, b_gives_a_up},
        {1, a_gives_b_up}
    ]).

is_right({_, cancelled, Deliveries}, _) -> Deliveries =:= [];
is_right({_, given_up, Deliveries}, _) -> length(Deliveries) =:= 1;
is_right({Process, open, Deliveries}, Processes) ->
    case maps:get(Process, Processes) of
        alive -> Deliveries =:= [];
        Reason -> Deliveries =:= [Reason] orelse Deliveries =:= [noproc]
    end.

run({monitor, Process}, #world{watch = Watch, monitors = Monitors} = World) ->
    Ref = make_ref(),
    at_a(topos_watch:monitor(Ref, b, Process, true, Watch), World#world{monitors = Monitors#{Ref => {Process, open,
        []}}});
run({demonitor, Nth}, #world{watch = Watch, monitors = Monitors} = World) ->
    case [Ref || {Ref, {_, open, []}} <- lists:sort(maps:to_list(Monitors))] of
        [] -> World;
        Open ->
            Ref = lists:nth(Nth rem length(Open) + 1, Open),
            #{Ref := {Process, open, []}} = Monitors,
            at_a(topos_watch:demonitor(Ref, Watch), World#world{monitors = Monitors#{Ref := {Process, cancelled, []}}})
    end;
run({die, Process}, #world{processes = Processes, monitored = Monitored} = World) ->
    case Processes of
        #{Process := alive} ->
            Keys = [Key || {Key, P} <- maps:to_list(Monitored), P =:= Process],
            lists:foldl(
                fun(Key, Acc) ->
                    at_b(topos_lease:process_down(Key, killed, Acc#world.lease),
                         Acc#world{monitored = maps:remove(Key, Acc#world.monitored)})
                end,
                World#world{processes = Processes#{Process := killed}},
                Keys
            );
        #{} -> World
    end;
run(tick, #world{watch = Watch} = World) -> at_a(topos_watch:tick(Watch), World);
run(at_b, #world{to_b = []} = World) -> World;
run(at_b, #world{to_b = [Message | Rest]} = World) -> handle_b(Message, World#world{to_b = Rest});
run(at_a, #world{to_a = []} = World) -> World;
run(at_a, #world{to_a = [Message | Rest]} = World) -> handle_a(Message, World#world{to_a = Rest});
run(lose_to_b, #world{to_b = Queue} = World) -> World#world{to_b = tl_or_empty(Queue)};
run(lose_to_a, #world{to_a = Queue} = World) -> World#world{to_a = tl_or_empty(Queue)};
run(restart_a, #world{seed = Seed, monitors = Monitors} = World) ->
    %% The owner keeps its monitors in a table and begins them anew.
    lists:foldl(
        fun({Ref, Process}, #world{watch = Watch} = Acc) -> at_a(topos_watch:monitor(Ref, b, Process, true, Watch),
            Acc) end,
        World#world{seed = Seed + 1, watch = topos_watch:node_up(b, topos_watch:new(Seed + 1))},
        [{Ref, Process} || {Ref, {Process, open, []}} <- maps:to_list(Monitors)]
    );
run(restart_b, #world{session = Session} = World) ->
    World#world{session = Session + 1000, lease = topos_lease:new(1000, Session + 1000), monitored = #{}};
run(b_gives_a_up, #world{lease = Lease} = World) -> at_b(topos_lease:node_down(a, Lease), World);
run(a_gives_b_up, #world{watch = Watch, monitors = Monitors} = World) ->
    GivenUp = maps:map(
        fun(_, {Process, open, []}) -> {Process, given_up, []}; (_, Other) -> Other end, Monitors),
    at_a(topos_watch:node_down(b, noconnection, Watch), World#world{monitors = GivenUp}).

settle(#world{watch = Watch} = Before) ->
    World = Before#world{watch = topos_watch:node_up(b, Watch)},
    %% Renewals that nobody answered may have eight ticks between them.
    lists:foldl(fun(_, Acc) -> drain(run(tick, Acc)) end, World, lists:seq(1, 6 * 8)).

drain(#world{to_a = [], to_b = []} = World) -> World;
drain(World) -> drain(run(at_a, run(at_b, World))).

at_a({Watch, Actions}, World) -> lists:foldl(fun act_a/2, World#world{watch = Watch}, Actions).

act_a({deliver, Ref, Reason}, #world{monitors = Monitors} = World) ->
    #{Ref := {Process, State, Deliveries}} = Monitors,
    World#world{monitors = Monitors#{Ref := {Process, State, [Reason | Deliveries]}}};
act_a({confirmed, _}, World) -> World;
act_a(Request, #world{to_b = Queue} = World) -> World#world{to_b = Queue ++ [Request]}.

at_b({Lease, Actions}, World) -> lists:foldl(fun act_b/2, World#world{lease = Lease}, Actions).

act_b({monitor, Key, Process}, #world{monitored = Monitored, processes = Processes} = World) ->
    case Processes of
        #{Process := alive} -> World#world{monitored = Monitored#{Key => Process}};
        #{} -> at_b(topos_lease:process_down(Key, noproc, World#world.lease), World)
    end;
act_b({demonitor, Key}, #world{monitored = Monitored} = World) -> World#world{monitored = maps:remove(Key, Monitored)};
act_b({push, a, Generation, Ended}, World) -> to_a({pushed, Generation, Ended}, World).

to_a(Message, #world{to_a = Queue} = World) -> World#world{to_a = Queue ++ [Message]}.

handle_b({watch, b, Generation, Lease, Process}, #world{lease = State} = World) ->
    {Outcome, State1, Actions} = topos_lease:watch(a, Generation, Lease, Process, State),
    to_a({watched, Generation, Lease, Outcome}, at_b({State1, Actions}, World));
handle_b({forget, b, Generation, Leases}, #world{lease = State} = World) ->
    at_b(topos_lease:forget(a, Generation, Leases, State), World);
handle_b({renew, b, Generation, Session, Forget}, #world{lease = State} = World) ->
    {Renewal, State1, Actions} = topos_lease:renew(a, Generation, Session, Forget, State),
    to_a({renewed, Generation, Session, Forget, Renewal}, at_b({State1, Actions}, World)).

handle_a({watched, Generation, Lease, Outcome}, #world{watch = Watch} = World) ->
    at_a(topos_watch:watched(b, Generation, Lease, Outcome, Watch), World);
handle_a({pushed, Generation, Ended}, #world{watch = Watch} = World) ->
    at_a(topos_watch:pushed(b, Generation, Ended, Watch), World);
handle_a({renewed, Generation, Session, Forget, Renewal}, #world{watch = Watch} = World) ->
    at_a(topos_watch:renewed(b, Generation, Session, Forget, Renewal, Watch), World).

tl_or_empty([]) -> [];
tl_or_empty([_ | Rest]) -> Rest.
