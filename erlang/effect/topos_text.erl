%%% @doc What `Topos.Text' needs of Erlang: texts are UTF-8 binaries.
-module(topos_text).

-export([split/2, replace/3, to_int/1, to_float/1, starts_with/2, ends_with/2, contains/2, characters/1, reverse/1]).

%% @doc The parts between the separators. An empty separator splits nothing.
-spec split(binary(), binary()) -> [binary()].
split(<<>>, Text) -> [Text];
split(Separator, Text) -> binary:split(Text, Separator, [global]).

%% @doc The text with every occurrence of the pattern replaced. An empty pattern occurs nowhere.
-spec replace(binary(), binary(), binary()) -> binary().
replace(<<>>, _With, Text) -> Text;
replace(Pattern, With, Text) ->
    iolist_to_binary(lists:join(With, binary:split(Text, Pattern, [global]))).

%% @doc The integer that the whole text is, in decimal.
-spec to_int(binary()) -> {some, integer()} | none.
to_int(Text) ->
    try
        {some, binary_to_integer(Text)}
    catch
        error:badarg -> none
    end.

%% @doc The float that the whole text is; whole numbers count.
-spec to_float(binary()) -> {some, float()} | none.
to_float(Text) ->
    try
        {some, binary_to_float(Text)}
    catch
        error:badarg -> whole(Text)
    end.

whole(Text) ->
    try
        {some, float(binary_to_integer(Text))}
    catch
        error:badarg -> none
    end.

%% @doc Whether the text begins with the prefix.
-spec starts_with(binary(), binary()) -> boolean().
starts_with(Prefix, Text) ->
    binary:longest_common_prefix([Prefix, Text]) =:= byte_size(Prefix).

%% @doc Whether the text ends with the suffix.
-spec ends_with(binary(), binary()) -> boolean().
ends_with(Suffix, Text) ->
    binary:longest_common_suffix([Suffix, Text]) =:= byte_size(Suffix).

%% @doc Whether the part occurs in the text; the empty one does.
-spec contains(binary(), binary()) -> boolean().
contains(<<>>, _Text) -> true;
contains(Part, Text) -> binary:match(Text, Part) =/= nomatch.

%% @doc The characters (grapheme clusters), each as a text.
-spec characters(binary()) -> [binary()].
characters(Text) -> [unicode:characters_to_binary([Character]) || Character <- string:to_graphemes(Text)].

%% @doc The characters in the opposite order.
-spec reverse(binary()) -> binary().
reverse(Text) -> unicode:characters_to_binary(string:reverse(Text)).
