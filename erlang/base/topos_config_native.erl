%% @doc The rules of a configuration whose topology is one of Partisan's own managers: what it needs, and what would mean nothing there.
%%
%% A cookie is let through: programs under `topos run' always have one. Nobody asks for it.
-module(topos_config_native).

-export([violations/1]).

%% @doc The violations of a configuration in which single values were checked already.
-spec violations(#{atom() => term()}) -> [topos_config_value:violation()].
violations(#{topology := #{type := native}} = Config) ->
    needed(engine, partisan, <<"partisan: with topology native one of Partisan's own managers runs">>, Config)
        ++ needed(insecure, true,
            <<"true: with topology native Partisan's own listener runs, also on loopback; it decodes whatever a peer sends, calls any "
              "function that it names, and checks no cookie">>, Config)
        ++ lists:append([unused(Key, Config) || Key <- [tls, metrics, metadata, forget_after]])
        ++ times(Config) ++ channels(Config);
violations(_) ->
    [].

%% internal

-spec needed(atom(), term(), binary(), #{atom() => term()}) -> [topos_config_value:violation()].
needed(Key, Value, Expected, Config) ->
    case Config of
        #{Key := Value} -> [];
        #{Key := '$invalid'} -> [];
        #{Key := Got} -> [#{path => atom_to_binary(Key), expected => Expected, got => Got}]
    end.

%% What the link above an engine does with it, and no manager of Partisan's.
-spec unused(atom(), #{atom() => term()}) -> [topos_config_value:violation()].
unused(Key, Config) ->
    [Default] = [maps:get(default, Field, undefined) || #{key := K} = Field <- topos_config_schema:fields(), K =:= Key],
    case Config of
        #{Key := Default} -> [];
        #{Key := '$invalid'} -> [];
        #{Key := Got} -> [meaningless(atom_to_binary(Key), shown(Key, Got))]
    end.

%% A certificate's files and the like are no news in an error.
-spec shown(atom(), term()) -> term().
shown(Key, _) when Key =:= tls; Key =:= metrics -> given;
shown(_, Got) -> Got.

%% The method is let through: it is set in every program.
-spec times(#{atom() => term()}) -> [topos_config_value:violation()].
times(#{fault_detection := #{} = Given}) ->
    [Fields] = [Inner || #{key := fault_detection, kind := {section, Inner}} <- topos_config_schema:fields()],
    [
        meaningless(<<"fault_detection.", (atom_to_binary(Key))/binary>>, Got)
     || #{key := Key, default := Default} <- Fields, Key =/= method, #{Key := Got} <- [Given], Got =/= Default, Got =/= '$invalid'
    ];
times(_) ->
    [].

-spec channels(#{atom() => term()}) -> [topos_config_value:violation()].
channels(#{channels := #{} = Channels}) ->
    Standard = topos_config:standard_channels(),
    [
        meaningless(<<"channels.", (atom_to_binary(Name))/binary, ".", (atom_to_binary(Key))/binary>>, Got)
     || {Name, Settings} <- lists:sort(maps:to_list(Channels)),
        {Key, Default} <- lists:sort(maps:to_list(maps:get(Name, Standard, map_get(data, Standard)))),
        Key =/= parallelism, #{Key := Got} <- [Settings], Got =/= Default, Got =/= '$invalid'
    ];
channels(_) ->
    [].

-spec meaningless(topos_config_value:path(), term()) -> topos_config_value:violation().
meaningless(Path, Got) ->
    #{path => Path, expected => <<"nothing: with topology native no manager of Partisan's does this">>, got => Got}.
