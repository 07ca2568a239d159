%% The layout of `topos_frame.hrl', byte by byte where other versions rely on it, and what anybody's bytes do to it.
-module(topos_frame_tests).

-include("topos_frame.hrl").
-include_lib("proper/include/proper.hrl").
-include_lib("eunit/include/eunit.hrl").

header(Kind) ->
    #{kind => Kind, source => <<"a@h">>, incarnation => 7, destination => 9, token => <<1:128>>}.

header_layout_test() ->
    ?assertEqual(<<1, 3:8, 3, "a@h", 7:64, 9:64, 1:128, "rest">>, iolist_to_binary(topos_frame:encode(header(3), <<"rest">>))).

hello_keeps_its_layout_test() ->
    Hello = #{nonce => <<2:128>>, proof => <<3:256>>, cluster => <<"c">>,
              addresses => [{{127, 0, 0, 1}, 80}, {{0, 0, 0, 0, 0, 0, 0, 1}, 81}]},
    Payload = iolist_to_binary(topos_frame:hello(Hello)),
    ?assertEqual(<<2:128, 3:256, 1, "c", 2, 4, 127, 0, 0, 1, 80:16, 6, 1:128, 81:16>>, Payload),
    ?assertEqual({ok, Hello}, topos_frame:decode_hello(Payload)).

another_version_is_recognised_test() ->
    <<_, Rest/binary>> = iolist_to_binary(topos_frame:encode(header(?TOPOS_FRAME_BATCH), <<>>)),
    ?assertEqual({error, {version, 2, <<"a@h">>}}, topos_frame:decode(<<2, Rest/binary>>)).

hello_of_another_version_is_read_test() ->
    <<_, Rest/binary>> = iolist_to_binary(topos_frame:encode(header(?TOPOS_FRAME_HELLO), <<"x">>)),
    ?assertMatch({ok, #{version := 2, kind := ?TOPOS_FRAME_HELLO, source := <<"a@h">>}}, topos_frame:decode(<<2, Rest/binary>>)).

batch_and_ack_round_trip_test() ->
    Messages = [term_to_binary(N) || N <- lists:seq(1, 5)],
    Pieces = [topos_frame:record(0, <<"name">>, M, byte_size(M)) || M <- Messages],
    Batch = iolist_to_binary(topos_frame:batch({<<"data">>, 3}, {10, 11}, 12, 1, {5, Pieces})),
    {ok, {{<<"data">>, 3}, {10, 11}, 12, 1, Rest}} = topos_frame:decode_batch(Batch),
    ?assertEqual([{ok, {0, <<"name">>, M}} || M <- Messages], [topos_frame:decode_record(R) || R <- topos_frame:pieces(Rest)]),
    Ack = iolist_to_binary(topos_frame:ack({<<"data">>, 3}, {10, 11}, 12, 1, [{5, 0, 2}])),
    ?assertEqual({ok, {{<<"data">>, 3}, {10, 11}, 12, 1, [{5, 0, 2}]}}, topos_frame:decode_ack(Ack)).

request_and_reply_round_trip_test() ->
    Term = term_to_binary(payload),
    Request = iolist_to_binary(topos_frame:request({3, 7}, 5_000, <<"service">>, Term)),
    ?assertEqual(<<3:32, 7:64, 5_000:32, 7, "service", Term/binary>>, Request),
    ?assertEqual({ok, {{3, 7}, 5_000, <<"service">>, Term}}, topos_frame:decode_request(Request)),
    Reply = iolist_to_binary(topos_frame:reply({3, 7}, 0, Term)),
    ?assertEqual(<<3:32, 7:64, 0, Term/binary>>, Reply),
    ?assertEqual({ok, {{3, 7}, 0, Term}}, topos_frame:decode_reply(Reply)),
    [?assertEqual({error, malformed}, topos_frame:decode_request(binary:part(Request, 0, N))) || N <- lists:seq(0, 23)],
    [?assertEqual({error, malformed}, topos_frame:decode_reply(binary:part(Reply, 0, N))) || N <- lists:seq(0, 12)].

%% A count or a length that promises more than there is must not be believed.
lengths_are_not_trusted_test() ->
    Batch = iolist_to_binary(topos_frame:batch({<<"d">>, 0}, {1, 0}, 1, 0, {1, [topos_frame:record(0, <<"d">>, <<"record">>, 6)]})),
    [?assertEqual({error, malformed}, topos_frame:decode_batch(binary:part(Batch, 0, N))) || N <- lists:seq(0, byte_size(Batch) - 1)],
    ?assertEqual({error, malformed}, topos_frame:decode_batch(<<1, "d", 0:16, 1:64, 0:64, 1:64, 0, 1:16, 16#ffffffff:32, "x">>)),
    ?assertEqual({error, malformed}, topos_frame:decode_ack(<<1, "d", 0:16, 1:64, 0:64, 1:64, 0, 16#ffff:16>>)).

no_bytes_crash_a_decoder_test_() ->
    {timeout, 60, fun() -> ?assert(proper:quickcheck(survives(), [{numtests, 2000}, {to_file, user}])) end}.

survives() ->
    ?FORALL({Bytes, Place, Byte}, {oneof([binary(), frame()]), non_neg_integer(), byte()},
            begin
                Bad = mutated(Bytes, Place, Byte),
                Decoders = [fun topos_frame:decode_hello/1, fun topos_frame:decode_hello_ack/1, fun topos_frame:decode_reject/1,
                            fun topos_frame:decode_batch/1, fun topos_frame:decode_ack/1, fun topos_frame:decode_record/1,
                            fun topos_frame:decode_request/1, fun topos_frame:decode_reply/1],
                ok_or_error(topos_frame:decode(Bad)) andalso lists:all(fun(D) -> ok_or_error(D(Bad)) end, Decoders)
            end).

frame() ->
    ?LET({Kind, Payload}, {range(1, 14), binary()}, iolist_to_binary(topos_frame:encode(header(Kind), Payload))).

mutated(<<>>, _, _) -> <<>>;
mutated(Bytes, Place, Byte) ->
    At = Place rem byte_size(Bytes),
    <<Before:At/binary, _, After/binary>> = Bytes,
    <<Before/binary, Byte, After/binary>>.

ok_or_error({ok, _}) -> true;
ok_or_error({error, _}) -> true.
