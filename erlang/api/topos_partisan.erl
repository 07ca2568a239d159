%% @doc The bridge for Erlang users: a node, its cluster, and messages between nodes that are not lost silently.
%%
%% ```
%% {ok, _} = topos_partisan:start(#{node => 'b@127.0.0.1', cluster => <<"shop">>, cookie => <<"secret">>}),
%% {ok, Ref} = topos_partisan:on_down(any, fun(Node) -> io:format("~s went down~n", [Node]) end),
%% ok = topos_partisan:join('a@127.0.0.1', #{addresses => [{{127, 0, 0, 1}, 9100}]}),
%% ok = topos_partisan:send('a@127.0.0.1', greeter, {hello, self()}).
%% '''
%%
%% Every function answers `{error, topos_error:t()}' for what it cannot do, `not_started' before {@link start/1}, and
%% returns in bounded time. What a send guarantees is told at {@link send/4}.
%%
%% On a node with a native topology, which is one of Partisan's own managers, each does what `topos_topology:capabilities/0' says and
%% no more, or answers `unsupported_by_manager'.
-module(topos_partisan).

-compile({no_auto_import, [node/0, nodes/0, spawn/2, spawn/3, spawn/4, demonitor/1]}).

%% Life of the node
-export([start/1, stop/0, node/0, cluster/0]).
%% Membership
-export([join/1, join/2, leave/0, leave/1, members/0, nodes/0]).
%% Events
-export([on_up/2, on_down/2, subscribe/0, cancel/1]).
%% Messages
-export([send/3, send/4, broadcast/2, broadcast/3]).
%% Processes
-export([spawn/2, spawn/3, spawn/4, monitor/1, demonitor/1]).
%% For the other modules of the API.
-export([started/2]).

-include("topos_frame.hrl").

-export_type([status/0, member/0, cluster/0, event/0, send_options/0, join_options/0, node_function/0]).

%% `joining': known, not heard yet. `up': an echo came back. `suspect': silent for `suspect_after'. `down': silent for
%% `down_after', or its transport is gone. `left': it said good-bye.
-type status() :: joining | up | suspect | down | left.
%% With a native topology `up' is a node with a connection and `down' one without, the incarnation is 0 and there is no metadata.
-type member() :: #{
    node := node(),
    status := status(),
    incarnation := topos_incarnation:t(),
    addresses := [topos_engine:address()],
    metadata := #{binary() => binary()}
}.
%% With a native topology the incarnation is 0 and there are no counters.
-type cluster() :: #{
    name := binary(),
    node := node(),
    incarnation := topos_incarnation:t(),
    engine := topos_engine:name(),
    topology := topos_config_topology:type(),
    addresses := [topos_engine:address()],
    members := pos_integer(),
    up := non_neg_integer(),
    counters := #{topos_local:counter() => non_neg_integer()}
}.
%% What a subscriber receives, as `{topos, Ref, event()}'.
-type event() ::
    {up, node(), topos_incarnation:t()}
    | {suspect, node()}
    %% Echoes came back before a suspect was declared down.
    | {recovered, node()}
    | {down, node(), Reason :: term()}
    | {left, node()}
    %% So many messages to the node were accepted but never confirmed; each may or may not have been delivered.
    | {in_doubt, node(), Count :: pos_integer()}
    %% Waited longer to be sent than the channel's `expiry', and were dropped.
    | {expired, node(), Channel :: atom(), Count :: pos_integer()}
    %% A message of this node could not be delivered on the peer.
    | {undeliverable, node(), topos_error:t()}.
-type node_function() :: fun((node()) -> any()).
%% `channel': default `data', or what `topos_channel:with_default/2' says. `key': messages of one key, receiver and channel keep their order; default: the calling
%% process. On a monotonic channel a message still queued gives way to a newer one of its `key' and receiver.
%% `wait': milliseconds to wait for room when the queue is full, default 0. `ack': wait until the message was put into
%% the receiver's mailbox (default `false'), at most `timeout' milliseconds (default `timeouts.call').
-type send_options() :: #{
    channel => atom(),
    key => term(),
    wait => non_neg_integer(),
    ack => boolean(),
    timeout => pos_integer()
}.
%% `addresses': where the node listens; needed by engines that do not find a node by its name. `timeout': milliseconds,
%% default `timeouts.connect'.
-type join_options() :: #{addresses => [topos_engine:address()], timeout => pos_integer()}.

%% @doc Starts the node with a configuration (see `topos_config'), alone in its cluster. Answers the node's name. A
%% failure leaves nothing started. With a native topology it starts Partisan with that manager, or attaches to the one that runs in this VM already, which
%% {@link stop/0} then leaves running. Errors: `invalid_config', `already_started', those of the engine (`address_in_use',
%% `engine_not_installed', `insecure_listener', ...), `other_manager'.
-spec start(map()) -> {ok, node()} | {error, topos_error:t()}.
start(Config) ->
    case topos_config:parse(Config) of
        {ok, #{node := Node, engine := Engine} = Parsed} ->
            {ok, _} = application:ensure_all_started(topos_partisan),
            case topos_sup:start_node(Parsed, topos_engine:module(Engine)) of
                ok -> {ok, Node};
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

%% @doc Stops the node: its listeners, links, lanes and subscriptions. Peers see it `down'; call {@link leave/0} first to
%% be `left'.
-spec stop() -> ok | {error, topos_error:t()}.
stop() ->
    case whereis(topos_sup) of
        undefined ->
            not_started();
        _ ->
            case topos_sup:stop_node() of
                ok -> ok;
                {error, not_started} -> not_started()
            end
    end.

%% @doc This node's name.
-spec node() -> node() | {error, topos_error:t()}.
node() -> started({?MODULE, node, []}, fun() -> topos_local:config(node) end).

%% @doc What this node knows about itself and its cluster.
-spec cluster() -> cluster() | {error, topos_error:t()}.
cluster() ->
    started({?MODULE, cluster, []}, fun() ->
        #{node := Node, cluster := Name, engine := Engine, topology := Topology} = topos_local:config(),
        #{
            name => Name,
            node => Node,
            incarnation => topos_local:incarnation(),
            engine => Engine,
            topology => topos_config_topology:type(Topology),
            addresses => maps:get(addresses, topos_local:self()),
            members => length([member || #{status := Status} <- topos_cluster:members(), Status =/= left]),
            up => length(topos_cluster:up()),
            counters => topos_local:counts()
        }
    end).

%% @equiv join(Node, #{})
-spec join(node()) -> ok | {error, topos_error:t()}.
join(Node) -> join(Node, #{}).

%% @doc Joins the cluster that `Node' belongs to. `ok' means that `Node' proved to know the cookie, answered an echo on
%% the link and is `up' here; the other members follow within an anti-entropy round. Joining an up member is `ok'.
%% Errors, in at most `timeout': `unreachable', `cookie_mismatch', `version_mismatch', `cluster_mismatch', `self_join',
%% `too_many_members'. After an error the node is not a member and no link to it remains, unless another member told of it meanwhile: then it is a
%% member that is not up yet.
-spec join(node(), join_options()) -> ok | {error, topos_error:t()}.
join(Node, Options) when is_atom(Node), is_map(Options) ->
    started({?MODULE, join, [Node, Options]}, fun() ->
        #{contacts := Contacts, timeouts := #{connect := Timeout}} = topos_local:config(),
        Defaults = #{addresses => maps:get(Node, Contacts, []), timeout => Timeout},
        topos_cluster:join(Node, maps:merge(Defaults, maps:with([addresses, timeout], Options)))
    end).

%% @equiv leave(#{})
-spec leave() -> ok | {error, topos_error:t()}.
leave() -> leave(#{}).

%% @doc Leaves the cluster: tells every reachable member, closes every link, and goes on alone with a new incarnation. It
%% waits for the members' confirmations at most `timeout' milliseconds (default `timeouts.leave'); the others learn it by gossip.
-spec leave(#{timeout => pos_integer()}) -> ok | {error, topos_error:t()}.
leave(Options) when is_map(Options) ->
    started({?MODULE, leave, [Options]}, fun() ->
        #{leave := Timeout} = topos_local:config(timeouts),
        topos_cluster:leave(maps:get(timeout, Options, Timeout))
    end).

%% @doc Every node this one knows of, itself included (always `up'), sorted by name. Left nodes are listed until their
%% tombstone expires (`forget_after').
-spec members() -> [member()] | {error, topos_error:t()}.
members() -> started({?MODULE, members, []}, fun topos_cluster:members/0).

%% @doc The peers that are `up' now, sorted.
-spec nodes() -> [node()] | {error, topos_error:t()}.
nodes() -> started({?MODULE, nodes, []}, fun topos_cluster:up/0).

%% @doc Calls the function with the node's name each time `Node' (or any peer) becomes `up', exactly once a transition,
%% in a process of its own: it may block or crash without harm to others, and calls of one subscription never overlap. A
%% peer that is up already when the subscription is made gives no call. Lasts until {@link cancel/1}.
-spec on_up(node() | any, node_function()) -> {ok, reference()} | {error, topos_error:t()}.
on_up(Node, Fun) when is_atom(Node), is_function(Fun, 1) ->
    started({?MODULE, on_up, [Node, Fun]}, fun() -> topos_events:on(up, Node, Fun) end).

%% @doc Like {@link on_up/2}, for a peer that stops being up: it is declared `down' or `left'. A suspect is not down.
-spec on_down(node() | any, node_function()) -> {ok, reference()} | {error, topos_error:t()}.
on_down(Node, Fun) when is_atom(Node), is_function(Fun, 1) ->
    started({?MODULE, on_down, [Node, Fun]}, fun() -> topos_events:on(down, Node, Fun) end).

%% @doc Sends every {@link event()} to the calling process as `{topos, Ref, Event}' until {@link cancel/1} or its end.
-spec subscribe() -> {ok, reference()} | {error, topos_error:t()}.
subscribe() ->
    Subscriber = self(),
    started({?MODULE, subscribe, []}, fun() -> topos_events:subscribe(Subscriber) end).

%% @doc Ends a subscription: no call and no message of it begins after this returns. Unknown references are `ok'.
-spec cancel(reference()) -> ok | {error, topos_error:t()}.
cancel(Ref) when is_reference(Ref) -> started({?MODULE, cancel, [Ref]}, fun() -> topos_events:cancel(Ref) end).

%% @equiv send(Node, Name, Message, #{})
-spec send(node(), atom() | binary(), term()) -> ok | {error, topos_error:t()}.
send(Node, Name, Message) -> send(Node, Name, Message, #{}).

%% @doc Sends `Message' to the process registered as `Name' on `Node'.
%%
%% `ok' means accepted: while both nodes live, it is delivered exactly once, in order with what this process sent before to
%% the same name on the same channel, whatever happens to the connections between. If the peer dies or its queue is given
%% up, subscribers see `{in_doubt, Node, Count}'; if nobody has that name there, `{undeliverable, Node, Error}'. With
%% `#{ack => true}' the answer says which: `ok' once the message is in the receiver's mailbox.
%%
%% Errors: `message_too_large', `unknown_node', `not_connected' (the peer is not up; a suspect still accepts),
%% `no_such_channel', `overloaded' (the queue is full; nothing was queued); with `ack' also `no_such_process',
%% `too_many_atoms', `in_doubt', `timeout' (then it may still be delivered).
-spec send(node(), atom() | binary(), term(), send_options()) -> ok | {error, topos_error:t()}.
send(Node, Name, Message, Options) when is_atom(Node), is_map(Options) ->
    topos_lane:send(Node, {?TOPOS_DEST_NAME, name(Name)}, Message, topos_default_channel:options(Options)).

%% @equiv broadcast(Name, Message, #{})
-spec broadcast(atom() | binary(), term()) ->
    {ok, #{node() => ok | {error, topos_error:t()}}} | {error, topos_error:t()}.
broadcast(Name, Message) -> broadcast(Name, Message, #{}).

%% @doc Sends to that name on every peer that is up or suspect, and answers what {@link send/4} answered for each.
-spec broadcast(atom() | binary(), term(), send_options()) ->
    {ok, #{node() => ok | {error, topos_error:t()}}} | {error, topos_error:t()}.
broadcast(Name, Message, Options) when is_map(Options) ->
    started({?MODULE, broadcast, [Name, Message, Options]}, fun() ->
        Peers = [Node || {Node, Status} <- topos_link:peers(), Status =:= up orelse Status =:= suspect],
        {ok, maps:from_list([{Node, send(Node, Name, Message, Options)} || Node <- Peers])}
    end).

%% @doc Runs a function in a new process on `Node'. See `topos_process'.
%%
%% A node with a native topology answers `unsupported_by_manager' here and to everything else about processes.
-spec spawn(node(), fun(() -> any())) -> {ok, topos_process:ref()} | {error, topos_error:t()}.
spawn(Node, Fun) when is_function(Fun, 0) -> topos_process:spawn(Node, Fun).

%% @doc The same with a channel: messages that the process sends without naming one take this channel of its own node
%% (`topos_channel:with_default/2').
-spec spawn(node(), fun(() -> any()), #{channel => atom()}) -> {ok, topos_process:ref()} | {error, topos_error:t()}.
spawn(Node, Fun, Options) when is_function(Fun, 0) -> topos_process:spawn(Node, Fun, Options).

%% @doc Runs a function of a module in a new process on `Node'.
-spec spawn(node(), module(), atom(), [term()]) -> {ok, topos_process:ref()} | {error, topos_error:t()}.
spawn(Node, Module, Function, Arguments) -> topos_process:spawn(Node, Module, Function, Arguments).

%% @doc Watches a process of any node: exactly one `{'DOWN', Ref, process, Process, Reason}' comes when it ends or when its
%% node is declared down or left.
-spec monitor(topos_process:ref()) -> {ok, reference()} | {error, topos_error:t()}.
monitor(Process) -> topos_process:monitor(Process).

%% @doc Ends a watch; no `DOWN' of it comes after this returns.
-spec demonitor(reference()) -> ok | {error, topos_error:t()}.
demonitor(Ref) -> topos_process:demonitor(Ref).

%% @private Calls the function, unless there is no node or it is stopped meanwhile.
%% There may be a node without a link then: one of Partisan's own managers, which answers the operation itself.
-spec started({module(), atom(), [term()]}, fun(() -> Answer)) -> Answer | {error, topos_error:t()}.
started({Module, Function, Args}, Fun) ->
    case topos_local:is_started() of
        true ->
            try
                Fun()
            catch
                Class:Reason:Stack ->
                    %% The node may have been stopped while it was asked.
                    case topos_local:is_started() of
                        true -> erlang:raise(Class, Reason, Stack);
                        false -> not_started()
                    end
            end;
        false ->
            topos_native_node:perform(Module, Function, Args)
    end.

%% internal

%% A name of 255 bytes is the longest an atom of one-byte characters has; a frame has no room for more.
-spec name(atom() | binary()) -> binary().
name(Name) when is_atom(Name) -> name(atom_to_binary(Name));
name(Name) when is_binary(Name), byte_size(Name) =< 255 -> Name.

-spec not_started() -> {error, topos_error:t()}.
not_started() -> {error, topos_error:new(not_started, #{})}.
