%% @doc What the actor suite runs inside the VMs of nodes: processes that keep what they are sent, and watchers.
-module(topos_ct_actor).

-export([keeper/0, kept/1, spawn_fun_on/2, start_watcher/0, watch/2, unwatch/2, downs/1, kill/1]).
-export([is_loaded/0, load_other_code/0, spawn_other_on/1, reasons/0]).
-export([crash_server/0, crash_server_and/1, send_to_inbox/2, take/1]).

%% @doc A process that keeps what it is sent.
-spec keeper() -> no_return().
keeper() -> keep([]).

%% @doc What a keeper of this node keeps, oldest first.
-spec kept(topos_remote:t()) -> [term()].
kept(Ref) ->
    {ok, Pid} = topos_remote:local_pid(Ref),
    ask(Pid, kept).

%% @doc Spawns a fun that registers itself there.
-spec spawn_fun_on(node(), atom()) -> {ok, topos_remote:t()} | {error, topos_error:t()}.
spawn_fun_on(Node, Name) ->
    topos_process:spawn(Node, fun() ->
        true = register(Name, self()),
        keep([])
    end).

%% @doc Makes sure that this module is loaded, and with it the atoms that the suite sends.
-spec is_loaded() -> true.
is_loaded() -> is_list(reasons()).

%% @doc The reasons the suite ends processes with: a node takes only atoms that it has.
-spec reasons() -> [atom()].
reasons() -> [because, of_this, done, gone, here, later, after_it, still, made_there].

%% @doc Loads a module `topos_ct_other' whose code is this node's own.
-spec load_other_code() -> ok.
load_other_code() ->
    Forms = [
        {attribute, 1, module, topos_ct_other},
        {attribute, 1, export, [{f, 0}]},
        {function, 1, f, 0,
            [{clause, 1, [], [], [{'fun', 1, {clauses, [{clause, 1, [], [], [{string, 1, os:getpid()}]}]}}]}]}
    ],
    {ok, topos_ct_other, Beam} = compile:forms(Forms),
    {module, topos_ct_other} = code:load_binary(topos_ct_other, "made here", Beam),
    ok.

%% @doc Spawns a fun of such a module on a node.
-spec spawn_other_on(node()) -> {ok, topos_remote:t()} | {error, topos_error:t()}.
spawn_other_on(Node) ->
    ok = load_other_code(),
    topos_process:spawn(Node, topos_ct_other:f()).

%% @doc A process that monitors for us and keeps what comes.
-spec start_watcher() -> pid().
start_watcher() -> spawn(fun() -> watching(#{}, []) end).

-spec watch(pid(), topos_remote:t()) -> ok | {error, topos_error:t()}.
watch(Watcher, Ref) -> ask(Watcher, {watch, Ref}).

-spec unwatch(pid(), topos_remote:t()) -> ok | {error, topos_error:t()}.
unwatch(Watcher, Ref) -> ask(Watcher, {unwatch, Ref}).

%% @doc Who went down, and why, in the order in which it came.
-spec downs(pid()) -> [{topos_remote:t(), term()}].
downs(Watcher) -> ask(Watcher, downs).

-spec kill(pid()) -> true.
kill(Pid) -> exit(Pid, kill).

%% @doc Kills the keeper of monitors and leases, and waits for its successor.
-spec crash_server() -> ok.
crash_server() ->
    Pid = whereis(topos_actors),
    exit(Pid, kill),
    topos_ct_node:wait_until(successor, fun() -> is_pid(whereis(topos_actors)) andalso
        whereis(topos_actors) =/= Pid end, 3_000).

%% @doc The same, and a process dies while nobody watches.
-spec crash_server_and(topos_remote:t()) -> ok.
crash_server_and(Ref) ->
    {ok, Dying} = topos_remote:local_pid(Ref),
    ok = sys:suspend(topos_actors),
    exit(Dying, kill),
    crash_server().

%% @doc Sends 1..Count to the inbox of a node.
-spec send_to_inbox(node(), pos_integer()) -> ok.
send_to_inbox(Node, Count) ->
    lists:foreach(fun(N) -> ok = topos_inbox:send(Node, N, #{wait => 60_000}) end, lists:seq(1, Count)).

%% @doc Takes so many messages from the inbox of this node.
-spec take(pos_integer()) -> [topos_inbox:letter()].
take(Count) -> [begin {ok, Letter} = topos_inbox:recv(60_000), Letter end || _ <- lists:seq(1, Count)].

%% internal

-spec keep([term()]) -> no_return().
keep(Kept) ->
    receive
        {keep, Term} -> keep([Term | Kept]);
        {ask, From, Ref, kept} -> From ! {Ref, lists:reverse(Kept)}, keep(Kept);
        {die_of, Text} -> exit({because, list_to_atom(Text)});
        die_large -> exit({large, lists:duplicate(100_000, self())})
    end.

-spec watching(#{topos_remote:t() => reference()}, [{topos_remote:t(), term()}]) -> no_return().
watching(Monitors, Downs) ->
    receive
        {ask, From, Tag, {watch, Ref}} ->
            case topos_process:monitor(Ref) of
                {ok, Monitor} -> From ! {Tag, ok}, watching(Monitors#{Ref => Monitor}, Downs);
                Error -> From ! {Tag, Error}, watching(Monitors, Downs)
            end;
        {ask, From, Tag, {unwatch, Ref}} ->
            From ! {Tag, topos_process:demonitor(maps:get(Ref, Monitors))},
            watching(maps:remove(Ref, Monitors), Downs);
        {ask, From, Tag, downs} ->
            From ! {Tag, lists:reverse(Downs)},
            watching(Monitors, Downs);
        {'DOWN', Monitor, process, Ref, Reason} ->
            %% Only monitors of our own, each for the reference it was made with.
            #{Ref := Monitor} = Monitors,
            watching(Monitors, [{Ref, Reason} | Downs])
    end.

-spec ask(pid(), term()) -> term().
ask(Pid, What) ->
    Ref = monitor(process, Pid),
    Pid ! {ask, self(), Ref, What},
    receive
        {Ref, Answer} -> true = demonitor(Ref, [flush]), Answer;
        {'DOWN', Ref, process, Pid, Reason} -> error({no_process, Reason})
    after 60_000 -> error({silent, Pid, What})
    end.
