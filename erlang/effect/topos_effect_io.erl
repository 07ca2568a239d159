%% @doc Root handler of the effect `Topos.IO.IO': the program's terminal and environment.
%%
%% Standard output is the performer's group leader, so that output of a program under a compile server or a test goes
%% where it is wanted.
-module(topos_effect_io).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1]).
-export([print/2, write/2, warn/2, read_line/1, env/2]).

-type instance() :: io.

-spec init([], topos_effect:evidence()) -> {ok, instance()}.
init([], _Ev) -> {ok, io}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, io) -> ok.

%% @doc Every node has a standard output, if not the same one.
-spec portable(instance()) -> true.
portable(io) -> true.

-spec print(instance(), binary()) -> ok.
print(io, Text) -> io:put_chars([Text, $\n]).

-spec write(instance(), binary()) -> ok.
write(io, Text) -> io:put_chars(Text).

-spec warn(instance(), binary()) -> ok.
warn(io, Text) -> io:put_chars(standard_error, [Text, $\n]).

%% @doc The next line of standard input without its newline. Under `topos run' the runner holds standard input.
-spec read_line(instance()) -> {some, binary()} | none.
read_line(io) ->
    case topos_runner:is_present() of
        true ->
            case topos_runner:read_line() of
                {ok, Line} -> {some, Line};
                eof -> none
            end;
        false ->
            case io:get_line("") of
                eof -> none;
                {error, Reason} -> erlang:error(topos_error:new(unreadable_input, #{why => Reason}));
                Line -> {some, without_newline(unicode:characters_to_binary(Line))}
            end
    end.

-spec env(instance(), binary()) -> {some, binary()} | none.
env(io, Name) ->
    case is_name(Name) andalso os:getenv(unicode:characters_to_list(Name)) of
        false -> none;
        Value -> {some, unicode:characters_to_binary(Value)}
    end.

%% internal

%% What the operating system allows as a name; os:getenv/1 would fail on others.
-spec is_name(binary()) -> boolean().
is_name(Name) -> Name =/= <<>> andalso binary:match(Name, [<<"=">>, <<0>>]) =:= nomatch.

-spec without_newline(binary()) -> binary().
without_newline(Line) -> string:trim(Line, trailing, [[$\r, $\n], $\n]).
