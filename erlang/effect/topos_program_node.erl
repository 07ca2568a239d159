%% @doc The node of a Topos program: who owns it, what it watches, whom it calls back.
%%
%% One process holds this, so that what comes of an event comes in the event's order: a monitor placed after a node went
%% down is told at once, one placed before is told exactly once. It subscribes to the events of `topos_partisan', keeps them
%% until a process of the program takes them ({@link take/2}), and starts a process for each callback. Messages of other
%% nodes come through it too ({@link send/2}), so that none overtakes the event that its sender is up: it takes over the inbox of the
%% node, whose limit bounds what waits. The node ends with the process that started it.
-module(topos_program_node).
-behaviour(gen_server).

-export([start/1, start/2, stop/0, enter/1, leave/0, send/2, send/3, take/2, monitor/1, on/3, forget/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([callback/0, event/0]).

-compile({no_auto_import, [monitor/1]}).

-type callback() :: fun((node(), topos_effect:evidence()) -> term()).
-type event() :: topos_partisan:event() | {monitor_down, reference(), node()} | {missed, Count :: pos_integer()}.

%% Who waits, and the timer that ends it.
-type waiter() :: {gen_server:from(), reference()}.

%% One of Partisan's own managers has no events: the error of whoever wants some.
-type subscription() :: reference() | topos_error:t().

-record(state, {
    owner :: pid(),
    config :: map(),
    cluster :: binary(),
    subscription :: subscription(),
    %% The monitor of the inbox: without it no message comes.
    inbox :: reference(),
    up = #{} :: #{node() => true},
    queue = topos_program_queue:new() :: topos_program_queue:t(waiter()),
    monitors = #{} :: #{reference() => node()},
    callbacks = #{} :: #{reference() => {up | down, callback(), topos_effect:evidence()}}
}).

%% @doc Starts the node with a configuration of `topos_partisan:start/1'. It ends with the calling process.
-spec start(map()) -> ok | {error, topos_error:t()}.
start(Config) -> start(Config, self()).

%% @doc The same for a node that ends with another process.
-spec start(map(), Owner :: pid()) -> ok | {error, topos_error:t()}.
start(Config, Owner) ->
    case gen_server:start({local, ?MODULE}, ?MODULE, {Config, Owner}, []) of
        {ok, _} -> ok;
        {error, {already_started, _}} -> {error, topos_error:new(already_started, #{node => topos_partisan:node()})};
        {error, {shutdown, Error}} -> {error, Error}
    end.

%% @doc Stops the node at once, if there is one, whoever started it: others see it go down.
-spec stop() -> ok.
stop() ->
    try
        gen_server:stop(?MODULE)
    catch
        %% There is none, or it ended meanwhile.
        exit:noproc -> ok;
        exit:{Reason, {sys, terminate, _}} when Reason =:= noproc; Reason =:= normal -> ok
    end.

%% @doc Makes the node a member of no cluster but the one of this name, and tells the runner where it listens. Has no effect
%% where it is in that cluster. Callbacks and monitors stay.
-spec enter(binary()) -> ok | {error, topos_error:t()}.
enter(Cluster) -> call({enter, Cluster}).

%% @doc Sends a message to the program of that node, which takes it with {@link take/2}.
-spec send(node(), term()) -> ok | {error, topos_error:t()}.
send(Node, Message) -> send(Node, Message, #{}).

%% @doc The same with options of `topos_partisan:send/4'. Errors: those of `topos_inbox:send/3', and `stays_here' (TP1079) for a
%% message that means something else on another node, also where the node is this one: see {@link topos_portable}.
-spec send(node(), term(), topos_partisan:send_options()) -> ok | {error, topos_error:t()}.
send(Node, Message, Options) ->
    case {topos_partisan:node(), topos_portable:check(Message)} of
        {{error, _} = Error, _} -> Error;
        {_, ok} -> topos_inbox:send(Node, Message, Options);
        {_, {error, _} = Error} -> Error
    end.

%% @doc The oldest message, or the oldest message or event; waits at most that many milliseconds for one. Any process may
%% take; each thing is taken once, by those who wait in the order in which they began to. A process other than the one that
%% started the node ends with reason `shutdown' when the node ends while it waits.
-spec take(topos_program_queue:wants(), timeout()) ->
    {some, topos_program_queue:item()} | none | {error, topos_error:t()}.
take(Wants, Timeout) ->
    case call({take, Wants, Timeout}) of
        node_ended -> exit(shutdown);
        Answer -> Answer
    end.

%% @doc Leaves the cluster and stops the node. One that cannot leave, which is the error `unsupported_by_manager', goes on.
-spec leave() -> ok | {error, topos_error:t()}.
leave() -> call(leave).

%% @doc One `monitor_down' event when the node goes down or leaves; at once if it is not up.
-spec monitor(node()) -> {ok, reference()} | {error, topos_error:t()}.
monitor(Node) -> call({monitor, Node}).

%% @doc Calls the function, in a process of its own, whenever a node comes up, or goes down or leaves.
-spec on(up | down, callback(), topos_effect:evidence()) -> {ok, reference()} | {error, topos_error:t()}.
on(Which, Callback, Ev) -> call({on, Which, Callback, Ev}).

%% @doc Ends a monitor or a callback. Unknown references are `ok'.
-spec forget(reference()) -> ok.
forget(Ref) ->
    case call({forget, Ref}) of
        ok -> ok;
        {error, {not_started, _}} -> ok
    end.

%% gen_server

-spec init({map(), pid()}) -> {ok, #state{}} | {stop, {shutdown, topos_error:t()}}.
init({Config, Owner}) ->
    %% So that terminate/2 stops the node.
    _ = process_flag(trap_exit, true),
    case start_node(Config) of
        {ok, Cluster, Subscription, Up} ->
            _ = erlang:monitor(process, Owner),
            {Inbox, Queue} = take_over_inbox(topos_program_queue:new()),
            {ok, #state{owner = Owner, config = Config, cluster = Cluster, subscription = Subscription, up = Up,
                        inbox = Inbox, queue = Queue}};
        {error, Error} ->
            {stop, {shutdown, Error}}
    end.

-spec handle_call(term(), gen_server:from(), #state{}) ->
    {reply, term(), #state{}} | {noreply, #state{}} | {stop, normal, term(), #state{}}.
handle_call({take, Wants, Timeout}, From, #state{queue = Queue} = State) ->
    case topos_program_queue:take(Wants, Queue) of
        {Item, Rest} -> {reply, {some, Item}, handed_on(Item, State#state{queue = Rest})};
        empty when Timeout =:= 0 -> {reply, none, State};
        empty -> {noreply, wait(From, Wants, Timeout, State)}
    end;
handle_call({enter, Cluster}, _From, #state{cluster = Cluster} = State) ->
    {reply, publish(), State};
handle_call({enter, Cluster}, _From, #state{config = Config} = State) ->
    %% The API names the cluster at start. The node is alone until now or leaves on purpose, and nobody was told its
    %% address before, so a restart is seen by no one.
    true = demonitor(State#state.inbox, [flush]),
    ok = topos_partisan:stop(),
    Renamed = Config#{cluster => Cluster},
    case start_node(Renamed) of
        {ok, Cluster, Subscription, Up} ->
            Lost = lists:foldl(fun gone/2, State, maps:keys(State#state.up)),
            {Inbox, Queue} = take_over_inbox(Lost#state.queue),
            {reply, publish(), Lost#state{config = Renamed, cluster = Cluster, subscription = Subscription, up = Up,
                                          inbox = Inbox, queue = Queue}};
        {error, _} = Error ->
            {stop, normal, Error, State}
    end;
handle_call(leave, _From, State) ->
    case topos_partisan:leave() of
        {error, {unsupported_by_manager, _}} = Error -> {reply, Error, State};
        Answer -> {stop, normal, Answer, State}
    end;
handle_call({monitor, _}, _From, #state{subscription = {_, _} = Error} = State) ->
    {reply, no_events(<<"Distributed.monitor">>, Error), State};
handle_call({on, Which, _, _}, _From, #state{subscription = {_, _} = Error} = State) ->
    {reply, no_events(<<"Distributed.on_", (atom_to_binary(Which))/binary>>, Error), State};
handle_call({monitor, Node}, _From, #state{monitors = Monitors, up = Up} = State) ->
    Ref = make_ref(),
    case is_map_key(Node, Up) of
        true ->
            {reply, {ok, Ref}, State#state{monitors = Monitors#{Ref => Node}}};
        false ->
            {reply, {ok, Ref}, tell({monitor_down, Ref, Node}, State)}
    end;
handle_call({on, Which, Callback, Ev}, _From, #state{callbacks = Callbacks} = State) ->
    Ref = make_ref(),
    {reply, {ok, Ref}, State#state{callbacks = Callbacks#{Ref => {Which, Callback, Ev}}}};
handle_call({forget, Ref}, _From, #state{monitors = Monitors, callbacks = Callbacks} = State) ->
    {reply, ok, State#state{monitors = maps:remove(Ref, Monitors), callbacks = maps:remove(Ref, Callbacks)}}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Unknown, State) -> {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handle_info({letter, {Sender, Message}}, State) ->
    {noreply, came({message, Sender, Message}, State)};
handle_info({topos, Ref, Event}, #state{subscription = Ref} = State) ->
    {noreply, happened(Event, tell(Event, State))};
handle_info({timeout, Timer, Ref}, #state{queue = Queue} = State) ->
    case topos_program_queue:forget(Ref, Queue) of
        {{From, Timer}, Rest} ->
            true = demonitor(Ref, [flush]),
            ok = gen_server:reply(From, none),
            {noreply, State#state{queue = Rest}};
        none ->
            {noreply, State}
    end;
handle_info({'DOWN', _, process, Owner, _}, #state{owner = Owner} = State) ->
    {stop, normal, State};
handle_info({'DOWN', Inbox, process, _, _}, #state{inbox = Inbox} = State) ->
    %% The node was stopped behind the program's back, or its inbox failed: no message would come any more.
    {stop, normal, State};
handle_info({'DOWN', Ref, process, _, _}, #state{queue = Queue} = State) ->
    case topos_program_queue:forget(Ref, Queue) of
        {{_, Timer}, Rest} ->
            ok = stop_timer(Timer),
            {noreply, State#state{queue = Rest}};
        none ->
            {noreply, State}
    end;
handle_info(_OfAnEarlierSubscription, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, State) ->
    %% After a failed restart it is stopped already.
    _ = topos_partisan:stop(),
    dismiss(State).

%% internal

-spec call(leave | {atom(), term()} | {atom(), term(), term()} | {on, up | down, callback(), topos_effect:evidence()}) -> term().
call(Request) ->
    try
        %% Each call ends in the bounded time of the API below it, or in the time that it says.
        gen_server:call(?MODULE, Request, infinity)
    catch
        exit:{Reason, {gen_server, call, _}} when Reason =:= noproc; Reason =:= normal ->
            {error, topos_error:new(not_started, #{})}
    end.

-spec start_node(map()) -> {ok, binary(), subscription(), #{node() => true}} | {error, topos_error:t()}.
start_node(Config) ->
    case topos_partisan:start(Config) of
        {ok, _} ->
            Subscription = case topos_partisan:subscribe() of
                {ok, Ref} -> Ref;
                {error, {unsupported_by_manager, _} = Refusal} -> Refusal
            end,
            #{name := Cluster} = topos_partisan:cluster(),
            Up = maps:from_list([{Node, true} || Node <- topos_partisan:nodes()]),
            {ok, Cluster, Subscription, Up};
        {error, _} = Error ->
            Error
    end.

-spec no_events(binary(), topos_error:t()) -> {error, topos_error:t()}.
no_events(Operation, {unsupported_by_manager, Details}) ->
    {error, topos_error:new(unsupported_by_manager, Details#{operation := Operation})}.

%% Messages that wait keep their room in the inbox of a node that was restarted.
-spec take_over_inbox(topos_program_queue:t(waiter())) -> {reference(), topos_program_queue:t(waiter())}.
take_over_inbox(Queue) ->
    Inbox = erlang:monitor(process, topos_inbox),
    {ok, Max} = topos_inbox:take_over(topos_program_queue:messages(Queue)),
    {Inbox, topos_program_queue:limit(Max, Queue)}.

-spec handed_on(topos_program_queue:item(), #state{}) -> #state{}.
handed_on({message, _, _}, State) ->
    ok = topos_inbox:taken(),
    State;
handed_on({event, _}, State) ->
    State.

-spec publish() -> ok.
publish() ->
    #{node := Node, addresses := Addresses} = topos_partisan:cluster(),
    topos_runner:publish(Node, Addresses).

-spec wait(gen_server:from(), topos_program_queue:wants(), timeout(), #state{}) -> #state{}.
wait({Pid, _} = From, Wants, Timeout, #state{queue = Queue} = State) ->
    Ref = erlang:monitor(process, Pid),
    Timer =
        case Timeout of
            infinity -> Ref;
            _ -> erlang:start_timer(Timeout, self(), Ref)
        end,
    State#state{queue = topos_program_queue:wait(Ref, Wants, {From, Timer}, Queue)}.

-spec came(topos_program_queue:item(), #state{}) -> #state{}.
came(Item, #state{queue = Queue} = State) ->
    case topos_program_queue:put(Item, Queue) of
        {give, Ref, {From, Timer}, Rest} ->
            true = demonitor(Ref, [flush]),
            ok = stop_timer(Timer),
            ok = gen_server:reply(From, {some, Item}),
            handed_on(Item, State#state{queue = Rest});
        {kept, Rest} ->
            State#state{queue = Rest}
    end.

%% Who waits without a limit has no timer; its monitor stands there, which is none. A timer that has run out has sent its
%% message: nobody waits by its reference then.
-spec stop_timer(reference()) -> ok.
stop_timer(Timer) ->
    _ = erlang:cancel_timer(Timer),
    ok.

%% The node has ended, and who waits for it need not go on. The process that started it can see from the error that another
%% one ended it.
-spec dismiss(#state{}) -> ok.
dismiss(#state{queue = Queue, owner = Owner}) ->
    lists:foreach(
        fun({{Pid, _} = From, _}) -> _ = [gen_server:reply(From, node_ended) || Pid =/= Owner], ok end,
        topos_program_queue:waiters(Queue)
    ).

%% What expired on a channel is no event of the language: programs find it in the statistics of the channel.
-spec tell(event(), #state{}) -> #state{}.
tell({expired, _, _, _}, State) -> State;
tell(Event, State) -> came({event, Event}, State).

-spec happened(topos_partisan:event(), #state{}) -> #state{}.
happened({up, Node, _}, #state{up = Up} = State) ->
    ok = call_back(up, Node, State),
    State#state{up = Up#{Node => true}};
happened({down, Node, _}, State) -> gone(Node, State);
happened({left, Node}, State) -> gone(Node, State);
happened(_, State) -> State.

%% A node that was down already and is now known to have left is no second transition.
-spec gone(node(), #state{}) -> #state{}.
gone(Node, #state{up = Up, monitors = Monitors} = State) ->
    case maps:take(Node, Up) of
        {true, Others} ->
            ok = call_back(down, Node, State),
            Fired = [Ref || {Ref, N} <- maps:to_list(Monitors), N =:= Node],
            Told = lists:foldl(fun(Ref, Next) -> tell({monitor_down, Ref, Node}, Next) end, State, Fired),
            Told#state{up = Others, monitors = maps:without(Fired, Monitors)};
        error ->
            State
    end.

-spec call_back(up | down, node(), #state{}) -> ok.
call_back(Which, Node, #state{callbacks = Callbacks}) ->
    maps:foreach(
        fun
            (_, {W, Callback, Ev}) when W =:= Which -> _ = spawn(fun() -> run(Callback, Node, Ev) end);
            (_, _) -> ok
        end,
        Callbacks
    ).

-spec run(callback(), node(), topos_effect:evidence()) -> ok.
run(Callback, Node, Ev) ->
    try
        _ = Callback(Node, Ev),
        ok
    catch
        Class:Reason:Stack -> topos_effect:report(Class, Reason, Stack)
    end.
