%% @doc What compiled tests call: `assert' and `forall'. How tests are run: {@link topos_test_runner}.
-module(topos_test).

-export([assert/1, assert/2, compare/4, fail/1, for_all/3, settings/2]).
-export_type([failure/0]).

%% Why a test failed. `about' are lines that say more.
-type failure() :: #{what := binary(), about := [binary()]}.

-type attempt() :: fun((tuple()) -> ok | {failed, failure()}).

-define(SETTINGS, {?MODULE, settings}).
%% Sizes grow with the runs up to this.
-define(MAX_SIZE, 40).
%% How many smaller values are tried in all.
-define(MAX_SHRINKS, 2000).

%% @doc Fails unless the condition is true.
-spec assert(boolean()) -> ok.
assert(Condition) -> assert(Condition, <<>>).

%% @doc As {@link assert/1}; `Text' is the condition as it is written.
-spec assert(boolean(), binary()) -> ok.
assert(true, _) -> ok;
assert(false, Text) -> failed(<<"assert(", Text/binary, ")">>, []).

%% @doc Fails unless `Left Op Right'; both are shown.
-spec compare(binary(), term(), term(), binary()) -> ok.
compare(Op, Left, Right, Text) ->
    case holds(Op, Left, Right) of
        true -> ok;
        false ->
            Sides = [<<"left:  ", (shown(Left))/binary>>, <<"right: ", (shown(Right))/binary>>],
            failed(<<"assert(", Text/binary, ")">>, Sides)
    end.

%% @doc Fails.
-spec fail(binary()) -> no_return().
fail(Why) -> failed(Why, []).

%% @doc Calls the body with values of these types, as often as the settings say. When it fails, smaller values are tried, and
%% the smallest that fail are reported.
-spec for_all([{Name :: binary(), topos_rt:descriptor()}, ...], function(), topos_effect:evidence()) -> ok.
for_all(Generated, Body, Ev) ->
    #{seed := Seed, runs := Runs} = get_settings(),
    {Names, Descriptors} = lists:unzip(Generated),
    run(1, Runs, rand:seed_s(exsss, Seed), Names, {tuple, Descriptors}, fun(Values) ->
        attempt(Body, tuple_to_list(Values) ++ [Ev])
    end).

%% @doc For the test in the calling process: the seed of its values, and how many a `forall' makes.
-spec settings(Seed :: integer(), Runs :: pos_integer()) -> ok.
settings(Seed, Runs) ->
    _ = put(?SETTINGS, #{seed => Seed, runs => Runs}),
    ok.

%% internal

-spec get_settings() -> #{seed := integer(), runs := pos_integer()}.
get_settings() ->
    case get(?SETTINGS) of
        undefined -> #{seed => 0, runs => 100};
        Settings -> Settings
    end.

-spec run(pos_integer(), pos_integer(), rand:state(), [binary()], topos_rt:descriptor(), attempt()) -> ok.
run(N, Runs, _, _, _, _) when N > Runs ->
    ok;
run(N, Runs, Random, Names, Descriptor, Try) ->
    Size = min(N, ?MAX_SIZE),
    {Values, Next} = topos_generate:value(Descriptor, Size, Random),
    case Try(Values) of
        ok ->
            run(N + 1, Runs, Next, Names, Descriptor, Try);
        {failed, Failure} ->
            {Smallest, Why, Steps} = shrink(Descriptor, Values, Failure, Try, 0, ?MAX_SHRINKS),
            Named = lists:zip(Names, tuple_to_list(Smallest)),
            Shown = [<<Name/binary, " = ", (shown(V))/binary>> || {Name, V} <- Named],
            About = unicode:characters_to_binary(
                io_lib:format("counterexample, made smaller ~b times, in run ~b of ~b:", [Steps, N, Runs])),
            #{what := What, about := More} = Why,
            failed(What, More ++ [About | [<<"  ", S/binary>> || S <- Shown]])
    end.

-spec shrink(topos_rt:descriptor(), tuple(), failure(), attempt(), non_neg_integer(), integer()) ->
    {tuple(), failure(), non_neg_integer()}.
shrink(Descriptor, Values, Failure, Try, Steps, Budget) ->
    case first_failing(topos_generate:smaller(Descriptor, Values), Try, Budget) of
        {none, _} -> {Values, Failure, Steps};
        {Smaller, Why, Left} -> shrink(Descriptor, Smaller, Why, Try, Steps + 1, Left)
    end.

-spec first_failing([tuple()], attempt(), integer()) ->
    {none, integer()} | {tuple(), failure(), integer()}.
first_failing([], _, Budget) -> {none, Budget};
first_failing(_, _, Budget) when Budget =< 0 -> {none, Budget};
first_failing([Values | Rest], Try, Budget) ->
    case Try(Values) of
        ok -> first_failing(Rest, Try, Budget - 1);
        {failed, Why} -> {Values, Why, Budget - 1}
    end.

%% Any error is a failure: a division by zero as much as an assertion.
-spec attempt(function(), [term()]) -> ok | {failed, failure()}.
attempt(Body, Arguments) ->
    try erlang:apply(Body, Arguments) of
        _ -> ok
    catch
        error:{topos_test_failed, Failure} -> {failed, Failure};
        Class:Reason:Stack ->
            [What | About] = string:split(topos_rt:format_error(Class, Reason, Stack), "\n", all),
            {failed, #{what => unicode:characters_to_binary(What),
                       about => [unicode:characters_to_binary(string:trim(Line, leading)) || Line <- About]}}
    end.

-spec failed(binary(), [binary()]) -> no_return().
failed(What, About) -> erlang:error({topos_test_failed, #{what => What, about => About}}).

-spec holds(binary(), term(), term()) -> boolean().
holds(<<"==">>, L, R) -> L =:= R;
holds(<<"!=">>, L, R) -> L =/= R;
holds(<<"<">>, L, R) -> L < R;
holds(<<"<=">>, L, R) -> L =< R;
holds(<<">">>, L, R) -> L > R;
holds(<<">=">>, L, R) -> L >= R.

%% As inside of a list, where a Text has its quotes.
-spec shown(term()) -> binary().
shown(Value) ->
    Listed = topos_rt:show([Value]),
    binary:part(Listed, 1, byte_size(Listed) - 2).
