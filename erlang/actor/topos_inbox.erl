%% @doc The inbox of a node: what programs send to the node as a whole, and take from it with `recv'.
%%
%% Messages are taken in the order in which they came; receivers that wait are served in the order in which they began
%% to wait, each one message. The inbox holds at most `limits.max_inbox_messages'; beyond that an offer is refused with
%% `inbox_full', and the lane tells the sender. A receiver that dies or gives up while it waits takes nothing.
%%
%% A process that hands messages out in its own way, as a Topos program does, takes the inbox over ({@link take_over/1}): messages
%% go straight to it, and count here until it says that they were taken.
-module(topos_inbox).
-behaviour(gen_server).
-behaviour(topos_delivery).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/1, send/2, send/3, offer/2, recv/1, count/0, waiting/0]).
-export([take_over/1, taken/0]).
-export([deliver/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([letter/0]).

%% The node that sent it, and the message.
-type letter() :: {node(), Message :: term()}.

%% The counter of messages, offered and not yet taken; its limit; and the process that they go to.
-define(ROOM, {?MODULE, room}).

-record(waiter, {from :: gen_server:from(), monitor :: reference(), timer :: reference() | undefined}).
-record(state, {
    room :: atomics:atomics_ref(),
    letters = queue:new() :: queue:queue(letter()),
    %% Waiters by the reference of their monitor, in the order of `order'; one that left stays in `order' until met.
    waiters = #{} :: #{reference() => #waiter{}},
    order = queue:new() :: queue:queue(reference()),
    %% Who took over, by its monitor.
    owner = undefined :: undefined | {pid(), reference()}
}).
-type state() :: #state{}.

%% @doc Starts the inbox of this node, with room for `Max' messages.
-spec start_link(Max :: pos_integer()) -> {ok, pid()} | {error, term()}.
start_link(Max) -> gen_server:start_link({local, ?MODULE}, ?MODULE, Max, []).

%% @equiv send(Node, Message, #{})
-spec send(node(), term()) -> ok | {error, topos_error:t()}.
send(Node, Message) -> send(Node, Message, #{}).

%% @doc Sends a message to the inbox of a node, this one included, with the options, guarantees and errors of
%% `topos_partisan:send/4', and `inbox_full': at once on this node and with `#{ack => true}', else as an `undeliverable'
%% event.
-spec send(node(), term(), topos_lane:options()) -> ok | {error, topos_error:t()}.
send(Node, Message, Options) ->
    topos_lane:send(Node, {?TOPOS_DEST_INBOX, <<>>}, Message, topos_default_channel:options(Options)).

%% @doc Puts a message into the inbox, without waiting.
-spec offer(node(), term()) -> ok | {error, topos_error:t()}.
offer(From, Message) ->
    case {persistent_term:get(?ROOM, none), whereis(?MODULE)} of
        {{Room, Max, Owner}, Inbox} when is_pid(Inbox) ->
            case atomics:add_get(Room, 1, 1) of
                Count when Count =< Max ->
                    Owner ! {letter, {From, Message}},
                    ok;
                _ ->
                    ok = atomics:sub(Room, 1, 1),
                    {error, topos_error:new(inbox_full, #{node => topos_local:own_node(), limit => Max})}
            end;
        _ ->
            {error, topos_error:new(not_started, #{})}
    end.

%% @doc Takes the oldest message, waiting at most `Timeout' milliseconds for one: `{ok, {From, Message}}' or `timeout'.
-spec recv(timeout()) -> {ok, letter()} | {error, topos_error:t()}.
recv(Timeout) when Timeout =:= infinity; is_integer(Timeout), Timeout >= 0, Timeout =< 16#ffffffff ->
    try
        gen_server:call(?MODULE, {recv, Timeout}, infinity)
    catch
        exit:{Reason, _} when Reason =:= noproc; Reason =:= normal; Reason =:= shutdown ->
            {error, topos_error:new(not_started, #{})}
    end.

%% @doc Has all messages, also those that wait here, sent to the calling process as `{letter, {From, Message}}', until it ends. It
%% holds `Held' messages of an earlier inbox already. It must call {@link taken/0} for each that it hands on. Answers how many
%% may wait.
-spec take_over(Held :: non_neg_integer()) -> {ok, Max :: pos_integer()}.
take_over(Held) -> gen_server:call(?MODULE, {take_over, Held}).

%% @doc The process that took over has handed a message on: there is room for another one.
-spec taken() -> ok.
taken() ->
    case persistent_term:get(?ROOM, none) of
        {Room, _, _} -> atomics:sub(Room, 1, 1);
        %% The node has stopped meanwhile.
        none -> ok
    end.

%% @doc Messages that wait here.
-spec count() -> non_neg_integer().
count() -> gen_server:call(?MODULE, count).

%% @doc Receivers that wait.
-spec waiting() -> non_neg_integer().
waiting() -> gen_server:call(?MODULE, waiting).

%% topos_delivery: in the process of the lane

-spec deliver(topos_delivery:from(), binary(), {bytes, binary()} | {term, term()}) ->
    ok | {error, topos_delivery:reason()}.
deliver({Node, _}, _, Message) ->
    case topos_delivery:message(Message) of
        {ok, Term} ->
            case offer(Node, Term) of
                ok -> ok;
                {error, {inbox_full, _}} -> {error, ?TOPOS_UNDELIVERED_FULL};
                {error, {not_started, _}} -> {error, ?TOPOS_UNDELIVERED_NO_HANDLER}
            end;
        {error, Reason} -> {error, Reason}
    end.

%% gen_server

-spec init(pos_integer()) -> {ok, state()}.
init(Max) ->
    _ = process_flag(trap_exit, true),
    Room = atomics:new(1, [{signed, true}]),
    ok = persistent_term:put(?ROOM, {Room, Max, self()}),
    {ok, #state{room = Room}}.

-spec handle_call({recv, timeout()} | {take_over, non_neg_integer()} | count | waiting, gen_server:from(), state()) ->
    {reply, term(), state()} | {noreply, state()}.
handle_call({take_over, Held}, {Pid, _}, #state{room = Room, letters = Letters} = State) ->
    {_, Max, _} = persistent_term:get(?ROOM),
    ok = persistent_term:put(?ROOM, {Room, Max, Pid}),
    ok = atomics:add(Room, 1, Held),
    lists:foreach(fun(Letter) -> Pid ! {letter, Letter} end, queue:to_list(Letters)),
    {reply, {ok, Max}, State#state{letters = queue:new(), owner = {Pid, monitor(process, Pid)}}};
handle_call({recv, Timeout}, From, #state{letters = Letters} = State) ->
    case queue:out(Letters) of
        {{value, Letter}, Rest} -> {reply, {ok, Letter}, taken(State#state{letters = Rest})};
        {empty, _} when Timeout =:= 0 -> {reply, timed_out(0), State};
        {empty, _} -> {noreply, wait(From, Timeout, State)}
    end;
handle_call(count, _From, #state{letters = Letters} = State) ->
    {reply, queue:len(Letters), State};
handle_call(waiting, _From, #state{waiters = Waiters} = State) ->
    {reply, map_size(Waiters), State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_, State) -> {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({letter, _} = Letter, #state{owner = {Owner, _}} = State) ->
    %% It was on its way when the inbox was taken over.
    Owner ! Letter,
    {noreply, State};
handle_info({letter, Letter}, State) ->
    {noreply, arrived(Letter, State)};
handle_info({'DOWN', Ref, process, _, _}, #state{owner = {_, Ref}, room = Room} = State) ->
    {_, Max, _} = persistent_term:get(?ROOM),
    ok = persistent_term:put(?ROOM, {Room, Max, self()}),
    %% What it held is gone with it.
    ok = atomics:put(Room, 1, 0),
    {noreply, State#state{owner = undefined}};
handle_info({give_up, Ref, Timeout}, State) ->
    case stop_waiting(Ref, State) of
        {#waiter{from = From}, Next} ->
            ok = gen_server:reply(From, timed_out(Timeout)),
            {noreply, Next};
        none ->
            {noreply, State}
    end;
handle_info({'DOWN', Ref, process, _, _}, State) ->
    case stop_waiting(Ref, State) of
        {_, Next} -> {noreply, Next};
        none -> {noreply, State}
    end;
handle_info(_, State) ->
    {noreply, State}.

-spec terminate(term(), state()) -> ok.
terminate(Reason, #state{letters = Letters}) ->
    _ = persistent_term:erase(?ROOM),
    case queue:len(Letters) of
        0 -> ok;
        Count -> ?LOG_WARNING("topos_partisan: the inbox ended with ~b message(s) not taken: ~0tp", [Count, Reason])
    end.

%% internal

-spec timed_out(timeout()) -> {error, topos_error:t()}.
timed_out(Timeout) -> {error, topos_error:new(timeout, #{operation => recv, timeout => Timeout})}.

-spec wait(gen_server:from(), timeout(), state()) -> state().
wait({Pid, _} = From, Timeout, #state{waiters = Waiters, order = Order} = State) ->
    Ref = monitor(process, Pid),
    Timer =
        case Timeout of
            infinity -> undefined;
            _ -> erlang:send_after(Timeout, self(), {give_up, Ref, Timeout})
        end,
    Waiter = #waiter{from = From, monitor = Ref, timer = Timer},
    State#state{waiters = Waiters#{Ref => Waiter}, order = queue:in(Ref, swept(Order, Waiters))}.

%% Those who left are taken out of the order when they are the most of it, so that it stays as small as the crowd.
-spec swept(queue:queue(reference()), #{reference() => #waiter{}}) -> queue:queue(reference()).
swept(Order, Waiters) ->
    case queue:len(Order) > 2 * map_size(Waiters) + 16 of
        true -> queue:filter(fun(Ref) -> is_map_key(Ref, Waiters) end, Order);
        false -> Order
    end.

-spec arrived(letter(), state()) -> state().
arrived(Letter, #state{letters = Letters, order = Order} = State) ->
    case queue:out(Order) of
        {{value, Ref}, Rest} ->
            case stop_waiting(Ref, State#state{order = Rest}) of
                {#waiter{from = From}, Next} ->
                    ok = gen_server:reply(From, {ok, Letter}),
                    taken(Next);
                none ->
                    arrived(Letter, State#state{order = Rest})
            end;
        {empty, _} ->
            State#state{letters = queue:in(Letter, Letters)}
    end.

-spec stop_waiting(reference(), state()) -> {#waiter{}, state()} | none.
stop_waiting(Ref, #state{waiters = Waiters} = State) ->
    case maps:take(Ref, Waiters) of
        {#waiter{timer = Timer} = Waiter, Rest} ->
            true = demonitor(Ref, [flush]),
            _ = is_reference(Timer) andalso erlang:cancel_timer(Timer),
            {Waiter, State#state{waiters = Rest}};
        error ->
            none
    end.

-spec taken(state()) -> state().
taken(#state{room = Room} = State) ->
    ok = atomics:sub(Room, 1, 1),
    State.
