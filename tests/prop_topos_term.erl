%% Typed terms against the BIFs as oracle: on every value of every type `decode' is what `binary_to_term' is.
-module(prop_topos_term).

-export([prop_round_trip/0, prop_any_term/0, prop_check_agrees_with_decode/0, prop_check_agrees_with_run_time/0,
         prop_damaged_bytes/0]).

-include_lib("proper/include/proper.hrl").

prop_round_trip() ->
    ?FORALL({Shape, Value}, typed(), begin
        {ok, Descriptor} = topos_term:descriptor(Shape),
        {ok, Canonical} = topos_term:encode(Descriptor, Value),
        Theirs = term_to_binary(Value),
        ok =:= topos_term:check(Descriptor, Value) andalso
            {ok, binary_to_term(Theirs)} =:= topos_term:decode(Descriptor, Theirs) andalso
            {ok, Value} =:= topos_term:decode(Descriptor, Canonical) andalso
            Value =:= binary_to_term(Canonical, [safe]) andalso
            {ok, []} =:= topos_term:new_atoms(Theirs, 0)
    end).

%% Any term at all, through the type that takes any.
prop_any_term() ->
    ?FORALL(Term, proper_types:any(), begin
        {ok, Any} = topos_term:descriptor(any),
        {ok, Canonical} = topos_term:encode(Any, Term),
        {ok, Term} =:= topos_term:decode(Any, term_to_binary(Term)) andalso
            {ok, Term} =:= topos_term:decode(Any, Canonical) andalso
            Term =:= binary_to_term(Canonical)
    end).

%% The same answer for a term and for its bytes, whatever the type.
prop_check_agrees_with_decode() ->
    ?FORALL({{Shape, _}, {_, Value}}, {typed(), typed()}, begin
        {ok, Descriptor} = topos_term:descriptor(Shape),
        case {topos_term:check(Descriptor, Value), topos_term:decode(Descriptor, term_to_binary(Value))} of
            {ok, {ok, Value}} -> true;
            {{error, {type_mismatch, _}}, {error, {type_mismatch, _}}} -> true;
            _ -> false
        end
    end).

%% Compiled programs check what comes from Erlang with a checker in Erlang: the two mean the same by a shape.
prop_check_agrees_with_run_time() ->
    ?FORALL({{Shape, Own}, {_, Other}}, {typed(), typed()}, begin
        {ok, Descriptor} = topos_term:descriptor(Shape),
        Agree = fun(Value) -> (topos_term:check(Descriptor, Value) =:= ok) =:= passes_run_time(Shape, Value) end,
        Agree(Own) andalso Agree(Other)
    end).

passes_run_time(Shape, Value) ->
    try topos_rt:check(Shape, Value, <<"value">>) of
        Value -> true
    catch
        error:{type_mismatch, _} -> false
    end.

%% Damaged bytes: a value of the type that the BIF reads as the same, or an error; no atom is made.
prop_damaged_bytes() ->
    ?FORALL({{Shape, Value}, Changes}, {typed(), list({non_neg_integer(), byte(), oneof([set, cut, add])})}, begin
        {ok, Descriptor} = topos_term:descriptor(Shape),
        {ok, Any} = topos_term:descriptor(any),
        Bytes = lists:foldl(fun damage/2, term_to_binary(Value), Changes),
        Atoms = erlang:system_info(atom_count),
        Decoded = topos_term:decode(Descriptor, Bytes),
        Untyped = topos_term:decode(Any, Bytes),
        _ = topos_term:new_atoms(Bytes, 5),
        Atoms =:= erlang:system_info(atom_count) andalso
            same_as_bif(Decoded, Bytes) andalso same_as_bif(Untyped, Bytes)
    end).

same_as_bif({error, {Reason, _}}, _) -> lists:member(Reason, [type_mismatch, malformed_term, too_many_atoms]);
same_as_bif({ok, Term}, Bytes) -> Term =:= binary_to_term(Bytes).

damage({_, _, _}, <<>>) -> <<>>;
damage({At, Byte, How}, Bytes) ->
    Index = At rem byte_size(Bytes),
    <<Before:Index/binary, Old, After/binary>> = Bytes,
    case How of
        set -> <<Before/binary, Byte, After/binary>>;
        cut -> Before;
        add -> <<Before/binary, Byte, Old, After/binary>>
    end.

%% Larger values of the types that the VM reads by itself.
plain() ->
    ?LET(Count, range(0, 40), oneof([
        ?LET(Ns, vector(Count, ?LET({N, Shift}, {integer(), range(0, 64)}, N bsl Shift)), {{list, int}, Ns}),
        ?LET(Fs, vector(Count, float()), {{list, float}, Fs}),
        ?LET(Ts, vector(Count, text()), {{list, text}, Ts}),
        ?LET(Pairs, vector(Count, {text(), integer()}), {{map, text, int}, maps:from_list(Pairs)}),
        ?LET(Pairs, vector(Count, {integer(), float()}), {{list, {tuple, [int, float]}}, Pairs}),
        ?LET(Lists, vector(Count, list(byte())), {{list, {list, int}}, Lists})
    ])).

%% A shape and a value of it.
typed() -> ?SIZED(Size, typed(min(Size, 24))).

typed(Size) when Size < 2 ->
    oneof([
        ?LET(N, integer(), {int, N}),
        ?LET({N, Shift}, {integer(), range(0, 90)}, {int, N bsl Shift}),
        ?LET(F, float(), {float, F}),
        ?LET(T, text(), {text, T}),
        ?LET(B, boolean(), {bool, B}),
        {unit, ok},
        ?LET(A, oneof([a, ok, true, 'é', 'ž', '']), {atom, A}),
        {pid, ?LAZY(self())}
    ]);
typed(Size) ->
    Inner = ?LAZY(typed(Size div 3)),
    oneof([
        typed(0),
        ?LET({{Shape, Value}, N}, {Inner, range(0, 4)}, {{list, Shape}, lists:duplicate(N, Value)}),
        ?LET(Bytes, list(byte()), {{list, int}, Bytes}),
        plain(),
        ?LET(Parts, short(Inner), begin
            {Shapes, Values} = lists:unzip(Parts),
            {{tuple, Shapes}, list_to_tuple(Values)}
        end),
        ?LET(Parts, short(Inner), begin
            Named = lists:zip(lists:sublist([name, age, b, 'ž', zz], length(Parts)), Parts),
            {{record, [{Name, Shape} || {Name, {Shape, _}} <- Named]},
             maps:from_list([{Name, Value} || {Name, {_, Value}} <- Named])}
        end),
        ?LET({{Shape, Value}, Keys}, {Inner, list(text())},
             {{map, text, Shape}, maps:from_list([{Key, Value} || Key <- Keys])}),
        ?LET({{Shape, Value}, Fields}, {Inner, range(0, 2)}, begin
            Variant = {variant, [{none, []}, {it, [Shape]}, {it, [Shape, Shape]}, {other, [any]}]},
            {Variant, lists:nth(Fields + 1, [none, {it, Value}, {it, Value, Value}])}
        end)
    ]).

short(Inner) -> ?LET(N, range(0, 5), vector(N, Inner)).

text() -> ?LET(Chars, list(oneof([range($a, $z), range(16#80, 16#7FF), range(16#1F600, 16#1F64F)])),
               unicode:characters_to_binary(Chars)).
