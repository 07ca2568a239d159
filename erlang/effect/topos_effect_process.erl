%% @doc Root handler of the effect `Topos.Process.Process': processes of this VM.
%%
%% A message of a Topos program travels as `{'$topos', Message}', so that it is never confused with what Erlang
%% libraries send to a process. Erlang code sends to a Topos process with {@link send/3}.
-module(topos_effect_process).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1]).
-export([spawn/2, self/1, send/3, 'receive'/1, receive_within/2, is_alive/2, sleep/2, arguments/1, exit/2, fail/2]).

-export([serve/2, ask/4, reply/3, stop/2]).
-export([async/2, promise/1, fulfill/3, await/2, await_within/3, cancel/2]).
-export([start_supervisor/4, start_child/5, count_children/2, stop_supervisor/2]).
-export([start_pool/5, start_worker/3, count_workers/2, stop_pool/2]).
-export([select/3, spawn_monitor/2, monitor/2, await_end/3, notify_end/3, demonitor/2]).

-compile({no_auto_import, [spawn/2, exit/2, spawn_monitor/2, monitor/2, demonitor/2]}).

%% The arguments of the program, the evidence its processes are started with, and what ends when the program ends itself: the VM, or
%% in a test, which ends nobody else, the process that asks for it, with an error.
-record(process, {arguments :: [binary()], evidence :: topos_effect:evidence(), ends :: vm | process}).
-opaque instance() :: #process{}.
-export_type([instance/0]).

%% The longest time that a receive can wait for, in milliseconds.
-define(MAX_WAIT, 16#FFFFFFFF).

%% @doc `[Arguments]' or `[Arguments, Ends]': the arguments of the program, and what `exit' and `fail' end, the VM if nothing is said.
-spec init([[binary()] | vm | process, ...], topos_effect:evidence()) -> {ok, instance()}.
init([Arguments], Ev) -> init([Arguments, vm], Ev);
init([Arguments, Ends], Ev) when is_list(Arguments), is_atom(Ends) ->
    {ok, #process{arguments = Arguments, evidence = Ev, ends = Ends}}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, #process{}) -> ok.

-spec portable(instance()) -> true.
portable(#process{}) -> true.

%% @doc Starts a process. Its error goes to standard error and ends nothing else, unless it is the child of a supervisor.
-spec spawn(instance(), fun((ok, topos_effect:evidence()) -> term())) -> pid().
spawn(#process{evidence = Ev}, Body) ->
    case topos_supervisor:is_starting() of
        false ->
            proc_lib:spawn(body(Body, Ev));
        true ->
            proc_lib:spawn_link(fun() ->
                try
                    Body(ok, Ev)
                catch
                    Class:Reason:Stack ->
                        ok = topos_effect:report(Class, Reason, Stack),
                        erlang:raise(Class, Reason, Stack)
                end
            end)
    end.

%% @doc As {@link spawn/2}, outside of supervisors, with a monitor.
-spec spawn_monitor(instance(), fun((ok, topos_effect:evidence()) -> term())) -> {pid(), reference()}.
spawn_monitor(#process{evidence = Ev}, Body) -> proc_lib:spawn_opt(body(Body, Ev), [monitor]).

-spec monitor(instance(), pid()) -> reference().
monitor(#process{}, Pid) -> erlang:monitor(process, Pid).

-spec await_end(instance(), reference(), integer()) -> {some, topos_mailbox:exit()} | none.
await_end(#process{}, Monitor, Timeout) ->
    receive
        {'DOWN', Monitor, process, _, Reason} -> {some, topos_mailbox:how_ended(Reason)}
    after wait(Timeout) -> none
    end.

-spec notify_end(instance(), pid(), fun((topos_mailbox:exit(), topos_effect:evidence()) -> term())) -> reference().
notify_end(#process{evidence = Ev}, Pid, Make) -> topos_mailbox:notify_end(Pid, fun(Exit) -> Make(Exit, Ev) end).

-spec demonitor(instance(), reference()) -> ok.
demonitor(#process{}, Monitor) ->
    true = erlang:demonitor(Monitor, [flush]),
    ok.

%% @doc Becomes a `gen_server' that handles messages.
-spec serve(instance(), fun((term(), topos_effect:evidence()) -> term())) -> no_return().
serve(#process{evidence = Ev}, Handle) ->
    topos_actor:serve(fun(Message) -> Handle(Message, Ev) end).

-spec ask(instance(), pid(), fun((topos_actor:reply(), topos_effect:evidence()) -> term()), integer()) ->
    {some, term()} | none.
ask(#process{evidence = Ev}, Pid, Make, Timeout) ->
    topos_actor:ask(Pid, fun(Reply) -> {'$topos', Make(Reply, Ev)} end, wait(Timeout)).

-spec reply(instance(), topos_actor:reply(), term()) -> ok.
reply(#process{}, Reply, Answer) -> topos_actor:reply(Reply, Answer).

-spec stop(instance(), pid()) -> ok.
stop(#process{}, Pid) -> topos_actor:stop(Pid).

-spec start_supervisor(instance(), topos_supervisor:strategy(), integer(), integer()) -> pid().
start_supervisor(#process{}, Strategy, Intensity, Period) -> topos_supervisor:start(Strategy, Intensity, Period).

-spec start_child(instance(), pid(), binary(), permanent | transient | temporary, Start) -> ok when
    Start :: fun((ok, topos_effect:evidence()) -> pid()).
start_child(#process{evidence = Ev}, Supervisor, Id, Restart, Start) ->
    topos_supervisor:start_child(Supervisor, Id, Restart, fun() -> Start(ok, Ev) end).

-spec count_children(instance(), pid()) -> non_neg_integer().
count_children(#process{}, Supervisor) -> topos_supervisor:count(Supervisor).

-spec stop_supervisor(instance(), pid()) -> ok.
stop_supervisor(#process{}, Supervisor) -> topos_actor:stop(Supervisor).

%% @doc A promise of the body's value; the body runs in a process of its own, which ends with the calling one.
-spec async(instance(), fun((ok, topos_effect:evidence()) -> term())) -> topos_promise:promise().
async(#process{evidence = Ev}, Body) -> topos_promise:start(fun() -> Body(ok, Ev) end).

-spec promise(instance()) -> topos_promise:promise().
promise(#process{}) -> topos_promise:start().

-spec fulfill(instance(), topos_promise:promise(), term()) -> ok.
fulfill(#process{}, Promise, Value) -> topos_promise:fulfill(Promise, Value).

-spec await(instance(), topos_promise:promise()) -> term().
await(#process{}, Promise) ->
    {some, Value} = topos_promise:wait(Promise, infinity),
    Value.

-spec await_within(instance(), topos_promise:promise(), integer()) -> {some, term()} | none.
await_within(#process{}, Promise, Timeout) -> topos_promise:wait(Promise, wait(Timeout)).

-spec cancel(instance(), topos_promise:promise()) -> ok.
cancel(#process{}, Promise) -> topos_promise:cancel(Promise).

-spec start_pool(instance(), Restart, integer(), integer(), Start) -> pid() when
    Restart :: permanent | transient | temporary,
    Start :: fun((term(), topos_effect:evidence()) -> pid()).
start_pool(#process{evidence = Ev}, Restart, Intensity, Period, Start) ->
    topos_supervisor:start_pool(Restart, Intensity, Period, fun(Argument) -> Start(Argument, Ev) end).

-spec start_worker(instance(), pid(), term()) -> pid().
start_worker(#process{}, Pool, Argument) -> topos_supervisor:start_worker(Pool, Argument).

-spec count_workers(instance(), pid()) -> non_neg_integer().
count_workers(#process{}, Pool) -> topos_supervisor:count(Pool).

-spec stop_pool(instance(), pid()) -> ok.
stop_pool(#process{}, Pool) -> topos_actor:stop(Pool).

-spec self(instance()) -> pid().
self(#process{}) -> erlang:self().

-spec send(instance(), pid(), term()) -> ok.
send(#process{}, Pid, Message) ->
    Pid ! {'$topos', Message},
    ok.

-spec 'receive'(instance()) -> term().
'receive'(#process{}) -> topos_mailbox:next().

%% @doc Waits at most that many milliseconds; a negative time is none.
-spec receive_within(instance(), integer()) -> {some, term()} | none.
receive_within(#process{}, Timeout) -> topos_mailbox:next(wait(Timeout)).

%% @doc Takes the first message of which `Choose' makes something.
-spec select(instance(), fun((term(), topos_effect:evidence()) -> {some, Result} | none), {some, integer()} | none) ->
    {some, Result} | none.
select(#process{evidence = Ev}, Choose, Timeout) ->
    Wait =
        case Timeout of
            none -> infinity;
            {some, Time} -> wait(Time)
        end,
    topos_mailbox:select(fun(Message) -> Choose(Message, Ev) end, Wait).

-spec is_alive(instance(), pid()) -> boolean().
is_alive(#process{}, Pid) -> is_process_alive(Pid).

-spec sleep(instance(), integer()) -> ok.
sleep(#process{}, Time) -> timer:sleep(wait(Time)).

-spec arguments(instance()) -> [binary()].
arguments(#process{arguments = Arguments}) -> Arguments.

%% @doc Ends the program; what was written before is still put out.
-spec exit(instance(), integer()) -> no_return().
exit(#process{ends = Ends}, Status) when Status >= 0, Status =< 255 ->
    case Ends of
        vm -> halt(Status);
        process -> erlang:error(topos_error:new(program_exit, #{why => io_lib:format("exit status ~b", [Status])}))
    end;
exit(#process{}, Status) -> erlang:error(topos_error:new(bad_exit_status, #{status => Status})).

-spec fail(instance(), binary()) -> no_return().
fail(#process{ends = process}, Text) ->
    erlang:error(topos_error:new(program_exit, #{why => Text}));
fail(#process{ends = vm}, Text) ->
    ok = io:put_chars(standard_error, [Text, $\n]),
    halt(1).

%% internal

%% What a process runs: its error goes to standard error, and is how it ends.
-spec body(fun((ok, topos_effect:evidence()) -> term()), topos_effect:evidence()) -> fun(() -> term()).
body(Body, Ev) ->
    %% What the `init' of a handler starts ends with the handler.
    Owner = topos_scope:owner(),
    fun() ->
        true = Owner =:= undefined orelse link(Owner),
        try
            Body(ok, Ev)
        catch
            Class:Reason:Stack ->
                ok = topos_effect:report(Class, Reason, Stack),
                %% The handler does not end with it.
                true = Owner =:= undefined orelse unlink(Owner),
                erlang:exit(how(Class, Reason, Stack))
        end
    end.

-spec how(error | exit | throw, term(), [tuple()]) -> term().
how(exit, Reason, _) -> Reason;
how(Class, Reason, Stack) -> topos_mailbox:failed(topos_rt:format_error(Class, Reason, Stack)).

-spec wait(integer()) -> non_neg_integer().
wait(Time) -> max(0, min(Time, ?MAX_WAIT)).
