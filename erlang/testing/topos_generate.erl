%% @doc Values of a type, from its descriptor: random ones, and smaller ones to replace one that fails (QuickCheck: Claessen and
%% Hughes, ICFP 2000; shrinking towards the first failing candidate, greedily).
-module(topos_generate).

-export([value/3, smaller/2]).

-type scope() :: #{binary() => topos_rt:descriptor()}.
%% Integers are about that large at most, lists about that long.
-type size() :: non_neg_integer().

%% Candidates for one value, and for one part of it; more would make a step of shrinking slow.
-define(MAX_CANDIDATES, 1000).
-define(MAX_OF_PART, 12).

%% @doc A random value of about that size. Fails with `{topos_test, no_value}' for a type without finite values.
-spec value(topos_rt:descriptor(), size(), rand:state()) -> {term(), rand:state()}.
value(Descriptor, Size, Random) -> value(Descriptor, Size, #{}, Random).

%% @doc Values of the type that are smaller, the smallest first. A value without any is as small as it can be.
-spec smaller(topos_rt:descriptor(), term()) -> [term()].
smaller(Descriptor, Value) -> lists:sublist(smaller(Descriptor, Value, #{}), ?MAX_CANDIDATES).

%% internal

-spec value(topos_rt:descriptor(), size(), scope(), rand:state()) -> {term(), rand:state()}.
value(int, Size, _, R) ->
    %% Now and then a large one: bignums are integers too.
    case uniform(50, R) of
        {1, R1} -> between(-(1 bsl 70), 1 bsl 70, R1);
        {_, R1} -> between(-Size, Size, R1)
    end;
value(float, Size, _, R) ->
    {N, R1} = between(-Size * 1000, Size * 1000, R),
    {N / 1000, R1};
value(text, Size, _, R) ->
    {Chars, R1} = many(fun character/1, Size, R),
    {unicode:characters_to_binary(Chars), R1};
value(bool, _, _, R) ->
    {N, R1} = uniform(2, R),
    {N =:= 1, R1};
value(unit, _, _, R) ->
    {ok, R};
value({list, Element}, Size, Scope, R) ->
    many(fun(R1) -> value(Element, Size div 2, Scope, R1) end, Size, R);
value({tuple, Elements}, Size, Scope, R) ->
    {Values, R1} = values(Elements, Size, Scope, R),
    {list_to_tuple(Values), R1};
value({map, Key, Value}, Size, Scope, R) ->
    {Pairs, R1} = value({list, {tuple, [Key, Value]}}, Size, Scope, R),
    {maps:from_list(Pairs), R1};
value({record, Fields}, Size, Scope, R) ->
    {Names, Descriptors} = lists:unzip(Fields),
    {Values, R1} = values(Descriptors, Size, Scope, R),
    {maps:from_list(lists:zip(Names, Values)), R1};
value({variant, Constructors}, Size, Scope, R) ->
    case [C || {_, Fields} = C <- Constructors, Size > 0 orelse not lists:any(fun recurs/1, Fields)] of
        [] ->
            error({topos_test, no_value});
        Possible ->
            {{Constructor, Fields}, R1} = pick(Possible, R),
            {Values, R2} = values(Fields, Size, Scope, R1),
            {construct(Constructor, Values), R2}
    end;
value({recursive, Name, Inner} = Whole, Size, Scope, R) ->
    value(Inner, Size, Scope#{Name => Whole}, R);
value({reference, Name}, Size, Scope, R) ->
    value(maps:get(Name, Scope), Size div 2, Scope, R).

-spec values([topos_rt:descriptor()], size(), scope(), rand:state()) -> {[term()], rand:state()}.
values(Descriptors, Size, Scope, R) ->
    lists:mapfoldl(fun(D, R1) -> value(D, Size, Scope, R1) end, R, Descriptors).

-spec many(fun((rand:state()) -> {term(), rand:state()}), size(), rand:state()) -> {[term()], rand:state()}.
many(Make, Size, R) ->
    {Length, R1} = between(0, Size, R),
    lists:mapfoldl(fun(_, R2) -> Make(R2) end, R1, lists:seq(1, Length)).

%% Mostly printable ASCII; sometimes a letter of two, three or four bytes.
-spec character(rand:state()) -> {char(), rand:state()}.
character(R) ->
    case uniform(20, R) of
        {1, R1} -> pick([16#E9, 16#DF, 16#20AC, 16#65E5, 16#1F600, $\n, $\t, $", $\\], R1);
        {_, R1} -> between($\s, $~, R1)
    end.

%% Whether a value of it always holds another one of the type around it: a list may be empty.
-spec recurs(topos_rt:descriptor()) -> boolean().
recurs({reference, _}) -> true;
recurs({tuple, Elements}) -> lists:any(fun recurs/1, Elements);
recurs({record, Fields}) -> lists:any(fun({_, D}) -> recurs(D) end, Fields);
recurs({recursive, _, Inner}) -> recurs(Inner);
recurs({variant, Cs}) -> lists:all(fun({_, Fields}) -> lists:any(fun recurs/1, Fields) end, Cs);
recurs(_) -> false.

-spec construct(atom(), [term()]) -> term().
construct(Constructor, []) -> Constructor;
construct(Constructor, Values) -> list_to_tuple([Constructor | Values]).

-spec smaller(topos_rt:descriptor(), term(), scope()) -> [term()].
smaller(int, 0, _) ->
    [];
smaller(int, N, _) ->
    lists:usort(fun(A, B) -> {abs(A), A < 0} =< {abs(B), B < 0} end,
                [0] ++ [-N || N < 0] ++ [N - N div D || D <- [2, 4, 8]] ++ [N - sign(N)]) -- [N];
smaller(float, F, _) ->
    [S || S <- [0.0, float(trunc(F))], abs(S) < abs(F)];
smaller(text, Text, _) ->
    [unicode:characters_to_binary(Chars)
     || Chars <- fewer(unicode:characters_to_list(Text), fun(C) -> [$a || C =/= $a] end)];
smaller(bool, Value, _) ->
    [false || Value];
smaller(unit, _, _) ->
    [];
smaller({list, Element}, List, Scope) ->
    fewer(List, fun(E) -> of_part(Element, E, Scope) end);
smaller({tuple, Elements}, Tuple, Scope) ->
    [list_to_tuple(Values) || Values <- each(Elements, tuple_to_list(Tuple), Scope)];
smaller({map, Key, Value}, Map, Scope) ->
    [maps:from_list(Pairs) || Pairs <- smaller({list, {tuple, [Key, Value]}}, maps:to_list(Map), Scope)];
smaller({record, Fields}, Record, Scope) ->
    {Names, Descriptors} = lists:unzip(Fields),
    Values = [maps:get(Name, Record) || Name <- Names],
    [maps:from_list(lists:zip(Names, Smaller)) || Smaller <- each(Descriptors, Values, Scope)];
smaller({variant, Constructors}, Value, Scope) ->
    {Constructor, Values} = taken(Value),
    {Constructor, Fields} = lists:keyfind(Constructor, 1, Constructors),
    %% A constant one that stands before it, a part of the same type, then the same with smaller fields.
    Before = lists:takewhile(fun({C, _}) -> C =/= Constructor end, Constructors),
    Constants = [C || {C, []} <- Before],
    Parts = [V || {{reference, Name}, V} <- lists:zip(Fields, Values), is_map_key(Name, Scope)],
    Constants ++ Parts ++ [construct(Constructor, Smaller) || Smaller <- each(Fields, Values, Scope)];
smaller({recursive, Name, Inner} = Whole, Value, Scope) ->
    smaller(Inner, Value, Scope#{Name => Whole});
smaller({reference, Name}, Value, Scope) ->
    smaller(maps:get(Name, Scope), Value, Scope).

-spec taken(atom() | tuple()) -> {atom(), [term()]}.
taken(Constructor) when is_atom(Constructor) -> {Constructor, []};
taken(Value) -> {element(1, Value), tl(tuple_to_list(Value))}.

%% One of the values made smaller.
-spec each([topos_rt:descriptor()], [term()], scope()) -> [[term()]].
each(Descriptors, Values, Scope) ->
    Count = length(Values),
    [lists:sublist(Values, I - 1) ++ [S] ++ lists:nthtail(I, Values)
     || {I, D, V} <- lists:zip3(lists:seq(1, Count), Descriptors, Values), S <- of_part(D, V, Scope)].

-spec of_part(topos_rt:descriptor(), term(), scope()) -> [term()].
of_part(D, V, Scope) -> lists:sublist(smaller(D, V, Scope), ?MAX_OF_PART).

%% Without all, a half, a quarter .., one element; then with one element made smaller.
-spec fewer([term()], fun((term()) -> [term()])) -> [[term()]].
fewer([], _) -> [];
fewer(List, Smaller) ->
    Length = length(List),
    Chunks = chunks(Length),
    [lists:sublist(List, From) ++ lists:nthtail(min(Length, From + Chunk), List)
     || Chunk <- Chunks, From <- lists:seq(0, Length - 1, Chunk)]
        ++ [lists:sublist(List, I - 1) ++ [S] ++ lists:nthtail(I, List)
            || {I, E} <- lists:zip(lists:seq(1, Length), List), S <- Smaller(E)].

-spec chunks(non_neg_integer()) -> [pos_integer()].
chunks(0) -> [];
chunks(N) -> [N | chunks(N div 2)].

-spec sign(integer()) -> -1 | 1.
sign(N) when N < 0 -> -1;
sign(_) -> 1.

-spec pick([Item, ...], rand:state()) -> {Item, rand:state()}.
pick(Items, R) ->
    {N, R1} = uniform(length(Items), R),
    {lists:nth(N, Items), R1}.

-spec between(integer(), integer(), rand:state()) -> {integer(), rand:state()}.
between(First, Last, R) ->
    {N, R1} = uniform(Last - First + 1, R),
    {First + N - 1, R1}.

-spec uniform(pos_integer(), rand:state()) -> {pos_integer(), rand:state()}.
uniform(N, R) -> rand:uniform_s(N, R).
