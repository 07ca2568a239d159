%% @doc Compression of batches: the zlib format (RFC 1950) at its fastest level, within bounds on both sides.
%%
%% The link compresses, not the engine, so that it works on each of them alike. Only batches of at least 512 bytes are
%% tried, and only what becomes smaller by an eighth or more is sent compressed. Where that fails, the next batches go out
%% as they are: one after the first failure, twice as many after each further one, 64 at most; data that was compressed
%% before then costs little.
%%
%% The receiver is told the size beforehand and believes nothing: it refuses more than its limit at once, and inflates
%% in steps, at most one step beyond the size that was announced.
-module(topos_compress).

-include("topos_frame.hrl").

-export([deflater/0, pack/2, inflater/0, unpack/3]).
-export_type([deflater/0, inflater/0, packed/0]).

-define(MIN_BYTES, 512).
-define(MAX_PAUSE, 64).
-define(LEVEL, 1).

-record(deflater, {
    stream :: zlib:zstream(),
    %% Batches that are not tried now, and how many after the next failure.
    pause = 0 :: non_neg_integer(),
    next_pause = 1 :: pos_integer()
}).
-opaque deflater() :: #deflater{}.
-opaque inflater() :: zlib:zstream().
%% `Size 4 | Deflated', see `topos_frame.hrl'.
-type packed() :: nonempty_maybe_improper_list(binary(), iodata()).

%% @doc A compressor; it belongs to the calling process and ends with it.
-spec deflater() -> deflater().
deflater() ->
    Stream = zlib:open(),
    ok = zlib:deflateInit(Stream, ?LEVEL),
    #deflater{stream = Stream}.

%% @doc The bytes compressed, and how many bytes that saves; `plain' if they are better sent as they are.
-spec pack(iodata(), deflater()) -> {{packed, packed(), Saved :: pos_integer()} | plain, deflater()}.
pack(_, #deflater{pause = Pause} = Deflater) when Pause > 0 ->
    {plain, Deflater#deflater{pause = Pause - 1}};
pack(Bytes, #deflater{stream = Stream, next_pause = Next} = Deflater) ->
    case iolist_size(Bytes) of
        Size when Size < ?MIN_BYTES; Size > ?TOPOS_BATCH_MAX_BYTES ->
            {plain, Deflater};
        Size ->
            Deflated = zlib:deflate(Stream, Bytes, finish),
            ok = zlib:deflateReset(Stream),
            case 4 + iolist_size(Deflated) of
                Small when Small =< Size - Size div 8 ->
                    {{packed, [<<Size:32>> | Deflated], Size - Small}, Deflater#deflater{next_pause = 1}};
                _ ->
                    {plain, Deflater#deflater{pause = Next, next_pause = min(2 * Next, ?MAX_PAUSE)}}
            end
    end.

%% @doc A decompressor; it belongs to the calling process and ends with it.
-spec inflater() -> inflater().
inflater() ->
    Stream = zlib:open(),
    ok = zlib:inflateInit(Stream),
    Stream.

%% @doc The bytes that {@link pack/2} compressed. Never holds more than `Max' bytes and one step of zlib (tens of kB) of
%% what anybody sends.
-spec unpack(binary(), Max :: pos_integer(), inflater()) -> {ok, binary()} | {error, malformed | {too_large, pos_integer()}}.
unpack(<<Size:32, _/binary>>, Max, _) when Size > Max ->
    {error, {too_large, Size}};
unpack(<<Size:32, Deflated/binary>>, _, Stream) ->
    try
        inflate(zlib:safeInflate(Stream, Deflated), Stream, Size, [])
    catch
        error:Reason when Reason =:= data_error; Reason =:= buf_error -> {error, malformed}
    after
        ok = zlib:inflateReset(Stream)
    end;
unpack(_, _, _) ->
    {error, malformed}.

%% internal

%% `Left': how much may still come.
-spec inflate(
    {continue | finished, iodata()} | {need_dictionary, integer(), iodata()}, inflater(), integer(), iodata()
) -> {ok, binary()} | {error, malformed}.
inflate({need_dictionary, _, _}, _, _, _) ->
    {error, malformed};
inflate({How, Output}, Stream, Left, Parts) ->
    case {How, Left - iolist_size(Output)} of
        {_, Less} when Less < 0 -> {error, malformed};
        {continue, Less} -> inflate(zlib:safeInflate(Stream, []), Stream, Less, [Parts, Output]);
        {finished, 0} -> {ok, iolist_to_binary([Parts, Output])};
        {finished, _} -> {error, malformed}
    end.
