%% @doc Another project uses this one, as users do: as a git dependency of a commit, and in `_checkouts'. Each compiles with
%% rebar3, starts the application in a VM of its own and calls into the native library.
%%
%% What is tested is the last commit, as a clone has it. Cargo's target folder is shared with this project's, so that only
%% our own crates are built again. Nothing is asked of hex.
-module(topos_dependency_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, as_git_dependency/1, in_checkouts/1]).

-include_lib("stdlib/include/assert.hrl").

suite() -> [{timetrap, {minutes, 10}}].

all() -> [as_git_dependency, in_checkouts].

init_per_suite(Config) ->
    Root = topos_ct_program:root(filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile)))),
    case {git(Root), os:find_executable("rebar3")} of
        {false, _} -> {skip, "this copy is no git clone"};
        {_, false} -> {skip, "rebar3 is not on the path"};
        {Commit, Rebar3} -> [{root, Root}, {commit, Commit}, {rebar3, Rebar3} | Config]
    end.

end_per_suite(_Config) -> ok.

as_git_dependency(Config) ->
    Project = project("git", Config),
    {0, Output} = compile(Project, Config),
    ?assert(filelib:is_regular(filename:join(Project, "_build/default/lib/topos_partisan/priv/topos_nif.so"))),
    ?assertNotEqual(nomatch, string:find(Output, "topos_partisan")),
    runs(filename:join(Project, "_build/default/lib/*/ebin"), Config).

in_checkouts(Config) ->
    Project = project("checkouts", Config),
    Checkouts = filename:join(Project, "_checkouts"),
    {0, _} = topos_ct_program:run("git", ["clone", "--quiet", root_url(Config), filename:join(Checkouts, "topos_partisan")], Project, []),
    {0, _} = compile(Project, Config),
    %% The dependency was not fetched beside it.
    ?assertEqual([], filelib:wildcard(filename:join(Project, "_build/default/lib/topos_partisan/*"))),
    runs(filename:join(Project, "_build/default/{lib,checkouts}/*/ebin"), Config).

%% internal

%% A project with one module, which depends on the last commit of this one.
project(Name, Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), Name),
    ok = topos_ct_program:build_quickly(Dir),
    Commit = proplists:get_value(commit, Config),
    write(filename:join(Dir, "rebar.config"), [
        "{erl_opts, [debug_info]}.\n",
        io_lib:format("{deps, [{topos_partisan, {git, ~p, {ref, ~p}}}]}.~n", [root_url(Config), Commit])
    ]),
    write(filename:join(Dir, "src/user_of_topos.app.src"), [
        "{application, user_of_topos, [{description, \"Uses Topos\"}, {vsn, \"1\"},\n",
        " {applications, [kernel, stdlib, topos_partisan]}]}.\n"
    ]),
    write(filename:join(Dir, "src/user_of_topos.erl"), [
        "-module(user_of_topos).\n",
        "-export([main/0]).\n",
        "main() ->\n",
        "    {ok, _} = application:ensure_all_started(user_of_topos),\n",
        "    ok = topos_nif:status(),\n",
        "    {ok, Users} = topos_term:descriptor({list, {record, [{name, text}]}}),\n",
        "    {ok, Bytes} = topos_term:encode(Users, [#{name => <<\"Ada\">>}]),\n",
        "    {ok, [#{name := Name}]} = topos_term:decode(Users, Bytes),\n",
        "    ok = application:stop(topos_partisan),\n",
        "    io:format(\"decoded ~ts~n\", [Name]).\n"
    ]),
    Dir.

write(File, Text) ->
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, Text).

compile(Project, Config) ->
    Target =
        case os:getenv("CARGO_TARGET_DIR") of
            false -> filename:join(proplists:get_value(root, Config), "target");
            Dir -> filename:absname(Dir, proplists:get_value(root, Config))
        end,
    Env = [
        {"TOPOS_OFFLINE", "1"},
        {"CARGO_TARGET_DIR", Target},
        %% This VM is rebar3's own: what it was told is not meant for the other project.
        {"REBAR_PROFILE", false}, {"REBAR_CONFIG", false}, {"REBAR_BASE_DIR", false}, {"ERL_FLAGS", false}
    ],
    topos_ct_program:run(proplists:get_value(rebar3, Config), ["compile"], Project, Env).

runs(Pattern, Config) ->
    Paths = lists:append([["-pa", Dir] || Dir <- filelib:wildcard(Pattern)]),
    Args = ["-noshell", "-noinput"] ++ Paths ++ ["-eval", "user_of_topos:main(), halt(0)."],
    Erl = filename:join([code:root_dir(), "bin", "erl"]),
    {Status, Output} = topos_ct_program:run(Erl, Args, proplists:get_value(priv_dir, Config), [{"ERL_FLAGS", false}]),
    ?assertEqual({0, Output}, {Status, Output}),
    ?assertNotEqual(nomatch, string:find(Output, "decoded Ada")).

git(Root) ->
    case topos_ct_program:run("git", ["rev-parse", "HEAD"], Root, []) of
        {0, Commit} -> string:trim(Commit);
        {_, _} -> false
    end.

root_url(Config) -> "file://" ++ proplists:get_value(root, Config).
