%% Single cases of the sending half of a lane; the laws are in `prop_topos_lanes'.
-module(topos_lane_out_tests).

-include_lib("eunit/include/eunit.hrl").
-include("topos_frame.hrl").
-include("topos_lane.hrl").

-define(STREAM, 7).

item(Text) ->
    #topos_item{piece = topos_frame:record(0, <<"desk">>, Text, byte_size(Text)), bytes = 6 + byte_size(Text)}.

open(Options) ->
    {Lane, []} = topos_lane_out:opened(0, topos_lane_out:new(?STREAM, Options)),
    Lane.

records(Pieces) -> [Record || <<_:1, Size:31, Record:Size/binary>> <= iolist_to_binary(Pieces)].

%% What was refused was never on the wire: it is neither lost nor late when the link comes back.
a_refused_batch_of_an_at_most_once_lane_is_sent_in_the_next_stream_test() ->
    {First, [{send, _, 1, _, _, _}]} = topos_lane_out:enqueue([item(<<"sent">>)], 0, open(#{reliable => false})),
    {Second, [{send, _, 2, _, _, _}]} = topos_lane_out:enqueue([item(<<"refused">>)], 1, First),
    Closed = topos_lane_out:closed(topos_lane_out:refused(2, 1, Second)),
    ?assertEqual(infinity, topos_lane_out:next_timeout(Closed)),
    {_, Effects} = topos_lane_out:opened(500, Closed),
    ?assertMatch([{dropped, lost, 1}, {release, 1, 10}, {send, {?STREAM + 1, 0}, 1, _, _, {1, 13}}], Effects),
    {send, _, _, _, {1, Pieces}, _} = lists:last(Effects),
    ?assertEqual([<<0, 4, "desk", "refused">>], records(Pieces)).

a_refused_batch_is_not_lost_with_a_gap_before_it_test() ->
    {First, [_]} = topos_lane_out:enqueue([item(<<"sent">>)], 0, open(#{reliable => false})),
    {Second, [_]} = topos_lane_out:enqueue([item(<<"refused">>)], 1, First),
    Refused = topos_lane_out:refused(2, 1, Second),
    {_, Effects} = topos_lane_out:ack({?STREAM, 3}, 0, gap, {[], 2}, Refused),
    ?assertMatch([{dropped, lost, 1}, {release, 1, 10}, {send, {?STREAM + 1, 3}, 1, _, _, _}], Effects).

%% The receiver has the beginning of a record and the transport refuses its end: a new stream would begin in the middle of it.
a_refused_end_of_a_begun_record_stays_in_its_stream_test() ->
    Options = #{reliable => false, window => 1, max_batch_bytes => 64, max_piece => 64},
    {Begun, [{send, _, 1, _, _, _}]} = topos_lane_out:enqueue([item(<<0:800>>)], 0, open(Options)),
    {Ended, [{send, {?STREAM, 3}, 2, _, _, _}]} = topos_lane_out:ack({?STREAM, 3}, 1, none, {[], 1}, Begun),
    {_, Effects} = topos_lane_out:opened(500, topos_lane_out:closed(topos_lane_out:refused(2, 1, Ended))),
    ?assertMatch([{send, {?STREAM, 3}, 2, _, _, {1, _}}], Effects).

%% Pieces take the whole window while nothing else is there, and half of it when there is.
a_small_message_overtakes_a_large_one_test() ->
    Options = #{window => 4, max_batch_bytes => 64, max_piece => 64, overtaking => true},
    {Begun, [_, _, _, {send, _, 4, _, _, _}]} = topos_lane_out:enqueue([item(<<0:8000>>)], 0, open(Options)),
    ?assert(topos_lane_out:takes_more(Begun)),
    %% Each fills a batch.
    {Waiting, []} = topos_lane_out:enqueue([item(<<N, 0:360>>) || N <- "abc"], 1, Begun),
    ?assertNot(topos_lane_out:takes_more(Waiting)),
    ?assertEqual(4, topos_lane_out:queued(Waiting)),
    {Second, Effects} = topos_lane_out:ack({?STREAM, 3}, 3, none, {[], 4}, Waiting),
    ?assertEqual([{5, aside, 1}, {6, aside, 1}, {7, piece, 0}],
        [{S, case Flags band ?TOPOS_BATCH_ASIDE of 0 -> piece; _ -> aside end, Count} || {send, _, S, Flags, _, {Count, _}} <- Effects]),
    [{send, _, _, _, {1, Pieces}, _} | _] = Effects,
    ?assertEqual([<<0, 4, "desk", "a", 0:360>>], records(Pieces)),
    ?assertEqual(2, topos_lane_out:queued(Second)).

%% What is behind a large one in its flow waits for it; others do not.
a_small_message_of_another_flow_overtakes_a_large_one_test() ->
    Options = #{window => 4, max_batch_bytes => 64, max_piece => 64, overtaking => true},
    In = fun(Flow, Text) -> (item(Text))#topos_item{flow = Flow} end,
    {Begun, [_, _, _, _]} = topos_lane_out:enqueue([In(1, <<0:2400>>)], 0, open(Options)),
    {Waiting, []} = topos_lane_out:enqueue([In(1, <<"behind">>), In(2, <<"other">>)], 0, Begun),
    ?assertEqual(3, topos_lane_out:queued(Waiting)),
    {Overtaken, [{send, _, 5, Flags, {1, Other}, _}]} = topos_lane_out:ack({?STREAM, 3}, 1, none, {[], 1}, Waiting),
    ?assertEqual([<<0, 4, "desk", "other">>], records(Other)),
    ?assertEqual(?TOPOS_BATCH_ASIDE, Flags band ?TOPOS_BATCH_ASIDE),
    %% 306 bytes are five pieces, and the record behind them fits into the batch of the last.
    {_, Effects} = topos_lane_out:ack({?STREAM, 3}, 2, none, {[], 1}, Overtaken),
    ?assertMatch([{send, _, 6, _, {2, _}, {2, _}}, {passed, 1}], Effects).

%% What is larger than a batch but not large enough to be cut is one piece, acknowledged at once, and takes the place
%% of several batches.
a_message_that_is_not_cut_takes_the_place_of_several_batches_test() ->
    Options = #{window => 4, max_batch_bytes => 64, max_piece => 64, max_whole => 128},
    {Sent, Effects} = topos_lane_out:enqueue([item(<<0:960>>), item(<<0:960>>), item(<<0:960>>)], 0, open(Options)),
    %% 126 bytes each; after two of them 252 of 256 bytes are in flight.
    ?assertEqual([{1, 1}, {2, 1}, {3, 1}], [{S, Flags} || {send, _, S, Flags, {1, _}, {1, 126}} <- Effects]),
    ?assertNot(topos_lane_out:takes_more(Sent)),
    {Waiting, []} = topos_lane_out:enqueue([item(<<"small">>)], 1, Sent),
    {_, More} = topos_lane_out:ack({?STREAM, 3}, 2, none, {[], 2}, Waiting),
    ?assertMatch([{release, 1, 126}, {release, 1, 126}, {send, _, 4, _, {1, _}, {1, 11}}], More).

%% Small messages are kept as one binary; what is told of them is of each.
messages_of_a_pack_fail_each_for_itself_test() ->
    Texts = [<<"a">>, <<"b">>, <<"c">>],
    {Sent, [{send, _, 1, _, {3, Pieces}, {3, 21}}]} = topos_lane_out:enqueue([item(T) || T <- Texts], 0, open(#{})),
    ?assertEqual([<<0, 4, "desk", T/binary>> || T <- Texts], records(Pieces)),
    {_, Effects} = topos_lane_out:ack({?STREAM, 3}, 1, none, {[{1, 1, 9}], 1}, Sent),
    ?assertMatch([{failed, 9, #topos_item{bytes = 7}}, {release, 3, 21}], Effects),
    [{failed, _, #topos_item{piece = Failed}} | _] = Effects,
    ?assertEqual({0, <<"desk">>}, topos_frame:destination(Failed)),
    ?assertEqual([<<0, 4, "desk", "b">>], records(Failed)).

messages_of_a_pack_are_counted_when_they_are_given_up_test() ->
    {Waiting, []} = topos_lane_out:enqueue([item(<<"a">>) || _ <- lists:seq(1, 700)], 0, topos_lane_out:new(?STREAM, #{})),
    ?assertEqual(700, topos_lane_out:queued(Waiting)),
    ?assertEqual([{in_doubt, 700}, {release, 700, 4900}], topos_lane_out:give_up(Waiting)).

%% What was lost without a gap that anybody could see is found by a probe.
what_a_probe_finds_missing_is_sent_again_test() ->
    {Sent, [_, _]} = topos_lane_out:enqueue([item(<<0:400>>) || _ <- "ab"], 0, open(#{max_batch_bytes => 64})),
    ?assertEqual(1_000, topos_lane_out:next_timeout(Sent)),
    {Probing, [{probe, {?STREAM, 0}, Number}]} = topos_lane_out:tick(1_000, Sent),
    ?assertEqual(3_000, topos_lane_out:next_timeout(Probing)),
    %% The probe may be lost too.
    {Again, [{probe, {?STREAM, 0}, Number}]} = topos_lane_out:tick(3_000, Probing),
    {Third, [_]} = topos_lane_out:enqueue([item(<<0:400>>)], 3_001, Again),
    {_, Effects} = topos_lane_out:ack({?STREAM, 3}, 1, {probed, Number}, {[], 3_002}, Third),
    ?assertMatch([{release, 1, _}, {send, _, 2, _, _, _}, {send, _, 3, _, _, _}], Effects).

%% The second batch went out after the probe, so its answer says nothing of it; and one to an earlier probe says nothing at all.
an_answer_says_nothing_of_what_was_sent_later_test() ->
    {First, [_]} = topos_lane_out:enqueue([item(<<"a">>)], 0, open(#{})),
    {Probing, [{probe, _, Number}]} = topos_lane_out:tick(1_000, First),
    {Second, [_]} = topos_lane_out:enqueue([item(<<"b">>)], 1_001, Probing),
    {Answered, [{release, 1, _}]} = topos_lane_out:ack({?STREAM, 3}, 1, {probed, Number}, {[], 1_002}, Second),
    {Other, [{probe, _, Next}]} = topos_lane_out:tick(2_002, Answered),
    ?assertNotEqual(Number, Next),
    ?assertMatch({_, []}, topos_lane_out:ack({?STREAM, 3}, 1, {probed, Number}, {[], 2_003}, Other)),
    ?assertMatch({_, [{send, _, 2, _, _, _}]}, topos_lane_out:ack({?STREAM, 3}, 1, {probed, Next}, {[], 2_003}, Other)).

%% A link that takes longer for a batch than the time-out: everything was sent again and again, and what may not go out twice was
%% given up while it was on its way.
a_slow_link_gets_nothing_twice_test_() ->
    [
        {lists:concat([Time, " ms, reliable: ", Reliable]),
         ?_assertEqual({100, 0}, over_slow_link(Time, 100, #{reliable => Reliable}))}
     || Time <- [900, 1_200, 3_000, 20_000], Reliable <- [true, false]
    ].

%% Messages, each a batch, over a link that takes so many milliseconds for one after the other and one for a probe: how many
%% batches were sent, and how many messages were given up.
over_slow_link(Time, Messages, Options) ->
    {Lane, Effects} = topos_lane_out:enqueue([item(<<0:400>>) || _ <- lists:seq(1, Messages)], 0, open(Options#{max_batch_bytes => 64})),
    slow_link(Effects, 0, {Time, 0, queue:new()}, topos_lane_in:new(2, 1_000), Lane, {0, 0}).

slow_link([{send, Stream, Sequence, _, _, _} | Effects], Now, {Time, _, _} = Link, In, Out, {Sent, Lost}) ->
    slow_link(Effects, Now, on_link({batch, Stream, Sequence}, Time, Now, Link), In, Out, {Sent + 1, Lost});
slow_link([{probe, Stream, Number} | Effects], Now, Link, In, Out, Seen) ->
    slow_link(Effects, Now, on_link({probe, Stream, topos_frame:probe(Number)}, 1, Now, Link), In, Out, Seen);
slow_link([{dropped, lost, Count} | Effects], Now, Link, In, Out, {Sent, Lost}) ->
    slow_link(Effects, Now, Link, In, Out, {Sent, Lost + Count});
slow_link([_ | Effects], Now, Link, In, Out, Seen) ->
    slow_link(Effects, Now, Link, In, Out, Seen);
slow_link([], _, {Time, Free, Link}, In, Out, Seen) ->
    case {queue:peek(Link), topos_lane_out:next_timeout(Out)} of
        {empty, infinity} ->
            Seen;
        {{value, {Arrives, Frame}}, Timeout} when Arrives =< Timeout ->
            {{S, Cumulative, Flags, Failures}, Next} = arrive(Frame, In),
            {Told, Effects} = topos_lane_out:ack(S, Cumulative, topos_frame:report(Flags), {Failures, Arrives}, Out),
            slow_link(Effects, Arrives, {Time, Free, queue:drop(Link)}, Next, Told, Seen);
        {_, Timeout} ->
            {Ticked, Effects} = topos_lane_out:tick(Timeout, Out),
            slow_link(Effects, Timeout, {Time, Free, Link}, In, Ticked, Seen)
    end.

on_link(Frame, Takes, Now, {Time, Free, Link}) ->
    Arrives = max(Now, Free) + Takes,
    {Time, Arrives, queue:in({Arrives, Frame}, Link)}.

arrive({probe, Stream, Flags}, In) ->
    {{ack, Ack}, Same} = topos_lane_in:probe(Stream, Flags, In),
    {Ack, Same};
arrive({batch, Stream, Sequence}, In) ->
    case topos_lane_in:batch(Stream, Sequence, In) of
        {deliver, Ready} -> topos_lane_in:delivered(Sequence, [], Ready);
        {{ack, Ack}, Same} -> {Ack, Same}
    end.
