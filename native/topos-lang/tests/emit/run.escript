#!/usr/bin/env escript
%%! +fnu
%% Usage: run.escript DIRECTORY REPOSITORY. See beam.rs.
-mode(compile).

main([Dir, Root]) ->
    ok = io:setopts([{encoding, unicode}]),
    Sources = [filename:join([Root, "erlang", F]) || F <- sources()],
    lists:foreach(fun load/1, Sources),
    {ok, Bytes} = file:read_file(filename:join(Dir, "forms.etf")),
    %% What the module calls comes first.
    [load_forms(File) || File <- lists:sort(filelib:wildcard(filename:join(Dir, "import-*.etf")))],
    Module = load_forms(filename:join(Dir, "forms.etf")),
    same_as_text(Dir, binary_to_term(Bytes)),
    {ok, Lines} = file:read_file(filename:join(Dir, "expressions")),
    [io:put_chars([evaluate(Line), 16#1E]) || Line <- binary:split(Lines, <<"\n">>, [global]), Line =/= <<>>],
    _ = Module,
    ok.

sources() ->
    ["base/topos_error.erl", "compile/topos_compile.erl", "effect/topos_handler.erl",
     "effect/topos_owner.erl", "effect/topos_scope.erl", "effect/topos_actor.erl", "effect/topos_supervisor.erl", "effect/topos_rt.erl",
     "effect/topos_effect.erl", "effect/topos_effect_io.erl", "effect/topos_effect_process.erl",
     "effect/topos_effect_time.erl", "effect/topos_effect_random.erl", "effect/topos_text.erl"].

load_forms(File) ->
    {ok, Bytes} = file:read_file(File),
    case topos_compile:forms_to_beam(Bytes) of
        {ok, M, Beam} ->
            {module, M} = code:load_binary(M, atom_to_list(M) ++ ".beam", Beam),
            M;
        {error, Mistakes} ->
            stop("the forms do not compile: ~tp~n", [Mistakes])
    end.

load(Source) ->
    case compile:file(Source, [binary, return_errors]) of
        {ok, M, Beam} -> {module, M} = code:load_binary(M, Source, Beam);
        {ok, M, Beam, _} -> {module, M} = code:load_binary(M, Source, Beam);
        Other -> stop("~ts does not compile: ~tp~n", [Source, Other])
    end.

%% The readable text must parse to the same forms, apart from annotations and the `-file' attribute.
same_as_text(Dir, Forms) ->
    {ok, Parsed} = epp:parse_file(filename:join(Dir, "text.erl"), [{default_encoding, utf8}]),
    case {plain(Forms), plain(Parsed)} of
        {Same, Same} -> ok;
        {A, B} ->
            Differing = [{X, Y} || {X, Y} <- lists:zip(A, B), X =/= Y],
            stop("text and forms differ: ~tp~n", [Differing])
    end.

plain(Forms) ->
    [erl_parse:map_anno(fun(_) -> 0 end, F) || F <- Forms, element(1, F) =/= eof,
        not (element(1, F) =:= attribute andalso element(3, F) =:= file)].

evaluate(Line) ->
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(<<Line/binary, ".">>)),
    {ok, Exprs} = erl_parse:parse_exprs(Tokens),
    try erl_eval:exprs(Exprs, []) of
        {value, Value, _} -> io_lib:format("~0tp", [Value])
    catch
        Class:Reason:Stack ->
            io_lib:format("~s: ~ts", [Class, topos_rt:format_error(Class, Reason, Stack)])
    end.

stop(Format, Args) ->
    io:format(standard_error, Format, Args),
    halt(1).
