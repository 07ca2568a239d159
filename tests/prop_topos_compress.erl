%% Whatever is compressed comes back, in whatever order a lane's batches use the two streams; and no bytes make more of
%% themselves than is allowed.
-module(prop_topos_compress).

-include_lib("proper/include/proper.hrl").

-export([prop_round_trip/0, prop_any_bytes/0]).

%% Noise, repeated text, and both mixed.
bytes() ->
    ?LET({Noise, Word, Times}, {binary(), binary(), range(0, 2_000)}, oneof([
        Noise, binary:copy(Word, Times), [Noise, binary:copy(<<7, Word/binary>>, Times), Noise]
    ])).

prop_round_trip() ->
    ?FORALL(All, list(bytes()),
        begin
            Inflater = topos_compress:inflater(),
            {Results, _} = lists:mapfoldl(
                fun(Bytes, Deflater) ->
                    Size = iolist_size(Bytes),
                    case topos_compress:pack(Bytes, Deflater) of
                        {plain, Next} ->
                            {plain, Next};
                        {{packed, Packed, Saved}, Next} ->
                            Back = topos_compress:unpack(iolist_to_binary(Packed), Size, Inflater),
                            Refused = topos_compress:unpack(iolist_to_binary(Packed), Size - 1, Inflater),
                            Right = Back =:= {ok, iolist_to_binary(Bytes)} andalso Saved =:= Size - iolist_size(Packed)
                                andalso Saved >= Size div 8 andalso Refused =:= {error, {too_large, Size}},
                            {Right, Next}
                    end
                end, topos_compress:deflater(), All),
            collect(lists:member(true, Results), not lists:member(false, Results))
        end).

prop_any_bytes() ->
    ?FORALL({Size, Bytes, Max}, {range(0, 70_000), oneof([binary(), ?LET(B, bytes(), zlib:compress(B))]), range(1, 66_000)},
        begin
            Inflater = topos_compress:inflater(),
            case topos_compress:unpack(<<Size:32, Bytes/binary>>, Max, Inflater) of
                {ok, Out} -> byte_size(Out) =:= Size andalso Size =< Max;
                {error, {too_large, Size}} -> Size > Max;
                {error, malformed} -> true
            end
        end).
