%% @doc Frames: the binaries of `include/topos_frame.hrl', encoded and decoded.
%%
%% Decoding takes bytes from anybody: it makes no atoms, allocates nothing that the sender sized (parts are sub-binaries of
%% what came), and answers `{error, malformed}' for everything that is not exactly a frame.
-module(topos_frame).

-include("topos_frame.hrl").

-export([encode/2, decode/1, kind_name/1]).
-export([hello/1, decode_hello/1, addresses/1, hello_ack/1, decode_hello_ack/1, reject/2, decode_reject/1]).
-export([batch/5, batch_body/1, decode_batch/1, decode_batch_body/1, pieces/1, ack/5, decode_ack/1, report/1, probe/1, probed/1, record/4, parts/2, destination/1, decode_record/1]).
-export([request/4, decode_request/1, reply/3, decode_reply/1]).
-export([no_token/0]).
-export_type([t/0, header/0, hello/0, hello_ack/0, nonce/0, token/0, proof/0, lane_id/0, stream/0, failure/0, piece/0, slot/0, probe/0]).

-type nonce() :: <<_:128>>.
-type token() :: <<_:128>>.
-type proof() :: <<_:256>>.
-type header() :: #{
    kind := byte(),
    source := binary(),
    incarnation := non_neg_integer(),
    destination := non_neg_integer(),
    token := token()
}.
-type t() :: #{
    version := byte(),
    kind := byte(),
    source := binary(),
    incarnation := non_neg_integer(),
    destination := non_neg_integer(),
    token := token(),
    payload := binary()
}.
-type hello_ack() :: #{
    nonce := nonce(), yours := nonce(), reply_wanted := boolean(), proof := proof(), cluster := binary()
}.
-type hello() :: #{nonce := nonce(), proof := proof(), cluster := binary(), addresses := [topos_engine:address()]}.
%% A channel's name in UTF-8 and the lane's index.
-type lane_id() :: {binary(), 0..65535}.
%% The sender's stream, and the receiving half it is meant for (0: the sender has not heard of one).
-type stream() :: {Stream :: non_neg_integer(), Receiver :: non_neg_integer()}.
%% The slot of a request at the node that asks, and which of the requests in this slot it is, growing.
-type slot() :: {Slot :: 0..16#ffffffff, Sequence :: pos_integer()}.
%% A piece of a record with its head, as it goes into a batch.
-type piece() :: nonempty_maybe_improper_list(binary(), iodata()).
-type probe() :: 0..15.
%% A record that was not delivered: sequence of its batch, index in it from 0, reason (`topos_frame.hrl').
-type failure() :: {Sequence :: pos_integer(), Index :: non_neg_integer(), Reason :: byte()}.

-define(HEAD_BYTES, 16).

-spec encode(header(), iodata()) -> iolist().
encode(#{kind := Kind, source := Source, incarnation := From, destination := To, token := Token}, Payload) ->
    [<<?TOPOS_FRAME_VERSION, Kind, (byte_size(Source)), Source/binary, From:64, To:64, Token/binary>>, Payload].

%% @doc The header and the payload of a frame of this version, or of a HELLO of any version. Any other frame of another
%% version still tells that and its source.
-spec decode(term()) -> {ok, t()} | {error, malformed | {version, byte(), Source :: binary()}}.
decode(
    <<Version, Kind, N, Source:N/binary, From:64, To:64, Token:?TOPOS_FRAME_TOKEN_BYTES/binary, Payload/binary>>
) when N > 0, Version =:= ?TOPOS_FRAME_VERSION, Kind >= ?TOPOS_FRAME_HELLO, Kind =< ?TOPOS_FRAME_REPLY;
       N > 0, Kind =:= ?TOPOS_FRAME_HELLO ->
    {ok, #{
        version => Version, kind => Kind, source => Source, incarnation => From, destination => To, token => Token,
        payload => Payload
    }};
decode(<<Version, _Kind, N, Source:N/binary, _/binary>>) when Version =/= ?TOPOS_FRAME_VERSION ->
    {error, {version, Version, Source}};
decode(_) ->
    {error, malformed}.

%% @doc The token of frames that carry their own proof.
-spec no_token() -> token().
no_token() -> <<0:128>>.

%% @doc For messages to people.
-spec kind_name(byte()) -> atom().
kind_name(?TOPOS_FRAME_HELLO) -> hello;
kind_name(?TOPOS_FRAME_HELLO_ACK) -> hello_ack;
kind_name(?TOPOS_FRAME_REJECT) -> reject;
kind_name(?TOPOS_FRAME_ECHO) -> echo;
kind_name(?TOPOS_FRAME_ECHO_REPLY) -> echo_reply;
kind_name(?TOPOS_FRAME_GOSSIP) -> gossip;
kind_name(?TOPOS_FRAME_LEAVE) -> leave;
kind_name(?TOPOS_FRAME_LEAVE_ACK) -> leave_ack;
kind_name(?TOPOS_FRAME_BATCH) -> batch;
kind_name(?TOPOS_FRAME_ACK) -> ack;
kind_name(?TOPOS_FRAME_RELAY) -> relay;
kind_name(?TOPOS_FRAME_OVERLAY) -> overlay;
kind_name(?TOPOS_FRAME_REQUEST) -> request;
kind_name(?TOPOS_FRAME_REPLY) -> reply;
kind_name(_) -> unknown.

%% Handshake

-spec hello(hello()) -> iolist().
hello(#{nonce := Nonce, proof := Proof, cluster := Cluster, addresses := Addresses}) ->
    [Nonce, Proof, byte_size(Cluster), Cluster, addresses(Addresses)].

-spec decode_hello(binary()) -> {ok, hello()} | {error, malformed}.
decode_hello(<<Nonce:16/binary, Proof:32/binary, N, Cluster:N/binary, Count, Rest/binary>>) ->
    case decode_addresses(Rest, []) of
        {ok, Addresses} when length(Addresses) =:= Count ->
            {ok, #{nonce => Nonce, proof => Proof, cluster => Cluster, addresses => Addresses}};
        _ ->
            {error, malformed}
    end;
decode_hello(_) ->
    {error, malformed}.

%% @doc Addresses as a HELLO carries them, the first 255.
-spec addresses([topos_engine:address()]) -> iolist().
addresses(All) ->
    Addresses = lists:sublist(All, 255),
    [length(Addresses) | [address(A) || A <- Addresses]].

-spec hello_ack(hello_ack()) -> binary().
hello_ack(#{nonce := Nonce, yours := Yours, reply_wanted := Wanted, proof := Proof, cluster := Cluster}) ->
    Flag = case Wanted of true -> 1; false -> 0 end,
    <<Nonce/binary, Yours/binary, Flag, Proof/binary, (byte_size(Cluster)), Cluster/binary>>.

-spec decode_hello_ack(binary()) -> {ok, hello_ack()} | {error, malformed}.
decode_hello_ack(<<Nonce:16/binary, Yours:16/binary, Flag, Proof:32/binary, N, Cluster:N/binary>>) when Flag =< 1 ->
    {ok, #{
        nonce => Nonce, yours => Yours, reply_wanted => Flag =:= 1, proof => Proof, cluster => Cluster
    }};
decode_hello_ack(_) ->
    {error, malformed}.

-spec reject(nonce(), byte()) -> binary().
reject(YourNonce, Reason) -> <<YourNonce/binary, Reason>>.

-spec decode_reject(binary()) -> {ok, {nonce(), byte()}} | {error, malformed}.
decode_reject(<<YourNonce:16/binary, Reason>>) -> {ok, {YourNonce, Reason}};
decode_reject(_) -> {error, malformed}.

%% Lanes

%% @doc One record as the only piece of itself: where a message of `Size' bytes goes, and the message in external term format.
%% Nothing large is copied.
-spec record(byte(), binary(), iodata(), Size :: non_neg_integer()) -> piece().
record(Kind, Destination, [Begin | Rest], Size) when is_binary(Begin), byte_size(Begin) =< ?HEAD_BYTES ->
    %% One small binary less to pass on.
    N = byte_size(Destination),
    [<<0:1, (2 + N + Size):31, Kind, N, Destination/binary, Begin/binary>> | Rest];
record(Kind, Destination, Message, Size) ->
    N = byte_size(Destination),
    [<<0:1, (2 + N + Size):31, Kind, N, Destination/binary>> | Message].

%% @doc The same record as pieces of at most so many bytes each, all but the last of exactly so many.
-spec parts(piece(), pos_integer()) -> [piece()].
parts([<<Head:4/binary, Begin/binary>> | Message], Max) ->
    <<0:1, Size:31>> = Head,
    parts(erlang:iolist_to_iovec([Begin | Message]), Size, Max).

%% @doc Where the record of a piece goes that is the only one.
-spec destination(piece()) -> {byte(), binary()}.
destination([<<_:32, Kind, N, Destination:N/binary, _/binary>> | _]) -> {Kind, Destination}.

-spec decode_record(binary()) -> {ok, {Kind :: byte(), Destination :: binary(), Message :: binary()}} | {error, malformed}.
decode_record(<<Kind, N, Destination:N/binary, Message/binary>>) -> {ok, {Kind, Destination, Message}};
decode_record(_) -> {error, malformed}.

%% @doc A batch of pieces, or of what `topos_compress:pack/2' made of their {@link batch_body/1}.
-spec batch(
    lane_id(), stream(), Sequence :: pos_integer(), Flags :: byte(),
    {Count :: non_neg_integer(), [piece()]} | {packed, topos_compress:packed()}
) -> iolist().
batch(Lane, Stream, Sequence, Flags, {packed, Packed}) ->
    [batch_head(Lane, Stream, Sequence, Flags bor ?TOPOS_BATCH_COMPRESSED) | Packed];
batch(Lane, Stream, Sequence, Flags, Pieces) ->
    [batch_head(Lane, Stream, Sequence, Flags) | batch_body(Pieces)].

%% @doc What of a batch may be compressed.
-spec batch_body({Count :: non_neg_integer(), [piece()]}) -> nonempty_maybe_improper_list(binary(), iodata()).
batch_body({Count, Pieces}) -> [<<Count:16>> | Pieces].

%% @doc The head of a batch, and its pieces: they are checked to be whole, and taken one by one with a match on
%% `<<More:1, Size:31, Piece:Size/binary, Rest/binary>>', or all with {@link pieces/1}. With the flag
%% `?TOPOS_BATCH_COMPRESSED' they are what `topos_compress:unpack/3' takes, and nothing is checked.
-spec decode_batch(binary()) ->
    {ok, {lane_id(), stream(), Sequence :: non_neg_integer(), Flags :: byte(), Pieces :: binary()}} | {error, malformed}.
decode_batch(<<N, Channel:N/binary, Lane:16, Stream:64, Receiver:64, Sequence:64, Flags, Packed/binary>>) when
    Flags band ?TOPOS_BATCH_COMPRESSED =/= 0
->
    {ok, {{Channel, Lane}, {Stream, Receiver}, Sequence, Flags, Packed}};
decode_batch(<<N, Channel:N/binary, Lane:16, Stream:64, Receiver:64, Sequence:64, Flags, Body/binary>>) ->
    case decode_batch_body(Body) of
        {ok, Pieces} -> {ok, {{Channel, Lane}, {Stream, Receiver}, Sequence, Flags, Pieces}};
        {error, malformed} -> {error, malformed}
    end;
decode_batch(_) ->
    {error, malformed}.

%% @doc The pieces of a {@link batch_body/1}, checked to be whole.
-spec decode_batch_body(binary()) -> {ok, Pieces :: binary()} | {error, malformed}.
decode_batch_body(<<Count:16, Pieces/binary>>) ->
    case count(Pieces, 0) of
        Count -> {ok, Pieces};
        _ -> {error, malformed}
    end;
decode_batch_body(_) ->
    {error, malformed}.

%% @doc The pieces of a batch that {@link decode_batch/1} found whole.
-spec pieces(binary()) -> [binary() | {more, binary()}].
pieces(<<0:1, Size:31, Piece:Size/binary, Rest/binary>>) -> [Piece | pieces(Rest)];
pieces(<<1:1, Size:31, Piece:Size/binary, Rest/binary>>) -> [{more, Piece} | pieces(Rest)];
pieces(<<>>) -> [].

-spec ack(lane_id(), stream(), Cumulative :: non_neg_integer(), Flags :: byte(), [failure()]) -> iolist().
ack(Lane, {Stream, Receiver}, Cumulative, Flags, Failures) ->
    [lane(Lane), <<Stream:64, Receiver:64, Cumulative:64, Flags, (length(Failures)):16>>
     | [<<S:64, I:16, R>> || {S, I, R} <- Failures]].

-spec decode_ack(binary()) ->
    {ok, {lane_id(), stream(), Cumulative :: non_neg_integer(), Flags :: byte(), [failure()]}} | {error, malformed}.
decode_ack(<<N, Channel:N/binary, Lane:16, Stream:64, Receiver:64, Cumulative:64, Flags, Count:16, Rest/binary>>) when
    byte_size(Rest) =:= Count * 11
->
    {ok, {{Channel, Lane}, {Stream, Receiver}, Cumulative, Flags, [{S, I, R} || <<S:64, I:16, R>> <= Rest]}};
decode_ack(_) ->
    {error, malformed}.

%% @doc The flags of a probe.
-spec probe(probe()) -> byte().
probe(Number) -> ?TOPOS_BATCH_PROBE bor (Number bsl 4).

%% @doc The flags of the answer to a probe, by its own.
-spec probed(Flags :: byte()) -> byte().
probed(Flags) -> ?TOPOS_ACK_PROBED bor (Flags band 16#f0).

%% @doc What the flags of an acknowledgement say.
-spec report(Flags :: byte()) -> {probed, probe()} | gap | none.
report(Flags) when Flags band ?TOPOS_ACK_PROBED =/= 0 -> {probed, Flags bsr 4};
report(Flags) when Flags band ?TOPOS_ACK_GAP =/= 0 -> gap;
report(_) -> none.

%% Requests

%% @doc A request that is so many milliseconds in time, in external term format.
-spec request(slot(), Timeout :: 1..16#ffffffff, Service :: binary(), iodata()) -> iolist().
request({Slot, Sequence}, Timeout, Service, Request) when byte_size(Service) =< 255 ->
    [<<Slot:32, Sequence:64, Timeout:32, (byte_size(Service)), Service/binary>> | Request].

-spec decode_request(binary()) ->
    {ok, {slot(), Timeout :: pos_integer(), Service :: binary(), Request :: binary()}} | {error, malformed}.
decode_request(<<Slot:32, Sequence:64, Timeout:32, N, Service:N/binary, Request/binary>>) when Sequence > 0, Timeout > 0 ->
    {ok, {{Slot, Sequence}, Timeout, Service, Request}};
decode_request(_) ->
    {error, malformed}.

%% @doc A reply in external term format, or with the reason why there is none nothing.
-spec reply(slot(), Reason :: byte(), iodata()) -> iolist().
reply({Slot, Sequence}, Reason, Reply) -> [<<Slot:32, Sequence:64, Reason>> | Reply].

-spec decode_reply(binary()) -> {ok, {slot(), Reason :: byte(), Reply :: binary()}} | {error, malformed}.
decode_reply(<<Slot:32, Sequence:64, Reason, Reply/binary>>) when Sequence > 0 -> {ok, {{Slot, Sequence}, Reason, Reply}};
decode_reply(_) -> {error, malformed}.

%% internal

-spec batch_head(lane_id(), stream(), pos_integer(), byte()) -> binary().
batch_head({Channel, Index}, {Stream, Receiver}, Sequence, Flags) ->
    <<(byte_size(Channel)), Channel/binary, Index:16, Stream:64, Receiver:64, Sequence:64, Flags>>.

-spec lane(lane_id()) -> binary().
lane({Channel, Index}) -> <<(byte_size(Channel)), Channel/binary, Index:16>>.

-spec address(topos_engine:address()) -> binary().
address({{A, B, C, D}, Port}) -> <<4, A, B, C, D, Port:16>>;
address({{A, B, C, D, E, F, G, H}, Port}) -> <<6, A:16, B:16, C:16, D:16, E:16, F:16, G:16, H:16, Port:16>>.

-spec decode_addresses(binary(), [topos_engine:address()]) -> {ok, [topos_engine:address()]} | error.
decode_addresses(<<>>, Acc) ->
    {ok, lists:reverse(Acc)};
decode_addresses(<<4, A, B, C, D, Port:16, Rest/binary>>, Acc) ->
    decode_addresses(Rest, [{{A, B, C, D}, Port} | Acc]);
decode_addresses(<<6, A:16, B:16, C:16, D:16, E:16, F:16, G:16, H:16, Port:16, Rest/binary>>, Acc) ->
    decode_addresses(Rest, [{{A, B, C, D, E, F, G, H}, Port} | Acc]);
decode_addresses(_, _) ->
    error.

-spec parts([binary()], non_neg_integer(), pos_integer()) -> [piece()].
parts(Iovec, Size, Max) when Size =< Max ->
    [[<<0:1, Size:31>> | Iovec]];
parts(Iovec, Size, Max) ->
    {Part, Rest} = take(Iovec, Max),
    [[<<1:1, Max:31>> | Part] | parts(Rest, Size - Max, Max)].

-spec take([binary()], non_neg_integer()) -> {[binary()], [binary()]}.
take([Bin | Rest], Size) when byte_size(Bin) =< Size ->
    {Part, Left} = take(Rest, Size - byte_size(Bin)),
    {[Bin | Part], Left};
take([Bin | Rest], Size) ->
    {Head, Tail} = split_binary(Bin, Size),
    {[Head], [Tail | Rest]}.

-spec count(binary(), non_neg_integer()) -> non_neg_integer() | error.
count(<<_:1, Size:31, _:Size/binary, Rest/binary>>, Count) -> count(Rest, Count + 1);
count(<<>>, Count) -> Count;
count(_, _) -> error.
