%% @doc Owns the shared state of one `with' (see {@link topos_scope}): a public table, and a lock for those who write.
%%
%% The owner ends with the process that runs the `with', or when that says so, and takes the processes with it that are
%% linked to it. It survives their failures. Waiters for the lock are served in order; one that gives up or ends is
%% forgotten. The application variable `state_lock_timeout' of `topos_partisan' says how long a process waits, in
%% milliseconds (30,000).
%%
%% A process that belongs to a simulation has owners of another module ({@link use/1}), which answers what this one
%% does.
-module(topos_owner).
-behaviour(gen_server).

-export([start/1, stop/1, lock/1, unlock/1, patience/0, use/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([owner/0]).

-type owner() :: pid() | {module(), term()}.

-define(PATIENCE, 30_000).
-define(ELSEWHERE, '$topos_owners').

%% `holder' and the waiters by their monitors; the table is this process's.
-record(state, {home :: reference(), holder :: undefined | {pid(), reference()}, waiting :: queue:queue(waiter())}).
-type waiter() :: {gen_server:from(), reference()}.

%% @doc Starts an owner for a `with' that this process runs.
-spec start(pid()) -> {owner(), ets:table()}.
start(Home) ->
    case erlang:get(?ELSEWHERE) of
        undefined ->
            {ok, Pid} = gen_server:start(?MODULE, Home, []),
            {Pid, gen_server:call(Pid, table, infinity)};
        Module ->
            {Id, Table} = Module:start(Home),
            {{Module, Id}, Table}
    end.

%% @doc Has the calling process start owners of that module. It exports {@link start/1}, which answers what stands for
%% the owner there and its table, and {@link stop/1}, {@link lock/1} and {@link unlock/1} for that.
-spec use(module()) -> ok.
use(Module) ->
    _ = erlang:put(?ELSEWHERE, Module),
    ok.

%% @doc Ends the owner; its table is gone when this returns, and the processes that are linked to it have been told.
-spec stop(owner()) -> ok.
stop({Module, Id}) ->
    Module:stop(Id);
stop(Owner) ->
    try
        gen_server:stop(Owner, shutdown, infinity)
    catch
        %% It is gone already: somebody killed it.
        exit:_ -> ok
    end.

%% @doc How long a process waits for the lock, in milliseconds.
-spec patience() -> pos_integer().
patience() -> application:get_env(topos_partisan, state_lock_timeout, ?PATIENCE).

%% @doc Takes the lock. A process that holds it must not ask again.
-spec lock(owner()) -> ok | gone | timeout.
lock({Module, Id}) ->
    Module:lock(Id);
lock(Owner) ->
    try
        gen_server:call(Owner, lock, patience())
    catch
        exit:{timeout, _} ->
            ok = gen_server:cast(Owner, {unlock, self()}),
            timeout;
        exit:_ ->
            gone
    end.

-spec unlock(owner()) -> ok.
unlock({Module, Id}) -> Module:unlock(Id);
unlock(Owner) -> gen_server:cast(Owner, {unlock, self()}).

%% gen_server

-spec init(pid()) -> {ok, {ets:table(), #state{}}}.
init(Home) ->
    _ = process_flag(trap_exit, true),
    Table = ets:new(?MODULE, [public, set, {read_concurrency, true}]),
    {ok, {Table, #state{home = monitor(process, Home), holder = undefined, waiting = queue:new()}}}.

-spec handle_call(table | lock, gen_server:from(), {ets:table(), #state{}}) ->
    {reply, ok | ets:table(), {ets:table(), #state{}}} | {noreply, {ets:table(), #state{}}}.
handle_call(table, _From, {Table, _} = State) ->
    {reply, Table, State};
handle_call(lock, {Pid, _}, {Table, #state{holder = undefined} = State}) ->
    {reply, ok, {Table, State#state{holder = {Pid, monitor(process, Pid)}}}};
handle_call(lock, {Pid, _} = From, {Table, #state{waiting = Waiting} = State}) ->
    {noreply, {Table, State#state{waiting = queue:in({From, monitor(process, Pid)}, Waiting)}}}.

-spec handle_cast({unlock, pid()}, {ets:table(), #state{}}) -> {noreply, {ets:table(), #state{}}}.
handle_cast({unlock, Pid}, {Table, State}) ->
    {noreply, {Table, leave(Pid, State)}}.

-spec handle_info(term(), {ets:table(), #state{}}) ->
    {noreply, {ets:table(), #state{}}} | {stop, shutdown, {ets:table(), #state{}}}.
handle_info({'DOWN', Home, process, _, _}, {_, #state{home = Home}} = State) ->
    {stop, shutdown, State};
handle_info({'DOWN', _, process, Pid, _}, {Table, State}) ->
    {noreply, {Table, leave(Pid, State)}};
handle_info(_, State) ->
    %% Exits of linked processes are their own affair.
    {noreply, State}.

%% internal

%% A process that holds the lock, or waits for it, does so no more.
-spec leave(pid(), #state{}) -> #state{}.
leave(Pid, #state{holder = {Pid, Monitor}} = State) ->
    true = demonitor(Monitor, [flush]),
    next(State#state{holder = undefined});
leave(Pid, #state{waiting = Waiting} = State) ->
    {Gone, Stay} = lists:partition(fun({{P, _}, _}) -> P =:= Pid end, queue:to_list(Waiting)),
    lists:foreach(fun({_, Monitor}) -> true = demonitor(Monitor, [flush]) end, Gone),
    State#state{waiting = queue:from_list(Stay)}.

-spec next(#state{}) -> #state{}.
next(#state{waiting = Waiting} = State) ->
    case queue:out(Waiting) of
        {{value, {{Pid, _} = From, Monitor}}, Rest} ->
            ok = gen_server:reply(From, ok),
            State#state{holder = {Pid, Monitor}, waiting = Rest};
        {empty, _} ->
            State
    end.
