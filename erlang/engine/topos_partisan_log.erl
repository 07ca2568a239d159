%% @doc What of Partisan's log is worth reading.
%%
%% Its notices and infos (each connection, each ping) are left out by level. So is that a connection closed or could not
%% be opened, which Partisan repeats with whole specifications for each channel of a peer that died:
%% `topos_engine_partisan' finds that out by itself and tells it once, as an event or as `failure/1'. Nothing else is
%% left out.
-module(topos_partisan_log).

-export([install/0, remove/0]).
-export([filter/2]).

-define(FILTER, ?MODULE).

-spec install() -> ok.
install() ->
    ok = logger:set_application_level(partisan, warning),
    case logger:add_primary_filter(?FILTER, {fun ?MODULE:filter/2, []}) of
        ok -> ok;
        {error, {already_exist, ?FILTER}} -> ok
    end.

-spec remove() -> ok.
remove() ->
    ok = logger:unset_application_level(partisan),
    case logger:remove_primary_filter(?FILTER) of
        ok -> ok;
        {error, {not_found, ?FILTER}} -> ok
    end.

%% @private Runs in the process that logs.
-spec filter(logger:log_event(), term()) -> stop | ignore.
filter(#{msg := {report, #{label := {gen_server, terminate}, reason := {error, closed}}}}, _) ->
    %% A connection of ours whose peer died while it said hello.
    case get('$initial_call') of
        {partisan_peer_service_client, init, 1} -> stop;
        _ -> ignore
    end;
filter(#{msg := {report, #{description := Description, channel := _}}}, _) when
    Description =:= "Node failed to connect"; Description =:= "Connection closed"
->
    stop;
filter(#{msg := {report, #{description := "Failed to send message", error := {error, Why}}}}, _) when
    Why =:= einval; Why =:= closed; Why =:= enotconn; Why =:= epipe; Why =:= econnreset
->
    %% The socket went while a frame waited for it: the link sends it again or tells that it is in doubt.
    stop;
filter(#{msg := {_Format, [_Pid, {badarg, [{ets, _, _, _} | Callers]}]}}, _) ->
    %% Partisan's monitors learn of a lost node in processes of their own, which may find its tables gone when it stops.
    case lists:keymember(partisan_monitor, 1, Callers) of
        true -> stop;
        false -> ignore
    end;
filter(_Event, _) ->
    ignore.
