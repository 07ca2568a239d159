%% @doc The membership strategy that obeys: Partisan connects to exactly the peers this house asked for.
%%
%% Partisan's pluggable manager asks its strategy who the members are and keeps connections to them. This one answers
%% "this node, and the view it was given last". It gossips nothing, keeps nothing on disk, learns nothing from the
%% state another node sends with its handshake, and drops nobody by itself.
%%
%% A new view reaches the manager as a message of the strategy's own protocol, `{membership_strategy, {topos_view,
%% From, Peers}}' (see `topos_partisan_api:set_view/3'): no caller waits, and the manager recomputes its list of pending
%% peers without duplicates. The manager's own ways do not serve: `update_members/1' blocks its caller for as long as the
%% manager dials, `leave/1' gossips, and both leave a peer that was never reached pending, dialled for ever.
%%
%% This is the behaviour `partisan_membership_strategy' of Partisan 5.0. It is not declared with an attribute, because this
%% module has to compile where Partisan is not installed; the engine's suite compares the exports with the behaviour's.
-module(topos_partisan_strategy).

-export([init/1, join/3, leave/2, compare/2, periodic/1, prune/2, handle_message/2]).

-type spec() :: topos_partisan_api:spec().
-record(view, {self :: spec(), peers = [] :: [spec()]}).
-opaque state() :: #view{}.
-export_type([state/0]).

-type outgoing() :: [].

%% @doc Runs in the manager as it starts, also after a crash: the view is empty until the engine sends it again.
-spec init(Actor :: term()) -> {ok, [spec()], state()}.
init(_Actor) ->
    View = #view{self = topos_partisan_api:own_spec()},
    {ok, members(View), View}.

%% @doc A peer's handshake. It changes nothing: who is a member is decided by the view.
-spec join(spec(), PeerState :: term(), state()) -> {ok, [spec()], outgoing(), state()}.
join(_Peer, _PeerState, View) -> unchanged(View).

-spec leave(spec(), state()) -> {ok, [spec()], outgoing(), state()}.
leave(_Peer, View) -> unchanged(View).

%% @doc What `partisan_peer_service:update_members/1' would have to do: nothing, that is the engine's business.
-spec compare([spec()], state()) -> {Joiners :: [], Leavers :: []}.
compare(_Members, _View) -> {[], []}.

-spec periodic(state()) -> {ok, [spec()], outgoing(), state()}.
periodic(View) -> unchanged(View).

%% @doc Partisan found specifications it holds for stale. The engine replaces them; until then they stay.
-spec prune([spec()], state()) -> {ok, [spec()], state()}.
prune(_Stale, View) -> {ok, members(View), View}.

%% @doc Takes a new view. Only this VM can send one: `topos_partisan_inbound' lets no such message in.
-spec handle_message({topos_view, {pid(), reference()}, [spec()]}, state()) -> {ok, [spec()], outgoing(), state()}.
handle_message({topos_view, {Engine, Ref}, Peers}, View) ->
    Engine ! {topos_view, Ref},
    unchanged(View#view{peers = Peers}).

%% internal

-spec unchanged(state()) -> {ok, [spec()], outgoing(), state()}.
unchanged(View) -> {ok, members(View), [], View}.

%% Without its own specification among the members the manager stops.
-spec members(state()) -> [spec()].
members(#view{self = Self, peers = Peers}) -> [Self | Peers].
