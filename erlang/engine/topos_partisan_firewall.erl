%% @doc Stands before Partisan's pluggable manager and lets nothing in.
%%
%% Partisan delivers whatever a TCP peer sends to whatever process the peer names: `{forward_message,
%% partisan_rpc_backend, {call, M, F, A, ..}}' runs any function, `{forward_message, init, {stop, stop}}' ends the VM,
%% `{membership_strategy, ..}' rewrites the membership. So what comes in is `topos_partisan_inbound''s business and never
%% Partisan's. Only while Partisan starts does its own listener accept, for some milliseconds and on a free port of the
%% loopback interface (`topos_partisan_api:start/1'); this module is the second wall for that moment.
%%
%% Partisan takes the module that gets inbound messages from its configuration (`peer_service_manager'). This module
%% is named there: it starts the pluggable manager itself, unchanged, passes calls of this VM on to it, and drops what
%% Partisan's connections bring.
-module(topos_partisan_firewall).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, receive_message/3, get_local_state/0]).
-export([members/0, members_for_orchestration/0, update_members/1, on_down/2, on_down/3, on_up/2, on_up/3]).
-export([join/1, sync_join/1, leave/0, leave/1, send_message/2, cast_message/2, cast_message/3, cast_message/4]).
-export([forward_message/2, forward_message/3, forward_message/4, decode/1, reserve/1, supports_capability/1]).
-export([partitions/0, inject_partition/2, resolve_partition/1]).

-define(MANAGER, partisan_pluggable_peer_service_manager).
-define(DELEGATE(Function, Args), topos_partisan_api:call(?MANAGER, Function, Args)).

%% @doc Starts the pluggable manager.
-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() -> ?DELEGATE(start_link, []).

%% @doc Runs in the process of an inbound connection of Partisan's.
-spec receive_message(node(), topos_engine:channel(), term()) -> ok.
receive_message(_Node, Channel, _Message) ->
    case put(?MODULE, warned) of
        warned -> ok;
        undefined -> ?LOG_WARNING(#{description => "dropped a message to Partisan's own listener", channel => Channel})
    end.

%% @doc Runs in the process of an inbound connection of Partisan's. The state is nobody's business.
-spec get_local_state() -> {ok, undefined}.
get_local_state() -> {ok, undefined}.

-spec members() -> term().
members() -> ?DELEGATE(members, []).

-spec members_for_orchestration() -> term().
members_for_orchestration() -> ?DELEGATE(members_for_orchestration, []).

-spec update_members([topos_partisan_api:spec()]) -> term().
update_members(Members) -> ?DELEGATE(update_members, [Members]).

-spec on_down(term(), fun()) -> term().
on_down(Node, Fun) -> ?DELEGATE(on_down, [Node, Fun]).

-spec on_down(term(), fun(), map()) -> term().
on_down(Node, Fun, Options) -> ?DELEGATE(on_down, [Node, Fun, Options]).

-spec on_up(term(), fun()) -> term().
on_up(Node, Fun) -> ?DELEGATE(on_up, [Node, Fun]).

-spec on_up(term(), fun(), map()) -> term().
on_up(Node, Fun, Options) -> ?DELEGATE(on_up, [Node, Fun, Options]).

-spec join(topos_partisan_api:spec()) -> term().
join(Spec) -> ?DELEGATE(join, [Spec]).

-spec sync_join(topos_partisan_api:spec()) -> term().
sync_join(Spec) -> ?DELEGATE(sync_join, [Spec]).

-spec leave() -> term().
leave() -> ?DELEGATE(leave, []).

-spec leave(topos_partisan_api:spec()) -> term().
leave(Spec) -> ?DELEGATE(leave, [Spec]).

-spec send_message(node(), term()) -> term().
send_message(Node, Message) -> ?DELEGATE(send_message, [Node, Message]).

-spec cast_message(term(), term()) -> term().
cast_message(Ref, Message) -> ?DELEGATE(cast_message, [Ref, Message]).

-spec cast_message(term(), term(), term()) -> term().
cast_message(Ref, Message, Options) -> ?DELEGATE(cast_message, [Ref, Message, Options]).

-spec cast_message(node(), term(), term(), term()) -> term().
cast_message(Node, Ref, Message, Options) -> ?DELEGATE(cast_message, [Node, Ref, Message, Options]).

-spec forward_message(term(), term()) -> term().
forward_message(Ref, Message) -> ?DELEGATE(forward_message, [Ref, Message]).

-spec forward_message(term(), term(), term()) -> term().
forward_message(Ref, Message, Options) -> ?DELEGATE(forward_message, [Ref, Message, Options]).

-spec forward_message(node(), term(), term(), term()) -> term().
forward_message(Node, Ref, Message, Options) -> ?DELEGATE(forward_message, [Node, Ref, Message, Options]).

-spec decode(term()) -> term().
decode(State) -> ?DELEGATE(decode, [State]).

-spec reserve(atom()) -> term().
reserve(Tag) -> ?DELEGATE(reserve, [Tag]).

-spec supports_capability(atom()) -> term().
supports_capability(Capability) -> ?DELEGATE(supports_capability, [Capability]).

-spec partitions() -> term().
partitions() -> ?DELEGATE(partitions, []).

-spec inject_partition(topos_partisan_api:spec(), non_neg_integer()) -> term().
inject_partition(Origin, Ttl) -> ?DELEGATE(inject_partition, [Origin, Ttl]).

-spec resolve_partition(reference()) -> term().
resolve_partition(Ref) -> ?DELEGATE(resolve_partition, [Ref]).
