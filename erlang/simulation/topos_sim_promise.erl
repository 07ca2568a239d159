%% @doc Promises in a simulation: they mean what those of `topos_promise' mean.
-module(topos_sim_promise).
-behaviour(topos_sim_scheduler).

-export([start/0, start/1, fulfill/2, wait/2, cancel/1]).
-export([handle/3, happen/2, ended/4]).
-export_type([promise/0]).

-opaque promise() :: {promise, pos_integer()}.
-type outcome() :: {value, term()} | {failed, error | exit | throw, term(), [tuple()]}.

-record(promise, {
    owner :: pid(),
    worker = none :: none | pid(),
    outcome = none :: none | outcome(),
    %% Whether somebody was given the outcome. A failure that nobody waited for is reported at the end.
    told = false :: boolean(),
    waiters = [] :: [{pid(), topos_sim_world:wait_id()}]
}).
-record(part, {
    next = 1 :: pos_integer(),
    promises = #{} :: #{pos_integer() => #promise{}},
    %% The promises of a process, and the promise of a worker.
    owners = #{} :: #{pid() => [pos_integer()]},
    workers = #{} :: #{pid() => pos_integer()}
}).

-spec start() -> promise().
start() -> call(start).

%% @doc A promise of what the function answers; it runs in a process of its own.
-spec start(fun(() -> term())) -> promise().
start(Body) ->
    call({start, fun() ->
        Outcome =
            try
                {value, Body()}
            catch
                Class:Reason:Stack -> {failed, Class, Reason, Stack}
            end,
        {shutdown, {settled, Outcome}}
    end}).

-spec fulfill(promise(), term()) -> ok.
fulfill(Promise, Value) -> call({fulfill, Promise, Value}).

-spec wait(promise(), timeout()) -> {some, term()} | none.
wait(Promise, Timeout) ->
    case call({wait, Promise, Timeout}) of
        {value, Value} -> {some, Value};
        none -> none;
        {failed, Class, Reason, Stack} -> erlang:raise(Class, Reason, Stack);
        ended -> erlang:error(topos_error:new(promise_ended, #{promise => Promise}))
    end.

-spec cancel(promise()) -> ok.
cancel(Promise) -> call({cancel, Promise}).

-spec handle(term(), pid(), topos_sim_world:world()) -> topos_sim_scheduler:answer().
handle(start, Pid, World) ->
    {Promise, Made} = make(Pid, none, World),
    {value, Promise, Made};
handle({start, Body}, Pid, World) ->
    {ok, #{node := Node, life := Life}} = topos_sim_world:find(Pid, World),
    {Worker, Started} = topos_sim_scheduler:start_process(Node, #{life => Life, kind => process}, Body, World),
    {Promise, Made} = make(Pid, Worker, Started),
    {value, Promise, Made};
handle({fulfill, {promise, Id}, Value}, _, World) ->
    case part(World) of
        #part{promises = #{Id := #promise{outcome = none}}} -> {value, ok, settle(Id, {value, Value}, World)};
        _ -> {value, ok, World}
    end;
handle({wait, {promise, Id}, Timeout}, Pid, World) ->
    case part(World) of
        #part{promises = #{Id := #promise{outcome = none}}} when Timeout =:= 0 ->
            {value, none, World};
        #part{promises = #{Id := #promise{outcome = none, waiters = Waiters} = Promise}} ->
            Limit = case Timeout of infinity -> infinity; _ -> {Timeout, none} end,
            {Wait, Parked} = topos_sim_world:park(Pid, "Process.await", Limit, World),
            {wait, put_promise(Id, Promise#promise{waiters = Waiters ++ [{Pid, Wait}]}, Parked)};
        #part{promises = #{Id := #promise{outcome = Outcome} = Promise}} ->
            {value, Outcome, put_promise(Id, Promise#promise{told = true}, World)};
        #part{} ->
            {value, ended, World}
    end;
handle({cancel, {promise, Id}}, _, World) ->
    {value, ok, end_promise(Id, World)}.

-spec happen(term(), topos_sim_world:world()) -> no_return().
happen(Event, _) -> erlang:error({no_event_of_promises, Event}).

-spec ended(pid(), topos_sim_world:process(), topos_sim_scheduler:reason(), topos_sim_world:world()) ->
    topos_sim_world:world().
ended(Pid, _, Reason, World) ->
    #part{owners = Owners, workers = Workers} = Part = part(World),
    Settled =
        case maps:take(Pid, Workers) of
            {Id, Rest} ->
                Without = topos_sim_world:set_part(?MODULE, Part#part{workers = Rest}, World),
                #part{promises = Promises} = Part,
                case {Promises, Reason} of
                    {#{Id := #promise{outcome = none} = Promise}, {shutdown, {settled, Outcome}}} ->
                        settle(Id, Outcome, put_promise(Id, Promise#promise{worker = none}, Without));
                    {#{Id := #promise{outcome = none} = Promise}, _} ->
                        settle(Id, {failed, exit, Reason, []},
                            put_promise(Id, Promise#promise{worker = none}, Without));
                    {#{Id := Promise}, _} ->
                        put_promise(Id, Promise#promise{worker = none}, Without);
                    _ ->
                        Without
                end;
            error ->
                World
        end,
    lists:foldl(fun end_promise/2, Settled, lists:sort(maps:get(Pid, Owners, []))).

%% internal

call(Request) -> topos_sim_scheduler:call(?MODULE, Request).

part(World) -> topos_sim_world:part(?MODULE, #part{}, World).

make(Owner, Worker, World) ->
    #part{next = Id, owners = Owners, workers = Workers, promises = Promises} = Part = part(World),
    Made = Part#part{
        next = Id + 1,
        promises = Promises#{Id => #promise{owner = Owner, worker = Worker}},
        owners = Owners#{Owner => [Id | maps:get(Owner, Owners, [])]},
        workers = case Worker of none -> Workers; _ -> Workers#{Worker => Id} end
    },
    {{promise, Id}, topos_sim_world:set_part(?MODULE, Made, World)}.

put_promise(Id, Promise, World) ->
    #part{promises = Promises} = Part = part(World),
    topos_sim_world:set_part(?MODULE, Part#part{promises = Promises#{Id => Promise}}, World).

settle(Id, Outcome, World) ->
    #part{promises = #{Id := #promise{waiters = Waiters} = Promise}} = part(World),
    Settled = put_promise(Id, Promise#promise{outcome = Outcome, waiters = [], told = Waiters =/= []}, World),
    wake_all(Waiters, Outcome, Settled).

wake_all(Waiters, Answer, World) ->
    lists:foldl(fun({Pid, Wait}, W) -> topos_sim_world:wake(Pid, Wait, {value, Answer}, W) end, World, Waiters).

%% The promise goes, and its calculation with it; who waits hears of it.
end_promise(Id, World) ->
    #part{promises = Promises, owners = Owners} = Part = part(World),
    case maps:take(Id, Promises) of
        {#promise{owner = Owner, worker = Worker, outcome = Outcome, told = Told, waiters = Waiters}, Rest} ->
            Others = case lists:delete(Id, maps:get(Owner, Owners, [])) of
                [] -> maps:remove(Owner, Owners);
                Left -> Owners#{Owner => Left}
            end,
            Without = topos_sim_world:set_part(?MODULE, Part#part{promises = Rest, owners = Others}, World),
            Woken = wake_all(Waiters, ended, Without),
            Ended = case Worker of none -> Woken; _ -> topos_sim_scheduler:kill(Worker, killed, Woken) end,
            case Outcome of
                {failed, Class, Reason, Stack} when not Told, {Class, Reason} =/= {exit, normal},
                    {Class, Reason} =/= {exit, shutdown} ->
                    topos_sim_nodes:write_of(Owner, err, [topos_rt:format_error(Class, Reason, Stack), $\n], Ended);
                _ ->
                    Ended
            end;
        error ->
            World
    end.
