-module(topos_effect_tests).
-behaviour(topos_handler).

-include_lib("eunit/include/eunit.hrl").

%% A handler whose instance is the process that hears of it.
-export([init/2, terminate/2, portable/1]).

init([refused], _Ev) -> {error, topos_error:new(no_main, #{module => refused})};
init([Pid, Name], Ev) ->
    Pid ! {started, Name, lists:sort(maps:keys(Ev))},
    {ok, {Pid, Name}}.

terminate(Reason, {Pid, Name}) ->
    Pid ! {terminated, Name, Reason},
    ok.

portable(_) -> false.

heard() ->
    receive Message -> [Message | heard()] after 0 -> [] end.

with_handler_test_() ->
    With = fun(Body) -> topos_effect:with_handler('E', ?MODULE, [self(), a], #{'F' => f}, Body) end,
    [
        fun() ->
            ?assertEqual({result, #{'E' => {?MODULE, {self(), a}}, 'F' => f}}, With(fun(Ev) -> {result, Ev} end)),
            ?assertEqual([{started, a, ['F']}, {terminated, a, normal}], heard())
        end,
        fun() ->
            ?assertThrow(out, With(fun(_) -> throw(out) end)),
            ?assertEqual([{started, a, ['F']}, {terminated, a, {throw, out}}], heard())
        end,
        fun() ->
            Body = fun(_) -> self() ! ran end,
            ?assertError({no_main, _}, topos_effect:with_handler('E', ?MODULE, [refused], #{}, Body)),
            ?assertEqual([], heard())
        end
    ].

install_replaces_the_root_test() ->
    {ok, Ev} = topos_effect:install([{'A', ?MODULE, [self(), a]}, {'B', ?MODULE, [self(), b]}]),
    ?assertEqual(Ev, topos_effect:root()),
    ?assertEqual([{started, a, []}, {started, b, ['A']}], heard()),
    %% The second handler fails: the first is terminated, and the earlier root is gone.
    {error, {no_main, _}} = topos_effect:install([{'C', ?MODULE, [self(), c]}, {'D', ?MODULE, [refused]}]),
    ?assertEqual([{started, c, []}, {terminated, a, normal}, {terminated, b, normal}, {terminated, c, normal}],
                 lists:sort(heard())),
    Root = topos_effect:root(),
    ?assert(is_map_key('Topos.IO.IO', Root)),
    ok = topos_effect:uninstall(),
    ok = topos_effect:uninstall().

every_root_handler_answers_its_declared_operations_test_() ->
    Ev = topos_effect:root(),
    Operations = #{
        'Topos.IO.IO' => [{print, 1}, {write, 1}, {warn, 1}, {read_line, 0}, {env, 1}],
        'Topos.Process.Process' => [{spawn, 1}, {self, 0}, {send, 2}, {'receive', 0}, {receive_within, 1}, {is_alive, 1},
                                    {sleep, 1}, {arguments, 0}, {exit, 1}, {fail, 1}],
        'Topos.Time.Time' => [{now, 0}, {monotonic, 0}],
        'Topos.Random.Random' => [{int, 2}, {float, 0}, {seed, 1}],
        'Topos.Channel.Channel' => [{send_on, 3}, {send_keyed, 4}, {create_channel, 2}, {create_channels, 1},
            {close_channel, 1}, {reconfigure, 2}, {stats, 1}, {health, 0}],
        'Topos.Partisan.Distributed' => [{init, 1}, {create_cluster, 1}, {join_cluster, 2}, {leave, 0}, {node_name, 0},
            {self, 0}, {members, 0}, {statuses, 0}, {current_topology, 0}, {neighbours, 0}, {route, 1}, {send, 2},
            {send_with, 3}, {default_channel, 0}, {broadcast, 2}, {recv, 0}, {recv_within, 1}, {next_event, 0},
            {next_event_within, 1}, {monitor, 1}, {demonitor, 1}, {on_up, 1}, {on_down, 1}, {cancel, 1}]
    },
    [{atom_to_list(Effect),
      fun() ->
          {Module, _} = maps:get(Effect, Ev),
          Exports = Module:module_info(exports),
          ?assertEqual([], [Op || {Name, Arity} = Op <- Ops, not lists:member({Name, Arity + 1}, Exports)])
      end}
     || {Effect, Ops} <- maps:to_list(Operations)].

io_goes_to_the_group_leader_test() ->
    {ok, Io} = topos_effect_io:init([], #{}),
    Leader = group_leader(),
    Output = topos_compile_output:start(),
    ok = topos_compile_output:redirect(Output, self()),
    {Pid, Monitor} = spawn_monitor(fun() ->
        group_leader(Output, self()),
        ok = topos_effect_io:print(Io, <<"zażółć"/utf8>>),
        ok = topos_effect_io:write(Io, <<"a\x{1f980}b"/utf8>>),
        none = topos_effect_io:read_line(Io)
    end),
    ?assertEqual(<<"zażółć\na🦀b"/utf8>>, collect(Pid, Monitor, <<>>)),
    ?assertEqual(Leader, group_leader()).

collect(Pid, Monitor, Acc) ->
    receive
        {topos_compile_output, From, Bytes} ->
            From ! {topos_compile_output, written},
            collect(Pid, Monitor, <<Acc/binary, Bytes/binary>>);
        {'DOWN', Monitor, process, Pid, Reason} ->
            ?assertEqual(normal, Reason),
            Acc
    end.

env_test_() ->
    {ok, Io} = topos_effect_io:init([], #{}),
    true = os:putenv("TOPOS_TEST_VARIABLE", "ż"),
    [
        ?_assertEqual({some, <<"ż"/utf8>>}, topos_effect_io:env(Io, <<"TOPOS_TEST_VARIABLE">>)),
        ?_assertEqual(none, topos_effect_io:env(Io, <<"TOPOS_TEST_VARIABLE_2">>)),
        ?_assertEqual(none, topos_effect_io:env(Io, <<>>)),
        ?_assertEqual(none, topos_effect_io:env(Io, <<"A=B">>)),
        ?_assertEqual(none, topos_effect_io:env(Io, <<"A", 0>>))
    ].

processes_test_() ->
    {ok, P} = topos_effect_process:init([[<<"an argument">>], vm], #{'E' => root}),
    [
        ?_assertEqual([<<"an argument">>], topos_effect_process:arguments(P)),
        fun() ->
            Parent = topos_effect_process:self(P),
            Child = topos_effect_process:spawn(P, fun(ok, Ev) ->
                topos_effect_process:send(P, Parent, {Ev, topos_effect_process:'receive'(P)})
            end),
            ?assert(topos_effect_process:is_alive(P, Child)),
            %% Not a message of the program: stays where it is.
            self() ! stray,
            Child ! stray,
            ok = topos_effect_process:send(P, Child, 42),
            ?assertEqual({some, {#{'E' => root}, 42}}, topos_effect_process:receive_within(P, topos_await:patience())),
            ?assertEqual(none, topos_effect_process:receive_within(P, 0)),
            ?assertEqual(none, topos_effect_process:receive_within(P, -1)),
            ?assertEqual([stray], heard())
        end,
        ?_assertError({bad_exit_status, #{status := 256}}, topos_effect_process:exit(P, 256)),
        ?_assertEqual(ok, topos_effect_process:sleep(P, -5))
    ].

random_test_() ->
    {ok, R} = topos_effect_random:init([], #{}),
    Draw = fun() ->
        ok = topos_effect_random:seed(R, 7),
        [topos_effect_random:int(R, -2, 3) || _ <- lists:seq(1, 1000)]
    end,
    [
        ?_assertEqual(Draw(), Draw()),
        ?_assertEqual([-2, -1, 0, 1, 2, 3], lists:usort(Draw())),
        ?_assertEqual(5, topos_effect_random:int(R, 5, 4)),
        ?_assert(topos_effect_random:float(R) < 1.0)
    ].

configuration_of_the_node_test_() ->
    Config = #{topology => full_mesh, channels => 2, compression => false, fault_detection => swim_detection,
               engine => best, name => <<>>, cookie => <<>>, inbox_size => 9, insecure => false},
    Env = fun(Pairs) -> fun(Name) -> proplists:get_value(Name, Pairs, false) end end,
    Given = fun(C, Pairs) -> topos_effect_distributed:configuration(C, Env(Pairs)) end,
    Default = #{node => <<"node@127.0.0.1">>, topology => full_mesh, compression => false, fault_detection => #{method => swim},
                limits => #{max_inbox_messages => 9}, insecure => false, channels => #{data => #{parallelism => 2, compression => false}}},
    Chosen = [{"TOPOS_NODE", "seed@127.0.0.1"}, {"TOPOS_COOKIE", "c"}, {"TOPOS_ENGINE", "otp"}, {"TOPOS_LISTEN", "127.0.0.1:0"}],
    Times = {echo_detection, #{interval => 1, suspect_after => 2, down_after => 3}},
    [
        ?_assertEqual(Default, Given(Config, [])),
        ?_assertEqual(Default#{node := <<"seed@127.0.0.1">>, cookie => <<"c">>, engine => <<"otp">>, listen => ["127.0.0.1:0"]},
                      Given(Config, Chosen)),
        %% The program's name and cookie win, the runner's engine does.
        ?_assertEqual(Default#{node := <<"own@127.0.0.1">>, cookie => <<"own">>, engine => <<"otp">>, listen => ["127.0.0.1:0"]},
                      Given(Config#{name := <<"own@127.0.0.1">>, cookie := <<"own">>, engine := partisan}, Chosen)),
        ?_assertEqual(Default#{engine => partisan, fault_detection := #{echo_interval => 1, suspect_after => 2, down_after => 3}},
                      Given(Config#{engine := partisan, fault_detection := Times}, [])),
        ?_assertEqual(Default#{topology := #{type => hyparview, active_view => 4}},
                      Given(Config#{topology := {peer_to_peer, #{active_view => 4}}}, [])),
        ?_assertEqual(Default#{topology := #{type => client_server, hubs => [<<"a@b">>], hubs_of_a_client => 1}},
                      Given(Config#{topology := {client_server, #{hubs => [<<"a@b">>], hubs_of_a_client => 1}}}, [])),
        ?_assertEqual(Default#{topology := #{type => custom, handler => topos_topology_flow, args => <<"Shapes.ring">>, max_links => 8}},
                      Given(Config#{topology := {custom, #{handler => <<"Shapes.ring">>, max_links => 8}}}, [])),
        ?_assertEqual(Default#{topology := {native, hyparview}, insecure := true},
                      Given(Config#{topology := {native, hy_par_view_manager}, insecure := true}, []))
    ].

%% What a configuration says is what the effect shows.
native_topologies_come_back_test_() ->
    [
        ?_assertEqual({native, Manager}, topos_effect_distributed:shown_topology(#{type => native, manager => element(2, topos_effect_distributed:topology({native, Manager}))}))
     || Manager <- [pluggable_manager, hy_par_view_manager, client_server_manager]
    ].

flows_of_topologies_are_found_by_name_test_() ->
    [
        ?_assertEqual({error, Why}, topos_topology_flow:init(Name))
     || {Name, Why} <- [{<<"ring">>, no_flow}, {<<"No.Such.ring">>, no_module}, {<<"topos_topology_flow.ring">>, no_flow},
                        %% It has one with three arguments, as a flow with effects has.
                        {<<"topos_topology_flow.neighbours">>, {wrong_type, <<"(own : Node) -> (members : [Node]) -> [Node]">>}}]
    ].
