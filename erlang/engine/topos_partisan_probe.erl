%% @doc Asks an address whether the Partisan node we want is there, before Partisan itself dials it.
%%
%% Partisan dials inside its manager, one peer after the other, with a second for each that does not answer, and tells
%% nobody why a dial failed. The probe does what its client does up to the peer's first word: it connects, with TLS
%% where configured, reads the greeting `{hello, Node}', compares, and closes. So the manager is given only addresses
%% that answer, and the reason of a failure is known.
-module(topos_partisan_probe).

-export([run/4]).

%% The greeting is a tuple of two atoms; an atom's name has 255 characters of 4 bytes at most.
-define(MAX_GREETING, 2_048).

%% @doc Tries the addresses one after the other; the answer is the first that is the node. The failure is that of the last address,
%% but a peer that answered and refused says more than a silent one. Takes `Timeout' ms an address at most.
-spec run(node(), [topos_engine:address()], undefined | topos_partisan_settings:tls(), pos_integer()) ->
    {ok, topos_engine:address()} | {error, topos_engine:failure()}.
run(Node, Addresses, Tls, Timeout) -> run(Node, Addresses, Tls, Timeout, {unreachable, no_address}).

%% internal

-spec run(node(), [topos_engine:address()], undefined | topos_partisan_settings:tls(), pos_integer(), topos_engine:failure()) ->
    {ok, topos_engine:address()} | {error, topos_engine:failure()}.
run(_Node, [], _Tls, _Timeout, Failure) ->
    {error, Failure};
run(Node, [Address | Rest], Tls, Timeout, Failure) ->
    case probe(Node, Address, Tls, erlang:monotonic_time(millisecond) + Timeout) of
        ok -> {ok, Address};
        {error, {rejected, _} = Rejected} -> run(Node, Rest, Tls, Timeout, Rejected);
        {error, _} when element(1, Failure) =:= rejected -> run(Node, Rest, Tls, Timeout, Failure);
        {error, Unreachable} -> run(Node, Rest, Tls, Timeout, Unreachable)
    end.

-spec probe(node(), topos_engine:address(), undefined | topos_partisan_settings:tls(), integer()) -> ok | {error, topos_engine:failure()}.
probe(Node, {Ip, Port}, Tls, Deadline) ->
    Options = [binary, {active, false}, {packet, 4}, {nodelay, true}, {packet_size, ?MAX_GREETING}],
    case gen_tcp:connect(Ip, Port, Options, left(Deadline)) of
        {ok, Socket} when Tls =:= undefined ->
            greeting(Node, gen_tcp, Socket, Deadline);
        {ok, Socket} ->
            case ssl:connect(Socket, topos_partisan_settings:tls_options(Tls) ++ Options, left(Deadline)) of
                {ok, Secured} ->
                    greeting(Node, ssl, Secured, Deadline);
                {error, Reason} ->
                    ok = gen_tcp:close(Socket),
                    {error, {rejected, tls_reason(Reason)}}
            end;
        {error, Reason} ->
            {error, {unreachable, Reason}}
    end.

-spec greeting(node(), gen_tcp | ssl, gen_tcp:socket() | ssl:sslsocket(), integer()) ->
    ok | {error, topos_engine:failure()}.
greeting(Node, Transport, Socket, Deadline) ->
    Answer = Transport:recv(Socket, 0, left(Deadline)),
    _ = Transport:close(Socket),
    case Answer of
        {ok, Bytes} -> compare(Node, Bytes);
        %% With TLS 1.3 the peer looks at our certificate after our side has finished.
        {error, {tls_alert, _} = Alert} -> {error, {rejected, tls_reason(Alert)}};
        %% It listens, and says nothing: it hangs, expects TLS, or is no Partisan node.
        {error, timeout} -> {error, {unreachable, no_greeting}};
        {error, closed} when Transport =:= ssl -> {error, {rejected, {tls, <<"the peer closed the connection">>}}};
        {error, Reason} -> {error, {unreachable, Reason}}
    end.

-spec compare(node(), binary()) -> ok | {error, topos_engine:failure()}.
compare(Node, Bytes) ->
    %% Decoded without making atoms; the name we want is an atom already.
    try binary_to_term(Bytes, [safe]) of
        {hello, Node} -> ok;
        {hello, Other} when is_atom(Other) -> {error, {rejected, {unexpected_peer, Other}}};
        _ -> {error, {rejected, not_partisan}}
    catch
        error:badarg -> {error, {rejected, {unexpected_peer, unknown}}}
    end.

-spec tls_reason(term()) -> {tls, binary()}.
tls_reason({tls_alert, {_, Text}}) -> {tls, text("~ts", Text)};
tls_reason({tls_alert, Alert}) -> {tls, text("~tp", Alert)};
tls_reason(Reason) -> {tls, text("~tp", Reason)}.

-spec text(io:format(), term()) -> binary().
text(Format, Term) ->
    Text = unicode:characters_to_binary(io_lib:format(Format, [Term])),
    true = is_binary(Text),
    string:trim(Text).

-spec left(integer()) -> non_neg_integer().
left(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).
