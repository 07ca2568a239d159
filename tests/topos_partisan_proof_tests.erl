%% The proof that is asked for before Partisan dials, and who gets none.
-module(topos_partisan_proof_tests).

-include_lib("eunit/include/eunit.hrl").

-define(PROOF, topos_partisan_proof).

nonces() -> {?PROOF:nonce(), ?PROOF:nonce()}.

packets_are_read_again_test() ->
    Nonce = ?PROOF:nonce(),
    Proof = ?PROOF:proof(?PROOF:key(<<"cookie">>), probe, 'a@h', nonces()),
    ?assertEqual({challenge, Nonce}, ?PROOF:decode(?PROOF:challenge(Nonce))),
    ?assertEqual({proof, Proof}, ?PROOF:decode(?PROOF:packet(Proof))),
    [?assertEqual(other, ?PROOF:decode(B)) || B <- [<<>>, <<"topos challenge">>, <<"topos proof", 0:248>>, term_to_binary(ok)]],
    %% Neither is what Partisan's protocol has.
    ?assertEqual(other, topos_partisan_wire:decode(?PROOF:challenge(Nonce))).

a_proof_is_for_one_cookie_role_name_and_pair_test() ->
    {One, Two} = Nonces = nonces(),
    Key = ?PROOF:key(<<"cookie">>),
    Proof = ?PROOF:proof(Key, probe, 'a@h', Nonces),
    ?assert(?PROOF:is_proof(Proof, ?PROOF:proof(?PROOF:key(<<"cookie">>), probe, 'a@h', Nonces))),
    [?assertNot(?PROOF:is_proof(Proof, Other))
     || Other <- [
            ?PROOF:proof(?PROOF:key(<<"other">>), probe, 'a@h', Nonces), ?PROOF:proof(Key, listener, 'a@h', Nonces),
            ?PROOF:proof(Key, probe, 'b@h', Nonces), ?PROOF:proof(Key, probe, 'a@h', {Two, One}),
            ?PROOF:proof(Key, probe, 'a@h', nonces())
        ]].

a_key_is_not_shown_test() ->
    ?assertEqual(nomatch, binary:match(iolist_to_binary(io_lib:format("~p", [?PROOF:key(<<"secret cookie">>)])), <<"secret">>)).
