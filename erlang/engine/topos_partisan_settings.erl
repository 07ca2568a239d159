%% @doc The configuration Partisan runs with: a pure function of ours.
%%
%% Every key whose default harms is set; `docs/decisions/0002-partisan-as-engine.md' says why.
-module(topos_partisan_settings).

-export([environment/2, native/2, channels/1, tls_options/1]).
-export_type([tls/0]).

-type tls() :: #{certfile := file:filename(), keyfile := file:filename(), cacertfile := file:filename()}.
-type file() :: {certfile | keyfile | cacertfile, file:filename()}.

%% @doc Partisan's application environment but what it listens on, which `topos_partisan_api:start/1' adds. The addresses
%% have ports, never 0.
-spec environment(topos_config:t(), [topos_engine:address()]) -> [{atom(), term()}].
environment(#{node := Node, channels := Channels, tls := Tls}, [{FirstIp, FirstPort} | _]) ->
    [
        {name, Node},
        {peer_service_manager, topos_partisan_firewall},
        {membership_strategy, topos_partisan_strategy},
        %% Both names of either key: Partisan computes a default, with a look-up of the host's name, unless `peer_ip' is set.
        {peer_ip, FirstIp},
        {listen_ip, FirstIp},
        {peer_port, FirstPort},
        {listen_port, FirstPort},
        {acceptor_pool_size, 1},
        {channels, maps:remove(undefined, channels(Channels))},
        {parallelism, 1},
        {channel_fallback, false},
        %% The manager sleeps this long before it dials a peer that joined.
        {connection_jitter, 0},
        %% Only the safety net: the engine has the manager dial when there is something to dial.
        {connection_interval, 1000},
        %% Never disabled (every connection would crash), never short (a late answer closes the connection, and on a machine that
        %% is too busy answers are late for seconds): failure detection is the link's. This one finds dead sockets, in 35 s.
        {connection_ping, #{enabled => true, idle_timeout => 5000, timeout => 15000, max_attempts => 2}},
        {gossip, false},
        {periodic_enabled, false},
        {broadcast, false},
        {persist_state, false},
        {peer_discovery, #{enabled => false}},
        {connect_disterl, false},
        %% Frames hold no pids and no references. Off, the ordinary encoder is used, which is faster.
        {pid_encoding, false},
        {ref_encoding, false},
        {remote_ref_format, improper_list}
        | tls(Tls)
    ].

%% @doc What a configuration with one of Partisan's own managers says of Partisan's environment: the manager, the node's name, where it
%% listens, its channels. And no jitter: the manager would sleep a second in each join.
%%
%% `data' is Partisan's default channel. The other channels that every node of the bridge has are of no use there, and each costs a connection to every
%% peer: they are left out, unless something is said of them.
-spec native(topos_config:t(), [topos_engine:address()]) -> [{atom(), term()}].
native(#{node := Node, channels := Channels, topology := #{manager := Manager, tag := Tag}}, [{Ip, Port} | _] = Addresses) ->
    #{data := #{parallelism := Parallelism}} = Channels,
    Standard = topos_config:standard_channels(),
    Named = maps:filter(fun(Name, Settings) -> Name =/= data andalso maps:get(Name, Standard, none) =/= Settings end, Channels),
    [
        {name, Node},
        {peer_service_manager, topos_native_capabilities:module(Manager)},
        {peer_ip, Ip},
        {listen_ip, Ip},
        {peer_port, Port},
        {listen_port, Port},
        {listen_addrs, [#{ip => I, port => P} || {I, P} <- Addresses]},
        {channels, maps:remove(undefined, channels(Named))},
        {parallelism, Parallelism},
        {tag, case Tag of none -> undefined; _ -> Tag end},
        {connection_jitter, 0},
        {connect_disterl, false}
    ].

%% @doc The channels as Partisan gets them: all keys given, and the default channel, on which it opens its first connection.
%%
%% Never monotonic: Partisan's monotonic channels drop what they were given and answer ok, pings as well. The link
%% keeps the newest value of a key before it sends. Never compressed: the link does that (`topos_compress'), and a compressed
%% term from a peer is refused, since it may become a thousand times larger.
-spec channels(topos_node_spec:channels()) -> map().
channels(Channels) ->
    Default = #{parallelism => 1, monotonic => false, compression => false},
    maps:put(undefined, Default, maps:map(fun(_, #{parallelism := N}) -> Default#{parallelism := N} end, Channels)).

%% @doc What a client connects with: its own certificate, and the peer's verified against the same authority.
%%
%% Peers are dialled by address, so there is no host name to compare. The authority vouches that a peer belongs to the
%% cluster; which node it is, the handshake says.
-spec tls_options(tls()) -> [{verify, verify_peer} | {server_name_indication, disable} | file(), ...].
tls_options(Tls) -> [{verify, verify_peer}, {server_name_indication, disable} | files(Tls)].

%% internal

-spec tls(undefined | tls()) -> [{tls, boolean()} | {tls_client_options | tls_server_options, [{atom(), term()}, ...]}, ...].
tls(undefined) ->
    [{tls, false}];
tls(Tls) ->
    [
        {tls, true},
        {tls_client_options, tls_options(Tls)},
        {tls_server_options, [{verify, verify_peer}, {fail_if_no_peer_cert, true} | files(Tls)]}
    ].

-spec files(tls()) -> [file(), ...].
files(#{certfile := Certificate, keyfile := Key, cacertfile := Authority}) ->
    [{certfile, Certificate}, {keyfile, Key}, {cacertfile, Authority}].
