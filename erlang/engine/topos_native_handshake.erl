%% @doc Asks a node that runs Partisan who it is, before one of Partisan's managers is told to join it.
%%
%% It says hello as Partisan's client does and reads the answer, in which the node shows its manager's state. So the reason of a failure is known, which
%% Partisan tells nobody; the node's true specification is, and a manager that gets a wrong one crashes when the true one comes; and a node with
%% another manager is found out before it and this one end each other's.
%%
%% What it reads is decoded as Partisan's client would decode it: `insecure' was said in the configuration.
-module(topos_native_handshake).

-export([ask/4]).
-export_type([peer/0, failure/0]).

%% `tag': as the node's configuration of Partisan says.
-type peer() :: #{manager := topos_native_capabilities:manager(), tag := atom(), spec := topos_partisan_api:spec()}.
-type failure() :: {unreachable, term()} | {wrong_node, Name :: binary()} | {not_a_node, Why :: binary()}.

-define(MAX_PACKET, 16_777_216).
-define(CLOSED, <<"it closes the connection; it may want TLS">>).

%% @doc Asks the node at an address, as the node `Own'.
-spec ask(Own :: node(), node(), topos_engine:address(), Deadline :: integer()) -> {ok, peer()} | {error, failure()}.
ask(Own, Node, {Ip, Port} = Address, Deadline) ->
    Options = [binary, {active, false}, {packet, 4}, {packet_size, ?MAX_PACKET}],
    case gen_tcp:connect(Ip, Port, Options, topos_native_view:left(Deadline)) of
        {ok, Socket} ->
            Answer = greeted(Own, Node, Address, Socket, Deadline),
            ok = gen_tcp:close(Socket),
            Answer;
        {error, Reason} ->
            {error, {unreachable, Reason}}
    end.

%% internal

-spec greeted(node(), node(), topos_engine:address(), gen_tcp:socket(), integer()) -> {ok, peer()} | {error, failure()}.
greeted(Own, Node, Address, Socket, Deadline) ->
    Expected = atom_to_binary(Node),
    case received(Socket, Deadline) of
        {ok, Greeting} ->
            case topos_partisan_wire:greeted_by(Greeting) of
                {ok, Expected} -> state(Own, Node, Address, Socket, Deadline);
                {ok, Other} -> {error, {wrong_node, Other}};
                error -> not_a_node(<<"it does not greet as Partisan does">>)
            end;
        {error, _} = Error ->
            Error
    end.

-spec state(node(), node(), topos_engine:address(), gen_tcp:socket(), integer()) -> {ok, peer()} | {error, failure()}.
state(Own, Node, Address, Socket, Deadline) ->
    case gen_tcp:send(Socket, term_to_binary({hello, Own, undefined})) of
        ok ->
            case received(Socket, Deadline) of
                {ok, Bytes} -> peer(Node, Address, Bytes);
                {error, _} = Error -> Error
            end;
        {error, Reason} ->
            {error, {unreachable, Reason}}
    end.

-spec received(gen_tcp:socket(), integer()) -> {ok, binary()} | {error, failure()}.
received(Socket, Deadline) ->
    case gen_tcp:recv(Socket, 0, topos_native_view:left(Deadline)) of
        {ok, Bytes} -> {ok, Bytes};
        {error, closed} -> not_a_node(?CLOSED);
        {error, emsgsize} -> not_a_node(<<"its packets are none of Partisan's">>);
        {error, Reason} -> {error, {unreachable, Reason}}
    end.

-spec peer(node(), topos_engine:address(), binary()) -> {ok, peer()} | {error, failure()}.
peer(Node, Address, Bytes) ->
    try
        {state, Tag, State} = binary_to_term(Bytes),
        case topos_native_view:specs(State) of
            {ok, Manager, Specs} -> {ok, #{manager => Manager, tag => Tag, spec => own(Node, Address, Specs)}};
            error -> not_a_node(<<"its manager is none of Partisan's, or has a strategy of its own">>)
        end
    catch
        error:_ -> not_a_node(<<"its answer to a hello is not Partisan's">>)
    end.

%% A node that was started anew elsewhere may be in its manager's state more than once.
-spec own(node(), topos_engine:address(), [topos_partisan_api:spec()]) -> topos_partisan_api:spec().
own(Node, {Ip, Port}, Specs) ->
    Own = [Spec || #{name := Name} = Spec <- Specs, Name =:= Node],
    hd([Spec || #{listen_addrs := Addresses} = Spec <- Own, lists:member(#{ip => Ip, port => Port}, Addresses)] ++ Own).

-spec not_a_node(binary()) -> {error, failure()}.
not_a_node(Why) -> {error, {not_a_node, Why}}.
