%% Typed terms in the VM: its own terms, atoms, identifiers and schedulers. The laws are in Rust and in prop_topos_term.
-module(topos_term_tests).

-include_lib("eunit/include/eunit.hrl").

user() -> {record, [{name, text}, {age, int}]}.
users() -> {record, [{users, {list, user()}}]}.

what_a_check_says_test() ->
    Users = compiled(users()),
    Ada = #{name => <<"Ada">>, age => 36},
    ?assertEqual(ok, topos_term:check(Users, #{users => [Ada, Ada]})),
    {error, Error} = topos_term:check(Users, #{users => [Ada, Ada, Ada, Ada#{age := <<"old">>}]}),
    ?assertEqual(
        <<"error[TP1021]: at .users[3].age: expected Int, got the text \"old\"\n"
          "  help: the value does not have the type its receiver declares">>,
        unicode:characters_to_binary(topos_error:format(Error))
    ).

%% {Shape, terms of it, terms that are not}.
types() ->
    Pid = self(),
    Big = 1 bsl 100,
    Tree = {recursive, tree, {variant, [{leaf, []}, {node, [{reference, tree}, {reference, tree}]}]}},
    [
        {any, [1, Pid, fun() -> ok end, [a | b], <<1:3>>, #{[] => {}}, Big], []},
        {int, [0, -1, 255, 256, 1 bsl 31, 1 bsl 59, 1 bsl 63, -(1 bsl 63), 1 bsl 64, Big, -Big], [1.0, a, <<"1">>]},
        {float, [0.0, -1.5, 1.0e308], [1, a]},
        {text, [<<>>, <<"text"/utf8>>, <<"žluť"/utf8>>, binary:copy(<<"x">>, 100)], ["text", <<255>>, <<1:3>>, a]},
        {bool, [true, false], [ok, 1, <<"true">>]},
        {unit, [ok], [true, {}, undefined]},
        {atom, [ok, node(), 'é', 'ž'], [<<"ok">>, 1]},
        {pid, [Pid], [make_ref(), a]},
        {function, [fun lists:map/2, fun(X) -> X end], [a, {lists, map, 2}]},
        {{list, int}, [[], [1, 2], lists:seq(1, 300)], [[a], [1 | 2], a]},
        {{list, bool}, [[true]], [[1], "text"]},
        {{tuple, []}, [{}], [{1}, ok]},
        {{tuple, [int, text]}, [{1, <<"a">>}], [{1}, {<<"a">>, 1}, [1, <<"a">>]]},
        {{tuple, lists:duplicate(300, unit)}, [list_to_tuple(lists:duplicate(300, ok))], [{ok}]},
        {{map, text, int}, [#{}, #{<<"a">> => 1}, many(100)], [#{a => 1}, #{<<"a">> => a}, []]},
        {user(), [#{name => <<"a">>, age => 1}], [#{name => <<"a">>}, #{name => <<"a">>, age => 1, x => 1}, #{}]},
        {{record, []}, [#{}], [#{a => 1}]},
        {{variant, [{none, []}, {some, [int]}, {some, [int, int]}, {'ž', []}]},
         [none, {some, 1}, {some, 1, 2}, 'ž'], [some, {none}, {some}, {some, a}, {some, 1, 2, 3}, other]},
        {Tree, [leaf, {node, leaf, {node, leaf, leaf}}], [{node, leaf}, {node, leaf, other}]}
    ].

many(N) -> maps:from_list([{integer_to_binary(I), I} || I <- lists:seq(1, N)]).

every_type_checks_encodes_and_decodes_test_() ->
    [{lists:flatten(io_lib:format("~0p", [element(1, Type)])), fun() -> round_trips(Type) end} || Type <- types()].

round_trips({Shape, Terms, Others}) ->
    Descriptor = compiled(Shape),
    [
        begin
            ?assertEqual(ok, topos_term:check(Descriptor, Term)),
            {ok, Bytes} = topos_term:encode(Descriptor, Term),
            ?assertEqual(Term, binary_to_term(Bytes)),
            ?assertEqual({ok, Term}, topos_term:decode(Descriptor, Bytes)),
            ?assertEqual({ok, Term}, topos_term:decode(Descriptor, term_to_binary(Term)))
        end
     || Term <- Terms
    ],
    [
        begin
            {error, {type_mismatch, Details}} = topos_term:check(Descriptor, Term),
            ?assertMatch(#{path := <<_, _/binary>>, expected := <<_, _/binary>>, got := <<_, _/binary>>}, Details),
            ?assertEqual({error, {type_mismatch, Details}}, topos_term:encode(Descriptor, Term)),
            ?assertMatch({error, {type_mismatch, _}}, topos_term:decode(Descriptor, term_to_binary(Term)))
        end
     || Term <- Others
    ].

equal_maps_have_equal_bytes_test() ->
    Names = [list_to_atom("field_" ++ integer_to_list(N)) || N <- lists:seq(1, 40)],
    Descriptor = compiled({tuple, [{record, [{Name, int} || Name <- Names]}, any]}),
    Up = lists:foldl(fun(Name, Map) -> Map#{Name => 1} end, #{}, Names),
    Down = lists:foldr(fun(Name, Map) -> Map#{Name => 1} end, #{}, Names),
    ?assertEqual(topos_term:encode(Descriptor, {Up, Down}), topos_term:encode(Descriptor, {Down, Up})).

bytes_of_a_peer_make_no_atoms_test() ->
    Name = unique_name(),
    Bytes = fun(Text) -> <<131, 119, (byte_size(Text)), Text/binary>> end,
    [
        ?assertMatch({error, {too_many_atoms, #{limit := 0}}}, topos_term:decode(compiled(Shape), Bytes(Name)))
     || Shape <- [atom, any]
    ],
    ?assertMatch({error, {type_mismatch, _}}, topos_term:decode(compiled({variant, [{none, []}]}), Bytes(Name))),
    ?assertEqual({ok, [Name]}, topos_term:new_atoms(Bytes(Name), 10)),
    ?assertError(badarg, binary_to_existing_atom(Name)),
    {ok, Atom} = topos_term:decode(compiled(atom), Bytes(Name), #{max_new_atoms => 1}),
    ?assertEqual(Name, atom_to_binary(Atom)),
    ?assertEqual({ok, []}, topos_term:new_atoms(Bytes(Name), 0)),
    Wide = <<(unique_name())/binary, "ž"/utf8>>,
    ?assertMatch({error, {too_many_atoms, _}}, topos_term:decode(compiled(any), Bytes(Wide))),
    ?assertEqual({ok, [Wide]}, topos_term:new_atoms(Bytes(Wide), 1)),
    {ok, [WideAtom]} = topos_term:decode(
        compiled(any), <<131, 108, 1:32, (binary:part(Bytes(Wide), 1, byte_size(Wide) + 2))/binary, 106>>,
        #{max_new_atoms => 1}
    ),
    ?assertEqual(Wide, atom_to_binary(WideAtom)).

%% Within `any' too, where the VM reads the bytes: a pid and a function name a node and a module.
names_inside_identifiers_count_test() ->
    Name = unique_name(),
    Pid = <<131, 88, 119, (byte_size(Name)), Name/binary, 1:32, 0:32, 1:32>>,
    ?assertMatch({error, {too_many_atoms, _}}, topos_term:decode(compiled(pid), Pid)),
    ?assertEqual({ok, [Name]}, topos_term:new_atoms(Pid, 5)),
    {ok, Made} = topos_term:decode(compiled(pid), Pid, #{max_new_atoms => 1}),
    ?assertEqual(Name, atom_to_binary(node(Made))).

new_atoms_counts_each_once_test() ->
    [A, B] = [unique_name(), unique_name()],
    Atom = fun(Text) -> <<119, (byte_size(Text)), Text/binary>> end,
    Bytes = <<131, 104, 4, (Atom(A))/binary, (Atom(B))/binary, (Atom(A))/binary, (Atom(<<"ok">>))/binary>>,
    ?assertEqual({ok, [A, B]}, topos_term:new_atoms(Bytes, 2)),
    ?assertMatch({error, {too_many_atoms, #{limit := 1}}}, topos_term:new_atoms(Bytes, 1)),
    ?assertMatch({error, {malformed_term, #{why := _, offset := _}}}, topos_term:new_atoms(<<Bytes/binary, 1>>, 9)),
    ?assertMatch({error, {malformed_term, _}}, topos_term:new_atoms(term_to_binary(lists:seq(1, 999), [compressed]), 9)).

%% Whatever a term is, `new_atoms' passes over it: the atoms of this VM are known to it.
new_atoms_knows_every_kind_of_term_test() ->
    Terms = lists:append([Terms || {_, Terms, _} <- types()]) ++ [make_ref(), hd(erlang:ports()), "string"],
    [?assertEqual({ok, []}, topos_term:new_atoms(term_to_binary(Term), 0)) || Term <- Terms].

%% In a process that may not grow: nothing is allocated for the numbers in the bytes.
hostile_bytes_are_cheap_errors_test() ->
    Shapes = [any, int, text, atom, {list, any}, {list, int}, {map, any, any}, {tuple, [any]}, {record, [{a, int}]}],
    Messages = [
        <<131, 108, 255, 255, 255, 255>>,
        <<131, 105, 255, 255, 255, 255>>,
        <<131, 116, 255, 255, 255, 255>>,
        <<131, 109, 255, 255, 255, 255>>,
        <<131, 111, 255, 255, 255, 255, 0>>,
        <<131, 107, 255, 255>>,
        <<131, 80, 255, 255, 255, 255, 120, 156, 75, 100, 4, 0, 0, 98, 0, 98>>,
        <<131, (binary:copy(<<104, 1>>, 100_000))/binary, 106>>,
        <<>>
    ],
    {Pid, Monitor} = spawn_opt(
        fun() ->
            [
                {error, _} = topos_term:decode(compiled(Shape), Bytes, #{max_depth => 1000})
             || Shape <- Shapes, Bytes <- Messages, not deep_any(Shape, Bytes)
            ],
            exit(done)
        end,
        [monitor, {max_heap_size, 100_000}]
    ),
    receive
        {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(done, Reason)
    end.

%% A hundred thousand tuples around nothing are a term, where any term will do.
deep_any(Shape, Bytes) -> lists:member(Shape, [any, {tuple, [any]}]) andalso byte_size(Bytes) > 1000.

large_terms_take_the_dirty_way_test() ->
    Descriptor = compiled({list, user()}),
    Large = [#{name => integer_to_binary(N), age => N} || N <- lists:seq(1, 50_000)],
    ?assertEqual(ok, topos_term:check(Descriptor, Large)),
    {ok, Bytes} = topos_term:encode(Descriptor, Large),
    ?assertEqual({ok, Large}, topos_term:decode(Descriptor, Bytes)),
    ?assertEqual({ok, []}, topos_term:new_atoms(Bytes, 0)),
    ?assertMatch(
        {error, {type_mismatch, #{path := <<"[50000]">>}}}, topos_term:check(Descriptor, Large ++ [end_of_list])
    ),
    ?assertEqual(dirty, topos_nif:term_check(Descriptor, Large, 100)).

descriptors_that_are_none_test_() ->
    [
        {lists:flatten(io_lib:format("~0p", [Shape])),
         ?_assertMatch({error, {invalid_descriptor, #{why := <<_, _/binary>>}}}, topos_term:descriptor(Shape))}
     || Shape <- [
            integer, 1, {list}, {list, integer}, {record, [{1, int}]}, {record, [{a, int}, {a, int}]}, {variant, [a]},
            {variant, [{a, []} | b]}, {reference, x}, {recursive, x, {reference, x}}, {tuple, [int | int]}, [],
            lists:foldl(fun(_, Inner) -> {list, Inner} end, int, lists:seq(1, 200))
        ]
    ].

what_is_no_descriptor_is_a_badarg_test() ->
    ?assertError(badarg, topos_term:check(make_ref(), 1)),
    ?assertError(badarg, topos_term:decode(compiled(int), not_bytes)).

%% internal

compiled(Shape) ->
    {ok, Descriptor} = topos_term:descriptor(Shape),
    Descriptor.

%% A name that no atom of this VM has: as text, so that this module does not make it one.
unique_name() ->
    <<"topos_new_", (integer_to_binary(erlang:unique_integer([positive])))/binary, "_",
      (integer_to_binary(erlang:system_time()))/binary>>.

%% A text that is most of its bytes is a view of them; one that is not is copied, so that it keeps nothing else alive.
large_texts_share_their_bytes_test() ->
    {ok, Two} = topos_term:descriptor({tuple, [text, text]}),
    Bytes = term_to_binary({binary:copy(<<"a">>, 5_000), binary:copy(<<"b">>, 20_000)}),
    {ok, {Small, Large}} = topos_term:decode(Two, Bytes),
    ?assertEqual({5_000, 20_000}, {byte_size(Small), byte_size(Large)}),
    ?assertEqual(5_000, binary:referenced_byte_size(Small)),
    ?assertEqual(byte_size(Bytes), binary:referenced_byte_size(Large)),
    ?assertEqual(binary:copy(<<"b">>, 20_000), Large).
