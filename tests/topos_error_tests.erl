-module(topos_error_tests).

-include_lib("eunit/include/eunit.hrl").

%% A code stands for one mistake: branches that each took "the next free one" must not meet in it.
every_code_is_given_once_test() ->
    Rows = rows(),
    Codes = [Code || {_, Code} <- Rows],
    ?assertEqual([], Codes -- lists:usort(Codes)),
    ?assert(length(Rows) > 40).

every_row_renders_test() ->
    [?assertMatch([<<"error[TP1", _/binary>>, _], binary:split(unicode:characters_to_binary(topos_error:format({Reason, #{}})), <<"\n  help: ">>))
     || {Reason, _} <- rows()].

%% Message and help together are what format/1 shows.
parts_test() ->
    Error = topos_error:new(bad_exit_status, #{status => 256}),
    ?assertEqual(unicode:characters_to_binary(topos_error:format(Error)),
                 unicode:characters_to_binary(["error[", topos_error:code(Error), "]: ", topos_error:message(Error),
                                               "\n  help: ", topos_error:help(Error)])).

details_are_shown_as_people_write_them_test_() ->
    [
        ?_assertMatch({match, _}, re:run(shown(Reason, Details), Part))
     || {Reason, Details, Part} <- [
            {address_in_use, #{address => {{127, 0, 0, 1}, 4000}}, "on 127\\.0\\.0\\.1:4000:"},
            {address_in_use, #{address => {{0, 0, 0, 0, 0, 0, 0, 1}, 4000}}, "on \\[::1\\]:4000:"},
            {no_such_channel, #{channel => x, known => [control, data]}, "are control, data$"},
            {unreachable, #{node => 'a@h', timeout => 5}, "a@h did not answer within 5 ms"},
            {no_such_process, #{target => <<0, 255>>, node => 'a@h'}, "process <<0,255>> on a@h"},
            {no_such_process, #{target => "name", node => 'a@h'}, "process name on"}
        ]
    ].

%% What a detail holds is never taken for a place to fill.
braces_in_details_stay_test() ->
    ?assertMatch({match, _}, re:run(shown(no_such_process, #{target => <<"{node}">>, node => 'a@h'}),
        "process \\{node\\} on a@h")).

%% An error that came without a detail is still shown.
a_missing_detail_is_a_question_mark_test() ->
    ?assertMatch({match, _}, re:run(shown(unreachable, #{}), "\\? did not answer within \\? ms")).

%% Whatever term a detail is, the message is a text of bounded length.
large_details_are_cut_test() ->
    Large = lists:duplicate(100000, {self(), make_ref()}),
    ?assert(byte_size(shown(no_such_process, #{target => Large, node => 'a@h'})) < 1000).

unknown_reasons_are_a_mistake_of_the_caller_test() ->
    ?assertError(_, topos_error:new(no_such_reason_at_all, #{})).

shown(Reason, Details) -> unicode:characters_to_binary(topos_error:format(topos_error:new(Reason, Details))).

%% The clauses of the table, from the module's own abstract code.
rows() ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(topos_error), [abstract_code]),
    [Clauses] = [Cs || {function, _, entry, 1, Cs} <- Forms],
    [{Reason, topos_error:code(Reason)} || {clause, _, [{atom, _, Reason}], _, _} <- Clauses].
