%% @doc The I/O server of programs that run inside the compile server: what they print goes to the server as
%% `{topos_compile_output, From, Bytes}', which answers `{topos_compile_output, written}' so that a program never prints
%% faster than the parent reads. They have no input.
-module(topos_compile_output).

-export([start/0, redirect/2]).

%% @doc Starts it. Without a receiver output is dropped.
-spec start() -> pid().
start() -> spawn(fun() -> loop(none) end).

%% @doc Makes a process the receiver.
-spec redirect(pid(), pid()) -> ok.
redirect(Output, Receiver) ->
    Output ! {redirect, Receiver},
    ok.

%% internal

-spec loop(pid() | none) -> no_return().
loop(Receiver) ->
    receive
        {redirect, NewReceiver} ->
            loop(NewReceiver);
        {io_request, From, ReplyAs, Request} ->
            From ! {io_reply, ReplyAs, request(Request, Receiver)},
            loop(Receiver)
    end.

-spec request(term(), pid() | none) -> term().
request({put_chars, Encoding, Chars}, Receiver) ->
    try unicode:characters_to_binary(Chars, Encoding) of
        Bytes when is_binary(Bytes) -> write(Bytes, Receiver);
        _ -> {error, put_chars}
    catch
        error:_ -> {error, put_chars}
    end;
request({put_chars, Encoding, M, F, A}, Receiver) ->
    try erlang:apply(M, F, A) of
        Chars -> request({put_chars, Encoding, Chars}, Receiver)
    catch
        _:_ -> {error, F}
    end;
request({requests, Requests}, Receiver) ->
    lists:foldl(
        fun
            (_, {error, _} = Error) -> Error;
            (Request, _) -> request(Request, Receiver)
        end,
        ok,
        Requests
    );
request(getopts, _) -> [{binary, true}, {encoding, unicode}];
request({setopts, _}, _) -> ok;
request({get_geometry, _}, _) -> {error, enotsup};
request(Request, _) when element(1, Request) =:= get_line; element(1, Request) =:= get_chars; element(1, Request) =:= get_until -> eof;
request(_, _) -> {error, request}.

-spec write(binary(), pid() | none) -> ok.
write(_, none) -> ok;
write(<<>>, _) -> ok;
write(Bytes, Receiver) ->
    Monitor = monitor(process, Receiver),
    Receiver ! {topos_compile_output, self(), Bytes},
    receive
        {topos_compile_output, written} ->
            true = demonitor(Monitor, [flush]),
            ok;
        {'DOWN', Monitor, process, Receiver, _} ->
            ok
    end.
