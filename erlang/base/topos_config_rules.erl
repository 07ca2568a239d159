%% @doc The rules of a configuration that concern several keys at once.
%%
%% Each rule looks at values that were parsed; where one of them has a violation of its own the rule does not speak.
-module(topos_config_rules).

-export([violations/1]).

%% Stands for a value that has a violation of its own (`topos_config').
-define(INVALID, '$invalid').
%% Sockets to one peer, over all channels: beyond it the handshakes alone take longer than fault detection allows.
-define(MAX_CONNECTIONS, 128).

%% @doc The violations of a configuration in which single values were checked already.
-spec violations(#{atom() => term()}) -> [topos_config_value:violation()].
violations(Config) ->
    lists:append([Rule(Config) || Rule <- rules()]).

%% internal

-type rule() :: fun((#{atom() => term()}) -> [topos_config_value:violation()]).

-spec rules() -> [rule()].
rules() ->
    [
        fun reliable_channels/1,
        fun control_is_one_lane/1,
        fun monotonic_arrives/1,
        fun pool_grows/1,
        fun channel_queue_holds_a_message/1,
        fun connections/1,
        fun suspect_after_two_echoes/1,
        fun down_after_suspect/1,
        fun queue_holds_a_message/1,
        fun no_open_door/1,
        fun metrics_are_private/1,
        fun own_cookie/1,
        fun no_contact_to_self/1,
        fun topology/1,
        fun topos_config_native:violations/1
    ].

%% A channel that drops messages cannot carry the protocols of the bridge, nor be the default of programs.
-spec reliable_channels(#{atom() => term()}) -> [topos_config_value:violation()].
reliable_channels(#{channels := Channels}) when is_map(Channels) ->
    Rules = [
        {monotonic, false, <<"false: this channel may not drop messages">>},
        {delivery, at_least_once, <<"at_least_once: this channel may not drop messages">>},
        {expiry, 0, <<"0: this channel may not drop messages">>},
        {order, ordered, <<"key or pair: this channel keeps the order of a sender">>}
    ],
    [
        violation(channel_path(Name, Key), Expected, Got)
     || Name <- [control, data], #{Name := Settings} <- [Channels], {Key, Good, Expected} <- Rules,
        #{Key := Got} <- [Settings], not is_good(Key, Got, Good)
    ];
reliable_channels(_) -> [].

-spec is_good(atom(), term(), term()) -> boolean().
is_good(_, ?INVALID, _) -> true;
is_good(order, Got, _) -> Got =/= none;
is_good(_, Got, Good) -> Got =:= Good.

%% The newest value of each key must arrive, or "monotonic" means nothing.
-spec monotonic_arrives(#{atom() => term()}) -> [topos_config_value:violation()].
monotonic_arrives(#{channels := Channels}) when is_map(Channels) ->
    Rules = [
        {delivery, at_most_once, <<"at_least_once on a monotonic channel: the newest value of a key arrives">>},
        {order, none, <<"key or pair on a monotonic channel: a key belongs to one lane">>}
    ],
    [
        violation(channel_path(Name, Key), Expected, Got)
     || {Name, #{monotonic := true} = Settings} <- lists:sort(maps:to_list(Channels)), Name =/= control, Name =/= data,
        {Key, Bad, Expected} <- Rules, #{Key := Got} <- [Settings], Got =:= Bad
    ] ++ [
        violation(channel_path(Name, expiry), <<"0 on a monotonic channel: the newest value of a key arrives">>, Expiry)
     || {Name, #{monotonic := true, expiry := Expiry}} <- lists:sort(maps:to_list(Channels)), Name =/= control,
        Name =/= data, is_integer(Expiry), Expiry > 0
    ];
monotonic_arrives(_) -> [].

-spec pool_grows(#{atom() => term()}) -> [topos_config_value:violation()].
pool_grows(#{channels := Channels}) when is_map(Channels) ->
    [
        violation(channel_path(Name, max_parallelism), format("0, or at least parallelism (~b)", [N]), Max)
     || {Name, #{parallelism := N, max_parallelism := Max}} <- lists:sort(maps:to_list(Channels)),
        is_integer(N), is_integer(Max), Max > 0, Max < N
    ];
pool_grows(_) -> [].

-spec channel_queue_holds_a_message(#{atom() => term()}) -> [topos_config_value:violation()].
channel_queue_holds_a_message(#{channels := Channels, limits := #{max_message_bytes := Message}}) when
    is_map(Channels), is_integer(Message)
->
    [
        violation(channel_path(Name, max_queue_bytes), format("0, or at least limits.max_message_bytes (~b)", [Message]), Bytes)
     || {Name, #{max_queue_bytes := Bytes}} <- lists:sort(maps:to_list(Channels)),
        is_integer(Bytes), Bytes > 0, Bytes < Message
    ];
channel_queue_holds_a_message(_) -> [].

-spec control_is_one_lane(#{atom() => term()}) -> [topos_config_value:violation()].
control_is_one_lane(#{channels := #{control := #{parallelism := N} = Control}}) ->
    Max = maps:get(max_parallelism, Control, 0),
    [violation(<<"channels.control.parallelism">>, <<"1: control messages keep one order">>, N) || is_integer(N), N > 1]
        ++ [violation(<<"channels.control.max_parallelism">>, <<"0 or 1: control messages keep one order">>, Max)
            || is_integer(Max), Max > 1];
control_is_one_lane(_) -> [].

-spec connections(#{atom() => term()}) -> [topos_config_value:violation()].
connections(#{channels := Channels}) when is_map(Channels) ->
    case lists:sum([most_lanes(Channel) || #{parallelism := N} = Channel <- maps:values(Channels), is_integer(N)]) of
        Sum when Sum > ?MAX_CONNECTIONS ->
            [violation(<<"channels">>, <<"at most 128 connections to a peer, over all channels">>, Sum)];
        _ -> []
    end;
connections(_) -> [].

-spec most_lanes(#{atom() => term()}) -> pos_integer().
most_lanes(#{parallelism := N, max_parallelism := Max}) when is_integer(Max) -> max(N, Max);
most_lanes(#{parallelism := N}) -> N.

-spec suspect_after_two_echoes(#{atom() => term()}) -> [topos_config_value:violation()].
suspect_after_two_echoes(#{fault_detection := #{echo_interval := Echo, suspect_after := Suspect}}) when
    is_integer(Echo), is_integer(Suspect), Suspect < 2 * Echo
->
    Expected = format("at least two echo intervals (~b ms), or one lost echo would be enough", [2 * Echo]),
    [violation(<<"fault_detection.suspect_after">>, Expected, Suspect)];
suspect_after_two_echoes(_) -> [].

-spec down_after_suspect(#{atom() => term()}) -> [topos_config_value:violation()].
down_after_suspect(#{fault_detection := #{suspect_after := Suspect, down_after := Down}}) when
    is_integer(Suspect), is_integer(Down), Down =< Suspect
->
    [violation(<<"fault_detection.down_after">>, format("more than suspect_after (~b ms)", [Suspect]), Down)];
down_after_suspect(_) -> [].

-spec queue_holds_a_message(#{atom() => term()}) -> [topos_config_value:violation()].
queue_holds_a_message(#{limits := #{max_message_bytes := Message, max_queue_bytes := Queue}}) when
    is_integer(Message), is_integer(Queue), Queue < Message
->
    [violation(<<"limits.max_queue_bytes">>, format("at least limits.max_message_bytes (~b)", [Message]), Queue)];
queue_holds_a_message(_) -> [].

-spec no_open_door(#{atom() => term()}) -> [topos_config_value:violation()].
no_open_door(#{listen := Listen, tls := undefined, insecure := false}) when is_list(Listen) ->
    [
        violation(
            <<"listen">>, <<"a loopback address, or tls, or insecure = true (anyone who reaches it could enter)">>,
            unicode:characters_to_binary(topos_config_value:print_address(Address))
        )
     || Address <- Listen, not topos_config_value:is_loopback(Address)
    ];
no_open_door(_) -> [].

%% The endpoint knows no users and no encryption.
-spec metrics_are_private(#{atom() => term()}) -> [topos_config_value:violation()].
metrics_are_private(#{metrics := #{listen := Listen}, insecure := false}) when is_list(Listen) ->
    [
        violation(<<"metrics.listen">>, <<"a loopback address, or insecure = true (anyone who reaches it could read)">>,
            unicode:characters_to_binary(topos_config_value:print_address(Address)))
     || Address <- Listen, not topos_config_value:is_loopback(Address)
    ];
metrics_are_private(_) -> [].

%% `{default, _}' marks a cookie that was not given. The default is public: it keeps nobody out.
-spec own_cookie(#{atom() => term()}) -> [topos_config_value:violation()].
own_cookie(#{topology := #{type := native}}) ->
    %% Partisan knows no cookie.
    [];
own_cookie(#{listen := Listen, cookie := {default, _}}) when is_list(Listen) ->
    case lists:all(fun topos_config_value:is_loopback/1, Listen) of
        true -> [];
        false -> [violation(<<"cookie">>, <<"a cookie of your own on a node that listens off loopback">>,
            <<"the default">>)]
    end;
own_cookie(_) -> [].

-spec no_contact_to_self(#{atom() => term()}) -> [topos_config_value:violation()].
no_contact_to_self(#{node := Node, contacts := Contacts}) when is_map_key(Node, Contacts) ->
    [violation(<<"contacts">>, <<"other nodes">>, Node)];
no_contact_to_self(_) -> [].

-spec topology(#{atom() => term()}) -> [topos_config_value:violation()].
topology(#{topology := Topology, node := Node}) -> topos_config_topology:violations(Topology, Node).

-spec channel_path(atom(), atom()) -> topos_config_value:path().
channel_path(Name, Key) -> <<"channels.", (atom_to_binary(Name))/binary, ".", (atom_to_binary(Key))/binary>>.

-spec violation(topos_config_value:path(), binary(), term()) -> topos_config_value:violation().
violation(Path, Expected, Got) -> #{path => Path, expected => Expected, got => Got}.

-spec format(io:format(), [term()]) -> binary().
format(Format, Args) -> unicode:characters_to_binary(io_lib:format(Format, Args)).
