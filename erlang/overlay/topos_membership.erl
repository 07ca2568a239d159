%% @doc Who belongs to the cluster: a set of entries that every node merges in any order and repeats at will.
%%
%% An entry tells of one life of one node that it is alive or has left. Entries of a node are totally ordered: a higher
%% incarnation wins; of one incarnation `left' beats `alive'; of two alike the higher version wins, and the contents
%% decide between entries that no correct node makes. Merging takes the greatest of each node, so it is
%% commutative, associative and idempotent (a join semilattice), and gossip converges whatever the network does.
%%
%% Whether a member answers is no part of it: that is what each node sees for itself.
%%
%% On the wire (`encode/1', `decode/2') entries are terms without atoms; decoding checks everything and makes no atoms.
-module(topos_membership).

-export([new/0, entry/4, left/2, merge/2, merge_entry/2, find/2, entries/1, remove/2, digest/1, encode/1, decode/2]).
-export([is_node_name/1]).
-export_type([t/0, entry/0, name/0]).

-type name() :: binary().
-type entry() :: #{
    name := name(),
    incarnation := topos_incarnation:t(),
    standing := alive | left,
    version := non_neg_integer(),
    addresses := [topos_engine:address()],
    metadata := #{binary() => binary()}
}.
-opaque t() :: #{name() => entry()}.

-define(MAX_ADDRESSES, 16).
-define(MAX_METADATA, 64).
-define(MAX_METADATA_BYTES, 4096).

-spec new() -> t().
new() -> #{}.

%% @doc An entry for a living node, version 0.
-spec entry(name(), topos_incarnation:t(), [topos_engine:address()], #{binary() => binary()}) -> entry().
entry(Name, Incarnation, Addresses, Metadata) ->
    #{
        name => Name, incarnation => Incarnation, standing => alive, version => 0,
        addresses => lists:sublist(Addresses, ?MAX_ADDRESSES), metadata => Metadata
    }.

%% @doc The tombstone of a node's life.
-spec left(name(), topos_incarnation:t()) -> entry().
left(Name, Incarnation) ->
    #{name => Name, incarnation => Incarnation, standing => left, version => 0, addresses => [], metadata => #{}}.

-spec merge(t(), t()) -> t().
merge(A, B) -> maps:fold(fun(_, Entry, Acc) -> element(2, merge_entry(Entry, Acc)) end, A, B).

%% @doc Merges one entry and tells whether that changed anything.
-spec merge_entry(entry(), t()) -> {changed | unchanged, t()}.
merge_entry(#{name := Name} = Entry, Members) ->
    case Members of
        #{Name := Known} ->
            case rank(Entry) > rank(Known) of
                true -> {changed, Members#{Name := Entry}};
                false -> {unchanged, Members}
            end;
        _ ->
            {changed, Members#{Name => Entry}}
    end.

-spec find(name(), t()) -> {ok, entry()} | error.
find(Name, Members) -> maps:find(Name, Members).

%% @doc All entries, by name.
-spec entries(t()) -> [entry()].
entries(Members) -> [Entry || {_, Entry} <- lists:sort(maps:to_list(Members))].

%% @doc Forgets a node. It comes back with any entry of it that is merged later.
-spec remove(name(), t()) -> t().
remove(Name, Members) -> maps:remove(Name, Members).

%% @doc Equal for equal memberships, whatever the order they were merged in.
-spec digest(t()) -> <<_:256>>.
digest(Members) -> crypto:hash(sha256, encode(entries(Members))).

-spec encode([entry()]) -> binary().
encode(Entries) ->
    Terms = [
        {Name, Incarnation, standing(Standing), Version, Addresses, lists:sort(maps:to_list(Metadata))}
     || #{name := Name, incarnation := Incarnation, standing := Standing, version := Version, addresses := Addresses,
          metadata := Metadata} <- Entries
    ],
    term_to_binary(Terms, [{minor_version, 2}, deterministic]).

%% @doc The entries in such a binary, at most `Max'; anything that is not one makes the whole malformed.
-spec decode(binary(), pos_integer()) -> {ok, [entry()]} | {error, malformed}.
decode(<<131, 80, _/binary>>, _Max) ->
    {error, malformed};
decode(Bytes, Max) ->
    try binary_to_term(Bytes, [safe]) of
        Terms when is_list(Terms), length(Terms) =< Max -> decode_all(Terms, []);
        _ -> {error, malformed}
    catch
        error:badarg -> {error, malformed}
    end.

%% @doc Whether bytes can name a node: `Name@Host', at most 255 bytes of printable text.
-spec is_node_name(term()) -> boolean().
is_node_name(Name) when is_binary(Name), byte_size(Name) =< 255 ->
    case binary:split(Name, <<"@">>, [global]) of
        [Local, Host] when Local =/= <<>>, Host =/= <<>> ->
            is_list(unicode:characters_to_list(Name)) andalso nomatch =:= re:run(Name, "[\\x00-\\x20\\x7f]");
        _ ->
            false
    end;
is_node_name(_) ->
    false.

%% internal

%% The term order of these tuples is the order of entries.
-spec rank(entry()) -> tuple().
rank(#{incarnation := Incarnation, standing := Standing, version := Version, addresses := Addresses, metadata := Metadata}) ->
    {Incarnation, standing(Standing), Version, Addresses, lists:sort(maps:to_list(Metadata))}.

-spec standing(alive | left) -> 0 | 1.
standing(alive) -> 0;
standing(left) -> 1.

-spec decode_all([term()], [entry()]) -> {ok, [entry()]} | {error, malformed}.
decode_all([], Acc) ->
    {ok, lists:reverse(Acc)};
decode_all([{Name, Incarnation, Standing, Version, Addresses, Metadata} | Rest], Acc) when
    is_integer(Version), Version >= 0, (Standing =:= 0 orelse Standing =:= 1)
->
    Valid = is_node_name(Name) andalso topos_incarnation:is_valid(Incarnation) andalso addresses(Addresses)
        andalso metadata(Metadata),
    case Valid of
        true ->
            Entry = #{
                name => Name, incarnation => Incarnation, version => Version, addresses => Addresses,
                standing => case Standing of 0 -> alive; 1 -> left end,
                metadata => maps:from_list(Metadata)
            },
            decode_all(Rest, [Entry | Acc]);
        false ->
            {error, malformed}
    end;
decode_all(_, _) ->
    {error, malformed}.

-spec addresses(term()) -> boolean().
addresses(Addresses) ->
    is_short(Addresses, ?MAX_ADDRESSES)
        andalso lists:all(
            fun({Ip, Port}) when is_integer(Port), Port > 0, Port < 65536 -> inet:is_ip_address(Ip);
               (_) -> false
            end, Addresses).

-spec metadata(term()) -> boolean().
metadata(Pairs) ->
    is_short(Pairs, ?MAX_METADATA)
        andalso lists:all(
            fun({Key, Value}) when is_binary(Key), is_binary(Value) -> byte_size(Key) + byte_size(Value) =< ?MAX_METADATA_BYTES;
               (_) -> false
            end, Pairs).

%% A proper list of at most so many elements.
-spec is_short(term(), pos_integer()) -> boolean().
is_short(List, Max) when length(List) =< Max -> true;
is_short(_, _) -> false.
