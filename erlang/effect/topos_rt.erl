%% @doc What the code of compiled flows calls: application of function values, checks at the border, text of values.
%%
%% A function value of `n' parameters is a fun of `max(n, 1) + 1' arguments, the evidence last (see `topos_effect').
-module(topos_rt).

-export([apply/3, capture/2, tied/1, check/3, fits/2, show/1, same/1, format_error/3]).
-export([leavable/1, leave/2, no_element/1, no_handler/1, attempt/2]).
-export_type([descriptor/0]).

-compile({no_auto_import, [apply/3]}).

%% What a value must look like. Atoms of a record and of a variant are those of the run-time representation.
-type descriptor() ::
    any | int | float | text | bool | unit | atom | pid | function
    | {list, descriptor()}
    | {tuple, [descriptor()]}
    | {map, descriptor(), descriptor()}
    | {record, [{atom(), descriptor()}]}
    | {variant, [{atom(), [descriptor()]}]}
    | {recursive, Name :: binary(), descriptor()}
    | {reference, Name :: binary()}.
%% A value of the type `Failure' of the prelude.
-type failure() :: #{code := binary(), reason := binary(), message := binary(), help := binary()}.
%% The recursive descriptors around the one that is looked at.
-type scope() :: #{binary() => descriptor()}.
%% From the innermost step outwards.
-type path() :: [iodata()].

%% A partial application that lacks more arguments than this is refused: Erlang has no way to make a fun of an arity that
%% is not written somewhere.
-define(MAX_MISSING, 16).
-define(TIED, '$topos_tied').

%% @doc Applies a function value to one argument or more. Fewer than it has parameters make a function value of the rest;
%% with more, its result is applied to the rest.
-spec apply(function(), [term(), ...], topos_effect:evidence()) -> term().
apply(Fun, Args, Ev) ->
    {arity, Arity} = erlang:fun_info(Fun, arity),
    case length(Args) + 1 of
        Arity ->
            erlang:apply(Fun, Args ++ [Ev]);
        Given when Given < Arity ->
            partial(Fun, Args, Arity - Given);
        _ ->
            {Now, Later} = lists:split(Arity - 1, Args),
            apply(erlang:apply(Fun, Now ++ [Ev]), Later, Ev)
    end.

%% @doc Ties a function value to the evidence of the place where it was handed to an effect operation: whoever calls it,
%% from whatever process, its own effects are handled by what was in force there. Evidence of the caller is used for
%% effects that were not. What is not a function is returned as it is.
-spec capture(term(), topos_effect:evidence()) -> term().
capture(Fun, Ev) when is_function(Fun) ->
    {arity, Arity} = erlang:fun_info(Fun, arity),
    tie(Arity, {?TIED, Fun, Ev});
capture(Value, _Ev) ->
    Value.

%% @doc The function and the evidence in what a function captured that {@link capture/2} has tied.
-spec tied(term()) -> {tied, function(), topos_effect:evidence()} | none.
tied({?TIED, Fun, Ev}) -> {tied, Fun, Ev};
tied(_) -> none.

%% @doc Runs a body that {@link leave/2} may leave, with the label that it needs.
-spec leavable(fun((reference()) -> Result)) -> Result.
leavable(Body) ->
    Label = make_ref(),
    try
        Body(Label)
    catch
        throw:{'$topos_leave', Label, Value} -> Value
    end.

%% @doc Leaves the body of that label, which then has this value.
-spec leave(reference(), term()) -> no_return().
leave(Label, Value) -> throw({'$topos_leave', Label, Value}).

%% @doc Answers the value if it looks as described. Otherwise the error is a `type_mismatch' whose path begins with `What',
%% the border that the value crossed: `extern Shop.find = "shop:find".items[3].price'.
-spec check(descriptor(), Value, What :: binary()) -> Value when Value :: term().
check(Descriptor, Value, What) ->
    ok = check(Descriptor, Value, [What], #{}),
    Value.

%% @doc Whether the value looks as described.
-spec fits(descriptor(), term()) -> boolean().
fits(Descriptor, Value) ->
    try check(Descriptor, Value, [], #{}) of
        ok -> true
    catch
        error:{type_mismatch, _} -> false
    end.

%% @doc The value itself, under another Topos type: a Duration is the integer of its milliseconds.
-spec same(Value) -> Value when Value :: term().
same(Value) -> Value.

%% @doc The value of `Body', or, if it fails, what `Caught' makes of the failure, a `Topos.Prelude.Failure', and a fun that fails
%% again in the same way. Throws are not failures: `abort' and `return' pass, and so does an exit.
%% The fun that fails again has no other way to end, which Dialyzer takes for a mistake.
-dialyzer({nowarn_function, attempt/2}).
-spec attempt(fun(() -> Result), fun((failure(), fun(() -> no_return())) -> Result)) -> Result.
attempt(Body, Caught) ->
    try
        Body()
    catch
        error:Reason:Stack -> Caught(failure(Reason), fun() -> erlang:raise(error, Reason, Stack) end)
    end.

%% @doc Ends the process: a list was assigned at an index that it does not have.
-spec no_element(integer()) -> no_return().
no_element(Index) -> erlang:error(topos_error:new(no_element, #{index => Index})).

%% @doc The error of an operation performed with evidence that has no handler of its effect. A flow never does so to another
%% one; Erlang code that calls a flow with evidence of its own may. The flow raises it, to be in the stack trace.
-spec no_handler(topos_effect:effect()) -> topos_error:t().
no_handler(Effect) -> topos_error:new(no_handler, #{effect => Effect}).

%% @doc The text of a value, as f-strings show it: a Text as it is, inside of something else in quotes, everything else as
%% Topos would write it. The run-time representation does not tell all types apart: `{ok, 1}' is shown `Ok(1)', and
%% could be the tuple `((), 1)'.
-spec show(term()) -> binary().
show(Value) when is_binary(Value) ->
    case is_text(Value) of
        true -> Value;
        false -> unicode:characters_to_binary(io_lib:format("~w", [Value]))
    end;
show(Value) when is_integer(Value) -> integer_to_binary(Value);
show(Value) -> unicode:characters_to_binary(shown(Value)).

%% @doc An error that nobody caught, for people: what happened, and where in the `.topos' files.
-spec format_error(error | exit | throw, term(), [tuple()]) -> unicode:chardata().
format_error(Class, Reason, Stack) ->
    Places = [place(Frame) || Frame <- Stack, is_topos(Frame)],
    lists:join($\n, [what(Class, Reason) | Places]).

%% internal

-spec failure(term()) -> failure().
failure(Reason) ->
    Error =
        case known(Reason) of
            {ok, Known} -> Known;
            error -> topos_error:new(erlang_error, #{why => io_lib:format("~0tP", [Reason, 30])})
        end,
    #{
        code => topos_error:code(Error),
        reason => atom_to_binary(topos_error:reason(Error)),
        message => unicode:characters_to_binary(topos_error:message(Error)),
        help => unicode:characters_to_binary(topos_error:help(Error))
    }.

%% `Missing' parameters lack; the fun takes the evidence besides.
-spec partial(function(), [term(), ...], pos_integer()) -> function().
partial(Fun, [A], 1) -> fun(B, Ev) -> Fun(A, B, Ev) end;
partial(Fun, [A, B], 1) -> fun(C, Ev) -> Fun(A, B, C, Ev) end;
partial(Fun, Args, Missing) -> of_arity(Missing + 1, fun(More) -> erlang:apply(Fun, Args ++ More) end).

%% A function that captures what is tied as one term, by which others can tell it ({@link tied/1}).
-spec tie(pos_integer(), {?TIED, function(), topos_effect:evidence()}) -> function().
tie(2, Tied) ->
    fun(A, CallerEv) ->
        {_, Fun, Ev} = Tied,
        Fun(A, maps:merge(CallerEv, Ev))
    end;
tie(3, Tied) ->
    fun(A, B, CallerEv) ->
        {_, Fun, Ev} = Tied,
        Fun(A, B, maps:merge(CallerEv, Ev))
    end;
tie(Arity, Tied) ->
    of_arity(Arity, fun(Args) ->
        {_, Fun, Ev} = Tied,
        {Params, [CallerEv]} = lists:split(Arity - 1, Args),
        erlang:apply(Fun, Params ++ [maps:merge(CallerEv, Ev)])
    end).

-spec of_arity(pos_integer(), fun(([term()]) -> term())) -> function().
of_arity(2, F) -> fun(A, B) -> F([A, B]) end;
of_arity(3, F) -> fun(A, B, C) -> F([A, B, C]) end;
of_arity(4, F) -> fun(A, B, C, D) -> F([A, B, C, D]) end;
of_arity(5, F) -> fun(A, B, C, D, E) -> F([A, B, C, D, E]) end;
of_arity(6, F) -> fun(A, B, C, D, E, G) -> F([A, B, C, D, E, G]) end;
of_arity(7, F) -> fun(A, B, C, D, E, G, H) -> F([A, B, C, D, E, G, H]) end;
of_arity(8, F) -> fun(A, B, C, D, E, G, H, I) -> F([A, B, C, D, E, G, H, I]) end;
of_arity(9, F) -> fun(A, B, C, D, E, G, H, I, J) -> F([A, B, C, D, E, G, H, I, J]) end;
of_arity(10, F) -> fun(A, B, C, D, E, G, H, I, J, K) -> F([A, B, C, D, E, G, H, I, J, K]) end;
of_arity(11, F) -> fun(A, B, C, D, E, G, H, I, J, K, L) -> F([A, B, C, D, E, G, H, I, J, K, L]) end;
of_arity(12, F) -> fun(A, B, C, D, E, G, H, I, J, K, L, M) -> F([A, B, C, D, E, G, H, I, J, K, L, M]) end;
of_arity(13, F) -> fun(A, B, C, D, E, G, H, I, J, K, L, M, N) -> F([A, B, C, D, E, G, H, I, J, K, L, M, N]) end;
of_arity(14, F) ->
    fun(A, B, C, D, E, G, H, I, J, K, L, M, N, O) -> F([A, B, C, D, E, G, H, I, J, K, L, M, N, O]) end;
of_arity(15, F) ->
    fun(A, B, C, D, E, G, H, I, J, K, L, M, N, O, P) -> F([A, B, C, D, E, G, H, I, J, K, L, M, N, O, P]) end;
of_arity(16, F) ->
    fun(A, B, C, D, E, G, H, I, J, K, L, M, N, O, P, Q) -> F([A, B, C, D, E, G, H, I, J, K, L, M, N, O, P, Q]) end;
of_arity(Arity, _) ->
    erlang:error(topos_error:new(too_many_missing, #{missing => Arity - 1, limit => ?MAX_MISSING - 1})).

-spec check(descriptor(), term(), path(), scope()) -> ok.
check(any, _, _, _) -> ok;
check(int, V, _, _) when is_integer(V) -> ok;
check(float, V, _, _) when is_float(V) -> ok;
check(bool, V, _, _) when is_boolean(V) -> ok;
check(unit, ok, _, _) -> ok;
check(atom, V, _, _) when is_atom(V) -> ok;
check(pid, V, _, _) when is_pid(V) -> ok;
check(function, V, _, _) when is_function(V) -> ok;
check(text, V, Path, _) when is_binary(V) ->
    case is_text(V) of
        true -> ok;
        false -> mismatch(<<"a Text (UTF-8)">>, V, Path)
    end;
check({list, any} = Descriptor, V, Path, _) when is_list(V) ->
    %% length/1 finds an improper tail at the speed of C.
    try length(V) of
        _ -> ok
    catch
        error:badarg -> mismatch(describe(Descriptor), V, Path)
    end;
check({list, Element} = Descriptor, V, Path, Scope) when is_list(V) ->
    check_list(Element, V, 0, Path, Scope, {Descriptor, V});
check({tuple, Ds}, V, Path, Scope) when is_tuple(V), tuple_size(V) =:= length(Ds) ->
    check_fields(Ds, tuple_to_list(V), 1, Path, Scope);
check({map, any, any}, V, _, _) when is_map(V) -> ok;
check({map, Key, Value}, V, Path, Scope) when is_map(V) ->
    check_entries(Key, Value, maps:next(maps:iterator(V)), Path, Scope);
check({record, Fields} = Descriptor, V, Path, Scope) when is_map(V) ->
    case map_size(V) =:= length(Fields) andalso lists:all(fun({F, _}) -> is_map_key(F, V) end, Fields) of
        true ->
            lists:foreach(
                fun({F, D}) -> check(D, map_get(F, V), [[$., atom_to_binary(F)] | Path], Scope) end, Fields
            );
        false ->
            mismatch(describe(Descriptor), V, Path)
    end;
check({variant, Constructors} = Descriptor, V, Path, Scope) ->
    {Tag, Args} =
        case V of
            _ when is_atom(V) -> {V, []};
            _ when is_tuple(V), tuple_size(V) > 1 -> {element(1, V), tl(tuple_to_list(V))};
            _ -> {none, none}
        end,
    case [Ds || {C, Ds} <- Constructors, C =:= Tag, is_list(Args), length(Ds) =:= length(Args)] of
        [Ds | _] -> check_fields(Ds, Args, 1, [[$., constructor(Tag)] | Path], Scope);
        [] -> mismatch(describe(Descriptor), V, Path)
    end;
check({recursive, Name, Inner}, V, Path, Scope) ->
    check(Inner, V, Path, Scope#{Name => Inner});
check({reference, Name}, V, Path, Scope) ->
    check(map_get(Name, Scope), V, Path, Scope);
check(Descriptor, V, Path, _) ->
    mismatch(describe(Descriptor), V, Path).

-spec check_list(descriptor(), term(), non_neg_integer(), path(), scope(), {descriptor(), list()}) -> ok.
check_list(_, [], _, _, _, _) ->
    ok;
check_list(D, [V | Rest], Index, Path, Scope, Whole) ->
    ok = check(D, V, [[$[, integer_to_binary(Index), $]] | Path], Scope),
    check_list(D, Rest, Index + 1, Path, Scope, Whole);
check_list(_, _ImproperTail, _, Path, _, {Descriptor, Whole}) ->
    mismatch(describe(Descriptor), Whole, Path).

-spec check_fields([descriptor()], [term()], pos_integer(), path(), scope()) -> ok.
check_fields([], [], _, _, _) ->
    ok;
check_fields([D | Ds], [V | Vs], Index, Path, Scope) ->
    ok = check(D, V, [[$., integer_to_binary(Index)] | Path], Scope),
    check_fields(Ds, Vs, Index + 1, Path, Scope).

-spec check_entries(descriptor(), descriptor(), none | {term(), term(), maps:iterator()}, path(), scope()) -> ok.
check_entries(_, _, none, _, _) ->
    ok;
check_entries(KeyD, ValueD, {Key, Value, More}, Path, Scope) ->
    ok = check(KeyD, Key, [<<" (a key)">> | Path], Scope),
    ok = check(ValueD, Value, [[$[, shown_briefly(Key), $]] | Path], Scope),
    check_entries(KeyD, ValueD, maps:next(More), Path, Scope).

-spec mismatch(binary(), term(), path()) -> no_return().
mismatch(Expected, Got, Path) ->
    erlang:error(
        topos_error:new(type_mismatch, #{
            path => unicode:characters_to_binary(lists:reverse(Path)),
            expected => Expected,
            got => unicode:characters_to_binary(shown_briefly(Got))
        })
    ).

-spec shown_briefly(term()) -> unicode:chardata().
shown_briefly(Value) -> io_lib:format("~0tP", [Value, 12], [{chars_limit, 200}]).

-spec is_text(binary()) -> boolean().
is_text(Binary) -> is_binary(unicode:characters_to_binary(Binary)).

%% The type, as a Topos programmer writes it.
-spec describe(descriptor()) -> binary().
describe(Descriptor) -> unicode:characters_to_binary(described(Descriptor)).

-spec described(descriptor()) -> unicode:chardata().
described(any) -> "anything";
described(int) -> "Int";
described(float) -> "Float";
described(text) -> "Text";
described(bool) -> "Bool";
described(unit) -> "()";
described(atom) -> "an atom";
described(pid) -> "Pid";
described(function) -> "a function";
described({list, D}) -> ["[", described(D), "]"];
described({tuple, Ds}) -> ["(", commas([described(D) || D <- Ds]), ")"];
described({map, K, V}) -> ["Map (", described(K), ") (", described(V), ")"];
described({record, Fields}) -> ["{", commas([[atom_to_binary(F), ": ", described(D)] || {F, D} <- Fields]), "}"];
described({variant, Constructors}) -> lists:join(" | ", [described_constructor(C) || C <- Constructors]);
described({recursive, Name, _}) -> Name;
described({reference, Name}) -> Name.

-spec described_constructor({atom(), [descriptor()]}) -> unicode:chardata().
described_constructor({C, []}) -> constructor(C);
described_constructor({C, Ds}) -> [constructor(C), "(", commas([described(D) || D <- Ds]), ")"].

-spec shown(term()) -> unicode:chardata().
shown(V) when is_integer(V) -> integer_to_binary(V);
shown(V) when is_float(V) -> float_to_binary(V, [short]);
shown(ok) -> "()";
shown(V) when is_boolean(V) -> atom_to_binary(V);
shown(V) when is_atom(V) -> constructor(V);
shown(V) when is_binary(V) ->
    case is_text(V) of
        true -> [$", << <<(escaped(C))/binary>> || <<C/utf8>> <= V >>, $"];
        false -> io_lib:format("~w", [V])
    end;
shown([]) -> "[]";
shown(V) when is_list(V) -> shown_list(V, []);
shown({}) -> "{}";
shown({Tag, _} = V) when is_atom(Tag), not is_boolean(Tag) -> shown_tagged(V);
shown(V) when is_tuple(V), is_atom(element(1, V)), not is_boolean(element(1, V)) -> shown_tagged(V);
shown(V) when is_tuple(V) -> ["(", commas([shown(E) || E <- tuple_to_list(V)]), ")"];
shown(V) when is_map(V) ->
    Entries = lists:sort(maps:to_list(V)),
    case lists:all(fun({K, _}) -> is_atom(K) end, Entries) of
        true -> ["{", commas([[atom_to_binary(K), " = ", shown(E)] || {K, E} <- Entries]), "}"];
        false -> ["Map {", commas([[shown(K), ": ", shown(E)] || {K, E} <- Entries]), "}"]
    end;
shown(V) when is_function(V) -> "<function>";
shown(V) -> io_lib:format("~w", [V]).

-spec shown_tagged(tuple()) -> unicode:chardata().
shown_tagged(V) ->
    [Tag | Args] = tuple_to_list(V),
    case is_constructor(Tag) of
        true -> [constructor(Tag), "(", commas([shown(A) || A <- Args]), ")"];
        false -> ["(", commas([shown(E) || E <- [Tag | Args]]), ")"]
    end.

-spec shown_list(term(), [unicode:chardata()]) -> unicode:chardata().
shown_list([V | Rest], Acc) -> shown_list(Rest, [shown(V) | Acc]);
shown_list([], Acc) -> ["[", commas(lists:reverse(Acc)), "]"];
shown_list(Tail, Acc) -> ["[", commas(lists:reverse(Acc)), " | ", shown(Tail), "]"].

-spec escaped(char()) -> binary().
escaped($") -> <<"\\\"">>;
escaped($\\) -> <<"\\\\">>;
escaped($\n) -> <<"\\n">>;
escaped($\r) -> <<"\\r">>;
escaped($\t) -> <<"\\t">>;
escaped(C) -> <<C/utf8>>.

%% `node_down' is `NodeDown'. What no constructor can be called, `seed@127.0.0.1', stays as it is.
-spec constructor(atom()) -> binary().
constructor(Atom) ->
    case is_constructor(Atom) of
        true ->
            Words = binary:split(atom_to_binary(Atom), <<"_">>, [global, trim_all]),
            iolist_to_binary([string:titlecase(Word) || Word <- Words]);
        false ->
            atom_to_binary(Atom)
    end.

-spec is_constructor(atom()) -> boolean().
is_constructor(Atom) ->
    re:run(atom_to_binary(Atom), "^[a-z][a-z0-9_]*\\z", [{capture, none}]) =:= match.

-spec commas([unicode:chardata()]) -> unicode:chardata().
commas(Items) -> lists:join(", ", Items).

-spec what(error | exit | throw, term()) -> unicode:chardata().
what(error, Reason) ->
    case known(Reason) of
        {ok, Error} -> topos_error:format(Error);
        error -> plain(error, Reason)
    end;
what(Class, Reason) ->
    plain(Class, Reason).

%% What an error of the BEAM means in a Topos program.
-spec known(term()) -> {ok, topos_error:t()} | error.
known(badarith) ->
    {ok, topos_error:new(arithmetic, #{})};
known(Reason) ->
    case topos_error:is_error(Reason) of
        true -> {ok, Reason};
        false -> error
    end.

-spec plain(error | exit | throw, term()) -> unicode:chardata().
plain(Class, Reason) ->
    io_lib:format("the program ended with the Erlang ~s ~0tP", [Class, Reason, 30]).

-spec is_topos(tuple()) -> boolean().
is_topos({_, _, _, Location}) -> lists:suffix(".topos", proplists:get_value(file, Location, ""));
is_topos(_) -> false.

-spec place(tuple()) -> unicode:chardata().
place({Module, Function, _, Location}) ->
    File = proplists:get_value(file, Location),
    Line = proplists:get_value(line, Location, 0),
    io_lib:format("  at ~ts:~b in ~ts.~ts", [File, Line, Module, flow_name(Function)]).

%% A lambda is named after the function it stands in: `-main/1-fun-0-'.
-spec flow_name(atom()) -> unicode:chardata().
flow_name(Function) ->
    case re:run(atom_to_binary(Function), "^-(.*)/[0-9]+-.*-\\z", [{capture, all_but_first, binary}]) of
        {match, [Name]} -> Name;
        nomatch -> atom_to_binary(Function)
    end.
