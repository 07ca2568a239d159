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

%% The clauses of the table, from the module's own abstract code.
rows() ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(topos_error), [abstract_code]),
    [Clauses] = [Cs || {function, _, entry, 1, Cs} <- Forms],
    [{Reason, topos_error:code(Reason)} || {clause, _, [{atom, _, Reason}], _, _} <- Clauses].
