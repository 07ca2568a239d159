%% @doc Looks at all lanes twice a second: rates of every channel, and lanes whose head holds up what is behind it.
%%
%% A lane is blocked (head-of-line) when messages wait behind batches in flight of which none was acknowledged for a
%% second, though the peer is up. A lane under load is not: its oldest batch changes all the time. Found within 1.5 s. Time in
%% which this VM stood still (it was stopped, or had no processor) says nothing about the peer: when a look comes late, the
%% second begins anew.
%%
%% When the application `telemetry' is there, it is told:
%% ```
%% [topos, channel, sample]      counts, rates and queue; metadata #{node, channel}
%% [topos, channel, blocked]     #{waiting, blocked_for}; metadata #{node, channel, lane}
%% [topos, channel, expired]     #{count}; metadata #{node, channel}
%% [topos, channel, unblocked]   #{}; the same metadata
%% '''
-module(topos_channel_monitor).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, rates/2, lanes/0, lanes/1, blocked/0, blocked/1, expired/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([rates/0, lane/0]).

-define(TABLE, topos_channel_rates).
-define(INTERVAL, 500).
%% Samples that a rate is the mean of, and rates that are kept.
-define(WINDOW, 4).
-define(HISTORY, 60).
-define(BLOCKED_AFTER, 1_000).
%% A look that comes this long after the one before is late.
-define(LATE, (?INTERVAL * 3 div 2)).

%% Per second. The histories are of messages a second, the latest last.
-type rates() :: #{
    messages_out := float(), bytes_out := float(), messages_in := float(), bytes_in := float(),
    history_out := [float()], history_in := [float()]
}.
%% `retiring': a lane of before the channel was changed, which finishes what it has. `blocked_for': ms since something was acknowledged, while messages wait behind what is in flight; 0: not blocked.
-type lane() :: #{
    node := node(), channel := topos_engine:channel(), lane := topos_engine:lane() | retiring,
    messages := non_neg_integer(), bytes := non_neg_integer(), in_flight := non_neg_integer(), blocked_for := non_neg_integer()
}.
-record(state, {
    samples = #{} :: #{{node(), topos_channel_stats:channel()} => [{integer(), topos_channel_stats:counts()}]},
    blocked = [] :: [key()],
    telemetry = false :: boolean()
}).
-type key() :: {node(), topos_engine:channel(), topos_engine:lane() | retiring}.
-type state() :: #state{}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc So many messages waited longer than their channel allows; in the lane's process, which does not wait for this.
-spec expired(node(), topos_engine:channel(), pos_integer()) -> ok.
expired(Node, Channel, Count) -> gen_server:cast(?MODULE, {expired, Node, Channel, Count}).

%% @doc The rates of a peer's channel over the last two seconds.
-spec rates(node(), topos_channel_stats:channel()) -> rates().
rates(Node, Channel) ->
    case ets:lookup(?TABLE, {Node, Channel}) of
        [{_, Rates}] -> Rates;
        [] -> #{messages_out => 0.0, bytes_out => 0.0, messages_in => 0.0, bytes_in => 0.0, history_out => [], history_in => []}
    end.

%% @doc The sending lanes as they are now.
-spec lanes() -> [lane()].
lanes() -> lanes(now_ms()).

%% @doc The same, where it is that late by the monotonic clock, in milliseconds.
-spec lanes(integer()) -> [lane()].
lanes(Now) ->
    {Begin, End} = running(Now),
    [
        lane(Key, Room, topos_lane:queue(Room), Begin, End)
     || {Key, _, Room, _} <- ets:tab2list(topos_lane_senders)
    ].

%% @doc The lanes that are blocked now.
-spec blocked() -> [lane()].
blocked() -> blocked(now_ms()).

%% @doc The same, where it is that late by the monotonic clock, in milliseconds.
-spec blocked(integer()) -> [lane()].
blocked(Now) -> [Lane || #{blocked_for := Time} = Lane <- lanes(Now), Time >= ?BLOCKED_AFTER].

%% gen_server

-spec init([]) -> {ok, state()}.
init([]) ->
    true = ets:delete_all_objects(?TABLE),
    true = ets:insert(?TABLE, {looked, now_ms(), now_ms()}),
    _ = erlang:send_after(?INTERVAL, self(), sample),
    {ok, #state{}}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok, state()}.
handle_call(_, _From, State) -> {reply, ok, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({expired, Node, Channel, Count}, State) ->
    ok = tell(expired, #{count => Count}, #{node => Node, channel => Channel}, State),
    {noreply, State};
handle_cast(_, State) ->
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info(sample, State) ->
    _ = erlang:send_after(?INTERVAL, self(), sample),
    Now = now_ms(),
    ok = look(Now),
    Telemetry = lists:keymember(telemetry, 1, application:which_applications()),
    {noreply, watch(Now, sample(Now, State#state{telemetry = Telemetry}))};
handle_info(_, State) ->
    {noreply, State}.

%% internal

%% Since when this VM has run without a standstill, and until when that is known.
-spec running(integer()) -> {Begin :: integer(), End :: integer()}.
running(Now) ->
    case ets:lookup(?TABLE, looked) of
        [{_, Looked, Begin}] when Now - Looked > ?LATE -> {Begin, Looked};
        [{_, _, Begin}] -> {Begin, Now};
        %% Before the first look nothing is known.
        [] -> {Now, Now}
    end.

-spec look(integer()) -> ok.
look(Now) ->
    {Begin, End} = running(Now),
    true = ets:insert(?TABLE, {looked, Now, case End of Now -> Begin; _ -> Now end}),
    ok.

-spec lane(
    {node(), topos_engine:channel(), topos_engine:lane() | {retiring, pid()}}, topos_lane:room(),
    {non_neg_integer(), non_neg_integer()}, integer(), integer()
) -> lane().
lane({Node, Channel, Of}, Room, {Messages, Bytes}, Begin, End) ->
    Index = case Of of {retiring, _} -> retiring; _ -> Of end,
    {InFlight, Blocked} =
        case topos_lane_meter:in_flight(Room) of
            {Batches, Flying, Since} when Messages > Flying -> {Batches, End - max(Since, Begin)};
            {Batches, _, _} -> {Batches, 0};
            none -> {0, 0}
        end,
    Waits = case topos_link:status(Node) of {up, _} -> max(0, Blocked); _ -> 0 end,
    #{node => Node, channel => Channel, lane => Index, messages => Messages, bytes => Bytes, in_flight => InFlight,
      blocked_for => Waits}.

-spec sample(integer(), state()) -> state().
sample(Now, #state{samples = Samples} = State) ->
    Rows = topos_channel_stats:rows(),
    %% What a row counted before it was seen for the first time, it counted since the last look.
    New = [{Now - ?INTERVAL, topos_channel_stats:empty()}],
    Next = maps:from_list([{Key, sampled(Now, Row, maps:get(Key, Samples, New))} || {Key, Row} <- Rows]),
    Gone = maps:keys(maps:without(maps:keys(Next), Samples)),
    ok = lists:foreach(fun(Key) -> true = ets:delete(?TABLE, Key) end, Gone),
    ok = maps:foreach(fun(Key, Taken) -> record(Key, Taken, State) end, Next),
    State#state{samples = Next}.

-spec sampled(integer(), topos_channel_stats:row(), [{integer(), topos_channel_stats:counts()}]) ->
    [{integer(), topos_channel_stats:counts()}].
sampled(Now, Row, Earlier) -> lists:sublist([{Now, topos_channel_stats:counts(Row)} | Earlier], ?WINDOW + 1).

-spec record({node(), topos_channel_stats:channel()}, [{integer(), topos_channel_stats:counts()}, ...], state()) -> ok.
record({Node, Channel} = Key, [{Now, Counts} = Last | Earlier], State) ->
    First = case Earlier of [] -> Last; _ -> lists:last(Earlier) end,
    Before = case Earlier of [] -> Last; [One | _] -> One end,
    #{history_out := Out, history_in := In} = rates(Node, Channel),
    Rates = (maps:from_list([{Name, rate(Name, First, Last)} || Name <- [messages_out, bytes_out, messages_in, bytes_in]]))#{
        history_out => latest(Out, rate(messages_out, Before, Last)), history_in => latest(In, rate(messages_in, Before, Last))
    },
    true = ets:insert(?TABLE, {Key, Rates}),
    tell(sample, maps:merge(Counts, #{time => Now}), #{node => Node, channel => Channel}, State).

-spec rate(atom(), {integer(), map()}, {integer(), map()}) -> float().
rate(_, {Time, _}, {Time, _}) -> 0.0;
rate(Name, {Then, Before}, {Now, After}) -> (map_get(Name, After) - map_get(Name, Before)) * 1000 / (Now - Then).

-spec latest([float()], float()) -> [float()].
latest(History, Rate) when length(History) < ?HISTORY -> History ++ [Rate];
latest([_ | History], Rate) -> History ++ [Rate].

-spec watch(integer(), state()) -> state().
watch(Now, #state{blocked = Known} = State) ->
    Blocked = blocked(Now),
    Keys = [{N, C, L} || #{node := N, channel := C, lane := L} <- Blocked],
    ok = lists:foreach(
        fun(#{node := Node, channel := Channel, lane := Lane, messages := Waiting, blocked_for := Time}) ->
            case lists:member({Node, Channel, Lane}, Known) of
                true ->
                    ok;
                false ->
                    ?LOG_WARNING("topos_partisan: lane ~tp of channel ~ts to ~ts is blocked: ~b message(s), nothing "
                                 "acknowledged for ~b ms", [Lane, Channel, Node, Waiting, Time]),
                    tell(blocked, #{waiting => Waiting, blocked_for => Time}, metadata({Node, Channel, Lane}), State)
            end
        end, Blocked),
    ok = lists:foreach(fun(Key) -> tell(unblocked, #{}, metadata(Key), State) end, Known -- Keys),
    State#state{blocked = Keys}.

-spec metadata(key()) -> map().
metadata({Node, Channel, Lane}) -> #{node => Node, channel => Channel, lane => Lane}.

%% telemetry is no dependency of this application: it is called where it is.
-spec tell(sample | blocked | unblocked | expired, map(), map(), state()) -> ok.
tell(_, _, _, #state{telemetry = false}) -> ok;
tell(Event, Measurements, Metadata, _) -> apply(telemetry, execute, [[topos, channel, Event], Measurements, Metadata]).

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
