-module(topos_config_tests).
-include_lib("eunit/include/eunit.hrl").

-define(NATIVE, #{topology => {native, pluggable}, engine => partisan, insecure => true}).
-define(NODE, 'shop@127.0.0.1').

minimal_config_has_every_default_test() ->
    {ok, Config} = topos_config:parse(#{node => ?NODE}),
    ?assertMatch(
        #{
            node := ?NODE, topology := full_mesh, listen := [{{127, 0, 0, 1}, 0}], tls := undefined, insecure := false,
            fault_detection := #{echo_interval := 250, suspect_after := 1000, down_after := 3000},
            channels := #{
                control := #{parallelism := 1, monotonic := false, compression := false},
                data := #{}, bulk := #{}, state_sync := #{monotonic := true}
            }
        },
        Config
    ),
    Keys = [Key || #{key := Key} <- topos_config_schema:fields()],
    ?assertEqual(lists:sort(Keys), lists:sort(maps:keys(Config))).

texts_and_atoms_mean_the_same_test() ->
    {ok, Config} = topos_config:parse(#{
        node => ?NODE, engine => otp, listen => [{{127, 0, 0, 1}, 4000}], compression => true,
        channels => #{data => #{parallelism => 4}}, contacts => #{'till@127.0.0.1' => [{{127, 0, 0, 1}, 4001}]}
    }),
    ?assertEqual(
        {ok, Config},
        topos_config:parse([
            {"node", <<"shop@127.0.0.1">>}, {<<"engine">>, "otp"}, {listen, "localhost:4000"}, compression,
            {channels, 4}, {contacts, ["till@127.0.0.1:4001"]}
        ])
    ),
    ?assertEqual(
        {ok, Config},
        topos_config:parse(#{
            <<"node">> => "shop@127.0.0.1", engine => <<"otp">>, listen => 4000, compression => "true",
            channels => [{data, #{"parallelism" => "4"}}], contacts =>
                [{"till@127.0.0.1", #{ip => "127.0.0.1", port => 4001}}]
        })
    ).

listen_forms_test_() ->
    Ip6 = {0, 0, 0, 0, 0, 0, 0, 1},
    [
        ?_assertMatch({Form, {ok, #{listen := Expected}}}, {Form, topos_config:parse(#{node => ?NODE, listen => Form})})
     || {Form, Expected} <- [
            {"[::1]:4000", [{Ip6, 4000}]},
            {<<"127.0.0.1:4000">>, [{{127, 0, 0, 1}, 4000}]},
            {[4000, 4001], [{{127, 0, 0, 1}, 4000}, {{127, 0, 0, 1}, 4001}]},
            {["127.0.0.1:1", "127.0.0.1:1"], [{{127, 0, 0, 1}, 1}]},
            {{Ip6, 1}, [{Ip6, 1}]}
        ]
    ].

compression_reaches_the_channels_test() ->
    {ok, #{channels := Channels}} =
        topos_config:parse(#{node => ?NODE, compression => true, channels => #{bulk => #{compression => false}}}),
    ?assertMatch(#{data := #{compression := true}, bulk := #{compression := false}}, Channels).

topologies_are_completed_test_() ->
    Parsed = fun(Topology) ->
        {ok, #{topology := Complete}} = topos_config:parse(#{node => ?NODE, topology => Topology}),
        Complete
    end,
    HyParView = #{
        type => hyparview, active_view => 5, passive_view => 30, active_walk => 6, passive_walk => 3, shuffle_active => 3,
        shuffle_passive => 4, shuffle_period => 10_000, mix_period => 60_000, request_timeout => 5_000
    },
    ClientServer = #{
        type => client_server, role => client, hubs => [a@b], hubs_of_a_client => 1, max_clients => 4_096, request_timeout => 5_000
    },
    [
        ?_assertEqual(full_mesh, Parsed("full_mesh")),
        ?_assertEqual(full_mesh, Parsed(#{type => full_mesh})),
        ?_assertEqual(HyParView, Parsed(hyparview)),
        ?_assertEqual(HyParView#{active_view := 8}, Parsed([{type, <<"hyparview">>}, {active_view, "8"}])),
        ?_assertEqual(HyParView#{active_view := 2, shuffle_active := 2, active_walk := 1, passive_walk := 1},
                      Parsed(#{type => hyparview, active_view => 2, active_walk => 1})),
        ?_assertEqual(#{type => custom, handler => ring, args => [], handler_timeout => 500, max_links => 64, request_timeout => 5_000},
                      Parsed(#{type => custom, handler => ring})),
        ?_assertEqual(ClientServer, Parsed(#{type => client_server, hubs => ["a@b"]})),
        ?_assertEqual(ClientServer#{role := hub, hubs := [?NODE]}, Parsed(#{type => client_server, hubs => [?NODE]}))
    ].

topology_violations_are_reported_together_test() ->
    Topology = #{type => hyparview, active_view => 0, passive_walk => 9, colour => red},
    {error, {invalid_config, #{count := Count, violations := All}}} =
        topos_config:parse(#{node => ?NODE, topology => Topology, cookie => <<>>}),
    ?assertEqual(4, Count),
    ?assertEqual([<<"cookie">>, <<"topology.active_view">>, <<"topology.colour">>, <<"topology.passive_walk">>],
        lists:sort([Path || #{path := Path} <- All])).

%% What means something, or is set in every program, is no mistake; without Partisan the engine is the only one.
native_test_() ->
    Installed = lists:member(partisan, topos_config_schema:available_engines()),
    [
        fun() ->
            case topos_config:parse(Given#{node => ?NODE}) of
                {ok, #{topology := Topology}} when Installed ->
                    ?assertEqual(Expected, Topology);
                {error, {invalid_config, #{violations := Violations}}} ->
                    ?assertEqual({false, [<<"engine">>]}, {Installed, [Path || #{path := Path} <- Violations]})
            end
        end
     || {Given, Expected} <- [
            {?NATIVE, #{type => native, manager => pluggable, tag => none}},
            {?NATIVE#{topology => {"native", <<"hyparview">>}}, #{type => native, manager => hyparview, tag => none}},
            {?NATIVE#{topology => #{"type" => "native", "manager" => "client_server", tag => client}},
             #{type => native, manager => client_server, tag => client}},
            {?NATIVE#{cookie => "mine", fault_detection => #{method => swim}, channels => #{data => 3, orders => 2}, listen => "0.0.0.0:4000",
                      contacts => [{"b@127.0.0.1", "127.0.0.1:1"}], limits => #{max_inbox_messages => 9}},
             #{type => native, manager => pluggable, tag => none}}
        ]
    ].

%% A running node does not become one of Partisan's managers.
native_is_chosen_at_start_test() ->
    ?assertMatch({error, {invalid_config, #{violations := [#{path := <<"topology">>, got := native}]}}},
        topos_config:parse_topology({native, pluggable}, ?NODE)).

%% One row a mistake: what is given over a minimal configuration, the path, and a part of what was expected.
violations_test_() ->
    [
        {lists:flatten(io_lib:format("~0tp", [Given])), fun() ->
            {error, {invalid_config, #{violations := Violations}}} =
                topos_config:parse(maps:merge(#{node => ?NODE}, Given)),
            Found = [Expected || #{path := P, expected := Expected} <- Violations, P =:= Path],
            ?assertMatch([_], Found),
            ?assertNotEqual(nomatch, string:find(hd(Found), Part))
        end}
     || {Given, Path, Part} <- [
            {#{node => "shop"}, <<"node">>, "shop@127.0.0.1"},
            {#{node => nonode@nohost}, <<"node">>, "shop@127.0.0.1"},
            {#{node => "a@b@c"}, <<"node">>, "shop@127.0.0.1"},
            {#{node => "a@b\n"}, <<"node">>, "shop@127.0.0.1"},
            {#{engine => partizan}, <<"engine">>, "did you mean partisan?"},
            {#{engine => "scamp"}, <<"engine">>, "one of partisan, otp"},
            {#{topology => ring}, <<"topology">>, "full_mesh"},
            {#{topology => 7}, <<"topology">>, "or a map"},
            {#{topology => #{active_view => 3}}, <<"topology.type">>, "one of full_mesh, hyparview, client_server"},
            {#{topology => #{type => hyparvue}}, <<"topology.type">>, "did you mean hyparview?"},
            {#{topology => #{type => full_mesh, hubs => []}}, <<"topology.hubs">>, "one of"},
            {#{topology => #{type => hyparview, active_view => 65}}, <<"topology.active_view">>, "an integer in 2..64"},
            {#{topology => #{type => hyparview, activ_view => 5}}, <<"topology.activ_view">>, "did you mean active_view?"},
            {#{topology => #{type => hyparview, passive_walk => 7}}, <<"topology.passive_walk">>, "at most topology.active_walk, 6"},
            {#{topology => #{type => hyparview, active_view => 2, shuffle_active => 3}}, <<"topology.shuffle_active">>,
             "at most topology.active_view, 2"},
            {#{topology => #{type => hyparview, passive_view => 3, shuffle_passive => 4}}, <<"topology.shuffle_passive">>,
             "at most topology.passive_view"},
            {#{topology => client_server}, <<"topology.hubs">>, "a list of 1..255 names"},
            {#{topology => #{type => client_server, hubs => [a@b, "a@b"]}}, <<"topology.hubs">>, "each once"},
            {#{topology => #{type => client_server, hubs => [a@b], role => hub}}, <<"topology.role">>, "among topology.hubs"},
            {#{topology => #{type => client_server, hubs => [a@b], hubs_of_a_client => 2}}, <<"topology.hubs_of_a_client">>, "number"},
            {#{topology => custom}, <<"topology.handler">>, "the name of an Erlang module"},
            {#{topology => #{type => custom, handler => "ring"}}, <<"topology.handler">>, "an atom"},
            {#{topology => #{type => custom, handler => ring, args => [fun() -> ok end]}}, <<"topology.args">>, "without functions"},
            {#{topology => #{type => custom, handler => ring, handler_timeout => 3_000}}, <<"topology.handler_timeout">>, "10..2000"},
            {#{topology => #{type => custom, handler => ring, max_links => 256}}, <<"topology.max_links">>, "1..255"},
            {#{topology => native}, <<"topology.manager">>, "one of pluggable, hyparview, client_server"},
            {#{topology => {native, static}}, <<"topology.manager">>, "one of pluggable, hyparview, client_server"},
            {#{topology => {hyparview, 5}}, <<"topology">>, "or a map"},
            {#{topology => {native, pluggable}}, <<"insecure">>, "decodes whatever a peer sends"},
            {?NATIVE#{engine => otp}, <<"engine">>, "with topology native one of Partisan's own managers runs"},
            {?NATIVE#{topology => #{type => native, manager => hyparview, tag => server}}, <<"topology.tag">>, "only the manager client_server"},
            {?NATIVE#{metadata => #{"rack" => "7"}}, <<"metadata">>, "nothing: with topology native"},
            {?NATIVE#{metrics => #{}}, <<"metrics">>, "nothing: with topology native"},
            {?NATIVE#{forget_after => 5_000}, <<"forget_after">>, "nothing: with topology native"},
            {?NATIVE#{fault_detection => #{down_after => 5_000}}, <<"fault_detection.down_after">>, "nothing: with topology native"},
            {?NATIVE#{channels => #{orders => #{order => none}}}, <<"channels.orders.order">>, "nothing: with topology native"},
            {?NATIVE#{channels => #{orders => #{monotonic => true}}}, <<"channels.orders.monotonic">>, "nothing: with topology native"},
            {?NATIVE#{compression => true, channels => [orders]}, <<"channels.orders.compression">>, "nothing: with topology native"},
            {#{fault_detection => #{method => ping}}, <<"fault_detection.method">>, "one of echo, swim"},
            {#{fault_detection => #{indirect_probes => 33}}, <<"fault_detection.indirect_probes">>, "0..32"},
            {#{chanels => #{}}, <<"chanels">>, "did you mean channels?"},
            {#{fault_detection => #{supsect_after => 1}}, <<"fault_detection.supsect_after">>, "suspect_after?"},
            {#{channels => #{data => #{parallelism => 0}}}, <<"channels.data.parallelism">>, "an integer in 1..64"},
            {#{channels => #{data => #{parallelism => 65}}}, <<"channels.data.parallelism">>, "an integer in 1..64"},
            {#{channels => 0}, <<"channels.data.parallelism">>, "an integer in 1..64"},
            {#{channels => #{data => #{monotone => true}}}, <<"channels.data.monotone">>, "monotonic?"},
            {#{channels => #{data => #{monotonic => true}}}, <<"channels.data.monotonic">>, "false"},
            {#{channels => #{control => #{parallelism => 2}}}, <<"channels.control.parallelism">>, "1"},
            {#{channels => [orders, orders]}, <<"channels">>, "each name once"},
            {#{channels => [{orders, 1}, {"orders", 2}]}, <<"channels">>, "each name once"},
            {#{channels => #{undefined => 1}}, <<"channels">>, "names of a-z"},
            {#{channels => #{"Big" => 1}}, <<"channels">>, "names of a-z"},
            {#{channels => #{a => 64, b => 64}}, <<"channels">>, "128 connections"},
            {#{channels => maps:from_list([{integer_to_list(N), 1} || N <- lists:seq(1, 65)])}, <<"channels">>,
                "64 channels"},
            {#{listen => "0.0.0.0:4000"}, <<"listen">>, "insecure = true"},
            {#{listen => "0.0.0.0:4000", insecure => true}, <<"cookie">>, "of your own"},
            {#{listen => "nowhere:4000"}, <<"listen">>, "127.0.0.1:4000"},
            {#{listen => "127.0.0.1:65536"}, <<"listen">>, "127.0.0.1:4000"},
            {#{listen => []}, <<"listen">>, "1..16 addresses"},
            {#{metrics => #{listen => "0.0.0.0:9100"}}, <<"metrics.listen">>, "insecure = true"},
            {#{metrics => #{port => 9100}}, <<"metrics.port">>, "listen"},
            {#{tls => #{}}, <<"tls.certfile">>, "a file"},
            {#{tls => #{keyfile => "/nonexistent/key.pem"}}, <<"tls.keyfile">>, "can be read"},
            {#{tls => #{cacertfile => "/"}}, <<"tls.cacertfile">>, "can be read"},
            {#{cookie => ""}, <<"cookie">>, "1..255 bytes"},
            {#{cluster => "two\nlines"}, <<"cluster">>, "printable"},
            {#{fault_detection => #{suspect_after => 499}}, <<"fault_detection.suspect_after">>,
                "two echo intervals (500 ms)"},
            {#{fault_detection => #{down_after => 1000}}, <<"fault_detection.down_after">>, "more than suspect_after"},
            {#{limits => #{max_queue_bytes => 2048}}, <<"limits.max_queue_bytes">>, "max_message_bytes"},
            {#{limits => unlimited}, <<"limits">>, "a map"},
            {#{metadata => #{rack => 7}}, <<"metadata.rack">>, "text"},
            {#{contacts => [?NODE]}, <<"contacts">>, "other nodes"},
            {#{contacts => ["a@b", {"a@b", "127.0.0.1:1"}]}, <<"contacts">>, "each node once"},
            {#{forget_after => -1}, <<"forget_after">>, "1000..2592000000"}
        ]
    ].

sensible_channels_test_() ->
    Cases = [
        {control, #{delivery => at_most_once}, delivery, "may not drop"},
        {data, #{delivery => at_most_once}, delivery, "may not drop"},
        {data, #{expiry => 10}, expiry, "may not drop"},
        {data, #{order => none}, order, "keeps the order"},
        {control, #{max_parallelism => 2}, max_parallelism, "one order"},
        {prices, #{monotonic => true, delivery => at_most_once}, delivery, "newest value"},
        {prices, #{monotonic => true, order => none}, order, "one lane"},
        {prices, #{monotonic => true, expiry => 5}, expiry, "newest value"},
        {state_sync, #{expiry => 5}, expiry, "newest value"},
        {jobs, #{parallelism => 4, max_parallelism => 2}, max_parallelism, "at least parallelism (4)"},
        {jobs, #{max_queue_bytes => 2048}, max_queue_bytes, "max_message_bytes"},
        {jobs, #{delivery => exactly_once}, delivery, "one of at_least_once, at_most_once"},
        {jobs, #{order => random}, order, "one of key, pair, none"},
        {jobs, #{priority => urgent}, priority, "one of high, normal, low"},
        {jobs, #{expiry => -1}, expiry, "0..86400000"},
        {jobs, #{max_parallelism => 65}, max_parallelism, "0..64"}
    ],
    [
        fun() ->
            Path = iolist_to_binary(io_lib:format("channels.~s.~s", [Channel, Key])),
            {error, {invalid_config, #{violations := Violations}}} =
                topos_config:parse(#{node => ?NODE, channels => #{Channel => Settings}}),
            ?assertMatch([#{path := Path}], Violations),
            [#{expected := Text}] = Violations,
            ?assertNotEqual(nomatch, string:find(Text, Expected))
        end
     || {Channel, Settings, Key, Expected} <- Cases
    ] ++ [
        fun() ->
            {error, {invalid_config, #{count := 3}}} = topos_config:parse(#{node => ?NODE, channels => #{
                prices => #{monotonic => true, delivery => at_most_once, order => none},
                jobs => #{parallelism => 4, max_parallelism => 2}
            }})
        end,
        fun() ->
            {error, {invalid_config, #{violations := [#{path := <<"channels">>, expected := <<"at most 128", _/binary>>}]}}} =
                topos_config:parse(#{node => ?NODE, channels => #{a => #{max_parallelism => 64}, b => #{max_parallelism => 64}}})
        end
    ].

changed_channels_keep_what_was_not_said_test() ->
    {ok, #{channels := #{jobs := Jobs}} = Config} =
        topos_config:parse(#{node => ?NODE, channels => #{jobs => #{parallelism => 3, order => pair}}}),
    {ok, #{jobs := Changed, data := #{parallelism := 1}, fresh := #{parallelism := 2, order := key}}} =
        topos_config:parse_changed(Config, #{jobs => #{parallelism => 5}, fresh => 2}),
    ?assertEqual(Jobs#{parallelism := 5}, Changed),
    ?assertMatch(
        {error, {invalid_config, #{count := 2}}},
        topos_config:parse_changed(Config, #{jobs => #{max_parallelism => 2}, control => #{parallelism => 2}})
    ).

all_violations_come_together_test() ->
    {error, {invalid_config, #{count := 4, violations := Violations}}} = topos_config:parse(#{
        node => bad, channels => #{data => #{parallelism => 0}, control => #{monotonic => true}}, compresion => true
    }),
    ?assertEqual(
        [<<"node">>, <<"channels.data.parallelism">>, <<"compresion">>, <<"channels.control.monotonic">>],
        [Path || #{path := Path} <- Violations]
    ).

a_key_given_twice_is_a_mistake_test() ->
    ?assertMatch(
        {error, {invalid_config, #{violations := [#{expected := <<"each key once">>}]}}},
        topos_config:parse([{node, ?NODE}, {"node", 'till@127.0.0.1'}])
    ).

node_is_required_where_the_vm_has_no_name_test() ->
    ?assertEqual(nonode@nohost, node()),
    ?assertMatch(
        {error, {invalid_config, #{violations := [#{path := <<"node">>, got := missing}]}}}, topos_config:parse(#{})
    ).

errors_read_well_test() ->
    {error, Error} = topos_config:parse(#{node => ?NODE, chanels => #{}, listen => "0.0.0.0:4000", cookie => "c",
                                          channels => #{data => #{parallelism => 0}}}),
    ?assertEqual(
        <<"error[TP1001]: the configuration has mistakes (3):\n"
          "  channels.data.parallelism: expected an integer in 1..64, got 0\n"
          "  chanels: is not a key: expected one of node, cluster, engine, topology, listen, cookie, channels, compression, "
          "fault_detection, tls, insecure, contacts, metadata, limits, timeouts, metrics, forget_after (did you mean channels?)\n"
          "  listen: expected a loopback address, or tls, or insecure = true (anyone who reaches it could enter), "
          "got \"0.0.0.0:4000\"\n"
          "  help: mend the fields named above; see docs/configuration.md">>,
        unicode:characters_to_binary(topos_error:format(Error))
    ).

%% A secret is never shown, whatever is wrong with it.
cookie_is_not_shown_test_() ->
    [
        ?_assertEqual(nomatch, string:find(shown(topos_config:parse(#{node => ?NODE, cookie => Cookie})), "sesame"))
     || Cookie <- [lists:append(lists:duplicate(100, "sesame")), "sesame\n", {sesame}, [sesame]]
    ].

many_violations_are_counted_and_cut_test() ->
    Unknown = maps:from_list([{list_to_binary(["k", integer_to_list(N)]), N} || N <- lists:seq(1, 500)]),
    {error, {invalid_config, #{count := 500, violations := Violations}}} = topos_config:parse(Unknown#{node => ?NODE}),
    ?assertEqual(100, length(Violations)).

%% Texts that are no names make no atoms.
parsing_makes_no_atoms_of_bad_names_test() ->
    Before = erlang:system_info(atom_count),
    {error, _} = topos_config:parse(#{node => "new name one", channels => #{<<"New Name Two">> => 1},
        <<"new key three">> => 1}),
    ?assertEqual(Before, erlang:system_info(atom_count)).

file_and_environment_test_() ->
    {setup, fun() -> filename:join(os:getenv("TMPDIR", "/tmp"), "topos_config_tests_" ++ os:getpid()) end,
     fun(File) -> _ = file:delete(File), [os:unsetenv(Name) || Name <- ["TOPOS_CONFIG", "TOPOS_NODE", "TOPOS_LISTEN",
         "TOPOS_CONTACTS"]] end,
     fun(File) ->
        [
            fun() ->
                ok = file:write_file(File, "[{topos_partisan, [{node, 'a@h'}, {channels, [orders]}]}]."),
                ?assertMatch({ok, #{node := 'a@h', channels := #{orders := #{}}}}, topos_config:from_file(File))
            end,
            fun() ->
                true = os:putenv("TOPOS_CONFIG", File),
                true = os:putenv("TOPOS_NODE", "b@h"),
                true = os:putenv("TOPOS_LISTEN", "127.0.0.1:4000, [::1]:4000"),
                true = os:putenv("TOPOS_CONTACTS", "c@127.0.0.1:1,d@h"),
                ?assertMatch(
                    {ok, #{node := 'b@h', channels := #{orders := #{}}, listen := [_, _],
                           contacts := #{'c@127.0.0.1' := [{{127, 0, 0, 1}, 1}], 'd@h' := []}}},
                    topos_config:from_environment()
                )
            end,
            fun() ->
                ok = file:write_file(File, "#{node => 'a@h'"),
                Shown = shown(topos_config:from_file(File)),
                ?assertNotEqual(nomatch, string:find(Shown, "syntax error"))
            end,
            fun() ->
                Shown = shown(topos_config:from_file("/nonexistent/topos.config")),
                ?assertNotEqual(nomatch, string:find(Shown, "no such file"))
            end
        ]
     end}.

documentation_is_the_table_test() ->
    {ok, Text} = file:read_file(filename:join(root(), "docs/configuration.md")),
    [_, AfterMark] = binary:split(Text, <<"<!-- keys:">>),
    [_, FromTable] = binary:split(AfterMark, <<"-->\n">>),
    [Table, _] = binary:split(FromTable, <<"<!-- /keys -->">>),
    ?assertEqual(topos_config_schema:markdown(), Table).

node_spec_forms_test_() ->
    Address = {{127, 0, 0, 1}, 4001},
    [
        ?_assertMatch({Form, {ok, #{name := 'till@127.0.0.1', listen := Listen, channels := #{control := _}}}},
                      {Form, topos_node_spec:parse(Form)})
     || {Form, Listen} <- [
            {'till@127.0.0.1', []},
            {"till@127.0.0.1:4001", [Address]},
            {<<"till@127.0.0.1:4001">>, [Address]},
            {{'till@127.0.0.1', Address}, [Address]},
            {{"till@127.0.0.1", ["127.0.0.1:4001"]}, [Address]},
            {#{name => "till@127.0.0.1", listen => 4001, metadata => #{rack => a}}, [Address]},
            {[{name, 'till@127.0.0.1'}, {listen, "127.0.0.1:4001"}], [Address]},
            {#{node => 'till@127.0.0.1', addresses => [Address]}, [Address]}
        ]
    ].

node_spec_reports_all_mistakes_test() ->
    ?assertMatch(
        {error, {invalid_config, #{count := 3}}},
        topos_node_spec:parse(#{name => x, listen => "y", channels => #{data => #{parallelism => 0}}})
    ),
    ?assertMatch({error, {invalid_config, #{count := 1}}}, topos_node_spec:parse("till")).

shown({error, Error}) -> unicode:characters_to_binary(topos_error:format(Error)).

%% The repository, from where this module was built.
root() ->
    root(filename:dirname(code:which(?MODULE))).

root("/") -> error(no_repository);
root(Dir) ->
    case filelib:is_regular(filename:join(Dir, "docs/configuration.md")) of
        true -> Dir;
        false -> root(filename:dirname(Dir))
    end.
