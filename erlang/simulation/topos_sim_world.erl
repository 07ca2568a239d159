%% @doc The world of a simulated run: virtual time, what is going to happen, whose turn it is, and one stream of random
%% numbers.
%%
%% A value, owned by `topos_sim_scheduler'. The rules of the things in it (processes, promises, nodes, the network) are
%% modules of their own; each keeps its part under its name ({@link part/3}). Nothing here reads a clock: the same seed,
%% and the same answers of the program, give the same world.
%%
%% Times are in microseconds of virtual time since the start of the run; what programs say and hear is in milliseconds.
-module(topos_sim_world).

-export([new/1, option/2, part/3, set_part/3]).
-export([now/1, count/2, steps/1, millis/1]).
-export([at/3, within/3, next/1]).
-export([random/2, happens/2, between/3, shuffled/2]).
-export([add/3, remove/2, find/2, node_of/2, processes/1, processes/2, update/3]).
-export([ready/3, park/4, wake/3, wake/4, is_waiting/3, freeze/2, thaw/2]).
-export([outcome/1, finish/2, message/3]).
-export_type([world/0, node_id/0, process/0, kind/0, event/0, wait_id/0, outcome/0, time/0]).

-type time() :: non_neg_integer().
%% A virtual node by its place among the nodes of the run, from 1.
-type node_id() :: pos_integer().
-type wait_id() :: pos_integer().
%% What happens at a time: the module that knows what it means, and what it is.
-type event() :: {wake, pid(), wait_id(), term()} | {module(), term()}.
-type outcome() :: {exit, byte()} | {failed, topos_error:t()}.

%% The program's `main' (or the test), a call of a test, any other.
-type kind() :: main | call | process.
%% What every process has. `life' tells the starts of its node apart.
-type process() :: #{
    node := node_id(), life := pos_integer(), number := pos_integer(), kind := kind(),
    monitor := reference(), ready := none | non_neg_integer() | frozen,
    wait := none | {wait_id(), What :: term(), Since :: time()}, atom() => term()
}.

-record(world, {
    options :: map(),
    now = 0 :: time(),
    steps = 0 :: non_neg_integer(),
    %% The next number of an event, a wait.
    next = 1 :: pos_integer(),
    events = none :: heap(),
    random :: rand:state(),
    processes = #{} :: #{pid() => process()},
    %% Those that can go on, at places 0 to `width' - 1 so that one can be drawn, and with what answer.
    ready = #{} :: #{non_neg_integer() => {pid(), term()}},
    width = 0 :: non_neg_integer(),
    %% Those of paused nodes that could go on, the latest first.
    frozen = #{} :: #{node_id() => [{pid(), term()}]},
    parts = #{} :: #{module() => term()},
    outcome = none :: none | outcome()
}).
-opaque world() :: #world{}.
%% What is going to happen, the earliest on top: a pairing heap (Fredman, Sedgewick, Sleator, Tarjan, Algorithmica
%% 1986).
-type heap() :: none | {time(), Order :: pos_integer(), event(), [heap()]}.

%% @doc A world in which nothing has happened. Of the options (`topos_sim_options') it needs `seed'.
-spec new(map()) -> world().
new(#{seed := Seed} = Options) -> #world{options = Options, random = rand:seed_s(exsss, Seed)}.

-spec option(atom(), world()) -> term().
option(Key, #world{options = Options}) -> maps:get(Key, Options).

%% @doc What a module keeps.
-spec part(module(), Default, world()) -> Default when Default :: term().
part(Module, Default, #world{parts = Parts}) -> maps:get(Module, Parts, Default).

-spec set_part(module(), term(), world()) -> world().
set_part(Module, Part, #world{parts = Parts} = World) -> World#world{parts = Parts#{Module => Part}}.

%% Time

-spec now(world()) -> time().
now(#world{now = Now}) -> Now.

%% @doc Whole milliseconds, as programs see them.
-spec millis(world()) -> non_neg_integer().
millis(#world{now = Now}) -> Now div 1_000.

%% @doc Counts a step. An operation of a program takes a microsecond, so that a program that looks at the clock again
%% and again sees it move; an event takes none.
-spec count(operation | event, world()) -> world().
count(operation, #world{steps = Steps, now = Now} = World) -> World#world{steps = Steps + 1, now = Now + 1};
count(event, #world{steps = Steps} = World) -> World#world{steps = Steps + 1}.

-spec steps(world()) -> non_neg_integer().
steps(#world{steps = Steps}) -> Steps.

%% @doc Has something happen at a time; what has passed is now.
-spec at(time(), event(), world()) -> world().
at(Time, Event, #world{events = Events, next = Next, now = Now} = World) ->
    World#world{events = merge({max(Time, Now), Next, Event, []}, Events), next = Next + 1}.

%% @doc Has something happen so many microseconds from now.
-spec within(time(), event(), world()) -> world().
within(Time, Event, #world{now = Now} = World) -> at(Now + Time, Event, World).

%% @doc What is next: an event whose time has come, else a process that can go on, drawn by lot, else the next event,
%% and time jumps there.
-spec next(world()) -> {event, event(), world()} | {run, pid(), term(), world()} | idle.
next(#world{events = Events, width = Width} = World) ->
    case {Events, Width} of
        {none, 0} -> idle;
        {none, _} -> draw(World);
        {_, 0} -> take_event(World);
        {{Time, _, _, _}, _} when Time =< World#world.now -> take_event(World);
        {_, _} -> draw(World)
    end.

%% Chance

%% @doc A whole number from 0 to `N' - 1.
-spec random(pos_integer(), world()) -> {non_neg_integer(), world()}.
random(1, World) ->
    {0, World};
random(N, #world{random = Random} = World) ->
    {Drawn, Next} = rand:uniform_s(N, Random),
    {Drawn - 1, World#world{random = Next}}.

%% @doc Whether something of that probability happens.
-spec happens(float(), world()) -> {boolean(), world()}.
happens(Probability, World) when Probability =< 0.0 ->
    {false, World};
happens(Probability, #world{random = Random} = World) ->
    {Drawn, Next} = rand:uniform_s(Random),
    {Drawn < Probability, World#world{random = Next}}.

%% @doc A time between two, both included.
-spec between(time(), time(), world()) -> {time(), world()}.
between(First, Last, World) ->
    {Drawn, Next} = random(Last - First + 1, World),
    {First + Drawn, Next}.

%% @doc The elements in any order.
-spec shuffled([Element], world()) -> {[Element], world()}.
shuffled(List, #world{random = Random} = World) ->
    {Keyed, Next} = lists:mapfoldl(
        fun(Element, R) ->
            {Key, R1} = rand:uniform_s(R),
            {{Key, Element}, R1}
        end, Random, List),
    {[Element || {_, Element} <- lists:sort(Keyed)], World#world{random = Next}}.

%% Processes

-spec add(pid(), process(), world()) -> world().
add(Pid, Process, #world{processes = All} = World) -> World#world{processes = All#{Pid => Process}}.

%% @doc Takes a process out, wherever it waits.
-spec remove(pid(), world()) -> world().
remove(Pid, #world{processes = All} = World) ->
    case All of
        #{Pid := #{ready := none}} ->
            World#world{processes = maps:remove(Pid, All)};
        #{Pid := #{ready := frozen, node := Node}} ->
            #world{frozen = Frozen} = World,
            Rest = lists:keydelete(Pid, 1, maps:get(Node, Frozen)),
            World#world{processes = maps:remove(Pid, All), frozen = Frozen#{Node := Rest}};
        #{Pid := #{ready := Place}} ->
            #world{processes = Others} = Taken = take_place(Place, World),
            Taken#world{processes = maps:remove(Pid, Others)};
        #{} ->
            World
    end.

-spec find(pid(), world()) -> {ok, process()} | error.
find(Pid, #world{processes = All}) -> maps:find(Pid, All).

-spec node_of(pid(), world()) -> node_id().
node_of(Pid, #world{processes = All}) ->
    #{Pid := #{node := Node}} = All,
    Node.

%% @doc All that live, in the order of their nodes and then of their start.
-spec processes(world()) -> [{pid(), process()}].
processes(#world{processes = All}) ->
    lists:sort(fun({_, A}, {_, B}) -> place(A) =< place(B) end, maps:to_list(All)).

%% @doc Those of a node, in the order of their start.
-spec processes(node_id(), world()) -> [{pid(), process()}].
processes(Node, #world{processes = All}) ->
    lists:sort(fun({_, A}, {_, B}) ->
        place(A) =< place(B) end, [One || {_, #{node := N}} = One <- maps:to_list(All), N =:= Node]).

-spec update(pid(), fun((process()) -> process()), world()) -> world().
update(Pid, Change, #world{processes = All} = World) ->
    #{Pid := Process} = All,
    World#world{processes = All#{Pid := Change(Process)}}.

%% Whose turn

%% @doc A process can go on with this answer.
-spec ready(pid(), term(), world()) -> world().
ready(Pid, Answer, #world{processes = All, ready = Ready, width = Width, frozen = Frozen} = World) ->
    #{Pid := #{node := Node, ready := none} = Process} = All,
    case Frozen of
        #{Node := Waiting} ->
            World#world{frozen = Frozen#{Node := [{Pid, Answer} | Waiting]},
                processes = All#{Pid := Process#{ready := frozen}}};
        #{} ->
            World#world{
                ready = Ready#{Width => {Pid, Answer}}, width = Width + 1,
                    processes = All#{Pid := Process#{ready := Width}}
            }
    end.

%% @doc A process waits for `What'; after so many milliseconds it goes on with the answer that is given.
-spec park(pid(), What :: term(), infinity | {integer(), Answer :: term()}, world()) -> {wait_id(), world()}.
park(Pid, What, Limit, #world{next = Id, now = Now} = World) ->
    Parked = update(Pid, fun(Process) -> Process#{wait := {Id, What, Now}} end, World#world{next = Id + 1}),
    case Limit of
        infinity -> {Id, Parked};
        {Millis, Answer} -> {Id, within(max(0, Millis) * 1_000, {wake, Pid, Id, Answer}, Parked)}
    end.

%% @doc Whether a process waits for this.
-spec is_waiting(pid(), What :: term(), world()) -> boolean().
is_waiting(Pid, What, #world{processes = All}) ->
    case All of
        #{Pid := #{wait := {_, What, _}}} -> true;
        #{} -> false
    end.

%% @doc A process that waits goes on.
-spec wake(pid(), term(), world()) -> world().
wake(Pid, Answer, World) ->
    ready(Pid, Answer, update(Pid, fun(#{wait := {_, _, _}} = P) -> P#{wait := none} end, World)).

%% @doc As {@link wake/3}, if it is still in that wait.
-spec wake(pid(), wait_id(), term(), world()) -> world().
wake(Pid, Id, Answer, #world{processes = All} = World) ->
    case All of
        #{Pid := #{wait := {Id, _, _}}} -> wake(Pid, Answer, World);
        #{} -> World
    end.

%% @doc The processes of a node stand still.
-spec freeze(node_id(), world()) -> world().
freeze(Node, #world{frozen = Frozen, processes = All, ready = Ready} = World) ->
    Stopped = [{Pid, Place} || {Pid, #{ready := Place}} <- processes(Node, World), is_integer(Place)],
    Answers = [maps:get(Place, Ready) || {_, Place} <- Stopped],
    Out = lists:foldl(
        fun({Pid, _}, W) ->
            #world{processes = #{Pid := #{ready := Place}}} = W,
            take_place(Place, W)
        end, World, Stopped),
    Still = lists:foldl(fun({Pid, _}, Ps) ->
        Ps#{Pid := (maps:get(Pid, All))#{ready := frozen}} end, Out#world.processes, Stopped),
    Out#world{processes = Still, frozen = Frozen#{Node => lists:reverse(Answers)}}.

%% @doc They go on.
-spec thaw(node_id(), world()) -> world().
thaw(Node, #world{frozen = Frozen} = World) ->
    {Waiting, Rest} = maps:take(Node, Frozen),
    lists:foldr(
        fun({Pid, Answer}, W) -> ready(Pid, Answer, update(Pid, fun(Process) -> Process#{ready := none} end, W)) end,
        World#world{frozen = Rest}, Waiting).

%% The end

-spec outcome(world()) -> none | outcome().
outcome(#world{outcome = Outcome}) -> Outcome.

%% @doc The run is over; the first reason counts.
-spec finish(outcome(), world()) -> world().
finish(Outcome, #world{outcome = none} = World) -> World#world{outcome = Outcome};
finish(_, World) -> World.

%% @doc Tells the one who watches the run (a function of the options): a line of a node, or a remark of the simulation's
%% own.
-spec message(node_id() | remark | trace, {out | err, iodata()} | fun(() -> unicode:chardata()), world()) -> world().
message(trace, Text, #world{options = #{trace := true, tell := Tell}, now = Now} = World) ->
    ok = Tell(trace, {err, [time(Now), $\s, Text()]}),
    World;
message(trace, _, World) ->
    World;
message(From, Line, #world{options = #{tell := Tell}} = World) ->
    ok = Tell(From, Line),
    World.

%% internal

-spec place(process()) -> {node_id(), pos_integer()}.
place(#{node := Node, number := Number}) -> {Node, Number}.

-spec take_event(world()) -> {event, event(), world()}.
take_event(#world{events = {Time, _, Event, Below}, now = Now} = World) ->
    {event, Event, World#world{events = merge_pairs(Below), now = max(Time, Now)}}.

-spec merge(heap(), heap()) -> heap().
merge(none, Heap) -> Heap;
merge(Heap, none) -> Heap;
merge({T1, O1, E1, Below}, {T2, O2, _, _} = Later) when T1 < T2; T1 =:= T2, O1 < O2 -> {T1, O1, E1, [Later | Below]};
merge(Later, {T, O, E, Below}) -> {T, O, E, [Later | Below]}.

%% In two passes and without deep recursion: a heap may be one long list.
-spec merge_pairs([heap()]) -> heap().
merge_pairs(Heaps) -> lists:foldl(fun merge/2, none, pairs(Heaps, [])).

-spec pairs([heap()], [heap()]) -> [heap()].
pairs([A, B | Rest], Merged) -> pairs(Rest, [merge(A, B) | Merged]);
pairs([A], Merged) -> [A | Merged];
pairs([], Merged) -> Merged.

-spec draw(world()) -> {run, pid(), term(), world()}.
draw(#world{width = Width} = World) ->
    {Place, Drawn} = random(Width, World),
    #{Place := {Pid, Answer}} = Drawn#world.ready,
    {run, Pid, Answer, take_place(Place, Drawn)}.

%% The last one moves to the place that becomes free.
-spec take_place(non_neg_integer(), world()) -> world().
take_place(Place, #world{ready = Ready, width = Width, processes = All} = World) ->
    Last = Width - 1,
    #{Place := {Pid, _}, Last := {Mover, _} = Moved} = Ready,
    #{Mover := Process} = All,
    Settled = All#{Mover := Process#{ready := Place}},
    #{Pid := Taken} = Settled,
    World#world{
        ready = maps:remove(Last, Ready#{Place := Moved}), width = Last,
            processes = Settled#{Pid := Taken#{ready := none}}
    }.

-spec time(time()) -> iolist().
time(Micros) -> io_lib:format("~b.~6..0b", [Micros div 1_000_000, Micros rem 1_000_000]).
