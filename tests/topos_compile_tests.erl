-module(topos_compile_tests).

-include_lib("eunit/include/eunit.hrl").

forms(Module, Functions) ->
    [{attribute, 1, file, {"X.topos", 1}}, {attribute, 1, module, Module},
     {attribute, 1, export, [{F, A} || {function, _, F, A, _} <- Functions]} | Functions].

constant(Name, Value) -> {function, 3, Name, 0, [{clause, 3, [], [], [erl_parse:abstract(Value, [{location, 3}])]}]}.

beam_test() ->
    Forms = term_to_binary(forms(topos_compiled, [constant(answer, 42)])),
    {ok, topos_compiled, Beam} = topos_compile:forms_to_beam(Forms),
    ?assertMatch({ok, {topos_compiled, [{abstract_code, {raw_abstract_v1, [_ | _]}}]}}, beam_lib:chunks(Beam, [abstract_code])),
    ?assertEqual({ok, topos_compiled, Beam}, topos_compile:forms_to_beam(Forms)).

bad_input_is_an_error_test_() ->
    Unbound = {function, 4, f, 0, [{clause, 4, [], [], [{var, {4, 9}, 'X'}]}]},
    [?_assertMatch({error, [Expected]}, topos_compile:forms_to_beam(Bytes)) || {Expected, Bytes} <- [
        {<<"the forms are not in the external term format">>, <<>>},
        {<<"the forms are not in the external term format">>, <<131, 108, 255, 255, 255, 255>>},
        {<<"the forms are not a list">>, term_to_binary(a)},
        {<<"X.topos:4:9: variable 'X' is unbound">>, term_to_binary(forms(topos_compiled, [Unbound]))}
    ]] ++
    [?_assertMatch({error, [_ | _]}, topos_compile:forms_to_beam(term_to_binary(Term))) || Term <- [
        [], [a], [{attribute, 1, module, 7}], [{function, 1, f, 0, nonsense}], [a | b]
    ]].

%% The real thing: a VM behind a pipe, which belongs to the process that opened it.
server_test_() ->
    {timeout, 120, fun() ->
        Port = start(),
        ?assertEqual({0, {ready, 1}}, reply(Port)),
        ok = compiles_loads_and_runs(Port),
        ok = survives_bad_input(Port),
        ok = stop(Port)
    end}.

compiles_loads_and_runs(Port) ->
    Print = call(5, io, put_chars, [erl_parse:abstract([322, 10], [{location, 5}])]),
    Say = {function, 5, say, 1, [{clause, 5, [{var, 5, 'X'}], [], [Print, {tuple, 5, [{atom, 5, some}, {var, 5, 'X'}]}]}]},
    Boom = {function, 6, boom, 0, [{clause, 6, [], [], [call(6, erlang, error, [{atom, 6, oops}])]}]},
    Killed = {function, 7, 'end', 0, [{clause, 7, [], [], [call(7, erlang, exit, [call(7, erlang, self, []), {atom, 7, kill}])]}]},
    Forms = term_to_binary(forms(topos_served, [Say, Boom, Killed])),
    {1, {compiled, <<"topos_served">>, Beam}} = ask(Port, {1, {compile, Forms}}),
    {2, {loaded}} = ask(Port, {2, {load, <<"topos_served">>, Beam}}),
    Run = fun(N, Function, Args) -> ask(Port, {N, {run, <<"topos_served">>, Function, Args}}) end,
    ?assertEqual({3, {output, <<"ł\n"/utf8>>}}, Run(3, <<"say">>, [<<"x">>])),
    ?assertEqual({3, {finished, <<"Some(\"x\")">>}}, reply(Port)),
    ?assertEqual({4, {crashed, <<"the program ended with the Erlang error oops\n  at X.topos:6 in topos_served.boom">>}},
                 Run(4, <<"boom">>, [])),
    ?assertEqual({5, {crashed, <<"the process ended: killed">>}}, Run(5, <<"end">>, [])),
    ok.

call(Line, M, F, Args) -> {call, Line, {remote, Line, {atom, Line, M}, {atom, Line, F}}, Args}.

survives_bad_input(Port) ->
    ?assertMatch({0, {refused, [_]}}, ask_bytes(Port, <<>>)),
    ?assertMatch({0, {refused, [_]}}, ask_bytes(Port, <<131, 104, 255>>)),
    ?assertMatch({0, {refused, [_]}}, ask(Port, hello)),
    ?assertMatch({7, {refused, [_]}}, ask(Port, {7, dance})),
    ?assertMatch({8, {refused, [_]}}, ask(Port, {8, {compile, <<"nonsense">>}})),
    ?assertMatch({9, {refused, [_]}}, ask(Port, {9, {load, <<"topos_served">>, <<"nonsense">>}})),
    ?assertMatch({10, {refused, [_]}}, ask(Port, {10, {load, binary:copy(<<"a">>, 300), <<>>}})),
    ?assertMatch({11, {crashed, _}}, ask(Port, {11, {run, <<"no_such_module">>, <<"f">>, []}})),
    ?assertMatch({12, {compiled, <<"topos_served">>, _}},
                 ask(Port, {12, {compile, term_to_binary(forms(topos_served, [constant(f, 1)]))}})),
    ok.

%% What a user types: a program with arguments, its output and its exit status.
programs_run_to_their_exit_status_test_() ->
    {timeout, 120, fun() ->
        Dir = filename:join([filename:dirname(code:which(?MODULE)), "programs" ++ os:getpid()]),
        ok = filelib:ensure_dir(filename:join(Dir, "x")),
        try
            ok = program(Dir, topos_prints, [{var, 9, 'Args'}], [
                call(9, topos_effect_io, print, [{atom, 9, io}, {call, 9, {remote, 9, {atom, 9, topos_rt}, {atom, 9, show}}, [{var, 9, 'Args'}]}])]),
            ok = program(Dir, topos_fails, [], [call(8, erlang, error, [{atom, 8, oops}])]),
            ok = program(Dir, topos_exits, [], [call(8, erlang, halt, [{integer, 8, 7}])]),
            ?assertEqual({0, <<"[\"a b\", \"ż\"]\n"/utf8>>}, run(Dir, ["topos_prints", "a b", "ż"])),
            ?assertEqual({1, <<"the program ended with the Erlang error oops\n  at X.topos:8 in topos_fails.main\n">>},
                         run(Dir, ["topos_fails"])),
            ?assertEqual({7, <<>>}, run(Dir, ["topos_exits"])),
            ?assertMatch({1, <<"error[TP1063]", _/binary>>}, run(Dir, ["no_such_program"])),
            ?assertMatch({2, <<"usage", _/binary>>}, run(Dir, []))
        after
            ok = file:del_dir_r(Dir)
        end
    end}.

program(Dir, Module, Params, Body) ->
    Main = {function, 8, main, length(Params), [{clause, 8, Params, [], Body}]},
    {ok, Module, Beam} = topos_compile:forms_to_beam(term_to_binary(forms(Module, [Main]))),
    file:write_file(filename:join(Dir, atom_to_list(Module) ++ ".beam"), Beam).

run(Dir, Arguments) ->
    Args = vm_arguments() ++ ["-pa", Dir, "+fnu", "-s", "topos_effect", "main", "-extra" | Arguments],
    finish(open_port({spawn_executable, erl()}, [{args, Args}, stderr_to_stdout, binary, exit_status]), <<>>).

finish(Port, Acc) ->
    receive
        {Port, {data, Bytes}} -> finish(Port, <<Acc/binary, Bytes/binary>>);
        {Port, {exit_status, Status}} -> {Status, Acc}
    after 120_000 -> {timeout, Acc}
    end.

erl() -> filename:join([code:root_dir(), "bin", "erl"]).

vm_arguments() ->
    Paths = lists:usort([filename:dirname(code:which(M)) || M <- [topos_effect, topos_compile_server, topos_error]]),
    ["-noinput", "-boot", "start_clean" | lists:append([["-pa", P] || P <- Paths])].

start() ->
    Args = vm_arguments() ++ ["-s", "topos_effect", "compile_server"],
    open_port({spawn_executable, erl()}, [{args, Args}, {packet, 4}, binary, exit_status]).

%% Closing its standard input ends the server.
stop(Port) ->
    {os_pid, Os} = erlang:port_info(Port, os_pid),
    true = port_close(Port),
    ok = topos_await:process_gone(Os).

ask(Port, Request) -> ask_bytes(Port, term_to_binary(Request)).

ask_bytes(Port, Bytes) ->
    true = port_command(Port, Bytes),
    reply(Port).

reply(Port) ->
    receive
        {Port, {data, Bytes}} -> binary_to_term(Bytes);
        {Port, {exit_status, Status}} -> {exited, Status}
    after 120_000 -> timeout
    end.
