%% @doc The nodes of programs in a simulation: what `topos_program_node' is on a real node.
%%
%% From `init' to `leave', or to the end of the process that performed `init', a virtual node has a configuration, a
%% cluster, a queue of messages and events, monitors and callbacks. The configuration is parsed and checked as that of a
%% real node is.
-module(topos_sim_program).
-behaviour(topos_sim_scheduler).

-export([incarnation/2, is_entered/2, config/2, set_config/3, refusal/3, tell/3, deliver/4, stopped/2, send_to/6,
    close_until/3]).
-export([handle/3, happen/2, ended/4]).
-export_type([content/0]).

-type id() :: topos_sim_world:node_id().
%% What crosses the network: a message for the program or for a process, perhaps with somebody who waits until it has
%% arrived, a body to run and who asked for that, and the answer.
-type content() ::
    {acknowledged, content(), reply()} | {message, term()} | {process, pid(), term()}
        | {spawn, fun(() -> topos_sim_scheduler:reason()), reply()} | {spawned, reply(), pid()}.
-type reply() :: {pid(), topos_sim_world:wait_id()}.

%% Who waits for a message, in which wait, and its name in the queue.
-type waiter() :: {pid(), topos_sim_world:wait_id(), reference()}.

-record(program, {
    owner :: pid(),
    config :: topos_config:t(),
    incarnation :: pos_integer(),
    entered = false :: boolean(),
    leaving = false :: boolean(),
    closed_until = 0 :: topos_sim_world:time(),
    queue = topos_program_queue:new() :: topos_program_queue:t(waiter()),
    up = #{} :: #{node() => true},
    %% Who waits until so many are up.
    gathering = [] :: [{integer(), pid(), topos_sim_world:wait_id()}],
    next = 1 :: pos_integer(),
    monitors = #{} :: #{pos_integer() => node()},
    callbacks = #{} :: #{pos_integer() => {up | down, fun((node()) -> topos_sim_scheduler:reason())}}
}).

%% How long the nodes of a new cluster may take to see each other, in milliseconds, as for real nodes.
-define(GATHER, 30_000).
%% 2026-01-01T00:00:00Z in microseconds: when every simulation begins.
-define(EPOCH, 1_767_225_600_000_000).

%% @doc Which life of the node's program this is; `none' if it has not started, or has left.
-spec incarnation(id(), topos_sim_world:world()) -> none | pos_integer().
incarnation(Id, World) ->
    case programs(World) of
        #{Id := #program{incarnation = Incarnation}} -> Incarnation;
        #{} -> none
    end.

%% @doc Whether it has entered a cluster, so that others can join it.
-spec is_entered(id(), topos_sim_world:world()) -> boolean().
is_entered(Id, World) ->
    case programs(World) of
        #{Id := #program{entered = Entered, leaving = Leaving}} -> Entered andalso not Leaving;
        #{} -> false
    end.

-spec config(id(), topos_sim_world:world()) -> topos_config:t().
config(Id, World) -> (program(Id, World))#program.config.

-spec set_config(id(), topos_config:t(), topos_sim_world:world()) -> topos_sim_world:world().
set_config(Id, Config, World) -> put_program(Id, (program(Id, World))#program{config = Config}, World).

%% @doc Why a node does not take another one, if it does not.
-spec refusal(id(), id(), topos_sim_world:world()) -> none | topos_error:t().
refusal(Own, Contact, World) ->
    #program{config = #{cluster := Ours, cookie := Cookie}} = program(Own, World),
    #program{config = #{cluster := Theirs, cookie := Other}, closed_until = Closed} = program(Contact, World),
    Node = topos_sim_nodes:full_name(Contact, World),
    Now = topos_sim_world:now(World),
    if
        Cookie =/= Other -> topos_error:new(cookie_mismatch, #{node => Node});
        Ours =/= Theirs -> topos_error:new(cluster_mismatch, #{node => Node, ours => Ours, theirs => Theirs});
        Closed > Now -> topos_error:new(connections_paused, #{remaining => (Closed - Now) div 1_000});
        true -> none
    end.

%% @doc An event of the node, in the order in which it happened; monitors and callbacks follow.
-spec tell(id(), topos_program_node:event(), topos_sim_world:world()) -> topos_sim_world:world().
tell(Id, Event, World) ->
    case programs(World) of
        #{Id := _} -> happened(Id, Event, came(Id, {event, Event}, World));
        #{} -> World
    end.

%% @doc What the network brings.
-spec deliver(id(), id(), content(), topos_sim_world:world()) -> topos_sim_world:world().
deliver(From, To, Content, World) ->
    %% No message overtakes the event that its sender is up.
    Known = case From of To -> World; _ -> topos_sim_membership:heard_from(To, From, World) end,
    case Content of
        {message, Message} ->
            case refused(To, Content, Known) of
                none ->
                    came(To, {message, topos_sim_nodes:full_name(From, Known), Message}, Known);
                {error, Error} ->
                    {Back, Drawn} = topos_sim_network:delay(Known),
                    Told = {undeliverable, From, incarnation(From, Drawn), topos_sim_nodes:full_name(To, Drawn), Error},
                    topos_sim_world:within(Back, {?MODULE, Told}, Drawn)
            end;
        {process, Pid, Message} ->
            topos_sim_process:post(Pid, {message, Message}, Known);
        {spawn, Body, Reply} ->
            Life = topos_sim_nodes:life(To, Known),
            {Pid, Started} = topos_sim_scheduler:start_process(To, #{life => Life, kind => process}, Body, Known),
            case From of
                To -> deliver(To, From, {spawned, Reply, Pid}, Started);
                _ ->
                    {_, Sent} = send_to(To, From, {spawned, Reply, Pid}, control, none, Started),
                    Sent
            end;
        {acknowledged, Inner, {Pid, Wait}} ->
            {Answer, Delivered} =
                case refused(To, Inner, Known) of
                    none -> {ok, deliver(From, To, Inner, Known)};
                    Error -> {Error, Known}
                end,
            {Back, Drawn} = topos_sim_network:delay(Delivered),
            topos_sim_world:within(case From of To -> 0; _ -> Back end, {wake, Pid, Wait, Answer}, Drawn);
        {spawned, {Pid, Wait}, New} ->
            topos_sim_world:wake(Pid, Wait, {value, {ok, reference(From, New, Known)}}, Known)
    end.

%% @doc The program's node is gone without a word.
-spec stopped(id(), topos_sim_world:world()) -> topos_sim_world:world().
stopped(Id, World) -> topos_sim_network:forget(Id, set(maps:remove(Id, programs(World)), World)).

%% @doc Sends to a node that is known and up, or suspect; the answer is that of `topos_partisan:send/4'.
-spec send_to(id(), id(), content(), atom(), none | {some, term()}, topos_sim_world:world()) ->
    {ok | {error, topos_error:t()}, topos_sim_world:world()}.
send_to(Id, Id, Content, _, _, World) ->
    case refused(Id, Content, World) of
        none -> {ok, deliver(Id, Id, Content, World)};
        Error -> {Error, World}
    end;
send_to(Id, To, Content, Channel, Key, World) ->
    #program{config = #{channels := Channels, limits := Limits}} = program(Id, World),
    #{max_message_bytes := Limit} = Limits,
    Node = topos_sim_nodes:full_name(To, World),
    Size = erlang:external_size(Content),
    case {Channels, topos_sim_membership:status(Id, To, World)} of
        _ when Size > Limit ->
            {{error, topos_error:new(message_too_large, #{size => Size, limit => Limit})}, World};
        {#{Channel := Settings}, {Status, Incarnation}} when Status =:= up; Status =:= suspect ->
            Packet = #{
                content => Content, channel => Channel, settings => Settings, limits => Limits,
                key => Key, keyed => Key =/= none andalso element(1, Key) =:= some
            },
            case topos_sim_network:send(Id, To, Incarnation, Packet, World) of
                {ok, Sent} -> {ok, Sent};
                {overloaded, Full} -> {{error, topos_error:new(overloaded, #{node => Node, channel => Channel})}, Full}
            end;
        {#{Channel := _}, {Status, _}} ->
            {{error, topos_error:new(not_connected, #{node => Node, status => Status})}, World};
        {#{Channel := _}, unknown} ->
            {{error, topos_error:new(unknown_node, #{node => Node})}, World};
        {_, _} ->
            {{error, topos_error:new(no_such_channel,
                #{channel => Channel, known => lists:sort(maps:keys(Channels))})}, World}
    end.

%% @doc Until then these nodes take no new ones into their cluster.
-spec close_until(topos_sim_world:time(), [id()], topos_sim_world:world()) -> topos_sim_world:world().
close_until(Until, Members, World) ->
    Programs = maps:map(
        fun(Id, Program) ->
            case lists:member(Id, Members) of
                true -> Program#program{closed_until = Until};
                false -> Program
            end
        end, programs(World)),
    set(Programs, World).

-spec handle(term(), pid(), topos_sim_world:world()) -> topos_sim_scheduler:answer().
handle({init, Config}, Pid, World) ->
    Id = topos_sim_world:node_of(Pid, World),
    case {programs(World), topos_config:parse(Config)} of
        {#{Id := _}, _} ->
            {value, {error, topos_error:new(already_started, #{node => topos_sim_nodes:full_name(Id, World)})}, World};
        {_, {error, _} = Error} ->
            {value, Error, World};
        {_, {ok, #{node := Node, limits := #{max_inbox_messages := Max}} = Parsed}} ->
            case topos_sim_nodes:rename(Id, Node, World) of
                {ok, Named} ->
                    Program = #program{
                        owner = topos_sim_nodes:owner(Pid, World), config = Parsed, incarnation = ?EPOCH + topos_sim_world:now(World),
                        queue = topos_program_queue:limit(Max, topos_program_queue:new())
                    },
                    {value, ok, put_program(Id, Program, Named)};
                error ->
                    {value, {error, topos_error:new(name_in_use, #{node => Node})}, World}
            end
    end;
handle(Request, Pid, World) ->
    Id = topos_sim_world:node_of(Pid, World),
    case programs(World) of
        #{Id := Program} -> request(Request, Id, Program, Pid, World);
        #{} -> {value, {error, topos_error:new(not_started, #{})}, World}
    end.

-spec happen({left, id(), pid(), topos_sim_world:wait_id()} | {no_item, id(), reference()}
             | {undeliverable, id(), none | pos_integer(), node(), topos_error:t()}, topos_sim_world:world()) ->
    topos_sim_world:world().
happen({undeliverable, From, Incarnation, Node, Error}, World) ->
    case incarnation(From, World) of
        Incarnation -> tell(From, {undeliverable, Node, Error}, World);
        _ -> World
    end;
happen({left, Id, Pid, Wait}, World) ->
    topos_sim_world:wake(Pid, Wait, {value, ok}, dismissed(Id, World));
happen({no_item, Id, Ref}, World) ->
    case programs(World) of
        #{Id := #program{queue = Queue} = Program} ->
            case topos_program_queue:forget(Ref, Queue) of
                {{Pid, Wait, Ref}, Rest} ->
                    topos_sim_world:wake(Pid, Wait, {value, none},
                        put_program(Id, Program#program{queue = Rest}, World));
                none ->
                    World
            end;
        #{} ->
            World
    end.

%% The node ends with the process that performed `init'; who waits for a message waits no longer.
-spec ended(pid(), topos_sim_world:process(), topos_sim_scheduler:reason(), topos_sim_world:world()) ->
    topos_sim_world:world().
ended(Pid, #{node := Id}, _, World) ->
    case programs(World) of
        #{Id := #program{owner = Pid}} ->
            topos_sim_membership:crashed(Id, dismissed(Id, World));
        #{Id := #program{queue = Queue} = Program} ->
            Of = [Ref || {P, _, Ref} <- topos_program_queue:waiters(Queue), P =:= Pid],
            Left = lists:foldl(fun(Ref, Q) -> {_, Rest} = topos_program_queue:forget(Ref, Q), Rest end, Queue, Of),
            put_program(Id, Program#program{queue = Left}, World);
        #{} ->
            World
    end.

%% internal

programs(World) -> topos_sim_world:part(?MODULE, #{}, World).

set(Programs, World) -> topos_sim_world:set_part(?MODULE, Programs, World).

program(Id, World) ->
    #{Id := Program} = programs(World),
    Program.

put_program(Id, Program, World) -> set((programs(World))#{Id => Program}, World).

request({enter, Cluster}, Id, #program{config = #{cluster := Cluster}} = Program, _, World) ->
    {value, ok, topos_sim_membership:entered(Id, put_program(Id, Program#program{entered = true}, World))};
request({enter, Cluster}, Id, #program{config = Config, owner = Owner} = Program, _, World) ->
    case topos_config:parse(#{node => maps:get(node, Config), cluster => Cluster, engine => otp}) of
        {ok, #{cluster := Name}} ->
            %% Another cluster is another life: whoever knew this node sees it go.
            Fresh = topos_sim_membership:crashed(Id, stopped(Id, World)),
            Lost = lists:foldl(fun(Node, W) ->
                happened(Id, {left, Node}, W) end, put_program(Id, Program, Fresh), maps:keys(Program#program.up)),
            Kept = program(Id, Lost),
            Renamed = Kept#program{
                config = Config#{cluster := Name}, owner = Owner, entered = true,
                    incarnation = ?EPOCH + topos_sim_world:now(World), up = #{}
            },
            {value, ok, topos_sim_membership:entered(Id, put_program(Id, Renamed, Lost))};
        {error, _} = Error ->
            {value, Error, World}
    end;
request({join, Node}, Id, #program{config = #{timeouts := #{connect := Timeout}}}, Pid, World) ->
    case topos_sim_nodes:find(Node, World) of
        {ok, Id} -> {value, topos_effect_distributed:outcome({error, topos_error:new(self_join, #{node => Node})}),
            World};
        {ok, Contact} -> {wait, topos_sim_membership:join(Pid, Id, Contact, Timeout, World)};
        error ->
            Known = lists:join(", ", lists:sublist(topos_sim_nodes:names(World), 20)),
            Error = topos_error:new(unknown_contact, #{node => Node, known => unicode:characters_to_binary(Known)}),
            {value, topos_effect_distributed:outcome({error, Error}), World}
    end;
request(leave, Id, Program, Pid, World) ->
    {Until, Told} = topos_sim_membership:leave(Id, put_program(Id, Program#program{leaving = true}, World)),
    {Wait, Parked} = topos_sim_world:park(Pid, "Distributed.leave", infinity, Told),
    {wait, topos_sim_world:at(Until, {?MODULE, {left, Id, Pid, Wait}}, Parked)};
request(self, Id, _, _, World) ->
    {value, topos_sim_nodes:full_name(Id, World), World};
request(config, _, #program{config = Config}, _, World) ->
    {value, Config, World};
request(members, Id, #program{incarnation = Incarnation}, _, World) ->
    Own = #{node => topos_sim_nodes:full_name(Id, World), status => up, incarnation => Incarnation},
    Others = [#{node => topos_sim_nodes:full_name(Peer, World), status => Status, incarnation => I}
              || {Peer, Status, I} <- topos_sim_membership:peers(Id, World)],
    {value, lists:sort(fun(#{node := A}, #{node := B}) -> A =< B end, [Own | Others]), World};
request({await_members, Count}, Id, #program{up = Up, gathering = Gathering} = Program, Pid, World) ->
    case map_size(Up) >= Count of
        true -> {value, ok, World};
        false ->
            Late = {error, topos_error:new(timeout, #{operation => <<"to form a cluster">>, timeout => ?GATHER})},
            {Wait, Parked} = topos_sim_world:park(Pid, "Runner.form_cluster", {?GATHER, Late}, World),
            {wait, put_program(Id, Program#program{gathering = [{Count, Pid, Wait} | Gathering]}, Parked)}
    end;
request(up, Id, _, _, World) ->
    {value, topos_sim_nodes:full_names([Peer || {Peer, up, _} <- topos_sim_membership:peers(Id, World)], World), World};
request({send, Node, Content, Channel, Key}, Id, _, Pid, World) ->
    %% Without a key the messages of a process keep their order.
    {ok, #{number := Number}} = topos_sim_world:find(Pid, World),
    Of = case Key of none -> {of_process, Number}; _ -> Key end,
    case topos_sim_nodes:find(Node, World) of
        {ok, To} ->
            {Answer, Sent} = send_to(Id, To, Content, Channel, Of, World),
            {value, Answer, Sent};
        error ->
            {value, {error, topos_error:new(unknown_node, #{node => Node})}, World}
    end;
request({send_acknowledged, Node, Content, Channel, Key}, Id,
    #program{config = #{timeouts := #{call := Timeout}}} = Program, Pid, World) ->
    Late = {error, topos_error:new(timeout, #{operation => send, timeout => Timeout})},
    {Wait, Parked} = topos_sim_world:park(Pid, "Distributed.send_with", {Timeout, Late}, World),
    case request({send, Node, {acknowledged, Content, {Pid, Wait}}, Channel, Key}, Id, Program, Pid, Parked) of
        {value, ok, Sent} -> {wait, Sent};
        {value, Error, Next} -> {wait, topos_sim_world:wake(Pid, Wait, {value, Error}, Next)}
    end;
request({to_process, How, {topos_sim_ref, To, Incarnation, Process}, Message, Channel, Key}, Id, Program, By, World) ->
    case incarnation(To, World) of
        Incarnation ->
            Content = {process, binary_to_term(Process), Message},
            request({How, topos_sim_nodes:full_name(To, World), Content, Channel, Key}, Id, Program, By, World);
        _ -> {value, {error, topos_error:new(stale_incarnation, #{node => topos_sim_nodes:full_name(To, World)})},
            World}
    end;
request(this_process, Id, _, Pid, World) ->
    {value, {ok, reference(Id, Pid, World)}, World};
request({spawn_on, Node, Body}, Id, #program{config = #{timeouts := #{call := Timeout}}}, Pid, World) ->
    case topos_sim_nodes:find(Node, World) of
        {ok, To} ->
            Late = {error, topos_error:new(timeout, #{operation => spawn, timeout => Timeout})},
            {Wait, Parked} = topos_sim_world:park(Pid, "Remote.spawn_on", {Timeout, Late}, World),
            case send_to(Id, To, {spawn, Body, {Pid, Wait}}, control, none, Parked) of
                {ok, Sent} -> {wait, Sent};
                {{error, _} = Error, Next} -> {wait, topos_sim_world:wake(Pid, Wait, {value, Error}, Next)}
            end;
        error ->
            {value, {error, topos_error:new(unknown_node, #{node => Node})}, World}
    end;
request({take, Wants, Timeout}, Id, #program{queue = Queue} = Program, Pid, World) ->
    case topos_program_queue:take(Wants, Queue) of
        {Item, Rest} ->
            {value, {some, Item}, put_program(Id, Program#program{queue = Rest}, World)};
        empty when Timeout =:= 0 ->
            {value, none, World};
        empty ->
            What = case Wants of messages -> "Distributed.recv"; all -> "Distributed.next_event" end,
            {Wait, Parked} = topos_sim_world:park(Pid, What, infinity, World),
            Ref = make_ref(),
            Waiting = topos_program_queue:wait(Ref, Wants, {Pid, Wait, Ref}, Queue),
            Put = put_program(Id, Program#program{queue = Waiting}, Parked),
            case Timeout of
                infinity -> {wait, Put};
                _ -> {wait, topos_sim_world:within(Timeout * 1_000, {?MODULE, {no_item, Id, Ref}}, Put)}
            end
    end;
request({monitor, Node}, Id, #program{next = Next, monitors = Monitors, up = Up} = Program, _, World) ->
    Monitor = {monitor, Next},
    case Up of
        #{Node := true} ->
            {value, {ok, Monitor}, put_program(Id,
                Program#program{next = Next + 1, monitors = Monitors#{Next => Node}}, World)};
        #{} ->
            Counted = put_program(Id, Program#program{next = Next + 1}, World),
            {value, {ok, Monitor}, came(Id, {event, {monitor_down, Monitor, Node}}, Counted)}
    end;
request({on, Which, Callback}, Id, #program{next = Next, callbacks = Callbacks} = Program, _, World) ->
    Put = Program#program{next = Next + 1, callbacks = Callbacks#{Next => {Which, Callback}}},
    {value, {ok, {subscription, Next}}, put_program(Id, Put, World)};
request({forget, {_, Number}}, Id, #program{monitors = Monitors, callbacks = Callbacks} = Program, _, World) ->
    Less = Program#program{monitors = maps:remove(Number, Monitors), callbacks = maps:remove(Number, Callbacks)},
    {value, ok, put_program(Id, Less, World)};
request({close_until, Millis}, Id, _, _, World) ->
    Members = [Id | [Peer || {Peer, up, _} <- topos_sim_membership:peers(Id, World)]],
    {value, ok, close_until(topos_sim_world:now(World) + Millis * 1_000, Members, World)};
request({set_topology, Topology}, Id, Program, Pid, World) ->
    topos_sim_topology:switch(Topology, Id, Program#program.config, Pid, World);
request({topology, Question}, Id, #program{config = Config}, _, World) ->
    {value, topos_sim_topology:answer(Question, Id, Config, World), World};
request({channels, Request}, Id, #program{config = Config} = Program, _, World) ->
    case topos_sim_channel:request(Request, Id, Config, World) of
        {changed, Answer, Channels} ->
            #{channels := Before} = Config,
            Changed = [Channel || {Channel, Settings} <- maps:to_list(Channels),
                maps:get(Channel, Before, Settings) =/= Settings],
            Lanes = lists:foldl(fun(Channel, W) -> topos_sim_network:new_lanes(Id, Channel, W) end, World, Changed),
            {value, Answer, put_program(Id, Program#program{config = Config#{channels := Channels}}, Lanes)};
        Answer -> {value, Answer, World}
    end.

%% Why a node takes no message more.
-spec refused(id(), content(), topos_sim_world:world()) -> none | {error, topos_error:t()}.
refused(Id, {message, _}, World) ->
    #program{queue = Queue, config = #{limits := #{max_inbox_messages := Max}}} = program(Id, World),
    case topos_program_queue:messages(Queue) >= Max of
        true -> {error, topos_error:new(inbox_full, #{node => topos_sim_nodes:full_name(Id, World), limit => Max})};
        false -> none
    end;
refused(_, _, _) ->
    none.

%% A reference to a process. Bytes and no process, so that it may cross in a call of a test.
reference(Id, Pid, World) -> {topos_sim_ref, Id, incarnation(Id, World), term_to_binary(Pid)}.

came(Id, Item, World) ->
    #program{queue = Queue} = Program = program(Id, World),
    case topos_program_queue:put(Item, Queue) of
        {give, _, {Pid, Wait, _}, Rest} ->
            topos_sim_world:wake(Pid, Wait, {value, {some, Item}},
                put_program(Id, Program#program{queue = Rest}, World));
        {kept, Kept} ->
            put_program(Id, Program#program{queue = Kept}, World)
    end.

%% What follows from an event: a change between up and not up is told to monitors and callbacks.
happened(Id, {up, Node, _}, World) ->
    #program{up = Before, callbacks = Callbacks, gathering = Gathering} = Program = program(Id, World),
    Up = Before#{Node => true},
    {Met, Gather} = lists:partition(fun({Count, _, _}) -> map_size(Up) >= Count end, Gathering),
    Known = lists:foldr(fun({_, Pid, Wait}, W) -> topos_sim_world:wake(Pid, Wait, {value, ok}, W) end,
        put_program(Id, Program#program{up = Up, gathering = Gather}, World), Met),
    case map_size(Callbacks) of
        0 -> Known;
        _ -> call_back(up, Node, Id, Known)
    end;
happened(Id, {Gone, Node}, World) when Gone =:= left -> gone(Id, Node, World);
happened(Id, {down, Node, _}, World) -> gone(Id, Node, World);
happened(_, _, World) -> World.

gone(Id, Node, World) ->
    #program{up = Up, monitors = Monitors} = Program = program(Id, World),
    case maps:take(Node, Up) of
        {true, Others} ->
            Fired = lists:sort([Number || {Number, N} <- maps:to_list(Monitors), N =:= Node]),
            Less = put_program(Id, Program#program{up = Others, monitors = maps:without(Fired, Monitors)}, World),
            Told = lists:foldl(fun(Number, W) ->
                came(Id, {event, {monitor_down, {monitor, Number}, Node}}, W) end, Less, Fired),
            call_back(down, Node, Id, Told);
        error ->
            World
    end.

call_back(Which, Node, Id, World) ->
    #program{callbacks = Callbacks} = program(Id, World),
    Life = topos_sim_nodes:life(Id, World),
    lists:foldl(
        fun
            ({_, {W, Callback}}, Acc) when W =:= Which ->
                About = #{life => Life, kind => process},
                {_, Started} = topos_sim_scheduler:start_process(Id, About, fun() -> Callback(Node) end, Acc),
                Started;
            (_, Acc) ->
                Acc
        end, World, lists:sort(maps:to_list(Callbacks))).

%% The node stops; processes that wait for its messages end, but not the one that started it.
dismissed(Id, World) ->
    case programs(World) of
        #{Id := #program{queue = Queue, owner = Owner}} ->
            Stopped = topos_sim_membership:crashed(Id, stopped(Id, World)),
            lists:foldl(
                fun
                    ({Pid, Wait, _}, W) when Pid =:= Owner ->
                        topos_sim_world:wake(Pid, Wait, {value, {error, topos_error:new(not_started, #{})}}, W);
                    ({Pid, Wait, _}, W) ->
                        topos_sim_world:wake(Pid, Wait, {exit, shutdown}, W)
                end, Stopped, topos_program_queue:waiters(Queue));
        #{} ->
            World
    end.
