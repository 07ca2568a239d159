%% @doc A Common Test hook that tells on the terminal how a run goes: a line for each case that took long, failed or was skipped, a line
%% for each group that ended, and all failures once more at the end, so that whoever sees only the tail of a log sees them.
%% TOPOS_CT_FAILED names a file that gets a line for each failure, for who runs them again: suite, group and case, `-' for what there is not.
-module(topos_ct_report).

-export([init/2, pre_init_per_suite/3, pre_init_per_testcase/4, post_end_per_testcase/5, post_end_per_group/5, post_end_per_suite/4,
         on_tc_fail/4, on_tc_skip/4, terminate/1]).

-record(report, {
    started = #{} :: #{atom() => integer()},     % case => monotonic time in milliseconds
    passed = 0 :: non_neg_integer(),             % since the last line of a suite or outermost group
    since :: integer(),
    failures = [] :: [string()]                  % last first
}).

%% Cases that take longer than this many milliseconds have a line of their own.
-define(LONG, 10_000).
%% Characters of a reason that are shown.
-define(SHOWN, 3_000).

-spec init(term(), term()) -> {ok, #report{}}.
init(_Id, _Options) -> {ok, #report{since = now_ms()}}.

-spec pre_init_per_suite(module(), Config, #report{}) -> {Config, #report{}} when Config :: term().
pre_init_per_suite(_Suite, Config, Report) -> {Config, Report#report{passed = 0, since = now_ms()}}.

-spec pre_init_per_testcase(module(), atom(), Config, #report{}) -> {Config, #report{}} when Config :: term().
pre_init_per_testcase(_Suite, Case, Config, #report{started = Started} = Report) ->
    {Config, Report#report{started = Started#{Case => now_ms()}}}.

-spec post_end_per_testcase(module(), atom(), Config :: list(), Return, #report{}) -> {Return, #report{}} when Return :: term().
post_end_per_testcase(Suite, Case, Config, Return, #report{started = Started, passed = Passed} = Report) ->
    Took = now_ms() - maps:get(Case, Started, now_ms()),
    case proplists:get_value(tc_status, Config) of
        ok when Took >= ?LONG -> say("~ts: ~ts (~ts)", [name(Suite, Config), Case, seconds(Took)]);
        _ -> ok
    end,
    Count = case proplists:get_value(tc_status, Config) of ok -> 1; _ -> 0 end,
    {Return, Report#report{started = maps:remove(Case, Started), passed = Passed + Count}}.

-spec post_end_per_group(module(), atom(), Config :: list(), Return, #report{}) -> {Return, #report{}} when Return :: term().
post_end_per_group(Suite, _Group, Config, Return, Report) ->
    case length(groups(Config)) of
        1 -> {Return, closed(name(Suite, Config), Report)};
        _ -> {Return, Report}
    end.

-spec post_end_per_suite(module(), Config :: list(), Return, #report{}) -> {Return, #report{}} when Return :: term().
post_end_per_suite(_Suite, _Config, Return, #report{passed = 0} = Report) -> {Return, Report};
post_end_per_suite(Suite, _Config, Return, Report) -> {Return, closed(atom_to_list(Suite), Report)}.

-spec on_tc_fail(module(), term(), term(), #report{}) -> #report{}.
on_tc_fail(Suite, Name, Reason, #report{failures = Failures} = Report) ->
    Text = lists:flatten(io_lib:format("FAILED ~ts ~ts~n  ~ts", [Suite, label(Name), shortened(Reason)])),
    say("~ts", [Text]),
    ok = note(os:getenv("TOPOS_CT_FAILED"), Suite, Name),
    Report#report{failures = [Text | Failures]}.

-spec on_tc_skip(module(), term(), term(), #report{}) -> #report{}.
on_tc_skip(Suite, Name, Reason, Report) ->
    say("SKIPPED ~ts ~ts: ~ts", [Suite, label(Name), shortened(Reason)]),
    Report.

-spec terminate(#report{}) -> ok.
terminate(#report{failures = []}) -> ok;
terminate(#report{failures = Failures}) ->
    say("~n~b failed:~n~ts", [length(Failures), lists:join($\n, lists:reverse(Failures))]).

%% internal

note(Unset, _, _) when Unset =:= false; Unset =:= "" -> ok;
note(File, Suite, Name) ->
    {Group, Case} = case Name of
        {InitOrEnd, G} when InitOrEnd =:= init_per_group; InitOrEnd =:= end_per_group -> {G, '-'};
        {C, G} -> {G, C};
        C when C =:= init_per_suite; C =:= end_per_suite; not is_atom(C) -> {'-', '-'};
        C -> {'-', C}
    end,
    file:write_file(File, io_lib:format("~ts ~ts ~ts~n", [Suite, Group, Case]), [append]).

closed(Name, #report{passed = Passed, since = Since} = Report) ->
    say("~ts: ~b passed (~ts)", [Name, Passed, seconds(now_ms() - Since)]),
    Report#report{passed = 0, since = now_ms()}.

name(Suite, Config) -> lists:join($\s, [atom_to_list(Name) || Name <- [Suite | lists:reverse(groups(Config))]]).

%% The groups around a case, innermost first.
groups(Config) ->
    [Name || {tc_group_properties, Own} <- Config, {name, Name} <- Own] ++
        [Name || {tc_group_path, Path} <- Config, Outer <- Path, {name, Name} <- Outer].

label({Case, Group}) -> io_lib:format("~tp ~tp", [Group, Case]);
label(Case) -> io_lib:format("~tp", [Case]).

shortened(Reason) ->
    Text = io_lib:format("~tp", [Reason], [{chars_limit, ?SHOWN}]),
    lists:flatten(string:replace(Text, "\n", "\n  ", all)).

seconds(Milliseconds) -> io_lib:format("~.1f s", [Milliseconds / 1000]).

%% Past the group leader, which is the log of the case.
say(Format, Arguments) -> io:format(user, Format ++ "~n", Arguments).

now_ms() -> erlang:monotonic_time(millisecond).
