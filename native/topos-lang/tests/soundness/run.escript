#!/usr/bin/env escript
%%! +fnu
%% Usage: run.escript DIRECTORY REPOSITORY. See vm.rs.
-mode(compile).

%% A program that runs longer does not end.
-define(TIMEOUT, 60_000).

main([Dir, Root]) ->
    ok = io:setopts([{encoding, unicode}]),
    lists:foreach(fun(F) -> load(filename:join([Root, "erlang", F])) end, sources()),
    ok = element(1, topos_effect:install([{'Topos.Process.Process', topos_effect_process, [[]]}])),
    Library = lists:sort(filelib:wildcard(filename:join(Dir, "library-*.etf"))),
    lists:foreach(fun(F) -> {ok, _} = load_forms(F) end, Library),
    {ok, Calls} = file:consult(filename:join(Dir, "calls")),
    lists:foreach(fun(Call) -> io:put_chars([unicode:characters_to_binary(one(Dir, Call)), 16#1E]) end, Calls).

sources() ->
    ["base/topos_error.erl", "compile/topos_compile.erl"] ++
        ["effect/" ++ atom_to_list(Module) ++ ".erl"
         || Module <- [topos_handler, topos_owner, topos_scope, topos_actor, topos_supervisor, topos_mailbox, topos_promise,
                       topos_rt, topos_effect, topos_effect_process, topos_text]].

load(Source) ->
    {ok, Module, Beam} = compile:file(Source, [binary]),
    {module, Module} = code:load_binary(Module, Source, Beam).

load_forms(File) ->
    {ok, Bytes} = file:read_file(File),
    case topos_compile:forms_to_beam(Bytes) of
        {ok, Module, Beam} ->
            {module, Module} = code:load_binary(Module, atom_to_list(Module) ++ ".beam", Beam),
            {ok, binary_to_term(Bytes)};
        {error, Mistakes} ->
            {error, Mistakes}
    end.

%% Compiles a program without a warning, compares its forms with its text, and calls it in a process of its own.
one(Dir, {Number, Module, Descriptor}) ->
    Path = filename:join(Dir, integer_to_list(Number)),
    case load_forms(Path ++ ".etf") of
        {error, Mistakes} ->
            io_lib:format("the forms do not compile: ~tp", [Mistakes]);
        {ok, Forms} ->
            case same_as_text(Path ++ ".erl", Forms) of
                ok -> call(Module, Descriptor);
                Differing -> Differing
            end
    end.

same_as_text(File, Forms) ->
    {ok, Parsed} = epp:parse_file(File, [{default_encoding, utf8}]),
    case {plain(Forms), plain(Parsed)} of
        {Same, Same} -> ok;
        {A, B} -> io_lib:format("text and forms differ: ~tp", [[{X, Y} || {X, Y} <- lists:zip(A, B), X =/= Y]])
    end.

plain(Forms) ->
    [erl_parse:map_anno(fun(_) -> 0 end, F) || F <- Forms, element(1, F) =/= eof,
        not (element(1, F) =:= attribute andalso element(3, F) =:= file)].

call(Module, Descriptor) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        exit({answer,
            try topos_rt:check(Descriptor, Module:p(), <<"p">>) of
                _ -> ok
            catch
                Class:Reason:Stack ->
                    Report = topos_rt:format_error(Class, Reason, Stack),
                    io_lib:format("~s: ~0tp in ~0tp~n~ts", [Class, Reason, lists:sublist(Stack, 2), Report])
            end})
    end),
    receive
        {'DOWN', Monitor, process, Pid, {answer, ok}} -> "ok";
        {'DOWN', Monitor, process, Pid, {answer, Text}} -> Text;
        {'DOWN', Monitor, process, Pid, Reason} -> io_lib:format("it ended with ~0tp", [Reason])
    after ?TIMEOUT ->
        true = exit(Pid, kill),
        "it does not end"
    end.
