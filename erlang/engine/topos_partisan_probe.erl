%% @doc Asks an address whether the Partisan node we want is there, before Partisan itself dials it.
%%
%% Partisan dials inside its manager, one peer after the other, with a second for each that does not answer, and tells
%% nobody why a dial failed; and its client decodes whatever it is sent. The probe does what that client does up to the peer's
%% first word: it connects, with TLS where configured, reads the greeting `{hello, Node}' and compares. Then it has the
%% peer prove that it knows the cookie (`topos_partisan_proof'), and closes. So the manager is given only addresses where a
%% node of the cluster answers, and the reason of a failure is known.
-module(topos_partisan_probe).

-export([run/4]).
-export_type([options/0]).

-type options() :: #{tls := undefined | topos_partisan_settings:tls(), key := topos_partisan_proof:key(), timeout := pos_integer()}.

%% The greeting is a tuple of two atoms; an atom's name has 255 characters of 4 bytes at most.
-define(MAX_GREETING, 2_048).

%% @doc Tries the addresses one after the other; the answer is the first that is the node. The failure is that of the last address,
%% but a peer that answered and refused says more than a silent one. Takes `timeout' ms an address at most.
-spec run(node(), [topos_engine:address()], options(), topos_engine:failure()) ->
    {ok, topos_engine:address()} | {error, topos_engine:failure()}.
run(_Node, [], _Options, Failure) ->
    {error, Failure};
run(Node, [Address | Rest], #{timeout := Timeout} = Options, Failure) ->
    case probe(Node, Address, Options, erlang:monotonic_time(millisecond) + Timeout) of
        ok -> {ok, Address};
        {error, {rejected, _} = Rejected} -> run(Node, Rest, Options, Rejected);
        {error, _} when element(1, Failure) =:= rejected -> run(Node, Rest, Options, Failure);
        {error, Unreachable} -> run(Node, Rest, Options, Unreachable)
    end.

%% internal

-spec probe(node(), topos_engine:address(), options(), integer()) -> ok | {error, topos_engine:failure()}.
probe(Node, {Ip, Port}, #{tls := Tls, key := Key}, Deadline) ->
    Options = [binary, {active, false}, {packet, 4}, {nodelay, true}, {packet_size, ?MAX_GREETING}],
    case gen_tcp:connect(Ip, Port, Options, left(Deadline)) of
        {ok, Socket} when Tls =:= undefined ->
            greeting(Node, Key, gen_tcp, Socket, Deadline);
        {ok, Socket} ->
            case ssl:connect(Socket, topos_partisan_settings:tls_options(Tls) ++ Options, left(Deadline)) of
                {ok, Secured} ->
                    greeting(Node, Key, ssl, Secured, Deadline);
                {error, Reason} ->
                    ok = gen_tcp:close(Socket),
                    {error, {rejected, tls_reason(Reason)}}
            end;
        {error, Reason} ->
            {error, {unreachable, Reason}}
    end.

-spec greeting(node(), topos_partisan_proof:key(), gen_tcp | ssl, gen_tcp:socket() | ssl:sslsocket(), integer()) ->
    ok | {error, topos_engine:failure()}.
greeting(Node, Key, Transport, Socket, Deadline) ->
    Answer = case Transport:recv(Socket, 0, left(Deadline)) of
        {ok, Bytes} ->
            case compare(Node, Bytes) of
                ok -> proven(Node, Key, Transport, Socket, Deadline);
                {error, _} = Error -> Error
            end;
        %% With TLS 1.3 the peer looks at our certificate after our side has finished.
        {error, {tls_alert, _} = Alert} -> {error, {rejected, tls_reason(Alert)}};
        %% It listens, and says nothing: it hangs, expects TLS, or is no Partisan node.
        {error, timeout} -> {error, {unreachable, no_greeting}};
        {error, closed} when Transport =:= ssl -> {error, {rejected, {tls, <<"the peer closed the connection">>}}};
        {error, Reason} -> {error, {unreachable, Reason}}
    end,
    _ = Transport:close(Socket),
    Answer.

-spec compare(node(), binary()) -> ok | {error, topos_engine:failure()}.
compare(Node, Bytes) ->
    Expected = atom_to_binary(Node),
    case topos_partisan_wire:greeted_by(Bytes) of
        {ok, Expected} -> ok;
        {ok, Name} -> {error, {rejected, {unexpected_peer, known(Name)}}};
        error -> {error, {rejected, not_partisan}}
    end.

%% Who greets with a name that is no atom yet makes none.
-spec known(binary()) -> node() | unknown.
known(Name) ->
    try
        binary_to_existing_atom(Name)
    catch
        error:badarg -> unknown
    end.

-spec proven(node(), topos_partisan_proof:key(), gen_tcp | ssl, gen_tcp:socket() | ssl:sslsocket(), integer()) ->
    ok | {error, topos_engine:failure()}.
proven(Node, Key, Transport, Socket, Deadline) ->
    Mine = topos_partisan_proof:nonce(),
    case exchange(topos_partisan_proof:challenge(Mine), Transport, Socket, Deadline) of
        {challenge, Theirs} ->
            Nonces = {Mine, Theirs},
            Proof = topos_partisan_proof:proof(Key, probe, Node, Nonces),
            case exchange(topos_partisan_proof:packet(Proof), Transport, Socket, Deadline) of
                {proof, Answer} ->
                    case topos_partisan_proof:is_proof(Answer, topos_partisan_proof:proof(Key, listener, Node, Nonces)) of
                        true -> ok;
                        false -> {error, {rejected, cookie_or_name}}
                    end;
                %% A node with another cookie closes when it sees ours.
                {error, closed} -> {error, {rejected, cookie_or_name}};
                Other -> unproven(Other)
            end;
        Other ->
            unproven(Other)
    end.

-spec unproven(term()) -> {error, topos_engine:failure()}.
unproven({error, timeout}) -> {error, {unreachable, no_greeting}};
%% More than any packet of this protocol has.
unproven({error, emsgsize}) -> {error, {rejected, not_partisan}};
unproven({error, Reason}) -> {error, {unreachable, Reason}};
unproven(_) -> {error, {rejected, not_partisan}}.

-spec exchange(binary(), gen_tcp | ssl, gen_tcp:socket() | ssl:sslsocket(), integer()) ->
    {challenge, topos_partisan_proof:nonce()} | {proof, topos_partisan_proof:proof()} | other | {error, term()}.
exchange(Packet, Transport, Socket, Deadline) ->
    case Transport:send(Socket, Packet) of
        ok ->
            case Transport:recv(Socket, 0, left(Deadline)) of
                {ok, Bytes} -> topos_partisan_proof:decode(Bytes);
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
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
