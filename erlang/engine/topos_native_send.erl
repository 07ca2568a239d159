%% @doc Sending on a node that is one of Partisan's own managers: a term to a registered process, or to the inbox of a node, at most once.
%%
%% A message is handed to the connection that Partisan itself would choose (`partisan_peer_connections:dispatch_pid/3'), without a call of the manager, which would
%% answer for a node without a connection after it dialled others. What Partisan would lose, crash on or deliver mangled is refused before it is asked.
-module(topos_native_send).

-include("topos_frame.hrl").

-export([send/4]).

%% The process that receives what is for the inbox of a node (`topos_native_inbox').
-define(INBOX, topos_native_inbox).
%% More elements than this arrive as none.
-define(MAX_TUPLE, 255).

%% @doc For guarantees and errors see `topos_partisan:send/4' and the capabilities of the manager.
-spec send(node(), {Kind :: byte(), Name :: binary()}, term(), #{atom() => term()}) -> ok | {error, topos_error:t()}.
send(Node, {Kind, Name}, Message, Options) ->
    case topos_native:running() of
        {ok, #{manager := Manager, max_message_bytes := Max} = Here} ->
            case {refused(Manager, Kind, Options), erlang:external_size(Message)} of
                {{no, What, Why}, _} -> topos_native_capabilities:refusal(Manager, What, Why);
                {ok, Size} when Size > Max -> {error, topos_error:new(message_too_large, #{size => Size, limit => Max})};
                {ok, _} -> to(Here, Node, Kind, Name, Message, Options)
            end;
        none ->
            {error, topos_error:new(not_started, #{})}
    end.

%% internal

-spec refused(topos_native_capabilities:manager(), byte(), #{atom() => term()}) ->
    ok | {no, topos_native_capabilities:operation() | binary(), binary()}.
refused(Manager, Kind, _) when Kind =/= ?TOPOS_DEST_NAME, Kind =/= ?TOPOS_DEST_INBOX ->
    Operation = {topos_process, send},
    {no, Why} = topos_native_capabilities:lookup(Manager, Operation),
    {no, Operation, Why};
refused(_, _, #{ack := true}) ->
    {no, <<"send with ack">>, <<"Partisan repeats what is not acknowledged for ever, and delivers it more than once">>};
refused(_, _, #{wait := Wait}) when Wait > 0 ->
    {no, <<"send with wait">>, <<"Partisan tells nobody that a queue has room">>};
refused(client_server, _, #{channel := Channel}) when Channel =/= data ->
    {no, <<"send on a named channel">>, <<"this manager sends on the default channel alone">>};
refused(_, _, _) ->
    ok.

-spec to(topos_native:here(), node(), byte(), binary(), term(), #{atom() => term()}) -> ok | {error, topos_error:t()}.
to(#{node := Node}, Node, ?TOPOS_DEST_INBOX, _, Message, _) ->
    gen_server:call(?INBOX, {letter, Node, Message});
to(#{node := Node}, Node, ?TOPOS_DEST_NAME, Name, Message, _) ->
    case registered_here(Name) of
        undefined -> {error, topos_error:new(no_such_process, #{node => Node, target => Name})};
        Process -> Process ! Message, ok
    end;
to(#{node := Own} = Here, Node, ?TOPOS_DEST_INBOX, _, Message, Options) ->
    %% In bytes of our own, so that whatever the message is, Partisan's encoder leaves it alone.
    over(Here, Node, ?INBOX, {topos_letter, 1, Own, term_to_binary(Message)}, Options);
to(#{manager := Manager} = Here, Node, ?TOPOS_DEST_NAME, Name, Message, Options) ->
    Encodes = lists:any(fun(Key) -> topos_partisan_api:call(partisan_config, get, [Key, true]) end, [pid_encoding, ref_encoding]),
    case {not Encodes orelse is_carried(Message), dest(Name)} of
        {true, {ok, Dest}} ->
            over(Here, Node, Dest, Message, Options);
        {true, error} ->
            {error, topos_error:new(no_such_process, #{node => Node, target => Name})};
        {false, _} ->
            topos_native_capabilities:refusal(Manager, <<"send of an improper list, or of a tuple of more than 255">>,
                <<"Partisan's encoder ends the connection, or sends an empty tuple">>)
    end.

-spec over(topos_native:here(), node(), atom(), term(), #{atom() => term()}) -> ok | {error, topos_error:t()}.
over(#{manager := Manager, max_queue_messages := Max}, Node, Dest, Message, Options) ->
    Channel = maps:get(channel, Options, data),
    case topos_native_view:channels() of
        #{Channel := #{monotonic := true}} ->
            topos_native_capabilities:refusal(Manager, <<"send on a monotonic channel">>,
                <<"Partisan drops what it likes of such a channel, its own pings too">>);
        #{Channel := _} ->
            case connection(Node, Channel, erlang:phash2(maps:get(key, Options, self()))) of
                {ok, Pid} ->
                    case process_info(Pid, message_queue_len) of
                        {message_queue_len, Queued} when Queued < Max -> topos_partisan_api:forward(Pid, Dest, Message);
                        {message_queue_len, _} -> {error, topos_error:new(overloaded, #{node => Node, channel => Channel})};
                        undefined -> not_connected(Node, disconnected)
                    end;
                {error, Why} ->
                    not_connected(Node, Why)
            end;
        Channels ->
            {error, topos_error:new(no_such_channel, #{channel => Channel, known => lists:sort(maps:keys(Channels))})}
    end.

-spec connection(node(), topos_engine:channel(), non_neg_integer()) -> {ok, pid()} | {error, atom()}.
connection(Node, Channel, Key) ->
    Theirs = case Channel of data -> undefined; _ -> Channel end,
    try topos_partisan_api:call(partisan_peer_connections, dispatch_pid, [Node, Theirs, Key]) of
        Answer -> Answer
    catch
        %% The table belongs to the manager and is gone while that restarts.
        error:badarg -> {error, disconnected};
        error:notalive -> {error, disconnected}
    end.

-spec not_connected(node(), atom()) -> {error, topos_error:t()}.
not_connected(Node, disconnected) -> {error, topos_error:new(not_connected, #{node => Node, status => down})};
not_connected(Node, _) -> {error, topos_error:new(not_connected, #{node => Node, status => unknown})}.

-spec registered_here(binary()) -> undefined | pid() | port().
registered_here(Name) ->
    try
        whereis(binary_to_existing_atom(Name))
    catch
        error:badarg -> undefined
    end.

%% Partisan sends the atom. What is no text is no name.
-spec dest(binary()) -> {ok, atom()} | error.
dest(Name) ->
    try
        {ok, binary_to_atom(Name)}
    catch
        error:badarg -> error
    end.

%% Whether Partisan's own encoder carries a term.
-spec is_carried(term()) -> boolean().
is_carried([First | Rest]) -> is_carried(First) andalso is_carried_list(Rest);
is_carried(Tuple) when is_tuple(Tuple) -> tuple_size(Tuple) =< ?MAX_TUPLE andalso is_carried(tuple_to_list(Tuple));
is_carried(Map) when is_map(Map) -> is_carried(maps:to_list(Map));
is_carried(_) -> true.

-spec is_carried_list(term()) -> boolean().
is_carried_list([First | Rest]) -> is_carried(First) andalso is_carried_list(Rest);
is_carried_list(End) -> End =:= [].
