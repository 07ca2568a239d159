%% @doc The failure detector of the cluster: drives the machine of `topos_swim_nif' and tells `topos_link' what it says of a peer.
%%
%% With `fault_detection.method' `swim' a node asks one member a period, in turn, instead of all of them all the time. One that does not answer is asked through
%% some others; if nobody hears it, it is suspect, everybody is told along with other messages of the detector, and it may refute that with a later incarnation. So what a node sends does not grow
%% with the cluster, and one bad link between two nodes makes nobody suspect.
%%
%% What it says is a reason to look, not yet a fact: the link asks a suspect for echoes itself, and only one that this node does not hear either, until the
%% suspicion is over, is down (see `topos_peer_core:verdict/3').
%%
%% Messages go as OVERLAY frames with a tag of their own, over links or routes, and may be lost. With the method `echo' this process asks nobody by itself, but answers.
-module(topos_swim).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/0, status/2, received/2, tag/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    swim :: topos_swim_nif:swim(),
    start :: integer(),
    active :: boolean(),
    tick = undefined :: reference() | undefined,
    %% Whom it watches.
    members = #{} :: #{node() => true}
}).
-type state() :: #state{}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc What the cluster takes the node for; `forgotten': nothing.
-spec status(node(), topos_cluster:status() | forgotten) -> ok.
status(Node, Status) -> gen_server:cast(?MODULE, {status, Node, Status}).

%% @doc A message of the detector of another member.
-spec received(node(), binary()) -> ok.
received(Node, Bytes) -> gen_server:cast(?MODULE, {received, Node, Bytes}).

%% @doc What its messages begin with, where those of a topology have the tag of their epoch.
-spec tag() -> topos_overlay_machine:tag().
tag() -> <<255, "swim", 0, 0, 0>>.

%% gen_server

-spec init([]) -> {ok, state()} | {stop, topos_error:t()}.
init([]) ->
    #{node := Node, limits := #{max_members := Max}, fault_detection := Detection} = topos_local:config(),
    Params = (parameters(Detection))#{own => atom_to_binary(Node), incarnation => topos_local:incarnation(), max_members => 2 * Max},
    <<Seed:64>> = crypto:strong_rand_bytes(8),
    case topos_swim_nif:new(Params, Seed) of
        {ok, Swim} ->
            State = #state{swim = Swim, start = now_ms(), active = maps:get(method, Detection) =:= swim},
            Known = [{N, Status} || #{node := N, status := Status} <- topos_cluster:members(), N =/= Node],
            {ok, lists:foldl(fun({N, Status}, Acc) -> watch(N, Status, Acc) end, State, Known)};
        {error, Error} ->
            {stop, Error}
    end.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok, state()}.
handle_call(_, _From, State) -> {reply, ok, State}.

-spec handle_cast({status, node(), topos_cluster:status() | forgotten} | {received, node(), binary()}, state()) -> {noreply, state()}.
handle_cast({status, Node, Status}, State) -> {noreply, watch(Node, Status, State)};
handle_cast({received, Node, Bytes}, #state{members = Members} = State) when is_map_key(Node, Members) ->
    {noreply, event({received, atom_to_binary(Node), Bytes}, State)};
handle_cast({received, _, _}, State) ->
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({timeout, Tick, tick}, #state{tick = Tick} = State) -> {noreply, event(tick, State#state{tick = undefined})};
%% Engines leave answers of sockets to who sends.
handle_info(_, State) -> {noreply, State}.

%% internal

%% A suspicion lasts as long as an echo that is missing would take to make a peer down.
-spec parameters(map()) -> #{atom() => pos_integer()}.
parameters(#{suspect_after := Period, down_after := DownAfter, indirect_probes := Indirect}) ->
    #{
        period => Period, ping_timeout => max(1, Period div 3), indirect => Indirect,
        suspicion_periods => max(1, min(1_000, (DownAfter - Period + Period - 1) div Period))
    }.

%% One that is down has its turn too, so that it learns what it has to refute.
-spec watch(node(), topos_cluster:status() | forgotten, state()) -> state().
watch(Node, up, #state{members = Members} = State) when not is_map_key(Node, Members) ->
    event({joined, atom_to_binary(Node)}, State#state{members = Members#{Node => true}});
watch(Node, Status, #state{members = Members} = State) when
    is_map_key(Node, Members), Status =:= left; is_map_key(Node, Members), Status =:= forgotten
->
    event({left, atom_to_binary(Node)}, State#state{members = maps:remove(Node, Members)});
watch(_, _, State) ->
    State.

-spec event(topos_swim_nif:event(), state()) -> state().
event(Event, #state{swim = Swim, start = Start} = State) ->
    case topos_swim_nif:handle(Swim, now_ms() - Start, Event) of
        {ok, Actions} ->
            lists:foldl(fun action/2, State, Actions);
        {error, Error} ->
            ?LOG_WARNING("topos_partisan: ~ts", [topos_error:format(Error)]),
            ok = topos_local:count(malformed_frames),
            State
    end.

-spec action(topos_swim_nif:action(), state()) -> state().
action({send, Name, Bytes}, State) ->
    %% What cannot be sent is lost, as a message of this protocol may be.
    _ = topos_relay:send_control(binary_to_existing_atom(Name), ?TOPOS_DEST_PROCESS_OVERLAY, ?TOPOS_FRAME_OVERLAY, [tag() | Bytes]),
    State;
action({changed, Name, Verdict}, #state{active = Active} = State) ->
    ok = case Active of
        true -> topos_link:verdict(binary_to_existing_atom(Name), Verdict);
        false -> ok
    end,
    State;
action({schedule_tick, Ms}, #state{active = true, tick = Before} = State) ->
    _ = case Before of undefined -> false; _ -> erlang:cancel_timer(Before) end,
    State#state{tick = erlang:start_timer(Ms, self(), tick)};
action({schedule_tick, _}, State) ->
    State.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
