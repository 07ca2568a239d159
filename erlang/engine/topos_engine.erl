%% @doc What an engine is: the part of the house that owns sockets.
%%
%% An engine connects and disconnects peers, carries one binary to a registered process of a connected peer, and reports
%% when a peer's transport came up or went down. Nothing else: no membership, no guarantees. `send/5' answering `ok' means
%% "queued in this VM"; what makes that trustworthy is the link layer above, which knows a peer is alive only when an echo
%% came back.
%%
%% == Events ==
%% The engine sends to the process that was given as `Sink' when it was started:
%% ```
%% {topos_engine, {up, Node}}            the transport to Node carries frames now, in both directions as far as we know
%% {topos_engine, {down, Node, Reason}}  it does not any more; frames that were queued may be lost
%% {topos_engine, reset}                 the engine lost its state and restarted: every peer is down, and the engine has
%%                                       already begun to connect again to all that had been asked for
%% '''
%% `up' and `down' of one node alternate, beginning with `up'; after a `reset' they begin anew. Only nodes that were asked
%% for have them: a peer that connects to us by itself is up when we `connect/1' to it. A lane keeps its order from an
%% `up' to the next `down'. A frame reaches the process registered as `Dest' on the
%% peer as the message `{topos, Version, Epoch, Binary}' (see `topos_frame.hrl'); nothing about its sender can be taken
%% from the engine, so the frame itself names it. A frame to a name nobody has registered is dropped by the peer.
%%
%% A registered process that has much to do for each frame may name a module with {@link set_handler/2}: an engine that
%% has a process for each connection then calls its `frame/1' there, while the process lives, and saves a message.
%%
%% == Calls ==
%% All callbacks but `start_link/2' may be called from any process and never block on the network.
-module(topos_engine).

-export([module/1, names/0, available/0, set_handler/2, unset_handler/1, deliver/2]).
-export_type([name/0, peer/0, address/0, channel/0, lane/0, capability/0, event/0, failure/0]).

-type name() :: partisan | otp | sim.
-type address() :: {inet:ip_address(), inet:port_number()}.
%% How to reach a node. Engines that find a node by its name alone ignore the addresses.
-type peer() :: #{node := node(), addresses := [address()]}.
-type channel() :: atom().
-type lane() :: non_neg_integer().
-type capability() ::
    channel_isolation      %% each channel has sockets of its own
    | lane_isolation       %% each lane has a socket of its own
    | tls
    | addresses            %% a peer is reached by address, not by name
    | fault_injection.     %% the network can be cut by `cut/1'
%% Why a node could not be connected to. `rejected': it answered, and one side refused the other.
-type failure() ::
    {unreachable, inet:posix() | timeout | closed | no_address | no_greeting | not_registered | self}
    | {rejected, {unexpected_peer, node() | unknown} | {tls, Why :: binary()} | cookie_or_name | not_partisan}.
-type event() :: {topos_engine, {up, node()} | {down, node(), term()} | reset}.

%% Starts the engine under the calling supervisor. The configuration was validated by `topos_config' already. An
%% address in use, a name that is taken: `{error, topos_error:t()}', and nothing is left listening.
-callback start_link(topos_config:t(), Sink :: pid()) -> {ok, pid()} | {error, topos_error:t()}.
-callback capabilities() -> #{capability() := boolean()}.
%% The addresses other nodes can use to reach this one (port 0 resolved).
-callback addresses() -> [address()].
%% Asks for a connection, now and after every loss, until `disconnect/1'. Idempotent. A new address list replaces the old.
-callback connect(peer()) -> ok.
%% Closes every connection to the node in both directions as far as this side can, and stops asking for it.
-callback disconnect(node()) -> ok.
%% Carries `Frame' on the lane of the channel, in order with what was sent before on the same lane. Never blocks. An engine
%% that writes to a socket leaves `{inet_reply, _, _}' in the mailbox of the caller, which is to drop it.
-callback send(node(), channel(), lane(), Dest :: atom(), Frame :: iodata()) ->
    ok | {error, not_connected | no_such_channel | overloaded}.
%% As `send/5', and leaves nothing in the mailbox of the caller: for processes that are not of this house.
-callback send_clean(node(), channel(), lane(), Dest :: atom(), Frame :: iodata()) ->
    ok | {error, not_connected | no_such_channel | overloaded}.
%% Why the last attempt to connect to a node failed; `none' while there was none, or after it succeeded. The engine goes
%% on trying. (Asked for, not told: a peer that is away for a day would be an event a second.)
-callback failure(node()) -> none | {failed, failure()}.
%% These are the channels from now on. Links stay up: a channel that is new or has more lanes than before shares connections
%% until it has its own; what was sent on a connection that is no longer needed goes out before that closes. The peers need
%% not have the same channels.
-callback reconfigure(topos_node_spec:channels()) -> ok.
%% Open connections: node, channel, how many.
-callback connections() -> [{node(), channel(), pos_integer()}].
%% A fault for tests, as a firewall that drops packets makes it: from now on nothing that this node sends reaches these nodes, and
%% those only; `[]' ends it. Connections stay open and carry nothing, a frame is lost and `send/5' answers `ok'; dialling fails with
%% `ehostunreach'. What the nodes send arrives still: to part a cluster, cut each side off from the other. Kept while the engine lives.
-callback cut([node()]) -> ok.

%% @doc Has a module handle the messages for a registered process where they arrive. `frame/1' gets the message, must not
%% block or fail, and may be called by several processes at once.
-spec set_handler(Dest :: atom(), module()) -> ok.
set_handler(Dest, Module) -> persistent_term:put({?MODULE, Dest}, Module).

-spec unset_handler(Dest :: atom()) -> ok.
unset_handler(Dest) ->
    _ = persistent_term:erase({?MODULE, Dest}),
    ok.

%% @doc For engines: hands a message from a peer to its registered process, or to its handler; drops it if there is none.
-spec deliver(Dest :: atom(), Message :: tuple()) -> ok.
deliver(Dest, Message) ->
    case whereis(Dest) of
        Pid when is_pid(Pid) ->
            case persistent_term:get({?MODULE, Dest}, undefined) of
                undefined -> Pid ! Message, ok;
                Module -> Module:frame(Message)
            end;
        _ ->
            ok
    end.

%% @doc The module that implements an engine.
-spec module(name()) -> topos_engine_partisan | topos_engine_otp | topos_engine_sim.
module(partisan) -> topos_engine_partisan;
module(otp) -> topos_engine_otp;
module(sim) -> topos_engine_sim.

%% @doc The engines of this release, best first.
-spec names() -> [partisan | otp, ...].
names() -> topos_config_schema:engines().

%% @doc The engines that can run here: those whose application Erlang finds.
-spec available() -> [partisan | otp, ...].
available() -> topos_config_schema:available_engines().
