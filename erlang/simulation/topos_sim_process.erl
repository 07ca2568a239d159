%% @doc The effect `Topos.Process.Process' in a simulation: processes of virtual nodes.
%%
%% Means what `topos_effect_process' means. Mailboxes, monitors and questions are kept here, not by the BEAM, so that
%% their order is the scheduler's. One thing is an error that real nodes leave unseen: sending to a process of another
%% node (`foreign_process', TP1086), whose name would mean any process there.
-module(topos_sim_process).
-behaviour(topos_handler).
-behaviour(topos_sim_scheduler).

-export([init/2, terminate/2, portable/1, '$handle_undefined_function'/2]).
-export([spawn/2, self/1, send/3, 'receive'/1, receive_within/2, select/3, is_alive/2, sleep/2, arguments/1, exit/2,
    fail/2]).
-export([serve/2, ask/4, reply/3, stop/2, spawn_monitor/2, monitor/2, await_end/3, notify_end/3, demonitor/2]).
-export([async/2, promise/1, fulfill/3, await/2, await_within/3, cancel/2]).
-export([start_supervisor/4, start_child/5, count_children/2, stop_supervisor/2]).
-export([start_pool/5, start_worker/3, count_workers/2, stop_pool/2]).
-export([handle/3, happen/2, ended/4]).
%% For other modules of the simulation.
-export([start/2, next_item/0, post/3, ask_server/2, answer/2, body/2, report/3, end_process/1]).

-compile({no_auto_import, [spawn/2, exit/2, spawn_monitor/2, monitor/2, demonitor/2]}).

%% `ends': what ends when the program ends itself, its node, or in a test the process, with an error.
-record(process, {arguments :: [binary()], evidence :: topos_effect:evidence(), ends :: vm | process}).
-opaque instance() :: #process{}.
-export_type([instance/0, monitor/0, item/0, reply/0]).

-opaque monitor() :: {monitor, pos_integer()}.
%% What a mailbox holds: a message, the end of a watched process, and what only supervisors get: the end of a linked
%% process, a question.
-type item() ::
    {message, term()} | {ended, fun((topos_mailbox:exit()) -> term()), topos_mailbox:exit()}
    | {linked_end, pid(), topos_sim_scheduler:reason()} | {question, reply(), term()}.
%% Where an answer goes: the process that asked, and its number of the question.
-type reply() :: {reply, pid(), pos_integer()}.

-record(watch, {by :: pid(), of_process :: pid(), make = none :: none | fun(), exit = none :: none
    | topos_mailbox:exit()}).
-record(part, {
    next = 1 :: pos_integer(),
    watches = #{} :: #{pos_integer() => #watch{}},
    %% Who waits for an answer, and from whom.
    asks = #{} :: #{reply() => {pid(), topos_sim_world:wait_id(), pid()}}
}).

-define(QUESTIONS, '$topos_sim_questions').
-define(MAX_WAIT, 16#FFFFFFFF).
%% How long a process may take to end when it is told to, in milliseconds.
-define(SHUTDOWN, 5_000).

%% @doc `[Arguments, Ends]', as `topos_effect_process' has it.
-spec init([term()], topos_effect:evidence()) -> {ok, instance()}.
init([Arguments, Ends], Ev) when is_list(Arguments), is_atom(Ends) ->
    {ok, #process{arguments = Arguments, evidence = Ev, ends = Ends}}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, #process{}) -> ok.

-spec portable(instance()) -> true.
portable(#process{}) -> true.

%% @private An operation that the effect has and this module has not.
-spec '$handle_undefined_function'(atom(), [term()]) -> no_return().
'$handle_undefined_function'(Operation, _) -> topos_sim_distributed:not_simulated('Process', Operation).

-spec spawn(instance(), fun((ok, topos_effect:evidence()) -> term())) -> pid().
spawn(#process{evidence = Ev}, Body) -> call({spawn, body(Body, Ev), links()}).

-spec spawn_monitor(instance(), fun((ok, topos_effect:evidence()) -> term())) -> {pid(), monitor()}.
spawn_monitor(#process{evidence = Ev}, Body) -> call({spawn_monitor, body(Body, Ev), links()}).

-spec self(instance()) -> pid().
self(#process{}) -> erlang:self().

-spec send(instance(), pid(), term()) -> ok.
send(#process{}, Pid, Message) -> call({send, Pid, Message}).

-spec 'receive'(instance()) -> term().
'receive'(#process{}) ->
    {some, Message} = topos_mailbox:next_of(source(), infinity),
    Message.

-spec receive_within(instance(), integer()) -> {some, term()} | none.
receive_within(#process{}, Timeout) -> topos_mailbox:next_of(source(), wait(Timeout)).

-spec select(instance(), fun((term(), topos_effect:evidence()) -> {some, Result} | none), {some, integer()} | none) ->
    {some, Result} | none.
select(#process{evidence = Ev}, Choose, Timeout) ->
    Wait = case Timeout of none -> infinity; {some, Time} -> wait(Time) end,
    topos_mailbox:select_of(source(), fun(Message) -> Choose(Message, Ev) end, Wait).

-spec monitor(instance(), pid()) -> monitor().
monitor(#process{}, Pid) -> call({monitor, Pid, none}).

-spec await_end(instance(), monitor(), integer()) -> {some, topos_mailbox:exit()} | none.
await_end(#process{}, Monitor, Timeout) -> call({await_end, Monitor, wait(Timeout)}).

-spec notify_end(instance(), pid(), fun((topos_mailbox:exit(), topos_effect:evidence()) -> term())) -> monitor().
notify_end(#process{evidence = Ev}, Pid, Make) -> call({monitor, Pid, fun(Exit) -> Make(Exit, Ev) end}).

-spec demonitor(instance(), monitor()) -> ok.
demonitor(#process{}, Monitor) -> call({demonitor, Monitor}).

-spec serve(instance(), fun((term(), topos_effect:evidence()) -> term())) -> no_return().
serve(#process{evidence = Ev} = Instance, Handle) ->
    Message =
        case topos_mailbox:is_waiting() of
            true -> topos_mailbox:next_of(source(), 0);
            false -> message(next_item())
        end,
    case Message of
        stop -> erlang:exit(shutdown);
        {some, Taken} -> _ = Handle(Taken, Ev)
    end,
    serve(Instance, Handle).

-spec ask(instance(), pid(), fun((reply(), topos_effect:evidence()) -> term()), integer()) -> {some, term()} | none.
ask(#process{evidence = Ev}, Pid, Make, Timeout) ->
    Reply = new_reply(),
    call({ask, Pid, {message, Make(Reply, Ev)}, Reply, wait(Timeout)}).

-spec reply(instance(), reply(), term()) -> ok.
reply(#process{}, Reply, Answer) -> call({reply, Reply, Answer}).

-spec stop(instance(), pid()) -> ok.
stop(#process{}, Pid) -> end_process(Pid).

-spec is_alive(instance(), pid()) -> boolean().
is_alive(#process{}, Pid) -> call({is_alive, Pid}).

-spec sleep(instance(), integer()) -> ok.
sleep(#process{}, Time) -> call({sleep, wait(Time)}).

-spec arguments(instance()) -> [binary()].
arguments(#process{arguments = Arguments}) -> Arguments.

-spec exit(instance(), integer()) -> no_return().
exit(#process{ends = vm}, Status) when Status >= 0, Status =< 255 -> topos_sim_nodes:halt(Status);
exit(#process{ends = process}, Status) when Status >= 0, Status =< 255 ->
    erlang:error(topos_error:new(program_exit, #{why => io_lib:format("exit status ~b", [Status])}));
exit(#process{}, Status) -> erlang:error(topos_error:new(bad_exit_status, #{status => Status})).

-spec fail(instance(), binary()) -> no_return().
fail(#process{ends = process}, Text) ->
    erlang:error(topos_error:new(program_exit, #{why => Text}));
fail(#process{ends = vm}, Text) ->
    ok = topos_sim_nodes:write(err, [Text, $\n]),
    topos_sim_nodes:halt(1).

-spec async(instance(), fun((ok, topos_effect:evidence()) -> term())) -> topos_sim_promise:promise().
async(#process{evidence = Ev}, Body) -> topos_sim_promise:start(fun() -> Body(ok, Ev) end).

-spec promise(instance()) -> topos_sim_promise:promise().
promise(#process{}) -> topos_sim_promise:start().

-spec fulfill(instance(), topos_sim_promise:promise(), term()) -> ok.
fulfill(#process{}, Promise, Value) -> topos_sim_promise:fulfill(Promise, Value).

-spec await(instance(), topos_sim_promise:promise()) -> term().
await(#process{}, Promise) ->
    {some, Value} = topos_sim_promise:wait(Promise, infinity),
    Value.

-spec await_within(instance(), topos_sim_promise:promise(), integer()) -> {some, term()} | none.
await_within(#process{}, Promise, Timeout) -> topos_sim_promise:wait(Promise, wait(Timeout)).

-spec cancel(instance(), topos_sim_promise:promise()) -> ok.
cancel(#process{}, Promise) -> topos_sim_promise:cancel(Promise).

-spec start_supervisor(instance(), topos_supervisor:strategy(), integer(), integer()) -> pid().
start_supervisor(#process{}, Strategy, Intensity, Period) -> topos_sim_supervisor:start(Strategy, Intensity, Period).

-spec start_child(instance(), pid(), binary(), topos_sim_supervisor:restart(), Start) -> ok when
    Start :: fun((ok, topos_effect:evidence()) -> pid()).
start_child(#process{evidence = Ev}, Supervisor, Id, Restart, Start) ->
    topos_sim_supervisor:start_child(Supervisor, Id, Restart, fun() -> Start(ok, Ev) end).

-spec count_children(instance(), pid()) -> non_neg_integer().
count_children(#process{}, Supervisor) -> topos_sim_supervisor:count(Supervisor).

-spec stop_supervisor(instance(), pid()) -> ok.
stop_supervisor(#process{}, Supervisor) -> end_process(Supervisor).

-spec start_pool(instance(), topos_sim_supervisor:restart(), integer(), integer(), Start) -> pid() when
    Start :: fun((term(), topos_effect:evidence()) -> pid()).
start_pool(#process{evidence = Ev}, Restart, Intensity, Period, Start) ->
    topos_sim_supervisor:start_pool(Restart, Intensity, Period, fun(Argument) -> Start(Argument, Ev) end).

-spec start_worker(instance(), pid(), term()) -> pid().
start_worker(#process{}, Pool, Argument) -> topos_sim_supervisor:start_worker(Pool, Argument).

-spec count_workers(instance(), pid()) -> non_neg_integer().
count_workers(#process{}, Pool) -> topos_sim_supervisor:count(Pool).

-spec stop_pool(instance(), pid()) -> ok.
stop_pool(#process{}, Pool) -> end_process(Pool).

%% For other modules of the simulation, in a process of the program

%% @doc What a process runs that a program started: its error is reported, and is how it ends.
-spec body(fun((ok, topos_effect:evidence()) -> term()), topos_effect:evidence()) ->
    fun(() -> topos_sim_scheduler:reason()).
body(Body, Ev) ->
    IsChild = topos_supervisor:is_starting(),
    fun() ->
        try Body(ok, Ev) of
            _ -> normal
        catch
            Class:Reason:Stack ->
                ok = report(Class, Reason, Stack),
                case {Class, IsChild} of
                    {exit, _} -> Reason;
                    %% As the BEAM has it: a supervisor starts it again.
                    {_, true} -> {Reason, Stack};
                    {_, false} -> topos_mailbox:failed(topos_rt:format_error(Class, Reason, Stack))
                end
        end
    end.

%% @doc As `topos_effect:report/3', to the standard error of the node.
-spec report(error | exit | throw, term(), [tuple()]) -> ok.
report(exit, Reason, _) when Reason =:= normal; Reason =:= shutdown -> ok;
report(Class, Reason, Stack) -> topos_sim_nodes:write(err, [topos_rt:format_error(Class, Reason, Stack), $\n]).

%% @doc Starts a process that ends with the reason that the body answers. A linked one ends with the calling process,
%% which finds its end in the mailbox.
-spec start(fun(() -> topos_sim_scheduler:reason()), link | no_link) -> pid().
start(Body, link) -> call({spawn, Body, #{parent => erlang:self()}});
start(Body, no_link) -> call({spawn, Body, #{}}).

%% @doc The next thing in the mailbox; `stop' if the process is to end.
-spec next_item() -> {some, item()} | stop.
next_item() -> call(next_item).

%% @doc Asks a process that takes questions. `none' if it ends before it answers.
-spec ask_server(pid(), term()) -> {some, term()} | none.
ask_server(Pid, Question) ->
    Reply = new_reply(),
    call({ask, Pid, {question, Reply, Question}, Reply, infinity}).

%% @doc Answers a question.
-spec answer(reply(), term()) -> ok.
answer(Reply, Answer) -> call({reply, Reply, Answer}).

%% @doc Ends a process as a supervisor does; returns when it has ended.
-spec end_process(pid()) -> ok.
end_process(Pid) -> call({stop, Pid}).

%% In the scheduler

-spec handle(term(), pid(), topos_sim_world:world()) -> topos_sim_scheduler:answer().
handle({spawn, Body, Links}, By, World) ->
    {Pid, Started} = spawned(Body, Links, By, World),
    {value, Pid, Started};
handle({spawn_monitor, Body, Links}, By, World) ->
    {Pid, Started} = spawned(Body, Links, By, World),
    {Monitor, Watched} = watch(Pid, By, none, Started),
    {value, {Pid, Monitor}, Watched};
handle({send, Pid, Message}, By, World) ->
    case whereabouts(Pid, By, World) of
        foreign -> {error, topos_error:new(foreign_process, #{process => Pid}), World};
        here -> {value, ok, post(Pid, {message, Message}, World)};
        %% It has ended, or it is one of Erlang code.
        unknown ->
            Pid ! {'$topos', Message},
            {value, ok, World}
    end;
handle({take, Timeout}, Pid, World) ->
    take(Pid, "Process.receive", Timeout, World);
handle(next_item, Pid, World) ->
    case topos_sim_world:find(Pid, World) of
        {ok, #{stopping := true}} -> {value, stop, World};
        {ok, _} ->
            Serving = topos_sim_world:update(Pid, fun(Process) -> Process#{serving => true} end, World),
            take(Pid, "Process.serve", infinity, Serving)
    end;
handle({monitor, Pid, Make}, By, World) ->
    case whereabouts(Pid, By, World) of
        foreign -> {error, topos_error:new(foreign_process, #{process => Pid}), World};
        _ ->
            {Monitor, Watched} = watch(Pid, By, Make, World),
            {value, Monitor, Watched}
    end;
handle({await_end, {monitor, Id}, Timeout}, Pid, World) ->
    case part(World) of
        #part{watches = #{Id := #watch{by = Pid, exit = Exit}}} when Exit =/= none ->
            {value, {some, Exit}, unwatch(Id, World)};
        _ -> wait_for(Pid, {"Process.await_end", Id}, Timeout, World)
    end;
handle({demonitor, {monitor, Id}}, _, World) ->
    {value, ok, unwatch(Id, World)};
handle({ask, Pid, Item, Reply, Timeout}, By, World) ->
    case whereabouts(Pid, By, World) of
        foreign ->
            {error, topos_error:new(foreign_process, #{process => Pid}), World};
        unknown ->
            {value, none, World};
        here ->
            {Wait, Parked} = topos_sim_world:park(By, "Process.ask", infinity, World),
            #part{asks = Asks} = Part = part(Parked),
            Asked = set(Part#part{asks = Asks#{Reply => {By, Wait, Pid}}}, Parked),
            Known = noted(asked, Reply, Pid, Asked),
            Timed =
                case Timeout of
                    infinity -> Known;
                    _ -> topos_sim_world:within(Timeout * 1_000, {?MODULE, {no_answer, Reply}}, Known)
                end,
            {wait, post(Pid, Item, Timed)}
    end;
handle({reply, Reply, Answer}, _, World) ->
    {value, ok, answered(Reply, {some, Answer}, World)};
handle({stop, Pid}, By, World) ->
    case whereabouts(Pid, By, World) of
        foreign ->
            {error, topos_error:new(foreign_process, #{process => Pid}), World};
        unknown ->
            {value, ok, World};
        here when Pid =:= By ->
            {wait, topos_sim_scheduler:kill(Pid, shutdown, World)};
        here ->
            {_, Parked} = topos_sim_world:park(By, {"Process.stop", Pid}, infinity, World),
            {wait, told_to_stop(Pid, Parked)}
    end;
handle({is_alive, Pid}, _, World) ->
    {value, topos_sim_world:find(Pid, World) =/= error, World};
handle({sleep, Time}, Pid, World) ->
    {_, Parked} = topos_sim_world:park(Pid, "Process.sleep", {Time, ok}, World),
    {wait, Parked};
handle(now, _, World) ->
    {value, topos_sim_world:millis(World), World}.

-spec happen({no_answer, reply()} | {kill, pid()}, topos_sim_world:world()) -> topos_sim_world:world().
happen({no_answer, Reply}, World) -> answered(Reply, none, World);
happen({kill, Pid}, World) -> topos_sim_scheduler:kill(Pid, killed, World).

-spec ended(pid(), topos_sim_world:process(), topos_sim_scheduler:reason(), topos_sim_world:world()) ->
    topos_sim_world:world().
ended(Pid, Process, Reason, World) ->
    Exit = topos_mailbox:how_ended(Reason),
    Watched = lists:foldl(fun(Id, W) ->
        tell_watcher(Id, Exit, W) end, World, lists:sort(maps:keys(maps:get(watched, Process, #{})))),
    Forgotten = lists:foldl(fun unwatch/2, Watched, maps:keys(maps:get(watching, Process, #{}))),
    Answered = lists:foldl(fun(Reply, W) ->
        answered(Reply, none, W) end, Forgotten, lists:sort(maps:keys(maps:get(asked, Process, #{})))),
    Stopped = lists:foldl(
        fun(Waiting, W) ->
            case topos_sim_world:is_waiting(Waiting, {"Process.stop", Pid}, W) of
                true -> topos_sim_world:wake(Waiting, {value, ok}, W);
                false -> W
            end
        end, Answered, maps:get(stoppers, Process, [])),
    Linked =
        case Process of
            #{parent := Parent} -> post(Parent, {linked_end, Pid, Reason}, Stopped);
            #{} -> Stopped
        end,
    Children =
        case Process of
            #{linked := true, node := Node} ->
                [P || {P, #{parent := Of}} <- topos_sim_world:processes(Node, Linked), Of =:= Pid];
            #{} -> []
        end,
    lists:foldl(fun(Child, W) -> topos_sim_scheduler:kill(Child, shutdown, W) end, Linked, Children).

%% @doc Puts something into a mailbox, or gives it to the process that waits for it.
-spec post(pid(), item(), topos_sim_world:world()) -> topos_sim_world:world().
post(Pid, Item, World) ->
    case topos_sim_world:find(Pid, World) of
        {ok, #{wait := {_, What, _}}} when What =:= "Process.receive"; What =:= "Process.serve" ->
            topos_sim_world:wake(Pid, {value, {some, Item}}, World);
        {ok, Process} ->
            Count = maps:get(count, Process, 0) + 1,
            Mail = queue:in(Item, maps:get(mail, Process, queue:new())),
            Limit = topos_sim_world:option(max_mailbox, World),
            Kept = topos_sim_world:update(Pid, fun(P) -> P#{mail => Mail, count => Count} end, World),
            case Count > Limit of
                false -> Kept;
                true ->
                    Error = topos_error:new(simulation_limit,
                        #{what => "messages in a mailbox", limit => integer_to_list(Limit)}),
                    topos_sim_world:finish({failed, Error}, Kept)
            end;
        error ->
            World
    end.

%% internal

call(Request) -> topos_sim_scheduler:call(?MODULE, Request).

%% What a new process is linked to: the supervisor that starts a child, else the handler whose `init' runs.
-spec links() -> #{parent => pid(), owner => term()}.
links() ->
    case {topos_supervisor:is_starting(), topos_scope:owner()} of
        {true, _} -> #{parent => erlang:self()};
        {false, {topos_sim_lock, Owner}} -> #{owner => Owner};
        {false, undefined} -> #{}
    end.

-spec new_reply() -> reply().
new_reply() ->
    Number =
        case erlang:get(?QUESTIONS) of
            undefined -> 1;
            Last -> Last + 1
        end,
    _ = erlang:put(?QUESTIONS, Number),
    {reply, erlang:self(), Number}.

-spec source() -> topos_mailbox:source().
source() ->
    {
        fun(Timeout) ->
            case call({take, Timeout}) of
                none -> none;
                Some -> message(Some)
            end
        end,
        fun() -> call(now) end
    }.

-spec message({some, item()} | stop) -> {some, term()} | stop.
message({some, {message, Message}}) -> {some, Message};
message({some, {ended, Make, Exit}}) -> {some, Make(Exit)};
message(stop) -> stop.

-spec wait(integer()) -> non_neg_integer().
wait(Time) -> max(0, min(Time, ?MAX_WAIT)).

part(World) -> topos_sim_world:part(?MODULE, #part{}, World).

set(Part, World) -> topos_sim_world:set_part(?MODULE, Part, World).

spawned(Body, Links, By, World) ->
    {ok, #{node := Node, life := Life}} = topos_sim_world:find(By, World),
    About = maps:with([parent], Links),
    {Pid, Started} = topos_sim_scheduler:start_process(Node, About#{life => Life, kind => process}, Body, World),
    case Links of
        #{parent := Parent} -> {Pid, topos_sim_world:update(Parent, fun(P) -> P#{linked => true} end, Started)};
        #{owner := Owner} -> {Pid, topos_sim_lock:link_to(Owner, Pid, Started)};
        #{} -> {Pid, Started}
    end.

%% A process of another node, or of an earlier life of this one, is none that a program could reach.
-spec whereabouts(pid(), pid(), topos_sim_world:world()) -> here | foreign | unknown.
whereabouts(Pid, By, World) ->
    {ok, #{node := Node}} = topos_sim_world:find(By, World),
    case topos_sim_world:find(Pid, World) of
        {ok, #{node := Node}} -> here;
        {ok, _} -> foreign;
        error -> unknown
    end.

take(Pid, What, Timeout, World) ->
    case topos_sim_world:find(Pid, World) of
        {ok, #{count := Count, mail := Mail}} when Count > 0 ->
            {{value, Item}, Rest} = queue:out(Mail),
            Shorter = topos_sim_world:update(Pid, fun(P) -> P#{mail := Rest, count := Count - 1} end, World),
            {value, {some, Item}, Shorter};
        {ok, _} ->
            wait_for(Pid, What, Timeout, World)
    end.

wait_for(_, _, 0, World) ->
    {value, none, World};
wait_for(Pid, What, infinity, World) ->
    {_, Parked} = topos_sim_world:park(Pid, What, infinity, World),
    {wait, Parked};
wait_for(Pid, What, Timeout, World) ->
    {_, Parked} = topos_sim_world:park(Pid, What, {Timeout, none}, World),
    {wait, Parked}.

watch(Pid, By, Make, World) ->
    #part{next = Id, watches = Watches} = Part = part(World),
    Watch = #watch{by = By, of_process = Pid, make = Make},
    Known = set(Part#part{next = Id + 1, watches = Watches#{Id => Watch}}, World),
    Watching = noted(watching, Id, By, Known),
    case topos_sim_world:find(Pid, World) of
        {ok, _} ->
            {{monitor, Id}, noted(watched, Id, Pid, Watching)};
        error ->
            {{monitor, Id}, tell_watcher(Id, gone, Watching)}
    end.

unwatch(Id, World) ->
    #part{watches = Watches} = Part = part(World),
    case maps:take(Id, Watches) of
        {#watch{by = By, of_process = Pid}, Rest} ->
            Without = fun(Key, P, W) -> without(Key, Id, P, W) end,
            Without(watching, By, Without(watched, Pid, set(Part#part{watches = Rest}, World)));
        error ->
            World
    end.

%% A process keeps the monitors on it, its own monitors, and who asked it.
noted(Key, Id, Pid, World) ->
    topos_sim_world:update(Pid, fun(P) -> P#{Key => (maps:get(Key, P, #{}))#{Id => []}} end, World).

without(Key, Id, Pid, World) ->
    case topos_sim_world:find(Pid, World) of
        {ok, #{Key := Ids}} -> topos_sim_world:update(Pid, fun(P) -> P#{Key := maps:remove(Id, Ids)} end, World);
        _ -> World
    end.

tell_watcher(Id, Exit, World) ->
    #part{watches = #{Id := #watch{by = By, make = Make} = Watch} = Watches} = Part = part(World),
    case {Make, topos_sim_world:is_waiting(By, {"Process.await_end", Id}, World)} of
        {none, true} -> topos_sim_world:wake(By, {value, {some, Exit}}, unwatch(Id, World));
        {none, false} -> set(Part#part{watches = Watches#{Id := Watch#watch{exit = Exit}}}, World);
        _ -> post(By, {ended, Make, Exit}, unwatch(Id, World))
    end.

%% Who asked goes on, if it still waits.
answered(Reply, Answer, World) ->
    #part{asks = Asks} = Part = part(World),
    case maps:take(Reply, Asks) of
        {{By, Wait, Pid}, Rest} ->
            topos_sim_world:wake(By, Wait, {value, Answer},
                without(asked, Reply, Pid, set(Part#part{asks = Rest}, World)));
        error ->
            World
    end.

%% A process that serves ends between two messages; if that takes too long, or if it does not serve, at once.
told_to_stop(Pid, World) ->
    {ok, #{node := Node} = Process} = topos_sim_world:find(Pid, World),
    Waiting = [P || {P, #{wait := {_, {"Process.stop", Of}, _}}} <- topos_sim_world:processes(Node, World), Of =:= Pid],
    Told = topos_sim_world:update(Pid, fun(P) -> P#{stopping => true, stoppers => Waiting} end, World),
    case Process of
        #{wait := {_, "Process.serve", _}} -> topos_sim_world:wake(Pid, {value, stop}, Told);
        #{serving := true} -> topos_sim_world:within(?SHUTDOWN * 1_000, {?MODULE, {kill, Pid}}, Told);
        #{} -> topos_sim_scheduler:kill(Pid, shutdown, Told)
    end.
