%% @doc Shows what virtual nodes write as `topos run' shows the lines of real ones: each with the name of its node.
-module(topos_sim_output).

-export([new/2]).
-export_type([tell/0]).

%% A line of a node, a remark of the run, or one of its trace.
-type tell() :: fun((topos_sim_world:node_id() | remark | trace, {out | err, unicode:chardata()}) -> ok).

%% Cyan, yellow, green, magenta, blue, and their bright ones: as `topos run'.
-define(COLOURS, {36, 33, 32, 35, 34, 96, 93, 92}).

%% @doc For nodes of these names. Of the options it needs `color'. With a single node there is no prefix.
-spec new([binary()], #{color := boolean(), atom() => term()}) -> tell().
new(Names, #{color := Color}) ->
    Width = lists:max([byte_size(<<"topos">>) | [string:length(Name) || Name <- Names]]),
    Prefixes = list_to_tuple([prefix(Name, Width, 1 + (N - 1) rem tuple_size(?COLOURS), Color)
        || {N, Name} <- numbered(Names)]),
    Remark = case Color of true -> ["\e[2m", pad("topos", Width), " |\e[0m "]; false ->
        [pad("topos", Width), " | "] end,
    fun
        (Node, {Stream, Line}) when is_integer(Node), tuple_size(Prefixes) =:= 1 -> put_line(Stream, [], Line);
        (Node, {Stream, <<>>}) when is_integer(Node) -> put_line(Stream, element(Node, Prefixes), []);
        (Node, {Stream, Line}) when is_integer(Node) -> put_line(Stream, [element(Node, Prefixes), $\s], Line);
        (_, {Stream, Line}) -> put_line(Stream, Remark, Line)
    end.

%% internal

numbered(Names) -> lists:zip(lists:seq(1, length(Names)), Names).

prefix(Name, Width, Place, true) ->
    [io_lib:format("\e[1m\e[~bm", [element(Place, ?COLOURS)]), pad(Name, Width), " |\e[0m"];
prefix(Name, Width, _, false) -> [pad(Name, Width), " |"].

pad(Name, Width) -> string:pad(Name, Width).

put_line(out, Prefix, Line) -> io:put_chars([Prefix, Line, $\n]);
put_line(err, Prefix, Line) -> io:put_chars(standard_error, [Prefix, Line, $\n]).
