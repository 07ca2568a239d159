%% @doc Erlang forms to beams: the last step of the Topos compiler.
-module(topos_compile).

-export([forms_to_beam/1]).

%% `deterministic' leaves the path of the compiling machine out, so that the same source gives the same bytes. Forms carry
%% the annotation `generated', so the Erlang compiler is silent; a warning is a defect of the emitter and refused.
-define(OPTIONS, [debug_info, deterministic, return, warnings_as_errors]).

%% @doc Compiles a list of abstract forms in the external term format. The bytes are trusted: they come from the compiler
%% that this VM serves, and make atoms. Anything else in them is an error, never an exception.
-spec forms_to_beam(binary()) -> {ok, module(), binary()} | {error, [Mistake :: binary(), ...]}.
forms_to_beam(Bytes) ->
    try binary_to_term(Bytes) of
        Forms when is_list(Forms) -> compile(Forms);
        _ -> {error, [<<"the forms are not a list">>]}
    catch
        error:badarg -> {error, [<<"the forms are not in the external term format">>]}
    end.

%% internal

-spec compile([term()]) -> {ok, module(), binary()} | {error, [binary(), ...]}.
compile(Forms) ->
    %% The compiler's passes are not made for forms of a wrong shape: they fail with any exception.
    try compile:forms(Forms, ?OPTIONS) of
        {ok, Module, Beam, _Warnings} when is_binary(Beam) -> {ok, Module, Beam};
        {error, Errors, Warnings} -> {error, nonempty(mistakes(Errors) ++ mistakes(Warnings))}
    catch
        Class:Reason ->
            {error, [unicode:characters_to_binary(io_lib:format("the forms have a wrong shape: ~s ~0tP", [Class, Reason, 20]))]}
    end.

-spec mistakes([{string(), [tuple()]}]) -> [binary()].
mistakes(PerFile) ->
    [unicode:characters_to_binary([File, $:, place(Info)]) || {File, Infos} <- PerFile, Info <- Infos].

-spec place({erl_anno:location() | none, module(), term()}) -> io_lib:chars().
place({{Line, Column}, Module, Description}) ->
    io_lib:format("~b:~b: ~ts", [Line, Column, Module:format_error(Description)]);
place({Line, Module, Description}) when is_integer(Line) ->
    io_lib:format("~b: ~ts", [Line, Module:format_error(Description)]);
place({_None, Module, Description}) ->
    io_lib:format(" ~ts", [Module:format_error(Description)]).

-spec nonempty([binary()]) -> [binary(), ...].
nonempty([]) -> [<<"the Erlang compiler refused the forms">>];
nonempty(Mistakes) -> Mistakes.
