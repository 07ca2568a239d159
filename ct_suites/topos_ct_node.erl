%% @doc Real VMs for the suites: started, called, stopped, killed and paused.
%%
%% A node is an operating system process of its own, started with OTP's `peer' over standard input and output, so that no
%% Distributed Erlang is needed to control it: the VM is `nonode@nohost' until the code under test changes that. Names
%% carry the id of the controlling VM, so that suites of several people can run on one host. A node dies with the VM that
%% started it, also when that one is killed.
-module(topos_ct_node).

-export([start/1, start/2, stop/1, kill/1, pause/1, resume/1, is_alive/1]).
-export([call/4, call/5, apply/2, apply/3, name/1, name/2, os_pid/1]).
-export([wait_until/2, wait_until/3, patience/1, elapsed/1, free_port/0]).
-export_type([t/0]).

-type t() :: #{name := node(), peer := pid(), os_pid := string()}.

%% A wait ends with its event. Its limit is there for the test that fails, and no machine may be too slow for it.
-define(PATIENCE, 60_000).
-define(CALL_TIMEOUT, 120_000).
-define(POLL_INTERVAL, 10).

%% @doc A node name that no other run on this host uses: `Base_<os pid>@127.0.0.1'.
-spec name(atom() | string()) -> node().
name(Base) -> name(Base, "127.0.0.1").

-spec name(atom() | string(), Host :: string()) -> node().
name(Base, Host) -> list_to_atom(lists:concat([Base, "_", os:getpid(), "@", Host])).

%% @doc Starts a VM that has this VM's code path. The name is only carried along, the VM itself is not distributed.
-spec start(node()) -> t().
start(Name) -> start(Name, []).

%% @doc The same with further arguments for `erl'.
-spec start(node(), Args :: [string()]) -> t().
start(Name, Args) ->
    Paths = [Path || Path <- code:get_path(), Path =/= ".", filelib:is_dir(Path)],
    {ok, Peer} = started(peer:start(#{
        connection => standard_io,
        args => ["+sbwt", "none", "-kernel", "logger_level", "warning", "-pa" | lists:reverse(Paths)] ++ Args,
        %% No -noshell: it would take the standard input away that `peer' talks through.
        wait_boot => ?CALL_TIMEOUT,
        shutdown => {halt, 5_000}
    })),
    #{name => Name, peer => Peer, os_pid => peer:call(Peer, os, getpid, [], ?CALL_TIMEOUT)}.

%% @doc Ends the VM; one that is gone or paused too. Returns when the operating system has no such process any more.
%%
%% `peer' only closes the VM's standard input and does not wait; a VM whose end takes longer would still own its name and
%% port in the next test. Tests that care how a node ends stop what runs in it first.
-spec stop(t()) -> ok.
stop(#{peer := Peer} = Node) ->
    ok = kill(Node),
    Ref = monitor(process, Peer),
    receive
        {'DOWN', Ref, process, Peer, _} -> ok
    after ?PATIENCE -> error({still_running, Node})
    end.

%% @doc SIGKILL. Returns when the operating system has no such process any more.
-spec kill(t()) -> ok.
kill(Node) ->
    _ = signal("KILL", Node),
    wait_until({killed, Node}, fun() -> not is_alive(Node) end, 10_000).

%% @doc SIGSTOP: the VM keeps its sockets and answers nothing.
-spec pause(t()) -> ok.
pause(Node) ->
    _ = signal("STOP", Node),
    ok.

%% @doc SIGCONT.
-spec resume(t()) -> ok.
resume(Node) ->
    _ = signal("CONT", Node),
    ok.

%% @doc Whether the operating system process runs (a zombie does not).
-spec is_alive(t()) -> boolean().
is_alive(#{os_pid := OsPid}) ->
    case string:trim(os:cmd("ps -o stat= -p " ++ OsPid)) of
        "" -> false;
        "Z" ++ _ -> false;
        _ -> true
    end.

-spec os_pid(t()) -> string().
os_pid(#{os_pid := OsPid}) -> OsPid.

-spec call(t(), module(), atom(), [term()]) -> term().
call(Node, Module, Function, Args) -> call(Node, Module, Function, Args, ?CALL_TIMEOUT).

%% @doc Calls a function in the VM; an exception there is raised here.
-spec call(t(), module(), atom(), [term()], timeout()) -> term().
call(#{peer := Peer}, Module, Function, Args, Timeout) -> peer:call(Peer, Module, Function, Args, Timeout).

%% @doc Runs a fun in the VM (its module is on the code path there too).
-spec apply(t(), fun()) -> term().
apply(Node, Fun) -> ?MODULE:apply(Node, Fun, []).

-spec apply(t(), fun(), [term()]) -> term().
apply(Node, Fun, Args) -> call(Node, erlang, apply, [Fun, Args]).

%% @doc Polls until the fun answers `true'; fails the test with the fun's last answer when that takes too long. `Timeout' is what it
%% may take, in ms, on a machine that does nothing else: {@link patience/1}.
-spec wait_until(fun(() -> term()), non_neg_integer()) -> ok.
wait_until(Fun, Timeout) -> wait_until(Fun, Fun, Timeout).

-spec wait_until(What :: term(), fun(() -> term()), non_neg_integer()) -> ok.
wait_until(What, Fun, Timeout) ->
    poll(What, Fun, patience(Timeout), erlang:monotonic_time(millisecond) + patience(Timeout)).

%% @doc How long an event is waited for that comes within `Timeout' ms on a machine that does nothing else. A promise of time is no
%% matter of waiting: `topos_ct_clock'.
-spec patience(timeout()) -> timeout().
patience(infinity) -> infinity;
patience(Timeout) -> max(Timeout, ?PATIENCE).

%% @doc Milliseconds since a `monotonic_time(millisecond)'.
-spec elapsed(integer()) -> integer().
elapsed(Start) -> erlang:monotonic_time(millisecond) - Start.

%% @doc A loopback port that nothing listens on at this moment.
-spec free_port() -> inet:port_number().
free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

%% internal

-spec started({ok, pid()} | {ok, pid(), node()} | {error, term()}) -> {ok, pid()} | {error, term()}.
started({ok, Peer, _Node}) -> {ok, Peer};
started(Other) -> Other.

-spec signal(string(), t()) -> string().
signal(Signal, #{os_pid := OsPid}) -> os:cmd("kill -" ++ Signal ++ " " ++ OsPid).

-spec poll(term(), fun(() -> term()), non_neg_integer(), integer()) -> ok.
poll(What, Fun, Timeout, Deadline) ->
    case Fun() of
        true ->
            ok;
        Last ->
            case erlang:monotonic_time(millisecond) > Deadline of
                true ->
                    error({not_within, Timeout, What, {last, Last}});
                false ->
                    receive after ?POLL_INTERVAL -> ok end,
                    poll(What, Fun, Timeout, Deadline)
            end
    end.
