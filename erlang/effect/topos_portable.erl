%% @doc What may cross to another node in a message or inside of a function: anything that means the same there.
%%
%% The compiler sees to effects, state and clauses of handlers (`TP0313'). What only a running program knows is looked at here,
%% before anything is sent: a message must not hold, and a function not capture
%% <ul>
%% <li>a process (`Pid', a promise, a supervisor, a question's `Reply') or a port. VMs that are not distributed number theirs
%% alike, so a foreign one would stand for one of the other node. A `RemoteRef' is data, and crosses;</li>
%% <li>a reference: a monitor, a subscription, a table. It is of use to its own node alone;</li>
%% <li>a function that was tied (`topos_rt:capture/2') to another handler of an effect than the one every node installs at
%% start: the body would perform it on this node's handler there. Effects that no node installs are no harm: the body's row
%% does not have them.</li>
%% </ul>
%% The answer is the same on every engine, and does not depend on which node the term is for.
-module(topos_portable).

-export([check/1, check/2]).

%% @equiv check(Term, fun(_) -> false end)
-spec check(term()) -> ok | {error, topos_error:t()}.
check(Term) -> check(Term, fun(_) -> false end).

%% @doc Whether the term may cross; the error is `stays_here' (TP1079) and names the first part that may not. `Crosses' says of a
%% tuple that it may cross whatever it holds: references to processes of a simulation.
-spec check(term(), Crosses :: fun((tuple()) -> boolean())) -> ok | {error, topos_error:t()}.
check(Term, Crosses) ->
    case find(Term, Crosses) of
        none -> ok;
        {some, What} -> {error, topos_error:new(stays_here, #{value => What})}
    end.

%% internal

%% Every message passes here: what is data is passed over without more being made.
-spec find(term(), fun((tuple()) -> boolean())) -> {some, binary()} | none.
find(Data, _) when is_binary(Data); is_number(Data); is_atom(Data) -> none;
find([Head | Tail], Crosses) ->
    case find(Head, Crosses) of
        none -> find(Tail, Crosses);
        Found -> Found
    end;
find([], _) -> none;
find(Tuple, Crosses) when is_tuple(Tuple) ->
    case topos_rt:tied(Tuple) of
        {tied, Fun, Ev} ->
            case handlers(maps:to_list(Ev), topos_effect:root(), Crosses) of
                none -> find(Fun, Crosses);
                Found -> Found
            end;
        none ->
            case Crosses(Tuple) of
                true -> none;
                false -> elements(1, tuple_size(Tuple), Tuple, Crosses)
            end
    end;
find(Map, Crosses) when is_map(Map) -> find(maps:to_list(Map), Crosses);
find(Fun, Crosses) when is_function(Fun) ->
    {env, Captured} = erlang:fun_info(Fun, env),
    find(Captured, Crosses);
find(Pid, _) when is_pid(Pid) -> shown("the process", pid_to_list(Pid));
find(Port, _) when is_port(Port) -> shown("the port", port_to_list(Port));
find(Ref, _) when is_reference(Ref) -> shown("the reference", ref_to_list(Ref));
find(Bits, _) when is_bitstring(Bits) -> none.

-spec elements(pos_integer(), non_neg_integer(), tuple(), fun((tuple()) -> boolean())) -> {some, binary()} | none.
elements(At, Size, _, _) when At > Size -> none;
elements(At, Size, Tuple, Crosses) ->
    case find(element(At, Tuple), Crosses) of
        none -> elements(At + 1, Size, Tuple, Crosses);
        Found -> Found
    end.

%% The first handler of these that is another one than every node's.
-spec handlers([{topos_effect:effect(), tuple()}], topos_effect:evidence(), fun((tuple()) -> boolean())) ->
    {some, binary()} | none.
handlers([], _, _) ->
    none;
handlers([{Effect, Handler} | Rest], Root, Crosses) ->
    case Root of
        #{Effect := Handler} ->
            handlers(Rest, Root, Crosses);
        #{Effect := _} ->
            case is_portable(Handler) andalso find(element(2, Handler), Crosses) of
                none -> handlers(Rest, Root, Crosses);
                _ -> shown("a handler of", atom_to_list(Effect))
            end;
        _ ->
            handlers(Rest, Root, Crosses)
    end.

%% A handler written in Topos has state and an evidence of its own node; one in Erlang says it.
-spec is_portable(tuple()) -> boolean().
is_portable({Module, Instance}) when is_atom(Module) -> Module:portable(Instance);
is_portable(_) -> false.

-spec shown(string(), string()) -> {some, binary()}.
shown(Kind, Name) -> {some, unicode:characters_to_binary([Kind, $\s, Name])}.
