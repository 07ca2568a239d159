%% @doc The process of a receiving lane: it delivers batches in order and acknowledges them on the control channel, one
%% acknowledgement for all batches that wait in its mailbox.
-module(topos_lane_receiver).
-behaviour(gen_server).

-include("topos_frame.hrl").

-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    node :: node(),
    incarnation :: topos_incarnation:t(),
    lane_id :: topos_frame:lane_id(),
    row :: topos_channel_stats:row(),
    core :: topos_lane_in:t()
}).
-type state() :: #state{}.

%% Batches handled before the sender hears of them; half its window.
-define(BATCHES_PER_ACK, 4).

-spec start_link({node(), topos_incarnation:t(), topos_frame:lane_id()}) -> {ok, pid()} | {error, term()}.
start_link(Key) -> gen_server:start_link(?MODULE, Key, []).

-spec init({node(), topos_incarnation:t(), topos_frame:lane_id()}) -> {ok, state()}.
init({Node, Incarnation, {Name, _} = Lane}) ->
    Channel = known_channel(Name),
    ok = topos_lane_sender:prioritise(Channel),
    Core = topos_lane_in:new(erlang:unique_integer([monotonic, positive])),
    {ok, #state{
        node = Node, incarnation = Incarnation, lane_id = Lane, row = topos_channel_stats:row(Node, Channel), core = Core
    }}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok, state()}.
handle_call(_, _From, State) -> {reply, ok, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_, State) -> {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({topos_batch, Stream, Sequence, Records}, State) ->
    {Ack, Next} = batches(?BATCHES_PER_ACK, none, Stream, Sequence, Records, State),
    ok = acknowledge(Ack, Next),
    {noreply, Next};
handle_info(_, State) ->
    {noreply, State}.

%% internal

%% A name that came in a frame becomes no atom.
-spec known_channel(binary()) -> topos_channel_stats:channel().
known_channel(Name) ->
    #{channels := Channels} = topos_local:hot(),
    case [Channel || Channel <- maps:keys(Channels), atom_to_binary(Channel) =:= Name] of
        [Channel] -> Channel;
        [] -> Name
    end.

-spec batches(pos_integer(), none | topos_lane_in:ack(), topos_frame:stream(), non_neg_integer(), [binary()], state()) ->
    {none | topos_lane_in:ack(), state()}.
batches(Left, Earlier, Stream, Sequence, Records, #state{core = Core} = State) ->
    {Ack, Next} =
        case topos_lane_in:batch(Stream, Sequence, Core) of
            {deliver, Ready} ->
                Failed = deliver(Records, State),
                {Answer, Delivered} = topos_lane_in:delivered(Sequence, Failed, Ready),
                {Answer, State#state{core = Delivered}};
            {{ack, Answer}, Same} ->
                {Answer, State#state{core = Same}};
            {ignore, Same} ->
                {Earlier, State#state{core = Same}}
        end,
    more(Left - 1, Ack, Next).

-spec more(non_neg_integer(), none | topos_lane_in:ack(), state()) -> {none | topos_lane_in:ack(), state()}.
more(0, Ack, State) ->
    {Ack, State};
more(Left, Ack, State) ->
    receive
        {topos_batch, Stream, Sequence, Records} -> batches(Left, Ack, Stream, Sequence, Records, State)
    after 0 ->
        {Ack, State}
    end.

-spec deliver([binary()], state()) -> [{non_neg_integer(), byte()}].
deliver(Records, #state{node = Node, incarnation = Incarnation, row = Row}) ->
    ok = topos_channel_stats:add(messages_in, length(Records), Row),
    ok = topos_channel_stats:add(bytes_in, iolist_size(Records), Row),
    From = {Node, Incarnation},
    {Failed, Count} = lists:foldl(
        fun(Record, {Acc, Index}) ->
            case topos_delivery:deliver(From, Record) of
                ok -> {Acc, Index + 1};
                {error, Reason} -> {[{Index, Reason} | Acc], Index + 1}
            end
        end,
        {[], 0},
        Records
    ),
    ok = topos_local:count(delivered, Count - length(Failed)),
    lists:reverse(Failed).

-spec acknowledge(none | topos_lane_in:ack(), state()) -> ok.
acknowledge(none, _State) ->
    ok;
acknowledge({Stream, Cumulative, Flags, Failures}, #state{node = Node, incarnation = Incarnation, lane_id = Lane}) ->
    case ets:lookup(topos_peers, Node) of
        [{_, _, Incarnation, Token}] when is_binary(Token) ->
            #{name := Name, engine := Engine} = topos_local:hot(),
            Header = #{
                kind => ?TOPOS_FRAME_ACK, source => Name, incarnation => topos_local:incarnation(),
                destination => Incarnation, token => Token
            },
            Payload = topos_frame:ack(Lane, Stream, Cumulative, Flags, Failures),
            %% A lost acknowledgement is made good by the next, or by the answer to a batch sent again.
            _ = Engine:send(Node, control, 0, ?TOPOS_DEST_PROCESS_LANES, topos_frame:encode(Header, Payload)),
            ok;
        _ ->
            ok
    end.
