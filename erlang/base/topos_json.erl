%% @doc Writes JSON (RFC 8259). There is no reader: nothing here takes JSON from others.
-module(topos_json).

-export([encode/1]).
-export_type([value/0]).

%% Keys of objects are atoms or UTF-8 binaries; atoms but `true', `false' and `null' are strings.
-type value() ::
    #{atom() | binary() => value()} | [value()] | number() | binary() | atom().

%% @doc The text of a value, the keys of objects sorted. A binary that is no UTF-8 fails with `badarg'.
-spec encode(value()) -> iodata().
encode(Map) when is_map(Map) ->
    Members = [[string(Key), $:, encode(Value)] || {Key, Value} <- lists:sort(maps:to_list(Map))],
    [${, lists:join($,, Members), $}];
encode(List) when is_list(List) -> [$[, lists:join($,, [encode(Value) || Value <- List]), $]];
encode(Number) when is_integer(Number) -> integer_to_binary(Number);
encode(Number) when is_float(Number) -> float_to_binary(Number, [short]);
encode(Word) when Word =:= true; Word =:= false; Word =:= null -> atom_to_binary(Word);
encode(Text) -> string(Text).

%% internal

-spec string(atom() | binary()) -> iodata().
string(Atom) when is_atom(Atom) -> string(atom_to_binary(Atom));
string(Text) when is_binary(Text) ->
    case unicode:characters_to_list(Text) of
        Chars when is_list(Chars) -> [$", [escape(Char) || Char <- Chars], $"];
        _ -> error(badarg, [Text])
    end.

-spec escape(char()) -> iodata().
escape($") -> <<"\\\"">>;
escape($\\) -> <<"\\\\">>;
escape(Char) when Char < 32; Char =:= 127 -> io_lib:format("\\u~4.16.0b", [Char]);
escape(Char) -> <<Char/utf8>>.
