%% @doc What may come in on a connection of Partisan's, read byte by byte.
%%
%% Partisan reads packets with `binary_to_term/1': whoever can connect makes as many atoms as the packet names, and a
%% compressed packet becomes a thousand times larger. Of all its protocol this house needs four messages of fixed shape, so
%% these are recognised by their bytes (Erlang's external term format, as OTP 25 and later write it). No atom is made,
%% nothing is allocated but views of the packet, and everything else is `other'.
-module(topos_partisan_wire).

-export([decode/1, greeted_by/1, hello/1, state/0, pong/2, frame/4]).
-export_type([packet/0]).

%% `ping': who asks, and the rest of the message, which its answer repeats.
-type packet() ::
    {hello, Name :: binary(), Channel :: binary()}
    | {frame, Dest :: binary(), Version :: byte(), Epoch :: non_neg_integer(), Frame :: binary()}
    | {ping, Name :: binary(), Rest :: binary()}
    | other.

-define(VERSION, 131).
-define(TUPLE, 104).
-define(BINARY, 109).
-define(UTF8, 119).
-define(FORWARD, ?UTF8, 15, "forward_message").
-define(TOPOS, ?UTF8, 5, "topos").
%% The longest atom has 255 characters, of 4 bytes at most.
-define(MAX_NAME, 1_020).
%% What follows the name in a ping: a reference and a time.
-define(MAX_PING, 1_024).

-spec decode(binary()) -> packet().
%% Frames as this house writes them, which nearly all packets are.
decode(<<?VERSION, ?TUPLE, 3, ?FORWARD, ?UTF8, N, Dest:N/binary, ?TUPLE, 4, ?TOPOS, 97, Version, Frame/binary>>) ->
    frame(Dest, Version, Frame);
decode(<<?VERSION, ?TUPLE, 3, Rest/binary>>) ->
    case atom(Rest) of
        {<<"forward_message">>, Message} -> forwarded(Message);
        {<<"hello">>, Names} -> greeting(Names);
        _ -> other
    end;
decode(<<?VERSION, ?TUPLE, 4, Rest/binary>>) ->
    case atom(Rest) of
        {<<"ping">>, Ping} ->
            case atom(Ping) of
                {Name, Id} when byte_size(Id) =< ?MAX_PING -> {ping, Name, Id};
                _ -> other
            end;
        _ ->
            other
    end;
decode(_) ->
    other.

%% @doc Whose first packet on a connection it is.
-spec greeted_by(binary()) -> {ok, Name :: binary()} | error.
greeted_by(<<?VERSION, ?TUPLE, 2, Rest/binary>>) ->
    case atom(Rest) of
        {<<"hello">>, Name} ->
            case atom(Name) of
                {Node, <<>>} -> {ok, Node};
                _ -> error
            end;
        _ ->
            error
    end;
greeted_by(_) ->
    error.

%% @doc The first packet on a connection, from the side that was connected to.
-spec hello(node()) -> binary().
hello(Node) -> term_to_binary({hello, Node}).

%% @doc The answer to a hello. The state is nobody's business.
-spec state() -> binary().
state() -> term_to_binary({state, undefined, undefined}).

%% @doc The answer to a ping.
-spec pong(node(), Rest :: binary()) -> iolist().
pong(Node, Rest) ->
    <<?VERSION, Pong/binary>> = term_to_binary(pong),
    <<?VERSION, Name/binary>> = term_to_binary(Node),
    [<<?VERSION, ?TUPLE, 4>>, Pong, Name, Rest].

%% @doc The packet of `{forward_message, Dest, {topos, Version, Epoch, Frame}}'. The frame is not copied. Atoms are written in UTF-8,
%% as OTP 26 and later do and all read: in Latin-1 each would have to be converted where it arrives.
-spec frame(Dest :: atom(), byte(), Epoch :: non_neg_integer(), Frame :: iodata()) -> iolist().
frame(Dest, Version, Epoch, Frame) ->
    Size = iolist_size(Frame),
    case atom_to_binary(Dest) of
        Name when byte_size(Name) < 256, Epoch < 1 bsl 31 ->
            [<<
                ?VERSION, ?TUPLE, 3, ?FORWARD, ?UTF8, (byte_size(Name)), Name/binary, ?TUPLE, 4, ?TOPOS, 97, Version, 98, Epoch:32,
                ?BINARY, Size:32
            >> | Frame];
        _ ->
            <<?VERSION, To/binary>> = term_to_binary(Dest),
            <<?VERSION, Number/binary>> = term_to_binary(Epoch),
            [<<?VERSION, ?TUPLE, 3, ?FORWARD, To/binary, ?TUPLE, 4, ?TOPOS, 97, Version, Number/binary, ?BINARY, Size:32>> | Frame]
    end.

%% internal

-spec greeting(binary()) -> packet().
greeting(Names) ->
    case atom(Names) of
        {Name, Rest} ->
            case atom(Rest) of
                {Channel, <<>>} -> {hello, Name, Channel};
                _ -> other
            end;
        error ->
            other
    end.

-spec forwarded(binary()) -> packet().
forwarded(Message) ->
    case atom(Message) of
        {Dest, <<?TUPLE, 4, Rest/binary>>} ->
            case atom(Rest) of
                {<<"topos">>, <<97, Version, Frame/binary>>} -> frame(Dest, Version, Frame);
                _ -> other
            end;
        _ ->
            other
    end.

-spec frame(binary(), byte(), binary()) -> packet().
frame(Dest, Version, <<97, Epoch, ?BINARY, Size:32, Frame:Size/binary>>) -> {frame, Dest, Version, Epoch, Frame};
frame(Dest, Version, <<98, 0:1, Epoch:31, ?BINARY, Size:32, Frame:Size/binary>>) -> {frame, Dest, Version, Epoch, Frame};
frame(Dest, Version, <<110, N, 0, Epoch:N/little-unit:8, ?BINARY, Size:32, Frame:Size/binary>>) when N =< 8 ->
    {frame, Dest, Version, Epoch, Frame};
frame(_, _, _) ->
    other.

%% The name of an atom in UTF-8, and what follows it. OTP 25 writes most atoms in Latin-1.
-spec atom(binary()) -> {binary(), binary()} | error.
atom(<<?UTF8, N, Name:N/binary, Rest/binary>>) -> {Name, Rest};
atom(<<100, N:16, Name:N/binary, Rest/binary>>) when N =< ?MAX_NAME -> {from_latin1(Name), Rest};
atom(<<115, N, Name:N/binary, Rest/binary>>) -> {from_latin1(Name), Rest};
atom(<<118, N:16, Name:N/binary, Rest/binary>>) when N =< ?MAX_NAME -> {Name, Rest};
atom(_) -> error.

-spec from_latin1(binary()) -> binary().
from_latin1(Name) ->
    Utf8 = unicode:characters_to_binary(Name, latin1),
    true = is_binary(Utf8),
    Utf8.
