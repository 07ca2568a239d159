%% @doc Requests and replies between nodes: correlated, bounded in time, each served in a process of its own.
%%
%% A module serves a name with {@link serve/2}; `call/4' on any node sends it a term and waits for the answer.
%%
%% A request does not go through a lane: the caller writes it to the connection itself, as a frame of its own, and repeats it until the answer is
%% there. So that it is carried out at most once, it has a numbered slot, as in a session of NFS 4.1 (RFC 8881, section
%% 2.10.6): the slots of a node are as many as its requests that wait, a later request in a slot has a higher sequence, and
%% `topos_request_server' on the other node carries out each sequence of a slot once and keeps its reply until the next one.
%% Requests and replies above 64 KiB go through the lanes of the control channel, which deliver once themselves.
%%
%% A reply that comes after the caller's time is up finds nobody and is counted, never mistaken for another's.
-module(topos_request).
-behaviour(gen_server).

-include("topos_frame.hrl").

-export([start_link/0, serve/2, call/3, call/4, frame/1]).

-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% Runs in a process of its own, which is killed when the caller's time is up, or up to 250 ms later.
-callback handle_request(From :: node(), Request :: term()) -> {ok, term()} | {error, topos_error:t()}.

-define(CHANNEL, control).
%% The first repetition comes after so many milliseconds, each further one after twice the time, up to the longest.
-define(FIRST_REPEAT, 50).
-define(LONGEST_REPEAT, 2_000).
-define(MAX_TIMEOUT, 16#ffffffff).
-define(SWEEP, 250).

-record(state, {subscription :: reference()}).
-type state() :: #state{}.
%% What a caller needs to send again: to whom, what, and how long it waits for the reply until then.
-record(request, {
    node :: node(),
    service :: binary(),
    incarnation :: topos_incarnation:t(),
    payload :: iodata(),
    bytes :: pos_integer(),
    repeat = ?FIRST_REPEAT :: pos_integer() | infinity
}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?TOPOS_DEST_PROCESS_REQUEST}, ?MODULE, [], []).

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
        false -> topos_local:absent({?MODULE, call})
    end.

%% @doc Asks a service of a node and waits at most so many milliseconds. Errors: those of a send, `no_such_service',
%% `timeout', `in_doubt' (the node went down: the request may have been carried out), and those of the service itself.
-spec call(node(), atom(), term(), pos_integer()) -> {ok, term()} | {error, topos_error:t()}.
call(Node, Service, Request, Timeout) ->
    try
        ask(Node, atom_to_binary(Service), Request, min(Timeout, ?MAX_TIMEOUT))
    catch
        Class:Reason:Stack ->
            %% Without a node its tables and processes are missing, perhaps since a moment ago.
            case topos_local:is_started() of
                true -> erlang:raise(Class, Reason, Stack);
                false -> topos_local:absent({?MODULE, call})
            end
    end.

%% @doc Handles a message for `topos_request' in the process that calls: an engine's connection (`topos_engine:set_handler/2').
%% Requests of a peer that is not announced as up yet are dropped: they come again.
-spec frame({topos, byte(), non_neg_integer(), binary()}) -> ok.
frame({topos, _Version, _Epoch, Bytes}) ->
    case topos_frame:decode(Bytes) of
        {ok, #{kind := Kind, payload := Payload} = Frame} ->
            case topos_lanes:is_genuine(Frame) of
                {true, From} -> arrived(Kind, From, Payload);
                false -> topos_local:count(refused_frames)
            end;
        {error, _} ->
            topos_local:count(malformed_frames)
    end.

%% gen_server

-spec init([]) -> {ok, state()}.
init([]) ->
    %% So that terminate/2 runs.
    _ = process_flag(trap_exit, true),
    ok = topos_request_server:open(),
    ok = topos_delivery:claim(?TOPOS_DEST_REPLY, topos_reply),
    ok = topos_engine:set_handler(?TOPOS_DEST_PROCESS_REQUEST, ?MODULE),
    {ok, Subscription} = topos_events:subscribe(self()),
    _ = erlang:start_timer(?SWEEP, self(), sweep),
    {ok, #state{subscription = Subscription}}.

-spec terminate(term(), state()) -> ok.
terminate(_Reason, _State) -> topos_engine:unset_handler(?TOPOS_DEST_PROCESS_REQUEST).

-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok, state()}.
handle_call(_, _From, State) -> {reply, ok, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_, State) -> {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({topos, _, _, _} = Message, State) ->
    %% Engines without a process of their own for each connection deliver here.
    ok = frame(Message),
    {noreply, State};
handle_info({timeout, _, sweep}, State) ->
    ok = topos_request_server:sweep(erlang:monotonic_time(millisecond)),
    %% Of callers that were killed. One that just ended may have given its slot to another: only its own row goes.
    _ = [ets:delete_object(topos_requests, Row) || {_, _, _, _, Pid} = Row <- ets:tab2list(topos_requests), not is_process_alive(Pid)],
    _ = erlang:start_timer(?SWEEP, self(), sweep),
    {noreply, State};
handle_info({topos, Ref, {down, Node, _}}, #state{subscription = Ref} = State) ->
    ok = lost(Node),
    {noreply, State};
handle_info({topos, Ref, {left, Node}}, #state{subscription = Ref} = State) ->
    ok = lost(Node),
    {noreply, State};
handle_info(_, State) ->
    {noreply, State}.

%% internal

-spec arrived(byte(), topos_delivery:from(), binary()) -> ok.
arrived(?TOPOS_FRAME_REQUEST, {Node, Incarnation} = From, Payload) ->
    case ets:member(topos_lane_receivers, {open, Node, Incarnation}) andalso topos_frame:decode_request(Payload) of
        {ok, {Slot, Timeout, Service, Request}} -> topos_request_server:request(From, Slot, Timeout, Service, Request);
        {error, malformed} -> topos_local:count(malformed_frames);
        false -> ok
    end;
arrived(?TOPOS_FRAME_REPLY, From, Payload) ->
    case topos_frame:decode_reply(Payload) of
        {ok, {Slot, Reason, Reply}} -> topos_reply:arrived(From, Slot, Reason, Reply);
        {error, malformed} -> topos_local:count(malformed_frames)
    end;
arrived(_, _, _) ->
    topos_local:count(malformed_frames).

-spec ask(node(), binary(), term(), pos_integer()) -> {ok, term()} | {error, topos_error:t()}.
ask(Node, Service, Request, Timeout) ->
    #{max_pending_calls := Limit, free_slot := Free} = topos_local:hot(),
    Alias = erlang:alias([reply]),
    case take(Free, Limit, {Node, Alias}) of
        full ->
            true = unalias(Alias),
            {error, topos_error:new(overloaded, #{node => Node, channel => ?CHANNEL})};
        Slot ->
            try
                answer(Node, Service, Slot, Timeout, Request, Alias)
            after
                ok = give_back(Free, Slot),
                ok = forget(Alias)
            end
    end.

%% A free slot, and a sequence above that of each earlier request in it: its number is drawn when nobody else has the slot.
-spec take(atomics:atomics_ref(), pos_integer(), {node(), reference()}) -> topos_frame:slot() | full.
take(Free, Limit, Who) -> take(atomics:get(Free, 1) rem Limit, Limit, Limit, Who).

-spec take(non_neg_integer(), non_neg_integer(), pos_integer(), {node(), reference()}) -> topos_frame:slot() | full.
take(_, 0, _, _) ->
    full;
take(Slot, Left, Limit, {Node, Alias} = Who) ->
    case ets:insert_new(topos_requests, {Slot, 0, Node, Alias, self()}) of
        true ->
            Sequence = erlang:unique_integer([monotonic, positive]),
            true = ets:update_element(topos_requests, Slot, {2, Sequence}),
            {Slot, Sequence};
        false ->
            take((Slot + 1) rem Limit, Left - 1, Limit, Who)
    end.

-spec give_back(atomics:atomics_ref(), topos_frame:slot()) -> ok.
give_back(Free, {Slot, _}) ->
    true = ets:delete(topos_requests, Slot),
    atomics:put(Free, 1, Slot).

-spec answer(node(), binary(), topos_frame:slot(), pos_integer(), term(), reference()) ->
    {ok, term()} | {error, topos_error:t()}.
answer(Node, Service, Slot, Timeout, Request, Alias) ->
    Deadline = erlang:monotonic_time(millisecond) + Timeout,
    #{node := Own, max_message_bytes := Max} = topos_local:hot(),
    case begin_request(Node =:= Own, Node, Service, {Slot, Timeout, Max}, Request, Alias) of
        {ok, Sent} -> await(Sent, Alias, {Deadline, Timeout});
        {error, _} = Error -> Error
    end.

-spec begin_request(
    boolean(), node(), binary(), {topos_frame:slot(), pos_integer(), pos_integer()}, term(), reference()
) -> {ok, #request{}} | {error, topos_error:t()}.
begin_request(true, Node, Service, {Slot, Timeout, Max}, Request, Alias) ->
    %% The same cap as for a peer, so that a program does not depend on where its peer happens to run.
    case erlang:external_size(Request) of
        Size when Size > Max ->
            topos_lane:too_large(Size, Max);
        Size ->
            ok = topos_request_server:here(Alias, Slot, Timeout, Service, Request),
            {ok, #request{
                node = Node, service = Service, incarnation = topos_local:incarnation(), payload = <<>>, bytes = Size,
                repeat = infinity
            }}
    end;
begin_request(false, Node, Service, {Slot, Timeout, Max}, Request, Alias) ->
    case {ets:lookup(topos_peers, Node), topos_lane:encode(Request)} of
        {_, {Size, _}} when Size > Max ->
            topos_lane:too_large(Size, Max);
        {[{_, Status, Incarnation, _}], {Size, Encoded}} when Status =:= up; Status =:= suspect ->
            New = #request{node = Node, service = Service, incarnation = Incarnation, payload = Encoded, bytes = Size},
            send(New, Slot, Timeout, Request, Alias);
        {[{_, Status, _, _}], _} ->
            {error, topos_lane:not_reached(Node, Status)};
        {[], _} ->
            {error, topos_error:new(unknown_node, #{node => Node})}
    end.

-spec send(#request{}, topos_frame:slot(), pos_integer(), term(), reference()) -> {ok, #request{}} | {error, topos_error:t()}.
send(#request{service = Service, payload = Encoded, bytes = Size} = New, Slot, Timeout, _, _) when Size =< ?TOPOS_REQUEST_MAX_BYTES ->
    Written = write(New#request{payload = topos_frame:request(Slot, Timeout, Service, Encoded)}),
    %% Counted while the request is on its way.
    ok = topos_local:count(sent),
    ok = topos_channel_stats:sent(New#request.node, ?CHANNEL, Size),
    case Written of
        gone -> in_doubt(New#request.node);
        Repeated -> {ok, Repeated}
    end;
send(#request{node = Node, service = Service} = New, {Slot, Sequence}, Timeout, Request, Alias) ->
    Destination = {?TOPOS_DEST_REQUEST, <<Slot:32, Sequence:64, Timeout:32, Service/binary>>},
    %% The reply says that the request arrived; only that it did not is told apart.
    case topos_lane:send(Node, Destination, Request, #{channel => ?CHANNEL, key => Sequence, failures => Alias}) of
        ok -> {ok, New#request{repeat = infinity}};
        {error, _} = Error -> Error
    end.

%% To the life of the node that was asked first, and to no later one: `gone' if that is over. What is not sent, or gets lost, is
%% repeated. The news that a node left can come before this request was there to hear it, so it is looked for here too.
-spec write(#request{}) -> #request{} | gone.
write(#request{node = Node, incarnation = Incarnation, payload = Payload, repeat = Repeat} = Request) ->
    case topos_relay:ask(Node, Incarnation, ?TOPOS_DEST_PROCESS_REQUEST, ?TOPOS_FRAME_REQUEST, Payload) of
        {error, gone} ->
            case ets:lookup(topos_peers, Node) of
                [{_, Status, Incarnation, _}] when Status =/= left -> repeated(Repeat, Request);
                _ -> gone
            end;
        _ ->
            repeated(Repeat, Request)
    end.

-spec repeated(pos_integer(), #request{}) -> #request{}.
repeated(Repeat, Request) -> Request#request{repeat = min(2 * Repeat, ?LONGEST_REPEAT)}.

-spec in_doubt(node()) -> {error, topos_error:t()}.
in_doubt(Node) -> {error, topos_error:new(in_doubt, #{node => Node})}.

-spec await(#request{}, reference(), {integer(), pos_integer()}) -> {ok, term()} | {error, topos_error:t()}.
await(#request{node = Node, service = Service, repeat = Repeat} = Request, Alias, {Deadline, Timeout} = Time) ->
    Left = max(0, Deadline - erlang:monotonic_time(millisecond)),
    receive
        {Alias, {reply, Reply}} -> read(topos_delivery:message(Reply), Node, Service);
        {Alias, {undelivered, Reason}} -> {error, topos_lane:failure(Reason, Node, {?TOPOS_DEST_REQUEST, Service})};
        {Alias, lost} -> in_doubt(Node);
        {Alias, Failure} -> topos_lane:outcome(Failure, Node, {?TOPOS_DEST_REQUEST, Service})
    after min(Left, Repeat) ->
        case Left > Repeat of
            true -> again(write(Request), Node, Alias, Time);
            false -> {error, topos_error:new(timeout, #{operation => Service, timeout => Timeout, node => Node})}
        end
    end.

-spec again(#request{} | gone, node(), reference(), {integer(), pos_integer()}) -> {ok, term()} | {error, topos_error:t()}.
again(gone, Node, _, _) -> in_doubt(Node);
again(Request, _, Alias, Time) -> await(Request, Alias, Time).

-spec read({ok, term()} | {error, byte()}, node(), binary()) -> {ok, term()} | {error, topos_error:t()}.
read({ok, {ok, _} = Ok}, _, _) -> Ok;
read({ok, {error, {Reason, Details}}}, _, _) when is_atom(Reason), is_map(Details) -> {error, {Reason, Details}};
read({ok, Other}, Node, _) -> {error, topos_error:new(bad_message, #{node => Node, why => Other})};
read({error, Reason}, Node, Service) -> {error, topos_lane:failure(Reason, Node, {?TOPOS_DEST_REPLY, Service})}.

%% What came when nobody waited any more. After the first message an alias takes no other.
-spec forget(reference()) -> ok.
forget(Alias) ->
    %% False: its message came already.
    _ = unalias(Alias),
    receive {Alias, _} -> ok after 0 -> ok end.

-spec lost(node()) -> ok.
lost(Node) ->
    _ = [Alias ! {Alias, lost} || [Alias] <- ets:match(topos_requests, {'_', '_', Node, '$1', '_'})],
    ok.
