%% @doc Certificates for the suites: made by OTP, written as PEM.
-module(topos_ct_certificates).

-export([files/2]).

%% @doc Writes a certificate, its key and the authority that signed it into a folder. Each call makes a new authority:
%% nodes that are to trust each other use the files of one call.
-spec files(file:filename(), Authority :: string()) ->
    #{certfile := file:filename(), keyfile := file:filename(), cacertfile := file:filename()}.
files(Dir, Authority) ->
    Files = #{
        certfile => filename:join(Dir, "cert.pem"), keyfile => filename:join(Dir, "key.pem"), cacertfile => filename:join(Dir, "ca.pem")
    },
    Key = [{key, {namedCurve, secp256r1}}],
    Chain = #{root => public_key:pkix_test_root_cert(Authority, Key), intermediates => [], peer => Key},
    #{server_config := Server, client_config := Client} = public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
    {KeyType, PrivateKey} = proplists:get_value(key, Server),
    ok = filelib:ensure_dir(maps:get(certfile, Files)),
    write(maps:get(certfile, Files), [{'Certificate', proplists:get_value(cert, Server), not_encrypted}]),
    write(maps:get(keyfile, Files), [{KeyType, PrivateKey, not_encrypted}]),
    %% What the client trusts is what signed the server's.
    write(maps:get(cacertfile, Files), [{'Certificate', C, not_encrypted} || C <- proplists:get_value(cacerts, Client)]),
    Files.

%% internal

write(File, Entries) -> ok = file:write_file(File, public_key:pem_encode(Entries)).
