%% @doc The resident compile server: a VM that the `topos' program starts once and asks many times, because starting a VM costs
%% more than compiling a module.
%%
%% == Protocol, version 1 ==
%% Frames over standard input and output: four bytes of length, most significant first, then one term in the external term
%% format. The Rust side is `topos_lang::emit::server'. The parent is trusted as much as this VM's own command line; nobody
%% else can reach the pipes, so there is neither port nor token.
%% ```
%% server -> parent   {0, {ready, 1}}                        once, at start
%% parent -> server   {N, {compile, Forms}}                  Forms as topos_compile:forms_to_beam/1 takes them
%%                    {N, {load, Module, Beam}}
%%                    {N, {run, Module, Function, [Text]}}   in a process of its own
%% server -> parent   {N, {compiled, Module, Beam}} | {N, loaded} | {N, {finished, Text}} | {N, {crashed, Text}}
%%                    {N, {refused, [Text]}}                 the request could not be carried out
%%                    {N, {output, Bytes}}                   while it runs; {0, ..} from processes that outlive it
%% '''
%% Names, texts and beams are binaries; answers without fields are one-tuples. N is the parent's, at least 1; what is no request
%% is refused under its number, or under 0 if it has none. Requests are carried out one after the other. The server halts
%% when its standard input ends. Nothing else is ever written to standard output: what a program prints becomes `output',
%% what the VM logs goes to standard error.
%%
%% Start it with `erl -noinput -pa EBIN -s topos_effect compile_server'.
-module(topos_compile_server).

-export([start/1, answer/2]).
%% Body of a process.
-export([end_after/1]).
-export_type([runner/0]).

%% Calls a function of a loaded module and shows what came of it.
-type runner() :: fun((module(), atom(), [binary()]) -> {ok, binary()} | {error, binary()}).
-type reply() :: {N :: non_neg_integer(), tuple()}.

-define(VERSION, 1).
-define(MAX_FRAME, 67108864).

%% @doc Makes this VM a compile server. Returns at once.
-spec start(runner()) -> ok.
start(Runner) ->
    Self = self(),
    {Server, Monitor} = spawn_monitor(fun() -> init(Self, Runner) end),
    receive
        {Server, started} ->
            true = demonitor(Monitor, [flush]),
            ok;
        {'DOWN', Monitor, process, Server, Reason} ->
            erlang:error(Reason)
    end.

%% @doc The reply to the bytes of one frame. For `run' the output goes to the calling process's group leader.
-spec answer(binary(), runner()) -> reply().
answer(Frame, _) when byte_size(Frame) > ?MAX_FRAME ->
    {0, {refused, [<<"the frame is too large">>]}};
answer(Frame, Runner) ->
    try binary_to_term(Frame) of
        {N, Request} when is_integer(N), N > 0 -> {N, carry_out(Request, Runner)};
        _ -> {0, {refused, [<<"a request is {Number, Request}">>]}}
    catch
        error:badarg -> {0, {refused, [<<"the frame is not a term">>]}}
    end.

%% internal

-spec init(pid(), runner()) -> no_return().
init(Starter, Runner) ->
    ok = end_with(self()),
    Port = open_port({fd, 0, 1}, [{packet, 4}, binary, eof]),
    %% From here on standard output belongs to the frames.
    ok = quiet_logger(),
    Output = topos_compile_output:start(),
    true = unregister_user(),
    true = register(user, Output),
    ok = send(Port, {0, {ready, ?VERSION}}),
    Starter ! {self(), started},
    loop(Port, Output, Runner).

%% A parent that is gone before it has read what is written to it ends the port, and so this process: the VM ends with it.
-spec end_with(pid()) -> ok.
end_with(Server) ->
    _ = spawn(?MODULE, end_after, [Server]),
    ok.

%% @private
-spec end_after(pid()) -> no_return().
end_after(Server) ->
    Monitor = monitor(process, Server),
    receive
        {'DOWN', Monitor, process, Server, _} -> halt(1)
    end.

-spec loop(port(), pid(), runner()) -> no_return().
loop(Port, Output, Runner) ->
    receive
        {Port, {data, Frame}} ->
            Self = self(),
            {Worker, Monitor} = spawn_monitor(fun() ->
                true = group_leader(Output, self()),
                Self ! {answer, self(), answer(Frame, Runner)}
            end),
            ok = topos_compile_output:redirect(Output, Self),
            ok = send(Port, wait(Port, number(Frame), Worker, Monitor)),
            loop(Port, Output, Runner);
        {topos_compile_output, From, Bytes} ->
            %% A process that a program left behind.
            ok = send(Port, {0, {output, Bytes}}),
            From ! {topos_compile_output, written},
            loop(Port, Output, Runner);
        {Port, eof} ->
            halt(0)
    end.

%% Passes output on until the worker is done.
-spec wait(port(), non_neg_integer(), pid(), reference()) -> reply().
wait(Port, N, Worker, Monitor) ->
    receive
        {topos_compile_output, From, Bytes} ->
            ok = send(Port, {N, {output, Bytes}}),
            From ! {topos_compile_output, written},
            wait(Port, N, Worker, Monitor);
        {answer, Worker, Reply} ->
            true = demonitor(Monitor, [flush]),
            Reply;
        {'DOWN', Monitor, process, Worker, Reason} ->
            {N, {crashed, unicode:characters_to_binary(io_lib:format("the process ended: ~0tP", [Reason, 30]))}};
        {Port, eof} ->
            halt(0)
    end.

-spec number(binary()) -> non_neg_integer().
number(Frame) ->
    try binary_to_term(Frame) of
        {N, _} when is_integer(N), N > 0 -> N;
        _ -> 0
    catch
        error:badarg -> 0
    end.

-spec carry_out(term(), runner()) -> tuple().
carry_out({compile, Forms}, _) when is_binary(Forms) ->
    case topos_compile:forms_to_beam(Forms) of
        {ok, Module, Beam} -> {compiled, atom_to_binary(Module), Beam};
        {error, Mistakes} -> {refused, Mistakes}
    end;
carry_out({load, Name, Beam}, _) when is_binary(Name), is_binary(Beam) ->
    with_atom(Name, fun(Module) ->
        case code:load_binary(Module, atom_to_list(Module), Beam) of
            {module, Module} -> {loaded};
            {error, Why} -> {refused, [unicode:characters_to_binary(io_lib:format("cannot load ~ts: ~tp", [Name, Why]))]}
        end
    end);
carry_out({run, Name, Function, Arguments}, Runner) when is_binary(Name), is_binary(Function), is_list(Arguments) ->
    with_atom(Name, fun(Module) ->
        with_atom(Function, fun(F) ->
            case Runner(Module, F, Arguments) of
                {ok, Shown} -> {finished, Shown};
                {error, Why} -> {crashed, Why}
            end
        end)
    end);
carry_out(_, _) ->
    {refused, [<<"there is no such request">>]}.

-spec with_atom(binary(), fun((atom()) -> tuple())) -> tuple().
with_atom(Name, Continue) ->
    try binary_to_atom(Name) of
        Atom -> Continue(Atom)
    catch
        error:_ -> {refused, [<<"a name is a text of at most 255 characters">>]}
    end.

-spec send(port(), reply()) -> ok.
send(Port, Reply) ->
    try port_command(Port, term_to_binary(Reply)) of
        true -> ok
    catch
        %% The parent has closed its end: there is nobody to serve.
        error:badarg -> halt(0)
    end.

-spec quiet_logger() -> ok.
quiet_logger() ->
    case logger:remove_handler(default) of
        ok -> ok;
        {error, {not_found, default}} -> ok
    end,
    ok = logger:add_handler(default, logger_std_h, #{config => #{type => standard_error}}).

-spec unregister_user() -> true.
unregister_user() ->
    case whereis(user) of
        undefined -> true;
        _ -> unregister(user)
    end.
