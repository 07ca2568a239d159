%% @doc Evidence: which handler answers which effect; and the start of a program.
%%
%% Evidence is a map from an effect to a handler module and its instance. Compiled flows pass it on as their last
%% argument. The root evidence holds the handlers that a program has from the start; it is built once and kept in a
%% persistent term, so that reading it costs nothing and copies nothing.
%%
%% == How a program is started ==
%% ```
%% erl -noinput -pa EBIN.. -s topos_effect main -extra MODULE ARGUMENT..
%% '''
%% runs the exported flow `main' of the Topos module `MODULE' in a process of its own. The VM halts when it returns: with
%% status 0, with 1 and a message on standard error if it failed, or with what `Process.exit' said. Under `topos run' put
%% `-s topos_runner start' before.
-module(topos_effect).

-export([root/0, install/1, install_standard/2, uninstall/0, with_handler/5]).
-export([main/0, run_main/2, run_text/3, compile_server/0, report/3]).
-export([call_main/2, effects/0]).
-export_type([evidence/0, effect/0]).

%% The full name of an effect: `'Topos.IO.IO''.
-type effect() :: atom().
-type evidence() :: #{effect() => {module(), topos_handler:instance()}}.

-define(ROOT, {?MODULE, root}).

%% @doc The evidence of a program's outermost flow. Installs the standard handlers if none were installed.
-spec root() -> evidence().
root() ->
    case persistent_term:get(?ROOT, undefined) of
        undefined ->
            install_standard([], vm);
        Ev ->
            Ev
    end.

%% @doc Makes these handlers the root evidence, in this order: each sees those before it. What was installed before is
%% terminated and replaced. If one fails to start, those before it are terminated and nothing is installed.
-spec install([{effect(), module(), Args :: [term()]}]) -> {ok, evidence()} | {error, topos_error:t()}.
install(Handlers) ->
    ok = uninstall(),
    case start_handlers(Handlers, #{}) of
        {ok, Ev} ->
            ok = persistent_term:put(?ROOT, Ev),
            {ok, Ev};
        {error, _} = Error ->
            Error
    end.

%% @doc Installs the standard handlers, for a program with these arguments. When it ends itself, the VM ends, or only the process
%% that asks for it, with an error.
-spec install_standard([binary()], Ends :: vm | process) -> evidence().
install_standard(Arguments, Ends) ->
    case install(standard(Arguments, Ends)) of
        {ok, Ev} -> Ev;
        {error, Error} -> erlang:error(Error)
    end.

%% @doc Terminates the root handlers.
-spec uninstall() -> ok.
uninstall() ->
    Ev = persistent_term:get(?ROOT, #{}),
    _ = persistent_term:erase(?ROOT),
    terminate_all(normal, Ev).

%% @doc `with h(args) { body }' for a handler written in Erlang: runs the body with the evidence extended by the handler
%% and terminates the handler however the body ends.
-spec with_handler(effect(), module(), [term()], evidence(), fun((evidence()) -> Result)) -> Result when
    Result :: term().
with_handler(Effect, Module, Args, Ev, Body) ->
    case Module:init(Args, Ev) of
        {ok, Instance} ->
            try Body(Ev#{Effect => {Module, Instance}}) of
                Result ->
                    ok = Module:terminate(normal, Instance),
                    Result
            catch
                Class:Reason:Stack ->
                    ok = Module:terminate({Class, Reason}, Instance),
                    erlang:raise(Class, Reason, Stack)
            end;
        {error, Error} ->
            erlang:error(Error)
    end.

%% @doc For `erl -s topos_effect main -extra MODULE ARGUMENT..': starts the program and returns at once, because the VM's
%% own start goes on only then.
-spec main() -> ok.
main() ->
    case init:get_plain_arguments() of
        [Module | Arguments] ->
            Texts = [unicode:characters_to_binary(A) || A <- Arguments],
            %% Whatever the locale: a Text is UTF-8 for everybody who reads it.
            ok = io:setopts(user, [{encoding, unicode}]),
            ok = io:setopts(standard_error, [{encoding, unicode}]),
            %% By proc_lib, so that the program's first process can become a server.
            _ = proc_lib:spawn(?MODULE, run_main, [list_to_atom(Module), Texts]),
            ok;
        [] ->
            io:format(standard_error, "usage: erl -noinput -s topos_effect main -extra MODULE ARGUMENT..~n", []),
            halt(2)
    end.

%% @doc Runs a program in the calling process and halts the VM with its exit status. `main' may take no parameter, or one,
%% the list of its arguments.
-spec run_main(module(), [binary()]) -> no_return().
run_main(Module, Arguments) ->
    Status =
        try
            _ = install_standard(Arguments, vm),
            _ = call_main(Module, Arguments),
            ok = uninstall(),
            0
        catch
            Class:Reason:Stack ->
                ok = report(Class, Reason, Stack),
                1
        end,
    halt(Status).

%% @doc Calls an exported flow and answers its result as text: what the compile server runs.
-spec run_text(module(), atom(), [binary()]) -> {ok, binary()} | {error, binary()}.
run_text(Module, Function, Arguments) ->
    try erlang:apply(Module, Function, Arguments) of
        Value -> {ok, topos_rt:show(Value)}
    catch
        Class:Reason:Stack ->
            {error, unicode:characters_to_binary(topos_rt:format_error(Class, Reason, Stack))}
    end.

%% @doc For `erl -noinput -s topos_effect compile_server': makes this VM the compile server of its parent process.
-spec compile_server() -> ok.
compile_server() -> topos_compile_server:start(fun run_text/3).

%% @doc Writes an error that nobody caught to standard error. A process that ended itself on purpose made none.
-spec report(error | exit | throw, term(), [tuple()]) -> ok.
report(exit, Reason, _) when Reason =:= normal; Reason =:= shutdown ->
    ok;
report(Class, Reason, Stack) ->
    io:put_chars(standard_error, [topos_rt:format_error(Class, Reason, Stack), $\n]).

%% @doc Calls a program's `main', which may take its arguments. Fails with `no_main' (TP1063).
%% The exported one has the flow's written arity (see `topos_lang::core'); the one with evidence is one longer.
-spec call_main(module(), [binary()]) -> term().
call_main(Module, Arguments) ->
    case code:ensure_loaded(Module) of
        {module, Module} ->
            case {erlang:function_exported(Module, main, 0), erlang:function_exported(Module, main, 1)} of
                {true, _} -> Module:main();
                {false, true} -> Module:main(Arguments);
                {false, false} -> erlang:error(topos_error:new(no_main, #{module => Module}))
            end;
        {error, _} ->
            erlang:error(topos_error:new(no_main, #{module => Module}))
    end.

%% @doc The effects that have a handler from the start, with the module of each.
-spec effects() -> [{effect(), module()}].
effects() -> [{Effect, Module} || {Effect, Module, _} <- standard([], vm)].

%% internal

-spec standard([binary()], vm | process) -> [{effect(), module(), [term()]}].
standard(Arguments, Ends) ->
    [
        {'Topos.IO.IO', topos_effect_io, []},
        {'Topos.Process.Process', topos_effect_process, [Arguments, Ends]},
        {'Topos.Time.Time', topos_effect_time, []},
        {'Topos.Random.Random', topos_effect_random, []},
        {'Topos.Runner.Runner', topos_effect_runner, []},
        {'Topos.Partisan.Distributed', topos_effect_distributed, []},
        {'Topos.Channel.Channel', topos_effect_channel, []}
    ].

-spec start_handlers([{effect(), module(), [term()]}], evidence()) -> {ok, evidence()} | {error, topos_error:t()}.
start_handlers([], Ev) ->
    {ok, Ev};
start_handlers([{Effect, Module, Args} | Rest], Ev) ->
    case Module:init(Args, Ev) of
        {ok, Instance} ->
            start_handlers(Rest, Ev#{Effect => {Module, Instance}});
        {error, _} = Error ->
            ok = terminate_all(normal, Ev),
            Error
    end.

-spec terminate_all(normal, evidence()) -> ok.
terminate_all(Reason, Ev) ->
    maps:foreach(fun(_, {Module, Instance}) -> ok = Module:terminate(Reason, Instance) end, Ev).
