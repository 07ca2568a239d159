%% @doc The handshake's cryptography: HMAC-SHA256 challenge and response over the cluster's cookie (RFC 2104).
%%
%% Both sides prove that they know the cookie without sending it: each sends a random nonce and answers the other's with a
%% MAC over both names, both incarnations, both nonces, the cluster's name and the protocol version. Every field is
%% preceded by its length and the prover's fields come first, so a proof can be neither reflected nor read in two ways.
%% From the same material each direction gets a token that its frames carry: who has not seen the handshake cannot make a
%% frame. On a network that others can read, only TLS keeps the token and the frames' contents from them.
-module(topos_auth).

-include("topos_frame.hrl").

-export([key/1, nonce/0, greeting/6, proof/4, token/4, equal/2]).
-export_type([key/0, party/0]).

-opaque key() :: binary().
-type party() :: {Name :: binary(), non_neg_integer(), topos_frame:nonce()}.

%% @doc The key of a cookie: what the processes keep instead of it.
-spec key(binary()) -> key().
key(Cookie) -> crypto:mac(hmac, sha256, Cookie, <<"topos_partisan link">>).

-spec nonce() -> topos_frame:nonce().
nonce() -> crypto:strong_rand_bytes(?TOPOS_FRAME_NONCE_BYTES).

%% @doc The proof of a HELLO of a version: enough to be dialled back at these addresses, not enough for a session (it can be
%% replayed).
-spec greeting(
    key(), Version :: byte(), Cluster :: binary(), party(), Destination :: non_neg_integer(), [topos_engine:address()]
) -> topos_frame:proof().
greeting(Key, Version, Cluster, From, Destination, Addresses) ->
    Fields = [sized(Cluster), party(From), <<Destination:64>>, topos_frame:addresses(Addresses)],
    crypto:mac(hmac, sha256, Key, [<<"hello", Version>> | Fields]).

%% @doc What `Prover' shows to `Verifier'.
-spec proof(key(), Cluster :: binary(), Prover :: party(), Verifier :: party()) -> topos_frame:proof().
proof(Key, Cluster, Prover, Verifier) ->
    crypto:mac(hmac, sha256, Key, [<<"proof", ?TOPOS_FRAME_VERSION>>, sized(Cluster), party(Prover), party(Verifier)]).

%% @doc The token of frames from `From' to `To'.
-spec token(key(), Cluster :: binary(), From :: party(), To :: party()) -> topos_frame:token().
token(Key, Cluster, From, To) ->
    <<Token:?TOPOS_FRAME_TOKEN_BYTES/binary, _/binary>> =
        crypto:mac(hmac, sha256, Key, [<<"token", ?TOPOS_FRAME_VERSION>>, sized(Cluster), party(From), party(To)]),
    Token.

%% @doc Compares two secrets of equal length in a time that does not tell where they differ.
-spec equal(binary(), binary()) -> boolean().
equal(A, B) -> byte_size(A) =:= byte_size(B) andalso crypto:hash_equals(A, B).

%% internal

-spec party(party()) -> iolist().
party({Name, Incarnation, Nonce}) -> [sized(Name), <<Incarnation:64>>, Nonce].

-spec sized(binary()) -> iolist().
sized(Bin) -> [<<(byte_size(Bin)):16>>, Bin].
