%% Cores of some nodes over a network that loses, repeats and reorders, with crashes, restarts, wrong suspicions and joins. What each
%% core asks for is carried out on machines that are only names, and looked at.
-module(prop_topos_switch).

-include_lib("proper/include/proper.hrl").

-export([prop_all_end_on_one_epoch/0, prop_old_links_stay_until_all_are_over/0, prop_alone_it_succeeds/0,
         prop_of_two_at_once_one_succeeds/0]).

-define(BOOT, topos_switch_core:boot()).

%% What may happen. Numbers choose among the nodes, and among the messages on the way.
step(Faults) ->
    frequency([
        {4, {switch, index(), topology(), oneof([1000, 3000])}},
        {20, {pass, index()}},
        {3, {lose, index()}},
        {3, {repeat, index()}},
        {8, {wait, range(50, 1500)}},
        {8, {machine, index(), frequency([{5, ready}, {1, waiting}, {1, failed}])}},
        {2, {run, range(1, 3)}},
        {2, {run, range(4, 12)}},
        {1, {crash, index()}},
        {2, {notice, index(), index(), oneof([suspect, down])}},
        {1, join}
        | Faults
    ]).

index() -> range(0, 30).

steps(Faults) -> resize(120, list(step(Faults))).

lies() -> [{1, {doubt, index(), index(), oneof([suspect, down])}}, {2, {trust, index(), index()}}, {1, {restart, index()}}].

topology() ->
    oneof([full_mesh, #{type => hyparview, active_view => 3}, #{type => hyparview, active_view => 4}, #{type => client_server, hubs => [n1]},
           #{type => client_server, hubs => [n2]}]).

-record(node, {core, alive = true, life = 1, born, machines = #{}, ready = [], view = #{}}).
-record(world, {
    %% A monotonic clock may begin below 0.
    now = -1_000_000, nodes = #{}, net = [], lives = 1,
    %% Epoch => its topology, as machines were started for it.
    topologies = #{},
    %% Caller => the epoch that its switch got, its coordinator and life, and the answer.
    callers = #{}, activated = #{},
    %% Epoch => when the first node released it.
    released = #{},
    broken = [], honest = true
}).

%% Whatever happened: when the network and the failure detectors are right again all that live agree, nobody is stuck, every caller has one
%% answer, and what a caller was told is true.
prop_all_end_on_one_epoch() ->
    ?FORALL({N, Steps}, {range(2, 5), steps(lies())},
            begin
                World = heal(lists:foldl(fun step/2, world(N), Steps)),
                Live = live(World),
                Ends = lists:usort([topos_switch_core:current(C) || #node{core = C} <- Live]),
                ?WHENFAIL(io:format("~p~n~p~n~p~n", [World#world.broken, Ends, World#world.callers]),
                          conjunction([
                              {lawful, World#world.broken =:= []},
                              {agreed, length(Ends) =< 1},
                              {idle, [] =:= [S || #node{core = C} <- Live, (S = topos_switch_core:status(C)) =/= idle]},
                              {one_machine, lists:all(fun(#node{machines = M}) -> map_size(M) =:= 1 end, Live)},
                              {answered, unanswered(World) =:= []},
                              {rolled_back, false_answers(World) =:= []}
                          ]))
            end).

%% While failure detectors tell the truth and nobody comes back: a node closes old links only when all that live and that it
%% knows have the new ones.
prop_old_links_stay_until_all_are_over() ->
    ?FORALL({N, Steps}, {range(2, 5), steps([])},
            begin
                #world{broken = Broken} = heal(lists:foldl(fun step/2, honest(world(N)), Steps)),
                ?WHENFAIL(io:format("~p~n", [Broken]), Broken =:= [])
            end).

%% No fault, one switch, whatever the order of messages: it succeeds.
prop_alone_it_succeeds() ->
    ?FORALL({N, Topology, Order}, {range(2, 6), topology(), list(index())},
            begin
                Begun = step({switch, 0, Topology, 3000}, world(N)),
                Mixed = lists:foldl(fun(I, W) -> step({pass, I}, ready_all(W)) end, Begun, Order),
                World = heal(Mixed),
                [{_, _, _, Answers}] = maps:values(World#world.callers),
                ?WHENFAIL(io:format("~p~n", [World]),
                          Answers =:= [ok] andalso World#world.broken =:= [] andalso
                              [Topology] =:= lists:usort([element(2, topos_switch_core:current(C)) || #node{core = C} <- live(World)]))
            end).

%% No fault, two switches at once: one succeeds, the other is told of it.
prop_of_two_at_once_one_succeeds() ->
    ?FORALL({N, Topology, Other, Order}, {range(2, 6), topology(), topology(), list(index())},
            begin
                Begun = step({switch, 1, Other, 3000}, step({switch, 0, Topology, 3000}, world(N))),
                World = heal(lists:foldl(fun(I, W) -> step({pass, I}, ready_all(W)) end, Begun, Order)),
                Answers = lists:sort([Answer || {_, _, _, [Answer]} <- maps:values(World#world.callers)]),
                Same = Topology =:= full_mesh orelse Other =:= full_mesh,
                ?WHENFAIL(io:format("~p~n~p~n", [Answers, World#world.broken]),
                          World#world.broken =:= [] andalso
                              case Answers of
                                  [ok, ok] -> Same;
                                  [ok, {error, {switch_conflict, _}}] -> true;
                                  _ -> false
                              end)
            end).

%% The world

world(N) ->
    Names = [name(I) || I <- lists:seq(1, N)],
    lists:foldl(fun meet/2, lists:foldl(fun(Name, W) -> born(Name, W) end, #world{}, Names), Names).

honest(World) -> World#world{honest = true}.

name(I) -> list_to_atom("n" ++ integer_to_list(I)).

born(Name, #world{nodes = Nodes, lives = Life, now = Now} = World) ->
    Core = topos_switch_core:new({Name, Life}, {?BOOT, full_mesh}, #{}, Now),
    Node = #node{core = Core, life = Life, born = Now, machines = #{?BOOT => full_mesh}},
    World#world{nodes = Nodes#{Name => Node}, lives = Life + 1}.

%% The node knows everybody, and everybody it.
meet(Name, #world{nodes = Nodes} = World) ->
    Others = maps:keys(Nodes) -- [Name],
    Status = fun(O) -> case (maps:get(O, Nodes))#node.alive of true -> up; false -> down end end,
    Known = see(Name, fun(_) -> maps:from_list([{O, Status(O)} || O <- Others]) end, World),
    lists:foldl(fun(O, W) -> see(O, fun(V) -> V#{Name => up} end, W) end, Known, Others).

see(Name, Change, #world{nodes = Nodes} = World) ->
    case Nodes of
        #{Name := #node{alive = true, view = View} = Node} ->
            New = Change(View),
            Seen = event(Name, {members, New}, World#world{nodes = Nodes#{Name := Node#node{view = New}}}),
            %% To be told again what is known makes nobody talk: else two nodes that answer each other never stop.
            #world{nodes = #{Name := #node{core = Core}}, now = Now} = Seen,
            {_, Again} = topos_switch_core:handle({members, New}, Now, Core),
            law(Again =:= [], {talks_about_nothing, Again}, Seen);
        _ ->
            World
    end.

event(Name, Event, #world{nodes = Nodes, now = Now} = World) ->
    case Nodes of
        #{Name := #node{alive = true, core = Core} = Node} ->
            {Next, Actions} = topos_switch_core:handle(Event, Now, Core),
            Grown = element(1, topos_switch_core:current(Next)) >= element(1, topos_switch_core:current(Core)),
            Handled = World#world{nodes = Nodes#{Name := Node#node{core = Next}}},
            lists:foldl(fun(A, W) -> action(A, Name, W) end, law(Grown, {shrunk, Name}, Handled), Actions);
        _ ->
            World
    end.

law(true, _, World) -> World;
law(false, What, #world{broken = Broken} = World) -> World#world{broken = [What | Broken]}.

action({send, To, Message}, Name, #world{net = Net} = World) ->
    law(To =/= Name, {sent_to_itself, Message}, World#world{net = Net ++ [{Name, To, Message}]});
action({reply, Caller, Answer}, Name, #world{callers = Callers} = World) ->
    #{Caller := {Epoch, Name, Life, Answers}} = Callers,
    World#world{callers = Callers#{Caller := {Epoch, Name, Life, [Answer | Answers]}}};
action({start, Epoch, Topology}, Name, #world{topologies = Topologies} = World) ->
    #node{machines = Machines} = Node = maps:get(Name, World#world.nodes),
    Lawful = map_size(Machines) =:= 1 andalso not is_map_key(Epoch, Machines),
    One = maps:get(Epoch, Topologies, Topology) =:= Topology,
    Started = put_node(Name, Node#node{machines = Machines#{Epoch => Topology}}, World#world{topologies = Topologies#{Epoch => Topology}}),
    law(One, {two_topologies, Epoch}, law(Lawful, {start, Epoch, Machines}, Started));
action({activate, Epoch, Topology}, Name, #world{activated = Activated, nodes = Nodes} = World) ->
    #node{machines = Machines, view = View} = maps:get(Name, Nodes),
    %% Who coordinates decides when everybody has a machine for it.
    Missing = [N || {_, Coordinator, _} <- [Epoch], Coordinator =:= Name, World#world.honest, {N, Status} <- maps:to_list(View),
                    Status =/= down, #{N := #node{alive = true, machines = Theirs}} <- [Nodes], not is_map_key(Epoch, Theirs)],
    Decided = law(Missing =:= [], {decided_without, Epoch, Missing}, World#world{activated = Activated#{Epoch => true}}),
    law(maps:get(Epoch, Machines, none) =:= Topology, {activate, Epoch, Machines}, Decided);
action({drop, Epoch}, Name, World) ->
    #node{machines = Machines, core = Core} = Node = maps:get(Name, World#world.nodes),
    {Active, _} = topos_switch_core:current(Core),
    %% A machine that failed to start is gone already.
    Lawful = Epoch =/= Active,
    law(Lawful, {drop, Epoch, Active}, put_node(Name, Node#node{machines = maps:remove(Epoch, Machines)}, World));
action({release, Epoch}, Name, #world{nodes = Nodes, released = All, now = Now} = World) ->
    #node{machines = Machines, view = View} = Node = maps:get(Name, Nodes),
    First = maps:get(Epoch, All, Now),
    %% Who joins later has none of the old links.
    Behind = [N || {N, Status} <- maps:to_list(View), Status =/= down,
                   #{N := #node{alive = true, core = C, born = Born}} <- [Nodes], Born < First,
                   element(1, topos_switch_core:current(C)) < Epoch],
    Known = World#world{released = All#{Epoch => First}},
    Released = law(is_map_key(Epoch, Machines), {release, Epoch, Machines},
                   put_node(Name, Node#node{machines = maps:with([Epoch], Machines)}, Known)),
    law(not World#world.honest orelse Behind =:= [], {released_too_early, Name, Epoch, Behind}, Released).

put_node(Name, Node, #world{nodes = Nodes} = World) -> World#world{nodes = Nodes#{Name := Node}}.

%% Steps

step({switch, I, Topology, Timeout}, World) ->
    case pick(I, live_names(World)) of
        none ->
            World;
        Name ->
            #world{callers = Callers} = World,
            Caller = map_size(Callers) + 1,
            Before = maps:keys(machines(Name, World)),
            Life = (maps:get(Name, World#world.nodes))#node.life,
            Asked = event(Name, {set_topology, Caller, Topology, Timeout},
                          World#world{callers = Callers#{Caller => {none, Name, Life, []}}}),
            case maps:keys(machines(Name, Asked)) -- Before of
                [Epoch] ->
                    #{Caller := {none, _, _, Answers}} = Asked#world.callers,
                    Asked#world{callers = (Asked#world.callers)#{Caller := {Epoch, Name, Life, Answers}}};
                [] ->
                    Asked
            end
    end;
step({pass, I}, #world{net = Net} = World) ->
    case pick(I, Net) of
        none -> World;
        {_, To, _} = Message -> deliver(Message, To, World#world{net = Net -- [Message]})
    end;
%% For a while nothing goes wrong.
step({run, Rounds}, World) -> run(Rounds, World);
step({lose, I}, #world{net = Net} = World) -> World#world{net = Net -- [M || M <- [pick(I, Net)], M =/= none]};
step({repeat, I}, #world{net = Net} = World) -> World#world{net = Net ++ [M || M <- [pick(I, Net)], M =/= none]};
step({wait, Ms}, World) -> wait(Ms, World);
step({machine, I, State}, World) ->
    case pick(I, live_names(World)) of
        none -> World;
        Name -> machine(Name, State, World)
    end;
step({crash, I}, #world{nodes = Nodes} = World) ->
    case pick(I, live_names(World)) of
        none -> World;
        Name -> World#world{nodes = Nodes#{Name := (maps:get(Name, Nodes))#node{alive = false}}}
    end;
step({restart, I}, #world{nodes = Nodes} = World) ->
    case pick(I, [Name || {Name, #node{alive = false}} <- lists:sort(maps:to_list(Nodes))]) of
        none -> World;
        Name -> meet(Name, born(Name, World#world{honest = false}))
    end;
step({notice, I, J, Status}, #world{nodes = Nodes} = World) ->
    case {pick(I, live_names(World)), pick(J, [Name || {Name, #node{alive = false}} <- lists:sort(maps:to_list(Nodes))])} of
        {Name, Dead} when Name =/= none, Dead =/= none -> see(Name, fun(V) -> V#{Dead => Status} end, World);
        _ -> World
    end;
step({doubt, I, J, Status}, World) ->
    case {pick(I, live_names(World)), pick(J, live_names(World))} of
        {Name, Other} when Name =/= Other -> see(Name, fun(V) -> V#{Other => Status} end, World#world{honest = false});
        _ -> World
    end;
step({trust, I, J}, World) ->
    case {pick(I, live_names(World)), pick(J, live_names(World))} of
        {Name, Other} when Name =/= Other -> see(Name, fun(V) -> V#{Other => up} end, World);
        _ -> World
    end;
step(join, #world{nodes = Nodes} = World) when map_size(Nodes) < 7 ->
    Name = name(map_size(Nodes) + 1),
    meet(Name, born(Name, World));
step(join, World) ->
    World.

pick(_, []) -> none;
pick(I, List) -> lists:nth(I rem length(List) + 1, List).

deliver({From, To, Message}, To, World) -> event(To, {received, From, Message}, World).

pass_all(#world{net = Net} = World) ->
    lists:foldl(fun({_, To, _} = M, W) -> deliver(M, To, W) end, World#world{net = []}, Net).

wait(Ms, World) when Ms =< 0 -> World;
wait(Ms, #world{now = Now} = World) ->
    Later = World#world{now = Now + min(Ms, 100)},
    wait(Ms - 100, lists:foldl(fun(Name, W) -> event(Name, tick, W) end, Later, live_names(Later))).

machine(Name, State, World) ->
    #node{core = Core} = Node = maps:get(Name, World#world.nodes),
    {Active, _} = topos_switch_core:current(Core),
    case {[E || E <- maps:keys(machines(Name, World)), E > Active], State} of
        {[], _} -> World;
        {[Epoch], ready} ->
            event(Name, {machine, Epoch, ready}, put_node(Name, Node#node{ready = [Epoch | Node#node.ready]}, World));
        {[Epoch], waiting} -> event(Name, {machine, Epoch, {waiting, [n1]}}, World);
        {[Epoch], failed} ->
            IsReady = lists:member(Epoch, Node#node.ready),
            case topos_switch_core:status(Core) of
                %% The driver forgets a machine that it could not start.
                {preparing, Epoch} when not IsReady ->
                    Gone = Node#node{machines = maps:remove(Epoch, Node#node.machines)},
                    event(Name, {machine, Epoch, {failed, topos_error:new(invalid_overlay, #{})}}, put_node(Name, Gone, World));
                _ ->
                    World
            end
    end.

machines(Name, #world{nodes = Nodes}) -> (maps:get(Name, Nodes))#node.machines.

ready_all(World) -> lists:foldl(fun(Name, W) -> machine(Name, ready, W) end, World, live_names(World)).

live(#world{nodes = Nodes}) -> [Node || {_, #node{alive = true} = Node} <- lists:sort(maps:to_list(Nodes))].

live_names(#world{nodes = Nodes}) -> [Name || {Name, #node{alive = true}} <- lists:sort(maps:to_list(Nodes))].

%% The network carries everything, failure detectors are right, machines get ready, and time passes.
heal(#world{nodes = Nodes} = World) ->
    Right = fun(Name) ->
        maps:from_list([{N, case Alive of true -> up; false -> down end}
                        || {N, #node{alive = Alive}} <- maps:to_list(Nodes), N =/= Name])
    end,
    Seen = lists:foldl(fun(Name, W) -> see(Name, fun(_) -> Right(Name) end, W) end, World, live_names(World)),
    run(300, Seen).

run(Rounds, World) -> lists:foldl(fun(_, W) -> ready_all(pass_all(wait(100, W))) end, World, lists:seq(1, Rounds)).

%% Callers whose node still lives in the life they asked it in, without exactly one answer.
unanswered(#world{callers = Callers, nodes = Nodes}) ->
    [Caller || {Caller, {_, Name, Life, Answers}} <- maps:to_list(Callers),
               #{Name := #node{alive = true, life = Same}} <- [Nodes], Same =:= Life, length(Answers) =/= 1].

%% Rolled back, but activated somewhere; or done, but activated nowhere.
false_answers(#world{callers = Callers, activated = Activated}) ->
    [Caller || {Caller, {Epoch, _, _, [Answer]}} <- maps:to_list(Callers), Epoch =/= none,
               case Answer of
                   ok -> not is_map_key(Epoch, Activated);
                   {error, {Reason, _}} when Reason =:= switch_rolled_back; Reason =:= partition_suspected; Reason =:= invalid_overlay;
                                             Reason =:= unknown_node ->
                       is_map_key(Epoch, Activated);
                   {error, {Reason, _}} -> not lists:member(Reason, [switch_conflict, switch_unconfirmed])
               end].
