%% @doc The virtual nodes of a run, what they write, and what befalls them: crashes, pauses, partitions, held
%% deliveries.
%%
%% A node runs the program's `main' in a process. It has ended when `main' has; the run has ended when all nodes have,
%% or when one failed. In a run of a test (the option `tests') the first node runs it, the others what it calls
%% (`topos_sim_calls'), and the run has ended when the test has. Faults come from the program (`topos_sim_runner') or from the schedule of the run, the nemesis.
-module(topos_sim_nodes).
-behaviour(topos_sim_scheduler).

%% In a process of the program.
-export([halt/1, write/2, about/0]).
%% In the scheduler.
-export([start/2, name/2, names/1, full_name/2, full_names/2, rename/3, find/2, by_name/2, owner/2, running/1, life/2,
    status/2, is_open/3,
    is_held/2, write_of/4, flush/1]).
-export([handle/3, happen/2, ended/4]).
-export_type([fault/0, who/0]).

%% A share of the running nodes, or these.
-type who() :: {share, float()} | {nodes, [binary()]}.
%% One after the other; times are in milliseconds. A crash with a time ends with a new start of the node.
-type fault() ::
    {wait, pos_integer()} | {crash, who(), none | pos_integer()} | {partition | pause | hold, who(), pos_integer()}
    | {loss, float(), pos_integer()}.

-record(node, {
    name :: binary(),
    full_name :: node(),
    life = 0 :: non_neg_integer(),
    status = new :: new | running | ended,
    paused = false :: boolean(),
    held = false :: boolean(),
    %% What was written and is no whole line yet.
    out = <<>> :: binary(),
    err = <<>> :: binary()
}).
-record(part, {
    main :: fun(() -> term()),
    nodes = #{} :: #{topos_sim_world:node_id() => #node{}},
    ids = #{} :: #{node() => topos_sim_world:node_id()},
    %% The sides of a partition: a node of none reaches nobody.
    sides = none :: none | #{topos_sim_world:node_id() => pos_integer()}
}).

%% Nodes of a run do not start at the same moment: within so many microseconds.
-define(START, 5_000).
%% The node that runs a test.
-define(FIRST, 1).
%% A longer line is cut.
-define(MAX_LINE, 65_536).

%% @doc Ends the calling process's node as `halt/1' ends a VM.
-spec halt(byte()) -> no_return().
halt(Status) ->
    _ = topos_sim_scheduler:call(?MODULE, {halt, Status}),
    erlang:exit(shutdown).

%% @doc Writes to the standard output or standard error of the calling process's node.
-spec write(out | err, unicode:chardata()) -> ok.
write(Stream, Text) -> topos_sim_scheduler:call(?MODULE, {write, Stream, unicode:characters_to_binary(Text)}).

%% @doc The full name of the calling process's node.
-spec about() -> node().
about() -> topos_sim_scheduler:call(?MODULE, about).

%% @doc Has the nodes of the options start, each with that main function, and the faults come.
-spec start(fun(() -> term()), topos_sim_world:world()) -> topos_sim_world:world().
start(Main, World) ->
    Names = topos_sim_world:option(names, World),
    Host = topos_sim_world:option(host, World),
    Numbered = lists:zip(lists:seq(1, length(Names)), Names),
    Nodes = maps:from_list([{Id, #node{name = Name, full_name = full(Name, Host)}} || {Id, Name} <- Numbered]),
    Ids = maps:from_list([{Full, Id} || {Id, #node{full_name = Full}} <- maps:to_list(Nodes)]),
    Known = set(#part{main = Main, nodes = Nodes, ids = Ids}, World),
    Started = lists:foldl(
        fun(Id, W) ->
            {Wait, Drawn} = topos_sim_world:between(0, ?START, W),
            topos_sim_world:within(Wait, {?MODULE, {start, Id}}, Drawn)
        end, Known, lists:seq(1, length(Names))),
    %% The first fault finds all nodes running.
    topos_sim_world:within(?START + 1, {?MODULE, {nemesis, topos_sim_world:option(nemesis, World)}}, Started).

-spec full(binary(), binary()) -> node().
full(Name, Host) -> binary_to_atom(<<Name/binary, $@, Host/binary>>).

-spec name(topos_sim_world:node_id(), topos_sim_world:world()) -> binary().
name(Id, World) -> (node_of(Id, World))#node.name.

%% @doc The short names of all nodes, in order.
-spec names(topos_sim_world:world()) -> [binary()].
names(World) -> topos_sim_world:option(names, World).

-spec full_name(topos_sim_world:node_id(), topos_sim_world:world()) -> node().
full_name(Id, World) -> (node_of(Id, World))#node.full_name.

%% @doc The full names of these nodes, sorted.
-spec full_names([topos_sim_world:node_id()], topos_sim_world:world()) -> [node()].
full_names(Ids, World) ->
    #part{nodes = Nodes} = part(World),
    lists:sort([(maps:get(Id, Nodes))#node.full_name || Id <- Ids]).

%% @doc Gives a node the name of its program's configuration. `error' if another one has it.
-spec rename(topos_sim_world:node_id(), node(), topos_sim_world:world()) -> {ok, topos_sim_world:world()} | error.
rename(Id, Full, World) ->
    #part{ids = Ids} = Part = part(World),
    case Ids of
        #{Full := Id} -> {ok, World};
        #{Full := _} -> error;
        #{} ->
            #node{full_name = Old} = Node = node_of(Id, World),
            Renamed = set(Part#part{ids = (maps:remove(Old, Ids))#{Full => Id}}, World),
            {ok, put_node(Id, Node#node{full_name = Full}, Renamed)}
    end.

-spec find(node(), topos_sim_world:world()) -> {ok, topos_sim_world:node_id()} | error.
find(Full, World) -> maps:find(Full, (part(World))#part.ids).

%% @doc The nodes that run, in order.
-spec running(topos_sim_world:world()) -> [topos_sim_world:node_id()].
running(World) -> lists:sort([Id || {Id, #node{status = running}} <- maps:to_list((part(World))#part.nodes)]).

%% @doc Whose end ends the node that a process starts: the process itself, or of a call the node's first process, since the
%% node shall outlive the call.
-spec owner(pid(), topos_sim_world:world()) -> pid().
owner(Pid, World) ->
    case topos_sim_world:find(Pid, World) of
        {ok, #{kind := call, node := Id}} ->
            [Main] = [P || {P, #{kind := main}} <- topos_sim_world:processes(Id, World)],
            Main;
        {ok, _} ->
            Pid
    end.

-spec status(topos_sim_world:node_id(), topos_sim_world:world()) -> new | running | ended.
status(Id, World) -> (node_of(Id, World))#node.status.

-spec life(topos_sim_world:node_id(), topos_sim_world:world()) -> non_neg_integer().
life(Id, World) -> (node_of(Id, World))#node.life.

%% @doc Whether bytes get from one node to the other now.
-spec is_open(topos_sim_world:node_id(), topos_sim_world:node_id(), topos_sim_world:world()) -> boolean().
is_open(A, B, World) ->
    #part{nodes = #{A := NodeA, B := NodeB}, sides = Sides} = part(World),
    is_well(NodeA) andalso is_well(NodeB) andalso (A =:= B orelse same_side(A, B, Sides)).

%% @doc Whether messages to the node are held back.
-spec is_held(topos_sim_world:node_id(), topos_sim_world:world()) -> boolean().
is_held(Id, World) -> (node_of(Id, World))#node.held.

%% @doc Writes to the output of the node of a process that may have ended; then nothing is written.
-spec write_of(pid(), out | err, unicode:chardata(), topos_sim_world:world()) -> topos_sim_world:world().
write_of(Pid, Stream, Text, World) ->
    case topos_sim_world:find(Pid, World) of
        {ok, #{node := Id}} -> written(Id, Stream, unicode:characters_to_binary(Text), World);
        error -> World
    end.

%% @doc Puts out the lines that have no end yet.
-spec flush(topos_sim_world:world()) -> topos_sim_world:world().
flush(World) ->
    lists:foldl(
        fun({Id, #node{out = Out, err = Err}}, W) ->
            Told = lists:foldl(fun(Line, Acc) -> topos_sim_world:message(Id, Line, Acc) end, W,
                               [{out, Out} || Out =/= <<>>] ++ [{err, Err} || Err =/= <<>>]),
            put_node(Id, (node_of(Id, Told))#node{out = <<>>, err = <<>>}, Told)
        end, World, lists:sort(maps:to_list((part(World))#part.nodes))).

-spec handle(term(), pid(), topos_sim_world:world()) -> topos_sim_scheduler:answer().
handle({write, Stream, Text}, Pid, World) ->
    {value, ok, written(topos_sim_world:node_of(Pid, World), Stream, Text, World)};
handle(about, Pid, World) ->
    {value, full_name(topos_sim_world:node_of(Pid, World), World), World};
handle({halt, Status}, Pid, World) ->
    {wait, node_ended(topos_sim_world:node_of(Pid, World), Status, World)};
handle(nodes, _, World) ->
    {value, {ok, names(World)}, World};
handle({node, Name}, _, World) ->
    {value, full(Name, topos_sim_world:option(host, World)), World};
handle({kill, Name}, Pid, World) ->
    Own = topos_sim_world:node_of(Pid, World),
    case by_name(Name, World) of
        {error, _} = Error ->
            {value, Error, World};
        {ok, Id} ->
            case {node_of(Id, World), topos_sim_world:option(tests, World)} of
                {_, true} when Id =:= ?FIRST -> {value, {error, <<Name/binary, " runs the tests">>}, World};
                {#node{status = running}, _} when Id =:= Own -> {wait, crash(Id, World)};
                {#node{status = running}, _} -> {value, {ok, ok}, crash(Id, World)};
                {_, _} -> {value, {error, <<Name/binary, " does not run">>}, World}
            end
    end;
handle({start, Name}, _, World) ->
    case by_name(Name, World) of
        {error, _} = Error ->
            {value, Error, World};
        {ok, Id} ->
            case node_of(Id, World) of
                #node{status = running} -> {value, {error, <<Name/binary, " runs already">>}, World};
                _ -> {value, {ok, ok}, start_again(Id, World)}
            end
    end;
handle({partition, Sides}, _, World) ->
    case all_by_name(lists:append(Sides), World) of
        {error, _} = Error ->
            {value, Error, World};
        {ok, _} ->
            Named = [begin {ok, Ids} = all_by_name(Side, World), Ids end || Side <- Sides],
            {value, {ok, ok}, partition(Named, World)}
    end;
handle(heal, _, World) ->
    {value, {ok, ok}, heal(World)};
handle({Fault, Name}, Pid, World) when Fault =:= pause; Fault =:= resume; Fault =:= hold; Fault =:= release ->
    case by_name(Name, World) of
        {error, _} = Error -> {value, Error, World};
        {ok, Id} when Fault =:= pause ->
            case Id =:= topos_sim_world:node_of(Pid, World) of
                true -> {value, {error, <<"a node cannot pause itself: nobody could resume it">>}, World};
                false -> {value, {ok, ok}, pause(Id, World)}
            end;
        {ok, Id} when Fault =:= resume -> {value, {ok, ok}, resume(Id, World)};
        {ok, Id} when Fault =:= hold -> {value, {ok, ok}, hold(Id, World)};
        {ok, Id} -> {value, {ok, ok}, release(Id, World)}
    end;
handle({release_next, From, To}, _, World) ->
    case {by_name(From, World), by_name(To, World)} of
        {{error, _} = Error, _} -> {value, Error, World};
        {_, {error, _} = Error} -> {value, Error, World};
        {{ok, A}, {ok, B}} ->
            {Delivered, Next} = topos_sim_network:release_next(A, B, World),
            {value, {ok, Delivered}, Next}
    end.

-spec happen({start, topos_sim_world:node_id()} | {nemesis, [fault()]} | {calm, fun((World) -> World), [fault()]},
             topos_sim_world:world()) -> topos_sim_world:world() when World :: topos_sim_world:world().
happen({start, Id}, World) -> start_node(Id, World);
happen({nemesis, []}, World) -> World;
happen({nemesis, [Fault | Later]}, World) -> strike(Fault, Later, World);
happen({calm, Calm, Later}, World) -> happen({nemesis, Later}, Calm(World)).

-spec ended(pid(), topos_sim_world:process(), topos_sim_scheduler:reason(), topos_sim_world:world()) ->
    topos_sim_world:world().
ended(_, #{kind := main, node := Id, life := Life}, Reason, World) ->
    case node_of(Id, World) of
        #node{status = running, life = Life} ->
            Status = case Reason of {main, Said} -> Said; _ -> 1 end,
            case topos_sim_world:option(tests, World) of
                true -> topos_sim_world:finish({exit, Status}, World);
                false -> node_ended(Id, Status, World)
            end;
        #node{} ->
            World
    end;
ended(_, _, _, World) ->
    World.

%% internal

part(World) -> topos_sim_world:part(?MODULE, none, World).

set(Part, World) -> topos_sim_world:set_part(?MODULE, Part, World).

node_of(Id, World) ->
    #part{nodes = #{Id := Node}} = part(World),
    Node.

put_node(Id, Node, World) ->
    #part{nodes = Nodes} = Part = part(World),
    set(Part#part{nodes = Nodes#{Id := Node}}, World).

is_well(#node{status = running, paused = false}) -> true;
is_well(#node{}) -> false.

same_side(_, _, none) -> true;
same_side(A, B, Sides) ->
    case Sides of
        #{A := Side, B := Side} -> true;
        #{} -> false
    end.

%% @doc The node of a short or a full name.
-spec by_name(binary(), topos_sim_world:world()) -> {ok, topos_sim_world:node_id()} | {error, binary()}.
by_name(Name, World) ->
    case [Id || {Id, #node{name = N, full_name = Full}} <- maps:to_list((part(World))#part.nodes),
                N =:= Name orelse atom_to_binary(Full) =:= Name] of
        [Id] -> {ok, Id};
        [] ->
            Known = lists:join(", ", lists:sublist(names(World), 20)),
            {error, unicode:characters_to_binary(["there is no node called ", Name, "; this run has ", Known])}
    end.

all_by_name(Names, World) ->
    Found = [by_name(Name, World) || Name <- Names],
    case [Error || {error, _} = Error <- Found] of
        [] -> {ok, [Id || {ok, Id} <- Found]};
        [Error | _] -> Error
    end.

start_node(Id, World) ->
    #node{life = Life} = Node = node_of(Id, World),
    #part{main = Main} = part(World),
    Alive = put_node(Id, Node#node{life = Life + 1, status = running, paused = false}, World),
    About = #{life => Life + 1, kind => main},
    Body =
        case {topos_sim_world:option(tests, World), Id} of
            {false, _} -> fun() -> main(Main) end;
            {true, ?FIRST} -> Main;
            {true, _} -> fun topos_sim_calls:serve/0
        end,
    {_, Started} = topos_sim_scheduler:start_process(Id, About, Body, Alive),
    topos_sim_calls:started(Id, Started).

%% In the main process of a node of a program.
main(Main) ->
    try
        _ = Main(),
        ok = topos_sim_distributed:say_goodbye(),
        {main, 0}
    catch
        Class:Reason:Stack ->
            ok = topos_sim_process:report(Class, Reason, Stack),
            {main, 1}
    end.

%% Its `main' has ended, or it halted.
node_ended(Id, 0, World) ->
    gone(Id, World);
node_ended(Id, Status, World) ->
    %% That one failed is the end of the run, also if it was the last.
    Failed = topos_sim_world:finish({exit, Status}, World),
    Text = io_lib:format("~ts ended with exit status ~b", [name(Id, World), Status]),
    Others = case running(World) of [Id] -> ""; _ -> "; stopping the others" end,
    case names(World) of
        [_] -> gone(Id, Failed);
        _ -> gone(Id, remark([Text, Others], Failed))
    end.

%% Nothing of the node can run any more.
gone(Id, World) ->
    Node = node_of(Id, World),
    Thawed = case Node#node.paused of true -> topos_sim_world:thaw(Id, World); false -> World end,
    Marked = put_node(Id, Node#node{status = ended, paused = false, held = false}, Thawed),
    Ended = lists:foldl(
        fun({Pid, _}, W) -> topos_sim_scheduler:kill(Pid, killed, W) end, Marked,
            topos_sim_world:processes(Id, Marked)),
    Uncalled = topos_sim_calls:crashed(Id, Ended),
    Told = topos_sim_membership:crashed(Id, topos_sim_program:stopped(Id, Uncalled)),
    #part{nodes = Nodes} = part(Told),
    case [N || {_, #node{status = S} = N} <- maps:to_list(Nodes), S =/= ended] of
        [] -> topos_sim_world:finish({exit, 0}, Told);
        _ -> Told
    end.

crash(Id, World) -> gone(Id, remark(["killing ", name(Id, World)], World)).

start_again(Id, World) -> start_node(Id, remark(["starting ", name(Id, World), " again"], World)).

remark(Text, World) -> topos_sim_world:message(remark, {err, Text}, World).

pause(Id, World) ->
    case node_of(Id, World) of
        #node{status = running, paused = false} = Node ->
            Still = topos_sim_world:freeze(Id, put_node(Id, Node#node{paused = true}, World)),
            topos_sim_membership:refresh(Id, Still);
        #node{} ->
            World
    end.

resume(Id, World) ->
    case node_of(Id, World) of
        #node{paused = true} = Node ->
            topos_sim_membership:refresh(Id, topos_sim_world:thaw(Id, put_node(Id, Node#node{paused = false}, World)));
        #node{} ->
            World
    end.

hold(Id, World) -> put_node(Id, (node_of(Id, World))#node{held = true}, World).

release(Id, World) -> topos_sim_network:released(Id, put_node(Id, (node_of(Id, World))#node{held = false}, World)).

partition(Sides, World) ->
    Numbered = lists:zip(lists:seq(1, length(Sides)), Sides),
    cut(maps:from_list([{Id, Side} || {Side, Ids} <- Numbered, Id <- Ids]), World).

heal(World) -> cut(none, World).

cut(Sides, World) ->
    Cut = set((part(World))#part{sides = Sides}, World),
    lists:foldl(fun topos_sim_membership:refresh/2, Cut, running(Cut)).

%% The nemesis

strike({wait, Time}, Later, World) ->
    topos_sim_world:within(Time * 1_000, {?MODULE, {nemesis, Later}}, World);
strike({loss, Share, Time}, Later, World) ->
    Before = topos_sim_network:loss(World),
    for(Time, fun(W) -> topos_sim_network:set_loss(Before, W) end, Later, topos_sim_network:set_loss(Share, World));
strike({crash, Who, Time}, Later, World) ->
    {Ids, Drawn} = mortal(chosen(Who, World)),
    Crashed = lists:foldl(fun crash/2, told_if_nobody(crash, Ids, Drawn), Ids),
    Start = fun(Id, W) ->
        case node_of(Id, W) of
            #node{status = ended} -> start_again(Id, W);
            #node{} -> W
        end
    end,
    case Time of
        none -> happen({nemesis, Later}, Crashed);
        _ -> for(Time, fun(W) -> lists:foldl(Start, W, Ids) end, Later, Crashed)
    end;
strike({Fault, Who, Time}, Later, World) ->
    {Ids, Drawn} = chosen(Who, World),
    Shown = lists:join($\s, [name(Id, World) || Id <- Ids]),
    Told =
        case Ids of
            [] -> told_if_nobody(Fault, Ids, Drawn);
            _ -> remark([atom_to_binary(Fault), $\s, Shown], Drawn)
        end,
    {Struck, Calm} =
        case Fault of
            partition -> {partition([Ids, running(Told) -- Ids], Told), fun heal/1};
            pause -> {lists:foldl(fun pause/2, Told, Ids), fun(W) -> lists:foldl(fun resume/2, W, Ids) end};
            hold -> {lists:foldl(fun hold/2, Told, Ids), fun(W) -> lists:foldl(fun release/2, W, Ids) end}
        end,
    for(Time, fun(W) -> Calm(remark([atom_to_binary(Fault), " is over"], W)) end, Later, Struck).

told_if_nobody(Fault, [], World) -> remark([atom_to_binary(Fault), ": none of these nodes runs"], World);
told_if_nobody(_, [_ | _], World) -> World.

for(Time, Calm, Later, World) -> topos_sim_world:within(Time * 1_000, {?MODULE, {calm, Calm, Later}}, World).

%% The node that runs a test lives on.
mortal({Ids, World}) ->
    case topos_sim_world:option(tests, World) of
        true -> {Ids -- [?FIRST], World};
        false -> {Ids, World}
    end.

%% Of a share at least one; of named ones those that run.
chosen({share, Share}, World) ->
    Running = running(World),
    {Shuffled, Drawn} = topos_sim_world:shuffled(Running, World),
    Count = min(length(Running), max(1, round(length(Running) * Share))),
    {lists:sort(lists:sublist(Shuffled, Count)), Drawn};
chosen({nodes, Names}, World) ->
    {ok, Ids} = all_by_name(Names, World),
    Running = running(World),
    {[Id || Id <- Ids, lists:member(Id, Running)], World}.

%% Output

written(Id, Stream, Text, World) ->
    #node{out = Out, err = Err} = Node = node_of(Id, World),
    Before = case Stream of out -> Out; err -> Err end,
    Lines = binary:split(<<Before/binary, Text/binary>>, <<"\n">>, [global]),
    {Whole, [Rest]} = lists:split(length(Lines) - 1, Lines),
    Told = lists:foldl(fun(Line, W) -> topos_sim_world:message(Id, {Stream, Line}, W) end, World, Whole),
    case byte_size(Rest) > ?MAX_LINE of
        true ->
            keep(Id, Node, Stream, <<>>, topos_sim_world:message(Id, {Stream, Rest}, Told));
        false ->
            keep(Id, Node, Stream, Rest, Told)
    end.

keep(Id, Node, out, Rest, World) -> put_node(Id, Node#node{out = Rest}, World);
keep(Id, Node, err, Rest, World) -> put_node(Id, Node#node{err = Rest}, World).
