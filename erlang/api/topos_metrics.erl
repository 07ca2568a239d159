%% @doc The statistics of channels as texts: Prometheus' exposition format (0.0.4) and JSON.
-module(topos_metrics).

-export([prometheus/0, stats/0, health/0, topology/0]).

%% @doc What Prometheus scrapes. Round trips are summaries in seconds.
-spec prometheus() -> {ok, iodata()} | {error, topos_error:t()}.
prometheus() ->
    case topos_channel:stats() of
        {ok, Rows} -> {ok, [counters(Rows), gauges(Rows), summaries(Rows), node_counters()]};
        {error, _} = Error -> Error
    end.

%% @doc The node, its peers, and a row each peer and channel: what `topos top' reads.
-spec stats() -> {ok, iodata()} | {error, topos_error:t()}.
stats() ->
    case {topos_partisan:cluster(), topos_partisan:members(), topos_channel:stats(), topos_channel:health()} of
        {#{node := Node, engine := Engine, name := Cluster}, Members, {ok, Rows}, {ok, #{channels := Health}}} when
            is_list(Members)
        ->
            Status = maps:from_list([{{N, C}, S} || #{node := N, channel := C, status := S} <- Health]),
            {ok, topos_json:encode(#{
                node => Node,
                engine => Engine,
                cluster => Cluster,
                members => [maps:with([node, status], Member) || Member <- Members],
                channels => [
                    Row#{status => maps:get({N, C}, Status, ok)} || #{node := N, channel := C} = Row <- Rows
                ]
            })};
        {{error, _} = Error, _, _, _} -> Error;
        {_, {error, _} = Error, _, _} -> Error;
        {_, _, {error, _} = Error, _} -> Error;
        {_, _, _, {error, _} = Error} -> Error
    end.

%% @doc Health as JSON, and whether all is well.
-spec health() -> {ok, ok | degraded, iodata()} | {error, topos_error:t()}.
health() ->
    case topos_channel:health() of
        {ok, #{status := Status} = Health} -> {ok, Status, topos_json:encode(Health)};
        {error, _} = Error -> Error
    end.

%% @doc The topology as this node knows it, which `topos graph' draws: `node', the name of the `topology', `members' with `status' and
%% `role' (`hub', `client', or `peer' where the topology knows no roles), and `links': for each node whose links it knows, `from' and `to'.
-spec topology() -> {ok, iodata()} | {error, topos_error:t()}.
topology() ->
    case {topos_partisan:cluster(), topos_partisan:members()} of
        {#{node := Node}, Members} when is_list(Members) ->
            {ok, topos_json:encode(#{
                node => Node,
                topology => topos_local:config(topology),
                members => [#{node => N, status => Status, role => peer} || #{node := N, status := Status} <- Members],
                %% In a full mesh nodes do not tell each other of their links: these are its own.
                links => [#{from => Node, to => [N || #{node := N, status := up} <- Members, N =/= Node]}]
            })};
        {{error, _} = Error, _} -> Error;
        {_, {error, _} = Error} -> Error
    end.

%% internal

-spec counters([topos_channel:stats()]) -> iodata().
counters(Rows) ->
    [
        [head(Name, counter, help(Name)), [line(Name, Row, map_get(Name, Row)) || Row <- Rows]]
     || Name <- topos_channel_stats:names() ++ [reconnects], Rows =/= []
    ].

-spec gauges([topos_channel:stats()]) -> iodata().
gauges(Rows) ->
    [
        [head(Name, gauge, help(Name)), [line(Name, Row, map_get(Name, Row)) || Row <- Rows]]
     || Name <- [queue_messages, queue_bytes, in_flight, credit, lanes, connections], Rows =/= []
    ].

-spec summaries([topos_channel:stats()]) -> iodata().
summaries([]) ->
    [];
summaries(Rows) ->
    [
        head(round_trip_seconds, summary, "from sending a batch to its acknowledgement"),
        [
            [
                [
                    ["topos_channel_round_trip_seconds{", labels(Row), ",quantile=\"", Quantile, "\"} ",
                     float_to_binary(map_get(Key, Rtt) / 1.0e6, [short]), $\n]
                 || {Key, Quantile} <- [{p50, "0.5"}, {p95, "0.95"}, {p99, "0.99"}]
                ],
                ["topos_channel_round_trip_seconds_count{", labels(Row), "} ", integer_to_binary(map_get(count, Rtt)), $\n]
            ]
         || #{rtt := Rtt} = Row <- Rows
        ]
    ].

-spec node_counters() -> iodata().
node_counters() ->
    case topos_partisan:cluster() of
        #{counters := Counters} ->
            [
                [
                    "# HELP topos_node_", atom_to_binary(Name), " see topos_local:counter()\n",
                    "# TYPE topos_node_", atom_to_binary(Name), " counter\n",
                    "topos_node_", atom_to_binary(Name), $\s, integer_to_binary(N), $\n
                ]
             || {Name, N} <- lists:sort(maps:to_list(Counters))
            ];
        {error, _} ->
            []
    end.

-spec head(atom(), atom(), string()) -> iodata().
head(Name, Type, Help) ->
    ["# HELP topos_channel_", atom_to_binary(Name), $\s, Help, "\n# TYPE topos_channel_", atom_to_binary(Name), $\s,
     atom_to_binary(Type), $\n].

-spec line(atom(), topos_channel:stats(), non_neg_integer()) -> iodata().
line(Name, Row, Value) -> ["topos_channel_", atom_to_binary(Name), ${, labels(Row), "} ", integer_to_binary(Value), $\n].

-spec labels(topos_channel:stats()) -> iodata().
labels(#{node := Node, channel := Channel}) -> ["peer=\"", label(Node), "\",channel=\"", label(Channel), $"].

-spec label(atom() | binary()) -> iodata().
label(Atom) when is_atom(Atom) -> label(atom_to_binary(Atom));
label(Text) ->
    [case Byte of $" -> "\\\""; $\\ -> "\\\\"; $\n -> "\\n"; _ -> Byte end || <<Byte>> <= Text].

-spec help(atom()) -> string().
help(messages_out) -> "messages put on the wire";
help(bytes_out) -> "bytes of messages put on the wire";
help(messages_in) -> "messages received";
help(bytes_in) -> "bytes of messages received";
help(acknowledged) -> "messages acknowledged by the peer";
help(retries) -> "batches sent again";
help(superseded) -> "messages that gave way to a newer one of their key";
help(expired) -> "messages that waited too long to be sent";
help(lost) -> "messages not acknowledged on a channel that sends once";
help(in_doubt) -> "messages given up when the life of the peer ended";
help(undeliverable) -> "messages refused by the peer";
help(overloaded) -> "messages refused because the queue was full";
help(bytes_saved) -> "bytes that compression kept off the wire";
help(reconnects) -> "times the link to the peer opened again";
help(queue_messages) -> "messages accepted and not acknowledged";
help(queue_bytes) -> "bytes accepted and not acknowledged";
help(in_flight) -> "batches sent and not acknowledged";
help(credit) -> "batches that may be sent now";
help(lanes) -> "sending lanes in use";
help(connections) -> "connections of the engine".
