%% @doc The table of configuration keys: one row a key, read by the parser, by the documentation and by their tests.
%%
%% A key is added here and nowhere else: the parser walks this table, `docs/configuration.md' is generated from it
%% (`markdown/0') and a test compares the two.
-module(topos_config_schema).

-export([engines/0, available_engines/0, fields/0, channel_fields/0, standard_channels/0, rows/0, markdown/0]).
-export_type([field/0, kind/0, row/0]).

%% What a value may be. `topos_config_value' parses and describes each.
-type kind() ::
    {integer, Min :: integer(), Max :: integer()}
    | boolean
    | {one_of, [atom()]}
    | engine
    | node_name
    | {text, MinBytes :: non_neg_integer(), MaxBytes :: pos_integer()}
    | {secret, MinBytes :: non_neg_integer(), MaxBytes :: pos_integer()}
    | addresses
    | contacts
    | metadata
    | file
    | channels
    | topology
    | node_names
    | module
    | term
    | {section, [field()]}
    | {optional_section, [field()]}.

%% `default' is absent where a value must be given, or where it is computed (then `default_text' says how).
-type field() :: #{
    key := atom(),
    kind := kind(),
    default => term(),
    default_text => binary(),
    unit => binary(),
    meaning := binary()
}.

-type row() :: #{path := binary(), range := binary(), unit := binary(), default := binary(), meaning := binary()}.

-define(DAY, 86_400_000).

%% @doc The engines of this release, best first.
-spec engines() -> [topos_engine:name()].
engines() -> [partisan, otp].

%% @doc The engines that can run here: those whose application Erlang finds.
-spec available_engines() -> [topos_engine:name(), ...].
available_engines() ->
    case code:which(partisan) of
        non_existing -> [otp];
        _ -> [partisan, otp]
    end.

%% @doc The keys of a configuration, in the order of the documentation.
-spec fields() -> [field()].
fields() ->
    [
        #{key => node, kind => node_name, default_text => <<"the name of this VM if it is distributed, else required">>,
          meaning => <<"name of this node, unique in its cluster, the same on every engine">>},
        #{key => cluster, kind => {text, 1, 64}, default => <<"topos">>,
          meaning => <<"name of the cluster; nodes of another cluster are refused">>},
        #{key => engine, kind => engine, default_text => <<"the best one installed: partisan, else otp">>,
          meaning => <<"what owns the sockets">>},
        #{key => topology, kind => topology, default => full_mesh,
          meaning => <<"who connects to whom; a name stands for that type with its defaults">>},
        #{key => listen, kind => addresses, default => [{{127, 0, 0, 1}, 0}],
          meaning =>
              <<"where this node listens; port 0 takes any free port; off loopback only with `tls` or `insecure`">>},
        #{key => cookie, kind => {secret, 1, 255}, default => <<"topos">>,
          meaning => <<"shared secret of the cluster; must be given when a node listens off loopback">>},
        #{key => channels, kind => channels, default => #{},
          meaning => <<"channels to add to, or to adjust among, the standard ones; a number stands for "
                       "`channels.data.parallelism`">>},
        #{key => compression, kind => boolean, default => false,
          meaning => <<"compress frames on every channel that does not say otherwise">>},
        #{key => fault_detection, kind => {section, fault_detection()},
          meaning => <<"when a peer that does not answer is `suspect`, and when it is `down`">>},
        #{key => tls, kind => {optional_section, tls()},
          meaning => <<"encryption and mutual authentication of peers; all three files, or none">>},
        #{key => insecure, kind => boolean, default => false,
          meaning => <<"says aloud that this node may listen off loopback without TLS; or that it is open, as every `native` topology is">>},
        #{key => contacts, kind => contacts, default => #{},
          meaning => <<"where to find nodes that are joined by name alone">>},
        #{key => metadata, kind => metadata, default => #{},
          meaning => <<"what this node tells its peers about itself">>},
        #{key => limits, kind => {section, limits()}, meaning => <<"bounds of queues, tables and sizes">>},
        #{key => timeouts, kind => {section, timeouts()}, meaning => <<"how long operations wait by default">>},
        #{key => metrics, kind => {optional_section, metrics()},
          meaning => <<"where statistics are served over HTTP: `/metrics` (Prometheus), `/stats`, `/topology` and `/health` (JSON)">>},
        #{key => forget_after, kind => {integer, 1_000, 30 * ?DAY}, default => ?DAY, unit => <<"ms">>,
          meaning => <<"how long a member that is `down` or `left` is remembered">>}
    ].

%% @doc The keys of one channel.
-spec channel_fields() -> [field()].
channel_fields() ->
    [
        #{key => parallelism, kind => {integer, 1, 64}, default => 1, unit => <<"connections">>,
          meaning => <<"lanes to each peer; order holds within a lane">>},
        #{key => monotonic, kind => boolean, default => false,
          meaning => <<"keep only the newest message of each key; not on `control` and `data`">>},
        #{key => compression, kind => boolean, default_text => <<"the value of `compression`">>,
          meaning => <<"compress the frames of this channel">>},
        #{key => delivery, kind => {one_of, [at_least_once, at_most_once]}, default => at_least_once,
          meaning => <<"send again what was not acknowledged, or drop it and count it as `lost`">>},
        #{key => order, kind => {one_of, [key, pair, none]}, default => key,
          meaning => <<"what keeps its order: messages of one key and receiver, of one sender and receiver (keys or not), "
                       "or nothing (each message takes the next lane)">>},
        #{key => priority, kind => {one_of, [high, normal, low]}, default => normal,
          meaning => <<"priority of the lanes' processes, and batches in flight a lane: 16, 8 or 2">>},
        #{key => expiry, kind => {integer, 0, ?DAY}, default => 0, unit => <<"ms">>,
          meaning => <<"how long a message may wait to be sent before it is dropped as `expired`; 0: as long as it takes">>},
        #{key => max_parallelism, kind => {integer, 0, 64}, default => 0, unit => <<"connections">>,
          meaning => <<"lanes are added up to this number while messages queue, and taken away when idle; 0: never">>},
        #{key => max_queue_messages, kind => {integer, 0, 10_000_000}, default => 0, unit => <<"messages">>,
          meaning => <<"as `limits.max_queue_messages`, for the lanes of this channel; 0: that value">>},
        #{key => max_queue_bytes, kind => {integer, 0, 4_294_967_296}, default => 0, unit => <<"bytes">>,
          meaning => <<"as `limits.max_queue_bytes`, for the lanes of this channel; 0: that value">>}
    ].

%% @doc The channels every node has, with what they differ in from the defaults of `channel_fields/0'.
-spec standard_channels() -> #{atom() := #{atom() => term()}}.
standard_channels() ->
    #{control => #{}, data => #{}, state_sync => #{monotonic => true}, bulk => #{priority => low}}.

%% @doc The rows of the documentation, sections and channels laid out flat.
-spec rows() -> [row()].
rows() ->
    lists:flatmap(fun(Field) -> rows(<<>>, Field) end, fields()).

%% @doc The table of `docs/configuration.md'.
-spec markdown() -> binary().
markdown() ->
    Head = [<<"| Key | Range | Unit | Default | Meaning |\n|---|---|---|---|---|\n">>],
    Lines = [
        [<<"| `">>, Path, <<"` | ">>, Range, <<" | ">>, Unit, <<" | ">>, Default, <<" | ">>, Meaning, <<" |\n">>]
     || #{path := Path, range := Range, unit := Unit, default := Default, meaning := Meaning} <- rows()
    ],
    unicode:characters_to_binary([Head, Lines]).

%% internal

-spec fault_detection() -> [field()].
fault_detection() ->
    [
        #{key => echo_interval, kind => {integer, 10, 60_000}, default => 250, unit => <<"ms">>,
          meaning => <<"time between two echo requests to a peer">>},
        #{key => suspect_after, kind => {integer, 20, 600_000}, default => 1_000, unit => <<"ms">>,
          meaning => <<"silence after which a peer is `suspect`; at least two `echo_interval`s">>},
        #{key => down_after, kind => {integer, 30, 3_600_000}, default => 3_000, unit => <<"ms">>,
          meaning => <<"silence after which a peer is `down`; more than `suspect_after`">>},
        #{key => method, kind => {one_of, [echo, swim]}, default => echo,
          meaning => <<"`echo`: every peer is asked all the time; `swim`: one a `suspect_after`, by turns; the same on every node">>},
        #{key => indirect_probes, kind => {integer, 0, 32}, default => 3, unit => <<"nodes">>,
          meaning => <<"`swim`: through how many others one is asked that did not answer">>}
    ].

-spec tls() -> [field()].
tls() ->
    [
        #{key => certfile, kind => file, meaning => <<"this node's certificate (PEM)">>},
        #{key => keyfile, kind => file, meaning => <<"the key of that certificate (PEM)">>},
        #{key => cacertfile, kind => file, meaning => <<"the authorities that sign peers' certificates (PEM)">>}
    ].

-spec metrics() -> [field()].
metrics() ->
    [
        #{key => listen, kind => addresses, default => [{{127, 0, 0, 1}, 0}],
          meaning => <<"port 0 takes any free port; off loopback only with `insecure`: anyone who reaches it may read">>}
    ].

-spec limits() -> [field()].
limits() ->
    [
        #{key => max_message_bytes, kind => {integer, 1_024, 268_435_456}, default => 16_777_216, unit => <<"bytes">>,
          meaning => <<"largest message, encoded">>},
        #{key => max_queue_messages, kind => {integer, 1, 10_000_000}, default => 10_000, unit => <<"messages">>,
          meaning => <<"messages that wait in one lane before senders see `overloaded`">>},
        #{key => max_queue_bytes, kind => {integer, 1_024, 4_294_967_296}, default => 67_108_864, unit => <<"bytes">>,
          meaning => <<"bytes that wait in one lane; at least `max_message_bytes`">>},
        #{key => max_inbox_messages, kind => {integer, 1, 10_000_000}, default => 100_000, unit => <<"messages">>,
          meaning => <<"messages that wait for `recv` in the inbox of the node; in a Topos program also as many events">>},
        #{key => max_new_atoms, kind => {integer, 0, 500_000}, default => 1_000, unit => <<"atoms">>,
          meaning => <<"new atoms that the messages of one peer may create here">>},
        #{key => max_members, kind => {integer, 2, 100_000}, default => 1_024, unit => <<"nodes">>,
          meaning => <<"members remembered, whatever their status">>},
        #{key => max_pending_calls, kind => {integer, 1, 1_000_000}, default => 10_000, unit => <<"calls">>,
          meaning => <<"requests to peers that wait for their reply">>},
        #{key => max_leases, kind => {integer, 1, 10_000_000}, default => 100_000, unit => <<"leases">>,
          meaning => <<"processes of this node that peers monitor, counted once a monitor">>},
        #{key => max_subscriptions, kind => {integer, 1, 1_000_000}, default => 10_000, unit => <<"subscriptions">>,
          meaning => <<"subscribers to up and down events and to messages">>}
    ].

-spec timeouts() -> [field()].
timeouts() ->
    [
        #{key => connect, kind => {integer, 10, 600_000}, default => 5_000, unit => <<"ms">>,
          meaning => <<"how long a join waits for the first echo of a peer">>},
        #{key => call, kind => {integer, 10, 3_600_000}, default => 5_000, unit => <<"ms">>,
          meaning => <<"how long a request to a peer waits for its reply">>},
        #{key => leave, kind => {integer, 10, 600_000}, default => 2_000, unit => <<"ms">>,
          meaning => <<"how long a leave waits for the peers to confirm">>}
    ].

-spec rows(binary(), field()) -> [row()].
rows(Prefix, #{key := Key, kind := {Kind, Fields}} = Field) when Kind =:= section; Kind =:= optional_section ->
    Path = path(Prefix, Key),
    [section_row(Path, Kind, Field) | lists:flatmap(fun(Inner) -> rows(<<Path/binary, ".">>, Inner) end, Fields)];
rows(Prefix, #{key := channels, kind := channels} = Field) ->
    Path = path(Prefix, channels),
    [row(Path, Field) | lists:flatmap(fun(Inner) -> rows(<<Path/binary, ".<name>.">>, Inner) end, channel_fields())];
rows(Prefix, #{key := topology, kind := topology} = Field) ->
    Path = path(Prefix, topology),
    Type = #{key => type, kind => {one_of, topos_config_topology:types()}, meaning => <<"the keys below are those of one type">>},
    [row(Path, Field), row(<<Path/binary, ".type">>, Type)
     | lists:append([topology_rows(Path, T) || T <- topos_config_topology:types()])];
rows(Prefix, #{key := Key} = Field) ->
    [row(path(Prefix, Key), Field)].

-spec topology_rows(binary(), topos_config_topology:type()) -> [row()].
topology_rows(Path, Type) ->
    Of = fun(#{meaning := Meaning} = Field) ->
        Field#{meaning := <<"`", (atom_to_binary(Type))/binary, "`: ", Meaning/binary>>}
    end,
    [row(path(<<Path/binary, ".">>, Key), Of(Field)) || #{key := Key} = Field <- topos_config_topology:fields(Type)].

-spec section_row(binary(), section | optional_section, field()) -> row().
section_row(Path, Kind, #{meaning := Meaning}) ->
    Default = case Kind of section -> <<"the defaults below">>; optional_section -> <<"none">> end,
    #{path => Path, range => <<"a map of the keys below">>, unit => <<>>, default => Default, meaning => Meaning}.

-spec row(binary(), field()) -> row().
row(Path, #{kind := Kind, meaning := Meaning} = Field) ->
    #{
        path => Path,
        range => topos_config_value:describe(Kind),
        unit => maps:get(unit, Field, <<>>),
        default => default_text(Field),
        meaning => Meaning
    }.

-spec default_text(field()) -> binary().
default_text(#{default_text := Text}) -> Text;
default_text(#{kind := channels}) ->
    unicode:characters_to_binary(["`control`, `data`, `state_sync` (monotonic), `bulk` (priority `low`)"]);
default_text(#{kind := addresses, default := Default}) ->
    code([lists:join(", ", [topos_config_value:print_address(Address) || Address <- Default])]);
default_text(#{default := Default}) when is_binary(Default) -> code(Default);
default_text(#{default := Default}) -> code(io_lib:format("~0tp", [Default]));
default_text(_) -> <<"required">>.

-spec code(unicode:chardata()) -> binary().
code(Text) -> unicode:characters_to_binary([$`, Text, $`]).

-spec path(binary(), atom()) -> binary().
path(Prefix, Key) -> <<Prefix/binary, (atom_to_binary(Key))/binary>>.
