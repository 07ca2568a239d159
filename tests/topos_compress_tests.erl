%% Compressed batches: what is compressed comes back, what is not worth it stays, and nobody makes the receiver inflate more
%% than it allows.
-module(topos_compress_tests).

-include("topos_frame.hrl").
-include_lib("eunit/include/eunit.hrl").

text(Size) -> binary:part(binary:copy(<<"all work and no play. ">>, Size div 22 + 1), 0, Size).

pack(Bytes) -> element(1, topos_compress:pack(Bytes, topos_compress:deflater())).

packed(Bytes) ->
    {packed, Packed, _} = pack(Bytes),
    iolist_to_binary(Packed).

unpack(Packed, Max) -> topos_compress:unpack(Packed, Max, topos_compress:inflater()).

comes_back_smaller_test() ->
    Text = text(100_000),
    {packed, Packed, Saved} = pack([binary:part(Text, 0, 40), binary:part(Text, 40, 99_960)]),
    ?assertEqual(100_000, iolist_size(Packed) + Saved),
    ?assert(iolist_size(Packed) < 2_000),
    ?assertEqual({ok, Text}, unpack(iolist_to_binary(Packed), 100_000)).

layout_test() ->
    Text = text(600),
    <<600:32, Deflated/binary>> = packed(Text),
    ?assertEqual(Text, zlib:uncompress(Deflated)).

small_and_huge_stay_plain_test() ->
    ?assertEqual(plain, pack(text(511))),
    ?assertMatch({packed, _, _}, pack(text(512))),
    ?assertEqual(plain, pack(text(?TOPOS_BATCH_MAX_BYTES + 1))),
    ?assertMatch({packed, _, _}, pack(text(?TOPOS_BATCH_MAX_BYTES))).

%% 1 failure, 1 skipped, 1 failure, 2 skipped, ... 64 skipped and no more; then one success begins anew.
noise_is_tried_less_and_less_test() ->
    Noise = crypto:strong_rand_bytes(4096),
    Tried = fun(Count, Deflater) ->
        lists:foldl(
            fun(_, {Acc, D}) ->
                %% What would shrink shows whether this one is tried.
                {Answer, Next} = topos_compress:pack(text(4096), D),
                {plain, Failed} = topos_compress:pack(Noise, D),
                {[Answer =/= plain | Acc], case Answer of plain -> Next; _ -> Failed end}
            end, {[], Deflater}, lists:seq(1, Count))
    end,
    {Fresh, Last} = Tried(300, topos_compress:deflater()),
    Places = [N || {N, true} <- lists:zip(lists:seq(1, 300), lists:reverse(Fresh))],
    ?assertEqual([1, 3, 6, 11, 20, 37, 70, 135, 200, 265], Places),
    {_, Waited} = lists:foldl(fun(_, {_, D}) -> topos_compress:pack(Noise, D) end, {plain, Last}, lists:seq(1, 29)),
    {{packed, _, _}, Good} = topos_compress:pack(text(4096), Waited),
    {plain, AfterOne} = topos_compress:pack(Noise, Good),
    {plain, Next} = topos_compress:pack(text(4096), AfterOne),
    ?assertMatch({{packed, _, _}, _}, topos_compress:pack(text(4096), Next)).

one_stream_serves_many_test() ->
    Inflater = topos_compress:inflater(),
    lists:foldl(
        fun(Size, Deflater) ->
            Text = text(Size),
            {{packed, Packed, _}, Next} = topos_compress:pack(Text, Deflater),
            ?assertEqual({ok, Text}, topos_compress:unpack(iolist_to_binary(Packed), Size, Inflater)),
            ?assertMatch({error, _}, topos_compress:unpack(<<Size:32, "no zlib data">>, Size, Inflater)),
            Next
        end, topos_compress:deflater(), [512, 4096, 100_000, 600]).

%% 100 MB of zeros in 100 kB, announced truly, and announced as little.
bomb_test() ->
    Bomb = zlib:compress(<<0:800_000_000>>),
    ?assert(byte_size(Bomb) < 200_000),
    ?assertEqual({error, {too_large, 100_000_000}}, unpack(<<100_000_000:32, Bomb/binary>>, ?TOPOS_BATCH_MAX_BYTES)),
    {Answer, Grown} = grown(fun() -> unpack(<<1_000:32, Bomb/binary>>, ?TOPOS_BATCH_MAX_BYTES) end),
    ?assertEqual({error, malformed}, Answer),
    ?assert(Grown < 5_000_000),
    {Largest, GrownMore} = grown(fun() -> unpack(<<?TOPOS_BATCH_MAX_BYTES:32, Bomb/binary>>, ?TOPOS_BATCH_MAX_BYTES) end),
    ?assertEqual({error, malformed}, Largest),
    ?assert(GrownMore < 10_000_000).

%% The most that binaries grew by while a fun ran.
grown(Fun) ->
    Self = self(),
    Before = erlang:memory(binary),
    {Worker, Ref} = spawn_monitor(fun() -> Self ! {answer, self(), Fun()} end),
    Peak = watch(Ref, Before),
    receive {answer, Worker, Answer} -> {Answer, Peak - Before} end.

watch(Ref, Peak) ->
    receive {'DOWN', Ref, process, _, _} -> Peak after 0 -> watch(Ref, max(Peak, erlang:memory(binary))) end.

lies_are_malformed_test() ->
    Text = text(5_000),
    <<5_000:32, Deflated/binary>> = packed(Text),
    Half = binary:part(Deflated, 0, byte_size(Deflated) div 2),
    [?assertEqual({Bad, {error, malformed}}, {Bad, unpack(Bad, 10_000)})
     || Bad <- [<<>>, <<1, 2>>, <<0:32, Deflated/binary>>, <<4_999:32, Deflated/binary>>, <<5_001:32, Deflated/binary>>,
                <<5_000:32, Half/binary>>, <<5_000:32>>, <<5_000:32, 0, Deflated/binary>>]].

%% A stream that needs a dictionary (RFC 1950, FDICT).
dictionary_is_malformed_test() ->
    Z = zlib:open(),
    ok = zlib:deflateInit(Z),
    _ = zlib:deflateSetDictionary(Z, <<"dictionary">>),
    Deflated = iolist_to_binary(zlib:deflate(Z, text(1_000), finish)),
    ok = zlib:close(Z),
    ?assertEqual({error, malformed}, unpack(<<1_000:32, Deflated/binary>>, 10_000)).

a_batch_keeps_its_pieces_test() ->
    Pieces = [topos_frame:record(0, <<"name">>, M, byte_size(M)) || N <- lists:seq(1, 50), M <- [term_to_binary({text, N})]],
    Body = topos_frame:batch_body({50, Pieces}),
    {packed, Packed, _} = pack(Body),
    Batch = iolist_to_binary(topos_frame:batch({<<"data">>, 3}, {10, 11}, 12, 1, {packed, Packed})),
    {ok, {{<<"data">>, 3}, {10, 11}, 12, Flags, Rest}} = topos_frame:decode_batch(Batch),
    ?assertEqual(1 bor ?TOPOS_BATCH_COMPRESSED, Flags),
    {ok, Inflated} = unpack(Rest, ?TOPOS_BATCH_MAX_BYTES),
    {ok, Whole} = topos_frame:decode_batch_body(Inflated),
    ?assertEqual([iolist_to_binary(P) || [<<_:4/binary, B/binary>> | M] <- Pieces, P <- [[B | M]]], topos_frame:pieces(Whole)),
    ?assertEqual({error, malformed}, topos_frame:decode_batch_body(binary:part(Inflated, 0, byte_size(Inflated) - 1))).
