%% @doc How a node proves to a probe that it knows the cookie, before Partisan is let dial it.
%%
%% Partisan's client decodes whatever the side it dials sends. So an address is dialled only after somebody there proved to
%% know the cluster's cookie, over a connection of ours on which every packet is read byte by byte:
%% ```
%% probe    -> listener   challenge: a nonce
%% listener -> probe      challenge: its own
%% probe    -> listener   proof, so that a stranger gets none to guess the cookie by
%% listener -> probe      proof
%% '''
%% A proof is HMAC-SHA256 (RFC 2104) over the prover's role, the listener's name and both nonces, under a key that is made from
%% the cookie and used for nothing else. It says that somebody who knows the cookie takes part now; not that nobody
%% stands between, nor who answers the next connection: for that there is TLS.
-module(topos_partisan_proof).

-export([key/1, nonce/0, challenge/1, proof/4, packet/1, is_proof/2, decode/1]).
-export_type([key/0, nonce/0, proof/0, role/0]).

%% In a function, which a report of a crash does not show.
-type key() :: fun(() -> binary()).
-type nonce() :: <<_:128>>.
-type proof() :: <<_:256>>.
-type role() :: probe | listener.

%% No packet in external term format begins so.
-define(CHALLENGE, "topos challenge").
-define(PROOF, "topos proof").

-spec key(Cookie :: binary()) -> key().
key(Cookie) ->
    Key = crypto:mac(hmac, sha256, Cookie, <<"topos_partisan probe">>),
    fun() -> Key end.

-spec nonce() -> nonce().
nonce() -> crypto:strong_rand_bytes(16).

%% @doc The packet with a nonce.
-spec challenge(nonce()) -> binary().
challenge(Nonce) -> <<?CHALLENGE, Nonce/binary>>.

%% @doc What the one in that role shows. The nonces are the probe's and the listener's.
-spec proof(key(), role(), Listener :: node(), {nonce(), nonce()}) -> proof().
proof(Key, Role, Listener, {Probe, Answer}) ->
    Name = atom_to_binary(Listener),
    Fields = [atom_to_binary(Role), 0, <<(byte_size(Name)):16>>, Name, Probe, Answer],
    crypto:mac(hmac, sha256, Key(), Fields).

%% @doc The packet with a proof.
-spec packet(proof()) -> binary().
packet(Proof) -> <<?PROOF, Proof/binary>>.

%% @doc Whether a proof is the one that was expected, in a time that does not tell where they differ.
-spec is_proof(proof(), Expected :: proof()) -> boolean().
is_proof(Proof, Expected) -> crypto:hash_equals(Proof, Expected).

-spec decode(binary()) -> {challenge, nonce()} | {proof, proof()} | other.
decode(<<?CHALLENGE, Nonce:16/binary>>) -> {challenge, Nonce};
decode(<<?PROOF, Proof:32/binary>>) -> {proof, Proof};
decode(_) -> other.
