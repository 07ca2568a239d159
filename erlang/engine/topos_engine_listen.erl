%% @doc The addresses an engine is going to listen on, looked at before anything is started.
-module(topos_engine_listen).

-export([reserve/1, in_use/1, start_error/2]).

%% @doc Finds out whether every address can be listened on, and replaces port 0 by a free port.
%%
%% Nothing stays open. Partisan reports an address in use by crashing its listener half way through its start, and with
%% port 0 it announces port 0; so both are settled here.
-spec reserve([topos_engine:address()]) -> {ok, [topos_engine:address()]} | {error, topos_error:t()}.
reserve(Addresses) -> reserve(Addresses, [], []).

-spec in_use(topos_engine:address()) -> topos_error:t().
in_use(Address) -> topos_error:new(address_in_use, #{address => show(Address)}).

%% @doc Why Partisan did not start that was to listen there.
-spec start_error(term(), [topos_engine:address()]) -> topos_error:t().
start_error({shutdown, {failed_to_start_child, partisan_acceptor_socket_pool_sup, Reason}}, Addresses) ->
    case Reason of
        {shutdown, {failed_to_start_child, {partisan_acceptor_socket, Ip, Port}, eaddrinuse}} ->
            in_use({Ip, Port});
        _ ->
            topos_error:new(engine_failed, #{engine => partisan, why => {listener, Addresses, Reason}})
    end;
start_error(Reason, _Addresses) ->
    topos_error:new(engine_failed, #{engine => partisan, why => Reason}).

%% internal

%% The sockets are held until all are open, so that two addresses with port 0 get two ports.
-spec reserve([topos_engine:address()], [topos_engine:address()], [gen_tcp:socket()]) ->
    {ok, [topos_engine:address()]} | {error, topos_error:t()}.
reserve([{Ip, Port} = Address | Rest], Found, Sockets) ->
    %% The options Partisan and the distribution listen with: what works here works there.
    case gen_tcp:listen(Port, [{ip, Ip}, {reuseaddr, true}, {active, false} | family(Ip)]) of
        {ok, Socket} ->
            {ok, Actual} = inet:port(Socket),
            reserve(Rest, [{Ip, Actual} | Found], [Socket | Sockets]);
        {error, eaddrinuse} ->
            close(Sockets),
            {error, in_use(Address)};
        {error, Reason} ->
            close(Sockets),
            {error, topos_error:new(cannot_listen, #{address => show(Address), why => inet:format_error(Reason)})}
    end;
reserve([], Found, Sockets) ->
    close(Sockets),
    {ok, lists:reverse(Found)}.

-spec family(inet:ip_address()) -> [inet:address_family()].
family(Ip) when tuple_size(Ip) =:= 8 -> [inet6];
family(_) -> [].

-spec close([gen_tcp:socket()]) -> ok.
close(Sockets) -> lists:foreach(fun gen_tcp:close/1, Sockets).

-spec show(topos_engine:address()) -> binary().
show({Ip, Port}) when tuple_size(Ip) =:= 8 -> iolist_to_binary(["[", inet:ntoa(Ip), "]:", integer_to_list(Port)]);
show({Ip, Port}) -> iolist_to_binary([inet:ntoa(Ip), ":", integer_to_list(Port)]).
