%% @doc The owners of shared handler state (`topos_owner') in a simulation: tables and locks without processes of their
%% own.
%%
%% Taking and giving back the lock are operations, so others may run between a look at a state variable and its
%% assignment, as on real nodes.
-module(topos_sim_lock).
-behaviour(topos_sim_scheduler).

-export([start/1, stop/1, lock/1, unlock/1, link_to/3]).
-export([handle/3, happen/2, ended/4]).
-export_type([id/0]).

-type id() :: pos_integer().
-record(lock, {
    home :: pid(), table :: ets:table(), holder = none :: none | pid(),
    %% Who waits, the first one first; and the processes that end with the handler.
    waiting = [] :: [{pid(), topos_sim_world:wait_id()}], linked = [] :: [pid()]
}).

%% @doc As `topos_owner:start/1'.
-spec start(pid()) -> {id(), ets:table()}.
start(Home) -> topos_sim_scheduler:call(?MODULE, {start, Home}).

-spec stop(id()) -> ok.
stop(Id) -> topos_sim_scheduler:call(?MODULE, {stop, Id}).

-spec lock(id()) -> ok | gone | timeout.
lock(Id) -> topos_sim_scheduler:call(?MODULE, {lock, Id}).

-spec unlock(id()) -> ok.
unlock(Id) -> topos_sim_scheduler:call(?MODULE, {unlock, Id}).

%% @doc A process ends with the handler that the owner belongs to.
-spec link_to(id(), pid(), topos_sim_world:world()) -> topos_sim_world:world().
link_to(Id, Pid, World) ->
    case locks(World) of
        #{Id := #lock{linked = Linked} = Lock} = Locks -> set(Locks#{Id := Lock#lock{linked = [Pid | Linked]}}, World);
        #{} -> World
    end.

-spec handle(term(), pid(), topos_sim_world:world()) -> topos_sim_scheduler:answer().
handle({start, Home}, _, World) ->
    Locks = locks(World),
    Id = maps:get(next, Locks, 1),
    Table = ets:new(?MODULE, [public, set]),
    {value, {Id, Table}, set(Locks#{Id => #lock{home = Home, table = Table}, next => Id + 1}, World)};
handle({stop, Id}, _, World) ->
    {value, ok, close(Id, World)};
handle({lock, Id}, Pid, World) ->
    case locks(World) of
        #{Id := #lock{holder = none} = Lock} = Locks ->
            {value, ok, set(Locks#{Id := Lock#lock{holder = Pid}}, World)};
        #{Id := #lock{waiting = Waiting} = Lock} = Locks ->
            {Wait, Parked} = topos_sim_world:park(Pid, "an assignment to shared state", infinity, World),
            Timed = topos_sim_world:within(topos_owner:patience() * 1_000, {?MODULE, {timeout, Id, Pid, Wait}}, Parked),
            {wait, set(Locks#{Id := Lock#lock{waiting = Waiting ++ [{Pid, Wait}]}}, Timed)};
        #{} ->
            {value, gone, World}
    end;
handle({unlock, Id}, Pid, World) ->
    {value, ok, release(Id, Pid, World)}.

-spec happen({timeout, id(), pid(), topos_sim_world:wait_id()}, topos_sim_world:world()) -> topos_sim_world:world().
happen({timeout, Id, Pid, Wait}, World) ->
    case locks(World) of
        #{Id := #lock{waiting = Waiting} = Lock} = Locks ->
            Rest = set(Locks#{Id := Lock#lock{waiting = lists:delete({Pid, Wait}, Waiting)}}, World),
            topos_sim_world:wake(Pid, Wait, {value, timeout}, Rest);
        #{} ->
            World
    end.

-spec ended(pid(), topos_sim_world:process(), topos_sim_scheduler:reason(), topos_sim_world:world()) ->
    topos_sim_world:world().
ended(Pid, _, _, World) ->
    Locks = lists:sort(maps:to_list(maps:remove(next, locks(World)))),
    lists:foldl(
        fun
            ({Id, #lock{home = Home}}, W) when Home =:= Pid -> close(Id, W);
            ({Id, _}, W) -> release(Id, Pid, W)
        end, World, Locks).

%% internal

locks(World) -> topos_sim_world:part(?MODULE, #{}, World).

set(Locks, World) -> topos_sim_world:set_part(?MODULE, Locks, World).

%% The table goes, who waits hears of it, and so do the processes that end with it.
-spec close(id(), topos_sim_world:world()) -> topos_sim_world:world().
close(Id, World) ->
    case maps:take(Id, locks(World)) of
        {#lock{table = Table, waiting = Waiting, linked = Linked}, Rest} ->
            true = ets:delete(Table),
            Told = lists:foldl(fun({Pid, Wait}, W) ->
                topos_sim_world:wake(Pid, Wait, {value, gone}, W) end, set(Rest, World), Waiting),
            lists:foldl(fun(Pid, W) -> topos_sim_scheduler:kill(Pid, shutdown, W) end, Told, lists:reverse(Linked));
        error ->
            World
    end.

%% A process that holds the lock, or waits for it, does so no more.
-spec release(id(), pid(), topos_sim_world:world()) -> topos_sim_world:world().
release(Id, Pid, World) ->
    case locks(World) of
        #{Id := #lock{holder = Pid, waiting = [{Next, Wait} | Waiting]} = Lock} = Locks ->
            topos_sim_world:wake(Next, Wait, {value, ok},
                set(Locks#{Id := Lock#lock{holder = Next, waiting = Waiting}}, World));
        #{Id := #lock{holder = Pid} = Lock} = Locks ->
            set(Locks#{Id := Lock#lock{holder = none}}, World);
        #{Id := #lock{waiting = Waiting} = Lock} = Locks ->
            set(Locks#{Id := Lock#lock{waiting = [W || {P, _} = W <- Waiting, P =/= Pid]}}, World);
        #{} ->
            World
    end.
