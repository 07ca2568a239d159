%% @doc Where messages go: to registered names, and to whatever kinds of destination other modules have claimed.
%%
%% A record names a kind of destination (a byte) and a destination within it. Kind 0, registered names, is built in; a
%% module claims another with {@link claim/2} and is then called, in the process of the receiving lane, for every
%% message of that kind: it must hand the message on and return, never block.
-module(topos_delivery).

-include("topos_frame.hrl").

-export([claim/2, deliver/2, deliver_here/4, to_name/2, registered/1, message/1, decode/1]).
-export_type([from/0, reason/0]).

%% Smaller binaries are copied: that costs less than what they would keep alive.
-define(SHARED_BYTES, 4_096).

-type from() :: {node(), topos_incarnation:t()}.
%% One of `?TOPOS_UNDELIVERED_*'.
-type reason() :: byte().

%% `Message' is `{bytes, External}' from a peer and `{term, Term}' from this node: see `message/1'.
-callback deliver(from(), Destination :: binary(), Message :: {bytes, binary()} | {term, term()}) ->
    ok | {error, reason()}.

%% @doc Makes a module responsible for a kind of destination, until the node stops.
-spec claim(1..255, module()) -> ok.
claim(Kind, Module) when Kind > ?TOPOS_DEST_NAME, Kind =< 255 ->
    true = ets:insert(topos_destinations, {Kind, Module}),
    ok.

%% @doc Delivers one record of a peer.
-spec deliver(from(), binary()) -> ok | {error, reason()}.
deliver(From, Record) ->
    case topos_frame:decode_record(Record) of
        {ok, {?TOPOS_DEST_NAME, Name, Bytes}} ->
            to_name(registered(Name), Bytes);
        {ok, {Kind, Destination, Bytes}} ->
            hand_over(Kind, From, Destination, {bytes, Bytes});
        {error, malformed} ->
            {error, ?TOPOS_UNDELIVERED_BAD_TERM}
    end.

%% @doc Delivers to what {@link registered/1} found.
-spec to_name({ok, pid() | port()} | error, binary()) -> ok | {error, reason()}.
to_name({ok, Process}, Bytes) ->
    case decode(Bytes) of
        {ok, Message} -> Process ! Message, ok;
        {error, Reason} -> {error, Reason}
    end;
to_name(error, _) ->
    {error, ?TOPOS_UNDELIVERED_NO_PROCESS}.

%% @doc Delivers a message of this node.
-spec deliver_here(byte(), from(), binary(), term()) -> ok | {error, reason()}.
deliver_here(?TOPOS_DEST_NAME, _From, Name, Message) ->
    case registered(Name) of
        {ok, Pid} -> Pid ! Message, ok;
        error -> {error, ?TOPOS_UNDELIVERED_NO_PROCESS}
    end;
deliver_here(Kind, From, Destination, Message) ->
    hand_over(Kind, From, Destination, {term, Message}).

%% @doc The process that has a name now. No atom is made.
-spec registered(binary()) -> {ok, pid() | port()} | error.
registered(Name) ->
    try whereis(binary_to_existing_atom(Name)) of
        undefined -> error;
        Process -> {ok, Process}
    catch
        error:badarg -> error
    end.

%% @doc The term that a claiming module was handed.
-spec message({bytes, binary()} | {term, term()}) -> {ok, term()} | {error, reason()}.
message({term, Term}) -> {ok, Term};
message({bytes, Bytes}) -> decode(Bytes).

%% @doc Decodes a message of a peer. All peers together make at most `limits.max_new_atoms' atoms in a node's life; a term
%% that would make more is refused. Compressed terms are refused: only their sender knows how large they get.
-spec decode(binary()) -> {ok, term()} | {error, reason()}.
decode(<<131, 109, Size:32, Binary:Size/binary>>) when Size > ?SHARED_BYTES ->
    %% A large binary that is most of the frame it came in stays where it is.
    case binary:referenced_byte_size(Binary) =< 2 * Size of
        true -> {ok, Binary};
        false -> {ok, binary:copy(Binary)}
    end;
decode(<<131, 80, _/binary>>) ->
    {error, ?TOPOS_UNDELIVERED_BAD_TERM};
decode(Bytes) ->
    try binary_to_term(Bytes, [safe]) of
        Term -> {ok, Term}
    catch
        error:badarg -> decode_new(Bytes)
    end.

%% internal

%% The bytes are no term, or hold atoms that this VM does not have. These are counted before they are made.
-spec decode_new(binary()) -> {ok, term()} | {error, reason()}.
decode_new(Bytes) ->
    #{max_new_atoms := Max} = topos_local:config(limits),
    case topos_term:new_atoms(Bytes, Max) of
        {ok, []} ->
            {error, ?TOPOS_UNDELIVERED_BAD_TERM};
        {ok, Names} ->
            case topos_local:take(peer_atoms, length(Names), Max) of
                true -> decode_known(Bytes);
                false -> {error, ?TOPOS_UNDELIVERED_ATOMS}
            end;
        {error, {too_many_atoms, _}} ->
            {error, ?TOPOS_UNDELIVERED_ATOMS};
        {error, _} ->
            {error, ?TOPOS_UNDELIVERED_BAD_TERM}
    end.

-spec decode_known(binary()) -> {ok, term()} | {error, reason()}.
decode_known(Bytes) ->
    try
        {ok, binary_to_term(Bytes)}
    catch
        error:badarg -> {error, ?TOPOS_UNDELIVERED_BAD_TERM}
    end.

-spec hand_over(byte(), from(), binary(), {bytes, binary()} | {term, term()}) -> ok | {error, reason()}.
hand_over(Kind, From, Destination, Message) ->
    case ets:lookup(topos_destinations, Kind) of
        [{_, Module}] -> Module:deliver(From, Destination, Message);
        [] -> {error, ?TOPOS_UNDELIVERED_NO_HANDLER}
    end.
