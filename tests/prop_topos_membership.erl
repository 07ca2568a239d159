%% Membership is a join semilattice, and its wire form loses nothing.
-module(prop_topos_membership).

-include_lib("proper/include/proper.hrl").

-export([prop_commutative/0, prop_associative/0, prop_idempotent/0, prop_order_does_not_matter/0, prop_left_beats_alive/0,
         prop_wire_round_trip/0, prop_decode_survives_anything/0]).

name() -> oneof([<<"a@h">>, <<"b@h">>, <<"c@h">>]).

entry() ->
    ?LET({Name, Incarnation, Standing, Version, Addresses, Metadata},
         {name(), range(1, 4), oneof([alive, left]), range(0, 2), resize(2, list(address())), resize(2, list({key(), key()}))},
         #{name => Name, incarnation => Incarnation, standing => Standing, version => Version, addresses => Addresses,
           metadata => maps:from_list(Metadata)}).

address() -> {oneof([{127, 0, 0, 1}, {10, 0, 0, 2}, {0, 0, 0, 0, 0, 0, 0, 1}]), range(1, 65535)}.

key() -> oneof([<<>>, <<"k">>, <<"rack">>]).

members() -> ?LET(Entries, list(entry()), of_entries(Entries)).

of_entries(Entries) ->
    lists:foldl(fun(E, M) -> element(2, topos_membership:merge_entry(E, M)) end, topos_membership:new(), Entries).

same(A, B) -> topos_membership:digest(A) =:= topos_membership:digest(B) andalso
                  topos_membership:entries(A) =:= topos_membership:entries(B).

prop_commutative() ->
    ?FORALL({A, B}, {members(), members()}, same(topos_membership:merge(A, B), topos_membership:merge(B, A))).

prop_associative() ->
    ?FORALL({A, B, C}, {members(), members(), members()},
            same(topos_membership:merge(A, topos_membership:merge(B, C)),
                 topos_membership:merge(topos_membership:merge(A, B), C))).

prop_idempotent() ->
    ?FORALL(A, members(), same(topos_membership:merge(A, A), A)).

prop_order_does_not_matter() ->
    ?FORALL(Entries, list(entry()),
            ?FORALL(Shuffled, shuffled(Entries), same(of_entries(Entries), of_entries(Shuffled ++ Entries)))).

shuffled(List) ->
    ?LET(Keys, vector(length(List), integer()), [E || {_, E} <- lists:sort(lists:zip(Keys, List))]).

%% Whatever else is told of that life of a node, once it left it stays so until it lives again.
prop_left_beats_alive() ->
    ?FORALL({Incarnation, Entries}, {range(1, 4), list(entry())},
            begin
                Told = [topos_membership:left(<<"a@h">>, Incarnation) | [E || #{incarnation := I} = E <- Entries, I =< Incarnation]],
                {ok, #{incarnation := I, standing := S}} = topos_membership:find(<<"a@h">>, of_entries(Told)),
                I =:= Incarnation andalso S =:= left
            end).

prop_wire_round_trip() ->
    ?FORALL(Members, members(),
            begin
                Entries = topos_membership:entries(Members),
                {ok, Entries} =:= topos_membership:decode(topos_membership:encode(Entries), 100)
            end).

prop_decode_survives_anything() ->
    ?FORALL({Bytes, At, Byte}, {oneof([binary(), ?LET(M, members(), topos_membership:encode(topos_membership:entries(M)))]),
                                non_neg_integer(), byte()},
            case topos_membership:decode(mutate(Bytes, At, Byte), 100) of
                {ok, Entries} -> lists:all(fun(#{name := N}) -> topos_membership:is_node_name(N) end, Entries);
                {error, malformed} -> true
            end).

mutate(<<>>, _, _) -> <<>>;
mutate(Bytes, At, Byte) ->
    Place = At rem byte_size(Bytes),
    <<Before:Place/binary, _, After/binary>> = Bytes,
    <<Before/binary, Byte, After/binary>>.
