%% @doc The line between a VM and its runner. The test plays the runner of a real VM.
-module(topos_runner_tests).

-include_lib("eunit/include/eunit.hrl").

-define(PATIENCE, (topos_await:patience())).

without_a_runner_every_request_is_an_error_test() ->
    ?assertNot(topos_runner:is_present()),
    ?assertEqual(ok, topos_runner:publish('a@127.0.0.1', [])),
    ?assertMatch({error, _}, topos_runner:nodes()),
    ?assertMatch({error, _}, topos_runner:kill(<<"node2">>)),
    ?assertMatch({error, _}, topos_runner:start_node(<<"node2">>)),
    ?assertMatch({error, _}, topos_runner:read_line()),
    ?assertMatch({error, {unknown_contact, _}}, topos_runner:contact('a@127.0.0.1', 1000)),
    ?assertError({no_serving_nodes, _}, topos_runner:call(<<"node2">>, fun(ok, _) -> ok end)),
    ?assertEqual(self(), topos_runner:owner()).

with_a_runner_test_() ->
    {timeout, 60, [
        {"addresses are asked for and read", fun addresses/0},
        {"a name that the runner does not know is an error with those it knows", fun unknown_name/0},
        {"answers find their requests in any order", fun answers_in_any_order/0},
        {"an answer that comes too late is dropped", fun late_answer/0},
        {"what is no word is the name of no node", fun no_word/0},
        {"a line of input is passed on as it is", fun input/0},
        {"addresses are published", fun published/0},
        {"a function is called on another VM, and its answer comes back", fun called/0},
        {"what fails there fails here", fun fails_there/0},
        {"what the runner refuses is an error", fun refused/0},
        {"what cannot cross is refused before it is sent", fun stays_here/0}
    ]}.

the_vm_ends_with_its_input_test_() ->
    {timeout, 60, fun() ->
        Vm = start("io:format(\"running~n\")"),
        <<"running">> = line(Vm),
        {os_pid, Pid} = erlang:port_info(Vm, os_pid),
        true = port_close(Vm),
        topos_await:process_gone(Pid)
    end}.

addresses() ->
    Vm = start("show(topos_runner:contact('seed@127.0.0.1', 60000))"),
    ?assertEqual(<<16#1E, "contact 1 seed@127.0.0.1">>, line(Vm)),
    say(Vm, "ok 1 127.0.0.1:4000,[::1]:5"),
    ?assertEqual(<<"{ok,[{{127,0,0,1},4000},{{0,0,0,0,0,0,0,1},5}]}">>, line(Vm)),
    stop(Vm).

unknown_name() ->
    Vm = start("{error, E} = topos_runner:contact('x@y', 60000), io:format(\"~ts~n\", [topos_error:format(E)])"),
    <<16#1E, "contact 1 x@y">> = line(Vm),
    say(Vm, "error 1 unknown seed@127.0.0.1,node2@127.0.0.1"),
    ?assertMatch(<<"error[TP1080]: this run has no node called x@y">>, line(Vm)),
    ?assertMatch(<<"  help: its nodes are seed@127.0.0.1, node2@127.0.0.1">>, line(Vm)),
    stop(Vm).

answers_in_any_order() ->
    Vm = start("spawn(fun() -> show(topos_runner:nodes()) end), show(topos_runner:kill(<<\"node2\">>))"),
    %% Which of the two processes asks first is not said.
    [<<16#1E, "kill ", Kill, " node2">>, <<16#1E, "nodes ", Nodes>>] = lists:sort([line(Vm), line(Vm)]),
    say(Vm, ["error ", Kill, " node2 does not run"]),
    ?assertEqual(<<"{error,<<\"node2 does not run\">>}">>, line(Vm)),
    say(Vm, ["ok ", Nodes, " seed,node2"]),
    ?assertEqual(<<"{ok,[<<\"seed\">>,<<\"node2\">>]}">>, line(Vm)),
    stop(Vm).

late_answer() ->
    Vm = start("show(element(1, element(2, topos_runner:contact('a@b', 50)))), show(topos_runner:start_node(<<\"node2\">>))"),
    <<16#1E, "contact 1 a@b">> = line(Vm),
    ?assertEqual(<<"unreachable">>, line(Vm)),
    <<16#1E, "start 2 node2">> = line(Vm),
    say(Vm, "ok 1 127.0.0.1:1"),
    say(Vm, "ok 2 "),
    ?assertEqual(<<"ok">>, line(Vm)),
    stop(Vm).

no_word() ->
    Vm = start("show(topos_runner:kill(<<\"no de\">>)), show(topos_runner:kill(<<\"a\\nkill 9 seed\">>))"),
    ?assertMatch(<<"{error,", _/binary>>, line(Vm)),
    ?assertMatch(<<"{error,", _/binary>>, line(Vm)),
    stop(Vm).

input() ->
    Vm = start("show(topos_runner:read_line()), show(topos_runner:read_line())"),
    <<16#1E, "read 1">> = line(Vm),
    say(Vm, "ok 1  a  b "),
    ?assertEqual(<<"{ok,<<\" a  b \">>}">>, line(Vm)),
    <<16#1E, "read 2">> = line(Vm),
    say(Vm, "eof 2"),
    ?assertEqual(<<"eof">>, line(Vm)),
    stop(Vm).

published() ->
    Vm = start("topos_runner:publish('a@127.0.0.1', [{{127,0,0,1},7},{{0,0,0,0,0,0,0,1},8}])"),
    ?assertEqual(<<16#1E, "listening a@127.0.0.1 127.0.0.1:7,[::1]:8">>, line(Vm)),
    stop(Vm).

called() ->
    %% Who starts a node there does not own it: the call ends at once.
    {Caller, Answerer} = passed_on("show(topos_runner:call(<<\"node2\">>, fun(ok, Ev) -> "
                                   "{is_map(Ev), topos_runner:owner() =:= whereis(topos_runner)} end))"),
    ?assertEqual(<<"{true,true}">>, line(Caller)),
    stop(Caller),
    stop(Answerer).

fails_there() ->
    lists:foreach(
        fun({Body, Expected}) ->
            {Caller, Answerer} = passed_on(
                "show(catch_error(fun() -> topos_runner:call(<<\"node2\">>, fun(ok, _) -> " ++ Body ++ " end) end))"),
            ?assertEqual(Expected, line(Caller)),
            stop(Caller),
            stop(Answerer)
        end,
        [
            {"erlang:error(topos_error:new(not_started, #{}))", <<"not_started">>},
            {"exit(odd)", <<"call_failed">>},
            {"topos_test:fail(<<\"no\">>)", <<"{topos_test_failed,[<<\"on node2\">>]}">>},
            {"self()", <<"stays_here">>},
            {"binary:copy(<<0>>, 800000)", <<"call_too_large">>}
        ]).

refused() ->
    Vm = start("Call = fun() -> topos_runner:call(<<\"no de\">>, fun(ok, _) -> 1 end) end, "
               "show(catch_error(Call)), show(catch_error(Call)), show(catch_error(Call))"),
    lists:foreach(
        fun({Number, Answer, Expected}) ->
            Start = iolist_to_binary([16#1E, "call ", Number, " no?de "]),
            ?assertMatch({0, _}, binary:match(line(Vm), Start)),
            say(Vm, ["error ", Number, " ", Answer]),
            ?assertEqual(Expected, line(Vm))
        end,
        [{"1", "unknown seed,node2", <<"unknown_contact">>}, {"2", "ended", <<"node_ended">>},
         {"3", "busy", <<"no_serving_nodes">>}]),
    stop(Vm).

stays_here() ->
    Vm = start("Self = self(), Port = hd(erlang:ports()), Call = fun(X) -> topos_runner:call(<<\"node2\">>, "
               "fun(ok, _) -> {[#{a => {X}}], 1} end) end, show([catch_error(fun() -> Call(X) end) || X <- [Self, Port]])"),
    ?assertEqual(<<"[stays_here,stays_here]">>, line(Vm)),
    stop(Vm).

%% internal

%% The VM that calls and the one that answered; the caller has the answer.
passed_on(Eval) ->
    Caller = start(Eval),
    <<16#1E, "call 1 node2 ", Word/binary>> = line(Caller),
    Answerer = start("ok"),
    say(Answerer, ["call 7 ", Word]),
    <<16#1E, "answered 7 ", Answer/binary>> = line(Answerer),
    say(Caller, ["ok 1 ", Answer]),
    {Caller, Answerer}.

%% A VM whose standard input and output this process holds; `show(Term)' prints a term on one line.
start(Body) ->
    Show = "Show = fun(T) -> io:format(\"~0p~n\", [T]) end, ",
    Catch = "Catch = fun(F) -> try F() catch error:{topos_test_failed, #{about := A}} -> {topos_test_failed, A}; "
            "error:E -> topos_error:reason(E) end end, ",
    Shown = re:replace(Body, "show\\(", "Show(", [global, {return, list}]),
    Eval = Show ++ Catch ++ re:replace(Shown, "catch_error\\(", "Catch(", [global, {return, list}]) ++ ".",
    Ebin = filename:dirname(code:which(topos_runner)),
    open_port({spawn_executable, os:find_executable("erl")}, [
        {args, ["-noinput", "-pa", Ebin, "-s", "topos_runner", "start", "-eval", Eval]},
        {line, 1048576}, binary, exit_status
    ]).

stop(Vm) ->
    true = port_close(Vm),
    ok.

say(Vm, Line) -> true = port_command(Vm, [Line, $\n]).

line(Vm) ->
    receive
        {Vm, {data, {eol, Line}}} -> Line;
        {Vm, {exit_status, Status}} -> error({vm_ended, Status})
    after ?PATIENCE -> error(no_line)
    end.
