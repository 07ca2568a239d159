%% What Partisan's clients send, as OTP writes it in all its ways, and what strangers do.
-module(topos_partisan_wire_tests).

-include_lib("proper/include/proper.hrl").
-include_lib("eunit/include/eunit.hrl").

decode(Term) -> topos_partisan_wire:decode(term_to_binary(Term)).

what_clients_send_is_read_test() ->
    ?assertEqual({hello, <<"a@127.0.0.1">>, <<"control">>}, decode({hello, 'a@127.0.0.1', control})),
    ?assertEqual({hello, <<"a@h">>, <<"undefined">>}, decode({hello, 'a@h', undefined})),
    [?assertEqual({frame, <<"topos_link">>, 1, Epoch, <<"frame">>}, decode({forward_message, topos_link, {topos, 1, Epoch, <<"frame">>}}))
     || Epoch <- [0, 255, 256, 1 bsl 31 - 1, 1 bsl 31, erlang:system_time(microsecond), 1 bsl 64 - 1]].

%% Names outside of Latin-1 are written in another way than those inside, by OTP 26 and later all in that one.
names_of_any_script_test() ->
    [?assertEqual({hello, Name, <<"c">>}, decode({hello, binary_to_atom(Name), c}))
     || Name <- [<<"ä@h"/utf8>>, <<"λ@h"/utf8>>, unicode:characters_to_binary(lists:duplicate(255, 16#1f600))]],
    ?assertEqual({hello, <<"ä"/utf8>>, <<"λ"/utf8>>}, topos_partisan_wire:decode(<<131, 104, 3, 119, 5, "hello", 115, 1, 228, 118, 2:16, 206, 187>>)).

a_ping_is_answered_with_the_same_test() ->
    Id = ['a@h' | <<"#Ref<0.1.2.3>">>],
    {ping, <<"a@h">>, Rest} = decode({ping, 'a@h', Id, 17}),
    Pong = iolist_to_binary(topos_partisan_wire:pong('b@h', Rest)),
    ?assertEqual({pong, 'b@h', Id, 17}, binary_to_term(Pong)),
    ?assertEqual(other, decode({ping, 'a@h', binary:copy(<<0>>, 1_100), 17})).

what_a_client_expects_is_written_test() ->
    ?assertEqual({hello, 'b@h'}, binary_to_term(topos_partisan_wire:hello('b@h'))),
    ?assertEqual({state, undefined, undefined}, binary_to_term(topos_partisan_wire:state())).

everything_else_is_other_test() ->
    Frame = {forward_message, topos_link, {topos, 1, 0, <<"frame">>}},
    [?assertEqual({T, other}, {T, decode(T)})
     || T <- [
            {forward_message, partisan_rpc_backend, {call, file, delete, [<<"x">>], 1000, {origin, 'a@h', self}}},
            {forward_message, init, {stop, stop}}, {membership_strategy, {topos_view, []}}, {relay_message, 'a@h', Frame, 3},
            {forward_message, self(), {topos, 1, 0, <<>>}}, {forward_message, topos_link, {topos, 1, -1, <<>>}},
            {forward_message, topos_link, {topos, 256, 0, <<>>}}, {forward_message, topos_link, {topos, 1, 1 bsl 64, <<>>}},
            {forward_message, topos_link, {topos, 1, 0, "list"}}, {hello, "a@h", control}, {hello, 'a@h'},
            {pong, 'a@h', id, 0}, [], <<>>, 17, [Frame], {Frame}
        ]],
    ?assertEqual(other, topos_partisan_wire:decode(term_to_binary({forward_message, topos_link, {topos, 1, 0, <<0:8000>>}}, [compressed]))),
    Whole = term_to_binary(Frame),
    [?assertEqual(other, topos_partisan_wire:decode(binary:part(Whole, 0, N))) || N <- lists:seq(0, byte_size(Whole) - 1)],
    ?assertEqual(other, topos_partisan_wire:decode(<<Whole/binary, 0>>)).

%% Whatever is read is what `binary_to_term/1' would have read; and nothing crashes it.
reads_as_the_vm_does_test_() ->
    {timeout, 60, fun() -> ?assert(proper:quickcheck(agrees(), [{numtests, 3000}, {to_file, user}])) end}.

agrees() ->
    ?FORALL({Bytes, Place, Byte}, {oneof([binary(), packet()]), non_neg_integer(), byte()},
            begin
                Bad = mutated(Bytes, Place, Byte),
                case topos_partisan_wire:decode(Bad) of
                    {hello, Name, Channel} -> reads({hello, Name, Channel}, [Name, Channel], Bad);
                    {frame, D, V, E, F} -> reads({forward_message, D, {topos, V, E, F}}, [D], Bad);
                    {ping, _, _} -> true;
                    other -> true
                end
            end).

%% Names are not looked at: where one is no UTF-8, the VM refuses the packet.
reads(Term, Names, Bytes) ->
    try binary_to_term(Bytes) of
        {hello, Name, Channel} -> Term =:= {hello, atom_to_binary(Name), atom_to_binary(Channel)};
        {forward_message, Dest, Message} -> Term =:= {forward_message, atom_to_binary(Dest), Message}
    catch
        error:badarg -> not lists:all(fun(N) -> is_binary(unicode:characters_to_binary(N)) end, Names)
    end.

packet() ->
    Name = oneof(['a@h', topos_lanes, 'λ@h', data]),
    ?LET(Term, oneof([
            {hello, Name, Name}, {ping, Name, Name, nat()}, {forward_message, Name, {topos, byte(), ?LET(N, nat(), N * N * N * N), binary()}}
        ]), oneof([term_to_binary(Term) | written(Term)])).

written({forward_message, Dest, {topos, Version, Epoch, Frame}}) -> [iolist_to_binary(topos_partisan_wire:frame(Dest, Version, Epoch, Frame))];
written(_) -> [].

mutated(<<>>, _, _) -> <<>>;
mutated(Bytes, Place, Byte) ->
    At = Place rem byte_size(Bytes),
    <<Before:At/binary, _, After/binary>> = Bytes,
    <<Before/binary, Byte, After/binary>>.

a_greeting_is_read_test() ->
    ?assertEqual({ok, <<"a@h">>}, topos_partisan_wire:greeted_by(topos_partisan_wire:hello('a@h'))),
    [?assertEqual(error, topos_partisan_wire:greeted_by(B))
     || B <- [<<>>, term_to_binary({hello, "a@h"}), term_to_binary({hello, 'a@h', x}), term_to_binary({bye, 'a@h'}), <<"HTTP/1.1 400">>]].

%% What is written to a socket directly is what Partisan's encoder would have written.
a_written_frame_is_partisans_test() ->
    [
        begin
            Packet = iolist_to_binary(topos_partisan_wire:frame(Dest, 1, Epoch, [<<"fr">>, [<<"am">>], <<"e">>])),
            ?assertEqual({forward_message, Dest, {topos, 1, Epoch, <<"frame">>}}, binary_to_term(Packet)),
            ?assertEqual({frame, atom_to_binary(Dest), 1, Epoch, <<"frame">>}, topos_partisan_wire:decode(Packet))
        end
     || Epoch <- [0, 255, 256, 1 bsl 31 - 1, 1 bsl 31, 1 bsl 62],
        Dest <- [topos_lanes, '', 'ä', 'λ', binary_to_atom(unicode:characters_to_binary(lists:duplicate(255, 16#1f600)))]
    ].
