%% @doc References to processes of any node: plain data that can be sent, stored, compared and printed.
%%
%% A reference names a node, one life of it (its incarnation), and a process of that life. It holds no pid: a pid that
%% is sent through a node that is not distributed turns into a pid of the receiver. A reference to an earlier life of a
%% node is refused with `stale_incarnation', never taken for a new process that has the same number.
-module(topos_remote).

-export([new/3, of_pid/1, node/1, incarnation/1, id/1, pid/1, local_pid/1, is_ref/1, print/1, portable/1, pack/1,
    unpack/1]).
-export_type([t/0, id/0, packed/0]).

-compile({no_auto_import, [node/1]}).

%% The numbers of a pid within its node: `<<"123.0">>'.
-type id() :: binary().
%% A portable term and its text, for a node that does not have its atoms.
-type packed() :: {Term :: binary(), Text :: binary()}.
-opaque t() :: {topos_remote, node(), topos_incarnation:t(), id()}.

-define(MAX_ID_BYTES, 40).
%% What is larger, in external term format, crosses as a shortened text.
-define(MAX_REASON_BYTES, 65_536).
-define(MAX_TEXT, 500).

-spec new(node(), topos_incarnation:t(), id()) -> t().
new(Node, Incarnation, Id) when is_atom(Node), is_integer(Incarnation), is_binary(Id) ->
    {topos_remote, Node, Incarnation, Id}.

%% @doc The reference to a process of this node.
-spec of_pid(pid()) -> t().
of_pid(Pid) when erlang:node(Pid) =:= node() ->
    "<0." ++ Numbers = pid_to_list(Pid),
    new(maps:get(node, topos_local:hot()), topos_local:incarnation(), list_to_binary(lists:droplast(Numbers))).

-spec node(t()) -> node().
node({topos_remote, Node, _, _}) -> Node.

-spec incarnation(t()) -> topos_incarnation:t().
incarnation({topos_remote, _, Incarnation, _}) -> Incarnation.

-spec id(t()) -> id().
id({topos_remote, _, _, Id}) -> Id.

%% @doc Whether a term has the form of a reference; it may have come from anywhere.
-spec is_ref(term()) -> boolean().
is_ref({topos_remote, Node, Incarnation, Id}) ->
    is_atom(Node) andalso is_integer(Incarnation) andalso Incarnation >= 0 andalso pid(Id) =/= error;
is_ref(_) ->
    false.

%% @doc The process of this VM that has these numbers; it need not live. Never fails, whatever the bytes.
-spec pid(id()) -> {ok, pid()} | error.
pid(Id) when is_binary(Id), byte_size(Id) =< ?MAX_ID_BYTES ->
    try
        {ok, list_to_pid("<0." ++ binary_to_list(Id) ++ ">")}
    catch
        error:badarg -> error
    end;
pid(_) ->
    error.

%% @doc The process of a reference to this node in its present life.
-spec local_pid(t()) -> {ok, pid()} | {error, topos_error:t()}.
local_pid({topos_remote, Node, Incarnation, Id} = Ref) ->
    case topos_local:incarnation() of
        Incarnation ->
            case pid(Id) of
                {ok, Pid} -> {ok, Pid};
                error -> {error, topos_error:new(no_such_process, #{node => Node, target => print(Ref)})}
            end;
        _ ->
            {error, topos_error:new(stale_incarnation, #{node => Node})}
    end.

%% @doc `<shop@host/123.0>', and the life: `<shop@host/123.0 of 1700000000000000>'.
-spec print(t()) -> binary().
print({topos_remote, Node, Incarnation, Id}) ->
    iolist_to_binary([$<, atom_to_binary(Node), $/, Id, " of ", integer_to_binary(Incarnation), $>]).

%% @doc A term, such as a reason to exit, as it can be shown on other nodes: processes of this node become references,
%% ports, funs and other references texts, and what is very large is cut to a text.
-spec portable(term()) -> term().
portable(Term) ->
    case erlang:external_size(Term) =< ?MAX_REASON_BYTES of
        true -> replace(Term);
        false -> {truncated, unicode:characters_to_binary(io_lib:format("~0tP", [Term, 20], [{chars_limit, 2_000}]))}
    end.

%% @doc A term as `portable/1' makes it, so that the message it is in can be decoded whatever the term holds.
-spec pack(term()) -> packed().
pack(Term) ->
    Portable = portable(Term),
    {term_to_binary(Portable), unicode:characters_to_binary(io_lib:format("~0tP", [Portable, 20],
        [{chars_limit, ?MAX_TEXT}]))}.

%% @doc The term that was packed, or `{unknown_reason, Text}' if it holds atoms that this node does not have.
-spec unpack(term()) -> term().
unpack({Bytes, Text}) when is_binary(Bytes), is_binary(Text) ->
    case topos_delivery:decode(Bytes) of
        {ok, Term} -> Term;
        {error, _} -> {unknown_reason, Text}
    end;
unpack(Atom) when is_atom(Atom) -> Atom;
unpack(_) -> {unknown_reason, <<>>}.

%% internal

-spec replace(term()) -> term().
replace(Pid) when is_pid(Pid), erlang:node(Pid) =:= node() -> of_pid(Pid);
replace(Tuple) when is_tuple(Tuple) -> list_to_tuple([replace(Element) || Element <- tuple_to_list(Tuple)]);
replace([Head | Tail]) -> [replace(Head) | replace(Tail)];
replace(Map) when is_map(Map) -> maps:from_list([{replace(Key), replace(Value)} || {Key, Value} <- maps:to_list(Map)]);
replace(Term) when is_atom(Term); is_number(Term); is_bitstring(Term); Term =:= [] -> Term;
replace(Term) -> iolist_to_binary(io_lib:format("~0tp", [Term])).
