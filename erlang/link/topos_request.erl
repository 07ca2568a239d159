%% @doc Requests and replies between nodes: correlated, bounded in time, each served in a process of its own.
%%
%% A module serves a name with {@link serve/2}; `call/4' on any node sends it a term and waits for the answer. A request is
%% delivered at most once. A reply that comes after the caller's time is up finds nobody and is counted, never mistaken for
%% another's: an identifier is used once in a node's life, and replies to an earlier life are refused by the link.
-module(topos_request).
-behaviour(gen_server).
-behaviour(topos_delivery).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/0, serve/2, call/3, call/4, deliver/3]).

-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% Runs in a process of its own, which is killed when the caller's time is up.
-callback handle_request(From :: node(), Request :: term()) -> {ok, term()} | {error, topos_error:t()}.

-define(CHANNEL, control).
%% The row of `topos_services' that holds how many requests are being served, and how many may be.
-define(SERVING, serving).
%% A request's place among those that are served. It is given back once: by its process before it replies, since whoever has
%% the reply may ask again at once; or by the server, when the process ended without.
-type place() :: {counters:counters_ref(), Given :: atomics:atomics_ref()}.
%% `serving': by the monitor of its process, the timer that ends each, and its place.
-record(state, {subscription :: reference(), serving = #{} :: #{reference() => {reference(), place()}}}).
-type state() :: #state{}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Lets a module answer the requests to a service of this node, until the node stops.
-spec serve(atom(), module()) -> ok.
serve(Service, Module) ->
    true = ets:insert(topos_services, {atom_to_binary(Service), Module}),
    ok.

%% @doc `call/4' with `timeouts.call'.
-spec call(node(), atom(), term()) -> {ok, term()} | {error, topos_error:t()}.
call(Node, Service, Request) ->
    case topos_local:is_started() of
        true -> call(Node, Service, Request, maps:get(call, topos_local:config(timeouts)));
        false -> {error, topos_error:new(not_started, #{})}
    end.

%% @doc Asks a service of a node and waits at most so many milliseconds. Errors: those of a send, `no_such_service',
%% `timeout', `in_doubt' (the node went down: the request may have been carried out), and those of the service itself.
-spec call(node(), atom(), term(), pos_integer()) -> {ok, term()} | {error, topos_error:t()}.
call(Node, Service, Request, Timeout) ->
    case topos_local:is_started() of
        true -> ask(Node, atom_to_binary(Service), Request, Timeout);
        false -> {error, topos_error:new(not_started, #{})}
    end.

%% topos_delivery: in the process of the lane

-spec deliver(topos_delivery:from(), binary(), {bytes, binary()} | {term, term()}) -> ok | {error, byte()}.
deliver({Node, _}, Service, Message) ->
    case {ets:lookup(topos_services, Service), topos_delivery:message(Message)} of
        {[], _} ->
            {error, ?TOPOS_UNDELIVERED_NO_HANDLER};
        {[{_, Module}], {ok, {Id, Timeout, Request}}} when is_integer(Id), is_integer(Timeout), Timeout > 0 ->
            start(Module, Node, Id, Timeout, Request);
        {_, {error, Reason}} ->
            {error, Reason};
        {_, {ok, _}} ->
            {error, ?TOPOS_UNDELIVERED_BAD_TERM}
    end.

%% gen_server

-spec init([]) -> {ok, state()}.
init([]) ->
    true = ets:delete_all_objects(topos_requests),
    ok = topos_delivery:claim(?TOPOS_DEST_REQUEST, ?MODULE),
    ok = topos_delivery:claim(?TOPOS_DEST_REPLY, topos_reply),
    {ok, Subscription} = topos_events:subscribe(self()),
    #{max_pending_calls := Limit} = topos_local:config(limits),
    Count = counters:new(1, [atomics]),
    true = ets:insert(topos_services, {?SERVING, Count, Limit}),
    {ok, #state{subscription = Subscription}}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok, state()}.
handle_call(_, _From, State) -> {reply, ok, State}.

-spec handle_cast({serving, pid(), pos_integer(), place()}, state()) -> {noreply, state()}.
handle_cast({serving, Pid, Timeout, Place}, #state{serving = Serving} = State) ->
    Timer = erlang:send_after(min(Timeout, 16#ffffffff), self(), {time_up, Pid}),
    {noreply, State#state{serving = Serving#{monitor(process, Pid) => {Timer, Place}}}}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({time_up, Pid}, State) ->
    %% Nobody waits for its answer any more.
    _ = exit(Pid, kill),
    {noreply, State};
handle_info({'DOWN', Ref, process, _, _}, #state{serving = Serving} = State) ->
    {{Timer, Place}, Left} = maps:take(Ref, Serving),
    _ = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    ok = give_back(Place),
    {noreply, State#state{serving = Left}};
handle_info({topos, Ref, {down, Node, _}}, #state{subscription = Ref} = State) ->
    {noreply, lost(Node, State)};
handle_info({topos, Ref, {left, Node}}, #state{subscription = Ref} = State) ->
    {noreply, lost(Node, State)};
handle_info(_, State) ->
    {noreply, State}.

%% internal

-spec ask(node(), binary(), term(), pos_integer()) -> {ok, term()} | {error, topos_error:t()}.
ask(Node, Service, Request, Timeout) ->
    #{max_pending_calls := Limit} = topos_local:config(limits),
    case ets:info(topos_requests, size) of
        N when N >= Limit ->
            {error, topos_error:new(overloaded, #{node => Node, channel => ?CHANNEL})};
        _ ->
            Id = erlang:unique_integer([positive]),
            Alias = alias(),
            true = ets:insert(topos_requests, {Id, Node, Alias}),
            try
                answer(Node, Service, {Id, Timeout, Request}, Alias)
            after
                true = ets:delete(topos_requests, Id),
                _ = unalias(Alias),
                ok = forget(Alias)
            end
    end.

-spec answer(node(), binary(), {non_neg_integer(), pos_integer(), term()}, reference()) ->
    {ok, term()} | {error, topos_error:t()}.
answer(Node, Service, {Id, Timeout, _} = Request, Alias) ->
    Deadline = erlang:monotonic_time(millisecond) + Timeout,
    %% The reply says that the request arrived; only that it did not is told apart.
    Options = #{channel => ?CHANNEL, key => Id, failures => Alias},
    case topos_lane:send(Node, {?TOPOS_DEST_REQUEST, Service}, Request, Options) of
        ok -> await(Node, Service, Alias, Deadline, Timeout);
        {error, _} = Error -> Error
    end.

-spec await(node(), binary(), reference(), integer(), pos_integer()) -> {ok, term()} | {error, topos_error:t()}.
await(Node, Service, Alias, Deadline, Timeout) ->
    receive
        {Alias, {reply, {ok, _} = Ok}} -> Ok;
        {Alias, {reply, {error, {Reason, Details}}}} when is_atom(Reason), is_map(Details) -> {error, {Reason, Details}};
        {Alias, {reply, Other}} -> {error, topos_error:new(bad_message, #{node => Node, why => Other})};
        {Alias, {undecodable, Reason}} -> {error, topos_lane:failure(Reason, Node, {?TOPOS_DEST_REPLY, Service})};
        {Alias, lost} -> {error, topos_error:new(in_doubt, #{node => Node})};
        {Alias, Failure} -> topos_lane:outcome(Failure, Node, {?TOPOS_DEST_REQUEST, Service})
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        timed_out(Node, Service, Timeout)
    end.

%% What came when nobody waited any more.
-spec forget(reference()) -> ok.
forget(Alias) ->
    receive {Alias, _} -> forget(Alias) after 0 -> ok end.

-spec timed_out(node(), binary(), pos_integer()) -> {error, topos_error:t()}.
timed_out(Node, Service, Timeout) ->
    {error, topos_error:new(timeout, #{operation => Service, timeout => Timeout, node => Node})}.

%% A request is begun where it arrives; the server only watches it. Lanes that begin at once may pass the limit by one each.
-spec start(module(), node(), non_neg_integer(), pos_integer(), term()) -> ok.
start(Module, Node, Id, Timeout, Request) ->
    [{_, Count, Limit}] = ets:lookup(topos_services, ?SERVING),
    case counters:get(Count, 1) of
        N when N >= Limit ->
            Error = topos_error:new(overloaded, #{node => topos_local:config(node), channel => ?CHANNEL}),
            %% Sent without waiting. The refusal itself may find no room; then the caller's time runs out.
            _ = topos_lane:send(Node, {?TOPOS_DEST_REPLY, <<Id:64>>}, {error, Error}, #{channel => ?CHANNEL, key => Id}),
            ok;
        _ ->
            ok = counters:add(Count, 1, 1),
            Place = {Count, atomics:new(1, [])},
            Pid = spawn(fun() -> serve(Module, Node, {Id, Timeout, Request}, Place) end),
            gen_server:cast(?MODULE, {serving, Pid, Timeout, Place})
    end.

-spec give_back(place()) -> ok.
give_back({Count, Given}) ->
    case atomics:exchange(Given, 1, 1) of
        0 -> counters:sub(Count, 1, 1);
        1 -> ok
    end.

-spec serve(module(), node(), {non_neg_integer(), pos_integer(), term()}, place()) -> ok | {error, topos_error:t()}.
serve(Module, Node, {Id, Timeout, Request}, Place) ->
    Answer =
        try
            Module:handle_request(Node, Request)
        catch
            Class:Reason:Stack ->
                ?LOG_ERROR("topos_partisan: ~0tp failed for a request of ~0tp: ~0tp:~0tp~n~0tp", [Module, Node, Class, Reason, Stack]),
                {error, topos_error:new(service_failed, #{node => topos_local:config(node), service => Module, why => Class})}
        end,
    ok = give_back(Place),
    reply(Node, Id, Timeout, Answer).

-spec reply(node(), non_neg_integer(), pos_integer(), term()) -> ok | {error, topos_error:t()}.
reply(Node, Id, Timeout, Answer) ->
    Destination = {?TOPOS_DEST_REPLY, <<Id:64>>},
    Options = #{channel => ?CHANNEL, key => Id, wait => Timeout},
    case topos_lane:send(Node, Destination, Answer, Options) of
        {error, {message_too_large, _} = Error} -> topos_lane:send(Node, Destination, {error, Error}, Options);
        Sent -> Sent
    end.

-spec lost(node(), state()) -> state().
lost(Node, State) ->
    _ = [Alias ! {Alias, lost} || [Alias] <- ets:match(topos_requests, {'_', Node, '$1'})],
    State.
