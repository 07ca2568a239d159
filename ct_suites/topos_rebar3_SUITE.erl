%% @doc The rebar3 plugin, as users have it: `examples/app_template', copied to a folder of its own, with this repository's
%% last commit as plugin and dependency. Cargo's target folder is shared with this project's. Nothing is asked of hex.
-module(topos_rebar3_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([compiles/1, nothing_to_do/1, tests_and_cover/1, xref_and_dialyzer/1, mistakes_are_drawn/1,
         only_what_changed/1, clean_removes/1]).

-include_lib("stdlib/include/assert.hrl").

suite() -> [{timetrap, {minutes, 20}}].

%% In this order: each begins where the one before it ends.
all() ->
    [compiles, nothing_to_do, tests_and_cover, xref_and_dialyzer, mistakes_are_drawn, only_what_changed, clean_removes].

init_per_suite(Config) ->
    Root = topos_ct_program:root(filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile)))),
    case {topos_ct_program:run("git", ["rev-parse", "HEAD"], Root, []), os:find_executable("rebar3")} of
        {{Status, _}, _} when Status =/= 0 ->
            {skip, "this copy is no git clone"};
        {_, false} ->
            {skip, "rebar3 is not on the path"};
        {{0, Commit}, Rebar3} ->
            Project = filename:join(proplists:get_value(priv_dir, Config), "app_template"),
            {0, _} = topos_ct_program:run("cp", ["-R", filename:join(Root, "examples/app_template"), Project], Root, []),
            ok = topos_ct_program:build_quickly(Project),
            Env = [
                {"TOPOS_OFFLINE", "1"}, {"NO_COLOR", "1"},
                {"TOPOS_PARTISAN", "file://" ++ Root}, {"TOPOS_PARTISAN_REF", string:trim(Commit)},
                {"CARGO_TARGET_DIR", filename:absname(os:getenv("CARGO_TARGET_DIR", "target"), Root)},
                %% This VM is rebar3's own: what it was told is not meant for the other project.
                {"REBAR_PROFILE", false}, {"REBAR_CONFIG", false}, {"REBAR_BASE_DIR", false}, {"ERL_FLAGS", false}
            ],
            [{project, Project}, {env, Env}, {rebar3, Rebar3} | Config]
    end.

end_per_suite(_Config) -> ok.

compiles(Config) ->
    {0, _} = rebar3(["compile"], Config),
    ?assertEqual(['Greeter', 'Shop.Cart', app_template_app, app_template_cart, app_template_sup], modules(Config)),
    %% The standard library belongs to the dependency, not to the application.
    ?assert(filelib:is_regular(lib("topos_partisan/ebin/Topos.IO.beam", Config))),
    ?assertNot(filelib:is_regular(lib("app_template/ebin/Topos.IO.beam", Config))).

nothing_to_do(Config) ->
    Before = beams(Config),
    {0, _} = rebar3(["compile"], Config),
    ?assertEqual(Before, beams(Config)).

tests_and_cover(Config) ->
    {0, Output} = rebar3(["do", "eunit", "--cover,", "cover", "-v"], Config),
    shows("4 tests, 0 failures", Output),
    %% Cover sees the lines of Topos modules.
    ?assertMatch({match, _}, re:run(Output, "Shop\\.Cart *\\| *[1-9][0-9]*%")).

%% The generated specifications agree with the Erlang code that calls the flows, and Dialyzer would see if not.
xref_and_dialyzer(Config) ->
    {0, _} = rebar3(["do", "xref,", "dialyzer"], Config),
    Wrong = filename:join(project(Config), "src/wrong.erl"),
    ok = file:write_file(Wrong, "-module(wrong).\n-export([f/0]).\n-spec f() -> integer().\n"
                                "f() -> 'Shop.Cart':total(not_a_list).\n"),
    {Status, Output} = rebar3(["dialyzer"], Config),
    ok = file:delete(Wrong),
    ?assertEqual(1, Status),
    shows("'Shop.Cart':total", Output).

mistakes_are_drawn(Config) ->
    Cart = filename:join(project(Config), "src/Shop/Cart.topos"),
    {ok, Text} = file:read_file(Cart),
    ok = file:write_file(Cart, binary:replace(Text, <<"item.price * item.count">>, <<"item.price * item.name">>)),
    {Status, Output} = rebar3(["compile"], Config),
    %% Before anything is judged: the other cases need the module as it was.
    ok = file:write_file(Cart, Text),
    ?assertEqual(1, Status),
    shows("error[TP02", Output),
    shows("--> src/Shop/Cart.topos:20", Output),
    shows("Compiling the Topos modules of app_template failed", Output).

only_what_changed(Config) ->
    {0, _} = rebar3(["compile"], Config),
    Before = beams(Config),
    Greeter = filename:join(project(Config), "src/Greeter.topos"),
    {ok, Text} = file:read_file(Greeter),
    ok = file:write_file(Greeter, binary:replace(Text, <<"Hello">>, <<"Good day">>)),
    {0, _} = rebar3(["compile"], Config),
    Changed = [filename:basename(File) || {File, _} <- beams(Config) -- Before],
    ?assertEqual(["Greeter.beam"], Changed).

clean_removes(Config) ->
    {0, _} = rebar3(["clean"], Config),
    ?assertEqual([], beams(Config)),
    {0, _} = rebar3(["compile"], Config),
    ?assertEqual(5, length(beams(Config))).

%% internal

rebar3(Args, Config) ->
    topos_ct_program:run(proplists:get_value(rebar3, Config), Args, project(Config), proplists:get_value(env, Config)).

project(Config) -> proplists:get_value(project, Config).

lib(Path, Config) -> filename:join([project(Config), "_build/default/lib", Path]).

%% With their contents' hashes and times.
beams(Config) ->
    [{File, {filelib:last_modified(File), erlang:md5(element(2, {ok, _} = file:read_file(File)))}}
     || File <- filelib:wildcard(lib("app_template/ebin/*.beam", Config))].

modules(Config) ->
    {ok, [{application, app_template, Keys}]} = file:consult(lib("app_template/ebin/app_template.app", Config)),
    lists:sort(proplists:get_value(modules, Keys)).

shows(Text, Output) ->
    case string:find(Output, Text) of
        nomatch -> ct:fail("~ts is not in~n~ts", [Text, Output]);
        _ -> ok
    end.
