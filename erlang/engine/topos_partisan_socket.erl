%% @doc Frames straight onto the socket of an outbound connection of Partisan's.
%%
%% Partisan's connection process copies each frame into an external term, and the lane would first have to copy it into one
%% binary: two copies of every byte, one hop, and a queue that only `process_info/2' tells the length of. A packet that
%% is written to the port as it lies in memory needs none of that, large binaries are not copied at all, and the port says
%% when it is busy. The packet is the same (`topos_partisan_wire:frame/4'); a port takes each whole, so packets of the
%% connection process, which are pings, come between and never within.
%%
%% With TLS the bytes belong to processes of `ssl', so there frames go through the connection process.
%%
%% Bytes that the system does not take wait in the port as references to what they came from, 8 MiB at most and one frame;
%% then it is busy, and the answer is `overloaded'. The port answers each packet with a message `{inet_reply, Port, ok | {error, _}}' to
%% the process that wrote it, which drops it (see `topos_engine:send/5'): an error closes the connection, and that the engine sees. Who may not
%% find strange messages takes {@link send_clean/4}.
-module(topos_partisan_socket).

-include("topos_frame.hrl").

-export([of_connection/1, send/4, send_clean/4]).

-define(LOW, 4_194_304).
-define(HIGH, 8_388_608).

%% @doc The port of a connection process, ready for {@link send/4}; the process itself if it has none (TLS).
-spec of_connection(pid()) -> port() | pid().
of_connection(Connection) ->
    case process_info(Connection, links) of
        {links, Links} ->
            case [Port || Port <- Links, is_port(Port), erlang:port_info(Port, name) =:= {name, "tcp_inet"}] of
                [Port] -> prepared(Port, Connection);
                _ -> Connection
            end;
        undefined ->
            Connection
    end.

%% @doc Writes a frame for a registered process of the peer. Never blocks.
-spec send(port(), Dest :: atom(), Epoch :: non_neg_integer(), Frame :: iodata()) -> ok | {error, not_connected | overloaded}.
send(Port, Dest, Epoch, Frame) ->
    try erlang:port_command(Port, topos_partisan_wire:frame(Dest, ?TOPOS_FRAME_VERSION, Epoch, Frame), [nosuspend]) of
        true -> ok;
        false -> {error, overloaded}
    catch
        %% It closed a moment ago.
        error:badarg -> {error, not_connected}
    end.

%% @doc As {@link send/4}, and takes the port's answer out of the mailbox. The port gives it when it has taken the packet, whether
%% the system took it or it waits: this does not block on the network either.
-spec send_clean(port(), Dest :: atom(), Epoch :: non_neg_integer(), Frame :: iodata()) ->
    ok | {error, not_connected | overloaded}.
send_clean(Port, Dest, Epoch, Frame) ->
    case send(Port, Dest, Epoch, Frame) of
        ok ->
            %% A port that nobody else uses at the moment has answered already.
            receive
                {inet_reply, Port, Answer} -> answered(Answer)
            after 0 ->
                await_answer(Port)
            end;
        {error, _} = Error ->
            Error
    end.

%% internal

%% A port that closes gives no answer.
-spec await_answer(port()) -> ok | {error, not_connected}.
await_answer(Port) ->
    Monitor = monitor(port, Port),
    receive
        {inet_reply, Port, Answer} ->
            true = demonitor(Monitor, [flush]),
            answered(Answer);
        {'DOWN', Monitor, port, _, _} ->
            {error, not_connected}
    end.

-spec answered(ok | {error, inet:posix()}) -> ok | {error, not_connected}.
answered(ok) -> ok;
answered({error, _}) -> {error, not_connected}.

-spec prepared(port(), pid()) -> port() | pid().
prepared(Port, Connection) ->
    case inet:setopts(Port, [{high_watermark, ?HIGH}, {low_watermark, ?LOW}]) of
        ok -> Port;
        %% It is closing; the process tells.
        {error, _} -> Connection
    end.
