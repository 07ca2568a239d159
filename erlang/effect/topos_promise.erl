%% @doc Promises: a process that keeps one value for whoever waits, and the calculation that makes it, if there is one.
%%
%% A promise belongs to the process that made it and ends with it, or when it is cancelled; its calculation, a process of its
%% own, ends with the promise. So nothing outlives its owner, and no message comes late: answers travel as those of
%% `gen_server' calls do, to an alias that ends with the call.
-module(topos_promise).
-behaviour(gen_server).

-export([start/0, start/1, fulfill/2, wait/2, cancel/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([promise/0]).

-opaque promise() :: pid().
-type outcome() :: {value, term()} | {failed, error | exit | throw, term(), [tuple()]}.

-record(state, {
    owner :: pid(),
    worker :: pid() | none,
    outcome = none :: none | outcome(),
    %% Whether somebody was given the outcome. A failure that nobody waited for is reported at the end.
    told = false :: boolean(),
    %% Who waits, by the timer that ends it; without a limit, by a reference of its own.
    waiters = #{} :: #{reference() => gen_server:from()}
}).

%% @doc A promise that somebody will fulfil.
-spec start() -> promise().
start() -> start_server(none).

%% @doc A promise of what the function answers; it runs in a process of its own.
-spec start(fun(() -> term())) -> promise().
start(Body) -> start_server(Body).

%% @doc Gives the promise its value. Only the first one counts; a promise that has ended ignores it.
-spec fulfill(promise(), term()) -> ok.
fulfill(Promise, Value) -> gen_server:cast(Promise, {fulfill, Value}).

%% @doc Waits for the value. If the calculation failed, this fails in the same way.
-spec wait(promise(), timeout()) -> {some, term()} | none.
wait(Promise, Timeout) ->
    Answer =
        try
            gen_server:call(Promise, {wait, Timeout}, infinity)
        catch
            exit:{Reason, {gen_server, call, _}} when Reason =:= noproc; Reason =:= normal -> ended
        end,
    case Answer of
        {value, Value} -> {some, Value};
        none -> none;
        {failed, Class, Reason1, Stack} -> erlang:raise(Class, Reason1, Stack);
        ended -> erlang:error(topos_error:new(promise_ended, #{promise => Promise}))
    end.

%% @doc Ends the promise and its calculation; returns when both have ended.
-spec cancel(promise()) -> ok.
cancel(Promise) ->
    Monitor = monitor(process, Promise),
    ok = gen_server:cast(Promise, cancel),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    end.

%% gen_server

-spec init({pid(), none | fun(() -> term())}) -> {ok, #state{}}.
init({Owner, Body}) ->
    %% The worker's end is a message, and an ending promise takes its worker along.
    _ = process_flag(trap_exit, true),
    _ = monitor(process, Owner),
    {ok, #state{owner = Owner, worker = start_worker(Body)}}.

-spec handle_call({wait, timeout()}, gen_server:from(), #state{}) -> {reply, term(), #state{}} | {noreply, #state{}}.
handle_call({wait, _}, _From, #state{outcome = Outcome} = State) when Outcome =/= none ->
    {reply, Outcome, State#state{told = true}};
handle_call({wait, 0}, _From, State) ->
    {reply, none, State};
handle_call({wait, Timeout}, From, #state{waiters = Waiters} = State) ->
    Ref =
        case Timeout of
            infinity -> make_ref();
            _ -> erlang:start_timer(Timeout, self(), waited)
        end,
    {noreply, State#state{waiters = Waiters#{Ref => From}}}.

-spec handle_cast({fulfill, term()} | cancel, #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handle_cast({fulfill, Value}, #state{outcome = none} = State) -> {noreply, settled({value, Value}, State)};
handle_cast({fulfill, _}, State) -> {noreply, State};
handle_cast(cancel, State) -> {stop, normal, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handle_info({timeout, Timer, waited}, #state{waiters = Waiters} = State) ->
    case maps:take(Timer, Waiters) of
        {From, Rest} ->
            ok = gen_server:reply(From, none),
            {noreply, State#state{waiters = Rest}};
        %% The value came at the same time.
        error ->
            {noreply, State}
    end;
handle_info({'EXIT', Worker, Reason}, #state{worker = Worker, outcome = none} = State) ->
    {noreply, settled(outcome(Reason), State#state{worker = none})};
handle_info({'EXIT', Worker, _}, #state{worker = Worker} = State) ->
    {noreply, State#state{worker = none}};
handle_info({'DOWN', _, process, Owner, _}, #state{owner = Owner} = State) ->
    {stop, normal, State};
handle_info(_, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{outcome = {failed, Class, Reason, Stack}, told = false}) ->
    topos_effect:report(Class, Reason, Stack);
terminate(_Reason, #state{worker = none}) -> ok;
terminate(_Reason, #state{worker = Worker}) ->
    true = exit(Worker, kill),
    receive
        %% It had failed just before.
        {'EXIT', Worker, {shutdown, {settled, _, {failed, Class, Reason, Stack}}}} -> topos_effect:report(Class, Reason, Stack);
        {'EXIT', Worker, _} -> ok
    end.

%% internal

-spec start_server(none | fun(() -> term())) -> promise().
start_server(Body) ->
    {ok, Promise} = gen_server:start(?MODULE, {self(), Body}, []),
    Promise.

%% The outcome is the reason of the worker's end. It says `settled' itself, because what another process ends it with may
%% look like anything else.
-spec start_worker(none | fun(() -> term())) -> pid() | none.
start_worker(none) -> none;
start_worker(Body) ->
    proc_lib:spawn_link(fun() ->
        Outcome =
            try
                {value, Body()}
            catch
                Class:Reason:Stack -> {failed, Class, Reason, Stack}
            end,
        %% Not by a report of proc_lib's: whoever waits learns it.
        exit({shutdown, {settled, self(), Outcome}})
    end).

-spec outcome(term()) -> outcome().
outcome({shutdown, {settled, _, Outcome}}) -> Outcome;
outcome(Reason) -> {failed, exit, Reason, []}.

-spec settled(outcome(), #state{}) -> #state{}.
settled(Outcome, #state{waiters = Waiters} = State) ->
    maps:foreach(
        fun(Ref, From) ->
            _ = erlang:cancel_timer(Ref),
            gen_server:reply(From, Outcome)
        end,
        Waiters
    ),
    State#state{outcome = Outcome, told = map_size(Waiters) > 0, waiters = #{}}.
