%% Two nodes with the two pure halves of a lane between them, and a network that loses, repeats, reorders and refuses; either
%% node, and either half of the lane alone, may crash. A schedule is a list of steps; the laws are in `prop_topos_lanes'.
%%
%% Frames carry the incarnation of their source and the one they are for, and each side takes only what belongs to the
%% session that it has: what `topos_lanes:is_genuine/1' asks. Numbers of streams and of receiving halves begin anew with each
%% life of a node, as `erlang:unique_integer/1' does. A node learns only by a greeting that the other lives a new life.
-module(topos_lane_world).

-include("topos_frame.hrl").
-include("topos_lane.hrl").
-include_lib("proper/include/proper.hrl").

-export([step/0, keyed/0, disaster/0]).
-export([run/1, run/2, finish/1, give_up/1, sum/1]).
-export([item/2, numbers/1, is_unserved/1, flow/1]).

%% Some.
-define(FLOWS, 3).

%% Many pieces and a small window make few steps reach much.
-define(OPTIONS, #{window => 3, max_batch => 4, max_batch_bytes => 64, max_piece => 80, max_whole => 120, rto => 1000, max_rto => 4000}).
-define(MAX_BYTES, 1000).
%% More than any schedule leaves to do.
-define(MAX_FINISH, 10_000).

-record(world, {
    now = 0,
    options :: topos_lane_out:options(),
    %% Whether messages have flows, and what the lane's room counts: large ones that hold up theirs.
    flows = false :: boolean(),
    large = 0,
    %% The sending node: its incarnation, that of the peer of its session, the sending half and the last stream.
    source = 1,
    target = 1,
    out,
    stream = 1,
    %% The receiving node: its incarnation, that of the peer of its session, the receiving half and the last of these.
    here = 1,
    peer = 1,
    in = none,
    receiver = 0,
    %% The last stream that a receiving half took in the sessions with this life of the peer.
    taken = 0,
    refusing = false,
    %% On the way, with the incarnations of source and destination.
    batches = [],
    acks = [],
    %% Numbers of messages: the last that was accepted, in this life of the sender the first, and in this half's.
    sent = 0,
    first_of_life = 1,
    first_of_half = 1,
    %% The last that was accepted before the latest crash was known, how many crashes there were, and how often the sender
    %% gave something up.
    overshadowed = 0,
    disasters = 0,
    given_up = 0,
    intended = #{},
    told = [],
    keyed = [],
    %% What came of them, the latest first.
    arrived = [],
    settled = [],
    failed = [],
    doubt = 0,
    dropped = [],
    released = 0
}).

%% @doc What the adversary does next. Numbers choose among the frames that are on the way.
step() ->
    frequency([
        {3, {send, range(1, 5)}},
        {2, {send_quiet, range(1, 9)}},
        {4, {pass, batch, nat()}},
        {4, {pass, ack, nat()}},
        {1, {lose, batch, nat()}},
        {1, {lose, ack, nat()}},
        {1, {repeat, batch, nat()}},
        {1, {repeat, ack, nat()}},
        {1, flap},
        {1, refuse},
        {2, {wait, range(1, 3000)}}
    ]).

%% @doc A message with a key, for monotonic lanes.
keyed() -> {keyed, range(1, 3)}.

%% @doc The ends of nodes and halves, and the greetings by which the other side learns of them.
disaster() ->
    frequency([
        {2, {crash, sending_node}},
        {2, {crash, receiving_node}},
        {1, {crash, sending_half}},
        {2, {crash, receiving_half}},
        {3, {greet, sender}},
        {3, {greet, receiver}}
    ]).

%% @doc Carries out a schedule.
run(Steps) -> run(Steps, #{}).

%% @doc The same with options of the sending half. `overtaking' says who may overtake a large message, as
%% `topos_lane:overtaking/1'.
run(Steps, Options) ->
    Whose = maps:get(overtaking, Options, nobody),
    All = maps:merge(?OPTIONS, Options#{overtaking => Whose =/= nobody}),
    Out = topos_lane_out:new(1, All),
    World = #world{options = All, flows = Whose =:= other_flows, out = element(1, topos_lane_out:opened(0, Out))},
    lists:foldl(fun step/2, World, Steps).

%% @doc The network becomes good: nodes greet each other, everything passes, time goes on, until nothing is left to do.
finish(World) -> finish(step({greet, sender}, step({greet, receiver}, World)), ?MAX_FINISH).

%% @doc The life of the peer ends: the sender gives up.
give_up(#world{out = Out} = World) -> effects(topos_lane_out:give_up(Out), World).

%% @doc What came of a schedule. `arrived': numbers with the life of the node they arrived at, in that order; `wrong_life':
%% those of them that were sent to another; `due': numbers that must have arrived, since nothing crashed after them.
sum(#world{arrived = Arrived, settled = Settled, intended = Intended} = W) ->
    #{
        sent => W#world.sent,
        of_life => W#world.first_of_life,
        due => lists:seq(W#world.overshadowed + 1, W#world.sent),
        disasters => W#world.disasters,
        given_up => W#world.given_up,
        told => lists:reverse(W#world.told),
        keyed => lists:reverse(W#world.keyed),
        arrived => [N || {N, _} <- lists:reverse(Arrived)],
        wrong_life => [N || {N, Here} <- Arrived, map_get(N, Intended) =/= Here],
        settled => lists:sort(Settled),
        failed => lists:sort(W#world.failed),
        doubt => W#world.doubt,
        lost => lists:sum([N || {lost, N} <- W#world.dropped]),
        released => W#world.released,
        large => W#world.large,
        idle => topos_lane_out:is_idle(W#world.out)
    }.

%% @doc Every fifth is larger than a batch, so that it crosses in pieces. `told': somebody waits for what becomes of it.
item(N, Of) ->
    Message = <<N:32, 0:(case N rem 5 of 0 -> 8 * (10 * N rem 150 + 60); _ -> 0 end)>>,
    Item = #topos_item{piece = topos_frame:record(0, <<"x">>, Message, byte_size(Message)), bytes = 3 + byte_size(Message)},
    case Of of
        told -> Item#topos_item{notify = N};
        quiet -> Item;
        {key, Key} -> Item#topos_item{notify = N, key = Key}
    end.

%% @doc Of the flows one each, if messages have any.
flow(N) -> erlang:phash2(N, ?FLOWS).

%% @doc Nobody takes these at the receiver, who reports them.
is_unserved(N) -> N rem 6 =:= 5.

%% @doc The numbers of the messages in pieces that begin and end with a message.
numbers(Pieces) -> element(1, assemble(topos_frame:pieces(iolist_to_binary(Pieces)), [], topos_lane_in:new(1, ?MAX_BYTES))).

%% internal

%% A sender without a session accepts nothing.
step({Kind, _}, #world{target = none} = W) when Kind =:= send; Kind =:= send_quiet; Kind =:= keyed -> W;
step({send, Count}, W) -> send(Count, told, W);
step({send_quiet, Count}, W) -> send(Count, quiet, W);
step({keyed, Key}, #world{sent = Sent} = W) ->
    send(1, {key, Key}, W#world{keyed = [{Key, Sent + 1} | W#world.keyed]});
step({pass, Kind, N}, W) -> take(Kind, N, W, fun(Frame, _, Rest) -> arrive(Kind, Frame, put_frames(Kind, Rest, W)) end);
step({lose, Kind, N}, W) -> take(Kind, N, W, fun(_, _, Rest) -> put_frames(Kind, Rest, W) end);
step({repeat, Kind, N}, W) -> take(Kind, N, W, fun(Frame, All, _) -> put_frames(Kind, [Frame | All], W) end);
step(flap, #world{target = none} = W) -> W;
step(flap, #world{out = Out, now = Now} = W) -> out(topos_lane_out:opened(Now, topos_lane_out:closed(Out)), W);
step(refuse, W) -> W#world{refusing = true};
step({wait, Ms}, #world{now = Now, out = Out} = W) ->
    out(topos_lane_out:tick(Now + Ms, Out), W#world{now = Now + Ms});
%% What the node had accepted is gone with it, and so is who sent it.
step({crash, sending_node}, #world{source = Source, options = Options, sent = Sent} = W) ->
    disaster(W#world{
        source = Source + 1, target = none, stream = 1, out = topos_lane_out:new(1, Options), refusing = false,
        first_of_life = Sent + 1, first_of_half = Sent + 1, doubt = 0, released = 0, large = 0
    });
step({crash, receiving_node}, #world{here = Here} = W) ->
    disaster(W#world{here = Here + 1, peer = none, in = none, receiver = 0, taken = 0});
step({crash, receiving_half}, W) ->
    disaster(W#world{in = none});
%% Who waits sees its end, and what was in the half's room is counted as in doubt by who keeps the lanes.
step({crash, sending_half}, #world{first_of_half = First, sent = Sent, settled = Settled} = W) ->
    Lost = [N || N <- W#world.told, N >= First, not lists:keymember(N, 1, Settled)],
    Held = Sent - W#world.first_of_life + 1 - W#world.released,
    Doubtful = W#world{
        settled = [{N, in_doubt} || N <- Lost] ++ Settled, doubt = W#world.doubt + Held, released = W#world.released + Held
    },
    disaster(opened(half(Doubtful)));
step({greet, sender}, #world{target = Here, here = Here} = W) ->
    W;
step({greet, sender}, #world{target = none, here = Here} = W) ->
    opened(W#world{target = Here});
step({greet, sender}, #world{here = Here, sent = Sent} = W) ->
    opened((half(give_up(W)))#world{target = Here, overshadowed = Sent});
step({greet, receiver}, #world{peer = Source, source = Source} = W) ->
    W;
step({greet, receiver}, #world{source = Source} = W) ->
    W#world{peer = Source, in = none, taken = 0}.

disaster(#world{sent = Sent, disasters = Before} = W) -> W#world{overshadowed = Sent, disasters = Before + 1}.

%% A new sending half of the same node: its stream is higher than those that the core of the one before began by itself.
half(#world{stream = Stream, options = Options, sent = Sent} = W) ->
    Next = Stream + 1_000,
    W#world{stream = Next, out = topos_lane_out:new(Next, Options), first_of_half = Sent + 1, refusing = false, large = 0}.

opened(#world{target = none} = W) -> W;
opened(#world{out = Out, now = Now} = W) -> out(topos_lane_out:opened(Now, Out), W).

send(Count, Of, #world{sent = Sent, out = Out, now = Now, target = Target, intended = Intended} = W) ->
    Numbers = lists:seq(Sent + 1, Sent + Count),
    {Items, Large} = lists:mapfoldl(fun(N, Before) -> in_flow(N, item(N, Of), Before, W) end, W#world.large, Numbers),
    out(topos_lane_out:enqueue(Items, Now, Out), W#world{
        sent = Sent + Count,
        large = Large,
        told = case Of of quiet -> W#world.told; _ -> lists:reverse(Numbers, W#world.told) end,
        intended = lists:foldl(fun(N, Acc) -> Acc#{N => Target} end, Intended, Numbers)
    }).

%% As `topos_lane' does.
in_flow(_, Item, Large, #world{flows = false}) ->
    {Item, Large};
in_flow(N, #topos_item{bytes = Bytes} = Item, Large, #world{options = #{max_batch_bytes := Max}}) when Bytes > Max ->
    {Item#topos_item{flow = flow(N)}, Large + 1};
in_flow(_, Item, 0, _) ->
    {Item, 0};
in_flow(N, Item, Large, _) ->
    {Item#topos_item{flow = flow(N)}, Large}.

take(Kind, N, W, Fun) ->
    case frames(Kind, W) of
        [] -> W;
        Frames ->
            Frame = lists:nth(N rem length(Frames) + 1, Frames),
            Fun(Frame, Frames, lists:delete(Frame, Frames))
    end.

frames(batch, #world{batches = Frames}) -> Frames;
frames(ack, #world{acks = Frames}) -> Frames.

put_frames(batch, Frames, W) -> W#world{batches = Frames};
put_frames(ack, Frames, W) -> W#world{acks = Frames}.

arrive(batch, {Peer, Here, _, _, _, _} = Frame, #world{peer = Peer, here = Here, in = none, receiver = Receiver} = W) ->
    %% A half has two numbers.
    arrive(batch, Frame, W#world{in = topos_lane_in:new(Receiver + 1, ?MAX_BYTES, W#world.taken), receiver = Receiver + 2});
arrive(batch, {Peer, Here, Stream, Sequence, Flags, Pieces}, #world{peer = Peer, here = Here, in = In} = W) ->
    Verdict = case Flags band ?TOPOS_BATCH_PROBE of
        0 -> topos_lane_in:batch(Stream, Sequence, In);
        _ -> topos_lane_in:probe(Stream, Flags, In)
    end,
    case Verdict of
        {deliver, Ready} ->
            {Numbers, Taken} = taken(Flags, topos_frame:pieces(iolist_to_binary(Pieces)), Ready),
            Indexed = lists:zip(lists:seq(0, length(Numbers) - 1), Numbers),
            Failed = [{Index, ?TOPOS_UNDELIVERED_NO_PROCESS} || {Index, N} <- Indexed, is_unserved(N)],
            {Ack, Next} = topos_lane_in:delivered(Sequence, Failed, Taken),
            Came = lists:foldl(fun(N, Acc) -> [{N, Here} | Acc] end, W#world.arrived, Numbers),
            acknowledge(Ack, W#world{in = Next, arrived = Came, taken = topos_lane_in:stream(Next)});
        {{ack, Ack}, Next} ->
            acknowledge(Ack, W#world{in = Next});
        {ignore, Next} ->
            W#world{in = Next}
    end;
arrive(ack, {Target, Source, {Stream, Cumulative, Flags, Failures}}, #world{target = Target, source = Source} = W) ->
    #world{out = Out, now = Now} = W,
    out(topos_lane_out:ack(Stream, Cumulative, topos_frame:report(Flags), {Failures, Now}, Out), W);
%% Of another life.
arrive(_, _, W) ->
    W.

acknowledge(Ack, #world{here = Here, peer = Peer} = W) -> W#world{acks = W#world.acks ++ [{Here, Peer, Ack}]}.

taken(Flags, Pieces, In) when Flags band ?TOPOS_BATCH_ASIDE =/= 0 ->
    {Numbers, _} = assemble(Pieces, [], topos_lane_in:aside(In)),
    {Numbers, In};
taken(_, Pieces, In) ->
    assemble(Pieces, [], In).

assemble([], Numbers, In) ->
    {lists:reverse(Numbers), In};
assemble([{more, Piece} | Rest], Numbers, In) ->
    {partial, Next} = topos_lane_in:piece(more, Piece, In),
    assemble(Rest, Numbers, Next);
assemble([Piece | Rest], Numbers, In) ->
    {{record, Record}, Next} = topos_lane_in:piece(last, Piece, In),
    {ok, {0, <<"x">>, <<N:32, _/binary>>}} = topos_frame:decode_record(Record),
    assemble(Rest, [N | Numbers], Next).

out({Out, Effects}, W) -> effects(Effects, W#world{out = Out}).

%% A transport that refuses takes neither the batch nor what is after it.
effects(Effects, #world{refusing = true, out = Out, now = Now} = W) ->
    case [Sequence || {send, _, Sequence, _, _, _} <- Effects] of
        [] ->
            effects(Effects, W#world{refusing = false});
        [First | _] ->
            Others = [E || E <- Effects, element(1, E) =/= send],
            effects(Others, W#world{refusing = false, out = topos_lane_out:refused(First, Now, Out)})
    end;
effects(Effects, W) ->
    %% Frames without a session of their sender do not go out.
    lists:foldl(fun effect/2, W, Effects).

effect({send, _, _, _, _, _}, #world{target = none} = W) ->
    W;
effect({send, Stream, Sequence, Flags, {_Count, Pieces}, _}, #world{source = Source, target = Target} = W) ->
    W#world{batches = W#world.batches ++ [{Source, Target, Stream, Sequence, Flags, Pieces}]};
effect({probe, _, _}, #world{target = none} = W) ->
    W;
effect({probe, Stream, Number}, #world{source = Source, target = Target} = W) ->
    W#world{batches = W#world.batches ++ [{Source, Target, Stream, 0, topos_frame:probe(Number), []}]};
effect({settle, N, Result}, W) -> W#world{settled = [{N, Result} | W#world.settled]};
effect({failed, ?TOPOS_UNDELIVERED_NO_PROCESS, #topos_item{piece = Piece}}, W) ->
    W#world{failed = numbers(Piece) ++ W#world.failed};
effect({passed, N}, #world{large = Large} = W) -> W#world{large = Large - N};
effect({release, N, _}, W) -> W#world{released = W#world.released + N};
effect({dropped, Why, N}, W) -> W#world{dropped = [{Why, N} | W#world.dropped]};
effect({in_doubt, N}, #world{sent = Sent} = W) ->
    W#world{doubt = W#world.doubt + N, given_up = W#world.given_up + 1, overshadowed = Sent}.

finish(W, 0) -> W;
finish(#world{batches = [], acks = [], out = Out} = W, N) ->
    case topos_lane_out:is_idle(Out) of
        true -> W;
        false -> finish(step({wait, 4000}, W), N - 1)
    end;
finish(#world{batches = [_ | _]} = W, N) -> finish(step({pass, batch, 0}, W), N - 1);
finish(W, N) -> finish(step({pass, ack, 0}, W), N - 1).
