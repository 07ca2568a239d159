%% The native library: how it is loaded, and that a panic in it is an Erlang error.
-module(topos_nif_tests).

-include_lib("eunit/include/eunit.hrl").

the_library_is_the_one_the_stub_needs_test() ->
    ?assertEqual(ok, topos_nif:status()),
    ?assertEqual(topos_nif:version(), topos_nif:library_version()).

%% One release, three files: the workspace (through the library), the application and the stub.
the_version_is_that_of_the_application_test() ->
    case application:load(topos_partisan) of
        ok -> ok;
        {error, {already_loaded, topos_partisan}} -> ok
    end,
    {ok, Vsn} = application:get_key(topos_partisan, vsn),
    ?assertMatch([Vsn, _], string:split(binary_to_list(topos_nif:version()), "-nif")).

a_panic_is_an_error_test() ->
    ?assertError(nif_panicked, topos_nif:panic_on_purpose()).

%% Rust's own hook takes some 200 microseconds a panic under RUST_BACKTRACE=1, and prints a page for each.
panics_are_reported_once_and_without_a_backtrace_test_() ->
    {timeout, 60, fun() ->
        {Status, Output} = in_new_vm(
            [{"RUST_BACKTRACE", "1"}],
            "N = 2000,"
            "Panic = fun() -> try topos_nif:panic_on_purpose() catch error:nif_panicked -> caught end end,"
            "[caught = Panic() || _ <- lists:seq(1, N)]"
        ),
        ?assertEqual({0, Output}, {Status, Output}),
        ?assertEqual(2, length(string:split(Output, "a bug at native/topos-nif/src/load.rs:", all))),
        ?assertEqual(nomatch, string:find(Output, "stack backtrace"))
    end}.

a_stale_library_is_a_clear_error_test_() ->
    {timeout, 60, fun() ->
        {Status, Output} = in_new_vm(
            [],
            stub_of_version("9.9.9-nif1") ++
                "{error, {stale_library, #{found := Found, needed := <<\"9.9.9-nif1\">>}} = Error} = topos_nif:status(),"
                "{'EXIT', {Error, _}} = (catch topos_nif:library_version()),"
                "{error, Error} = topos_overlay_nif:new(full_mesh, #{own => <<\"a\">>}, 1),"
                "{error, Error} = topos_term:descriptor(int),"
                "io:format(\"~nfound ~ts~n~ts~n\", [Found, topos_error:format(Error)])"
        ),
        ?assertEqual({0, Output}, {Status, Output}),
        ?assertNotEqual(nomatch, string:find(Output, "found " ++ binary_to_list(topos_nif:version()))),
        ?assertNotEqual(nomatch, string:find(Output, "error[TP1020]"))
    end}.

%% What a shell does that reloads all modules, and cover.
a_reload_is_refused_and_harmless_test_() ->
    {timeout, 60, fun() ->
        {Status, Output} = in_new_vm(
            [],
            "{ok, Int} = topos_term:descriptor(int),"
            "{error, on_load_failure} = code:load_file(topos_nif),"
            "ok = topos_nif:status(),"
            "ok = topos_term:check(Int, 1)"
        ),
        ?assertMatch({0, _}, {Status, Output})
    end}.

a_missing_library_is_a_clear_error_test_() ->
    {timeout, 60, fun() ->
        Empty = filename:join([test_dir(), "nowhere", "topos_partisan", "ebin"]),
        ok = filelib:ensure_dir(filename:join(Empty, "file")),
        %% The same stub, found in an application without a priv folder.
        {ok, _} = file:copy(code:which(topos_nif), filename:join(Empty, "topos_nif.beam")),
        {Status, Output} = in_new_vm(
            [{path, Empty}],
            "{error, {library_not_loaded, #{why := _}} = Error} = topos_nif:status(),"
            "io:format(\"~n~ts~n\", [topos_error:format(Error)])"
        ),
        ?assertEqual({0, Output}, {Status, Output}),
        ?assertNotEqual(nomatch, string:find(Output, "error[TP1040]"))
    end}.

%% internal

%% Erlang code that replaces the stub by one that needs another version, before anything loads it.
stub_of_version(Version) ->
    Source = proplists:get_value(source, topos_nif:module_info(compile)),
    lists:flatten(
        io_lib:format(
            "{ok, topos_nif, Beam} = compile:file(~p, [binary, {d, 'TOPOS_NIF_VERSION', ~p}]),"
            "{module, topos_nif} = code:load_binary(topos_nif, code:where_is_file(\"topos_nif.beam\"), Beam),",
            [Source, Version]
        )
    ).

%% Runs expressions in a VM of its own, which ends with status 0 if they do; answers the status and all output.
in_new_vm(Settings, Expressions) ->
    Env = [Setting || {Name, _} = Setting <- Settings, is_list(Name)],
    First = [["-pa", Dir] || {path, Dir} <- Settings],
    Paths = [["-pa", Dir] || Dir <- code:get_path(), filename:basename(Dir) =:= "ebin", is_ours(Dir)],
    Eval = Expressions ++ ", halt(0).",
    Port = open_port(
        {spawn_executable, filename:join([code:root_dir(), "bin", "erl"])},
        [exit_status, stderr_to_stdout, binary, {env, Env},
         {args, ["-noshell", "-noinput"] ++ lists:append(Paths) ++ lists:append(First) ++ ["-eval", Eval]}]
    ),
    collect(Port, []).

is_ours(Dir) -> string:find(Dir, "topos_partisan") =/= nomatch.

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, unicode:characters_to_list(Output)}
    after 120_000 ->
        {os_pid, Pid} = erlang:port_info(Port, os_pid),
        _ = os:cmd("kill " ++ integer_to_list(Pid)),
        error({no_end, unicode:characters_to_list(Output)})
    end.

test_dir() ->
    filename:join([filename:dirname(code:which(?MODULE)), "topos_nif_tests." ++ os:getpid()]).
