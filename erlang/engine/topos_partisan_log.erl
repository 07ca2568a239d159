%% @doc What of Partisan's log is worth reading.
%%
%% Its notices and infos (each connection, each ping) are left out by level. An inbound connection that ends with an error
%% (a scanner, a packet too large, a vanished client) is told by Partisan in one event; the two reports of its end, with
%% the whole state of the process, that follow are left out here. Nothing else is.
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
filter(#{msg := {report, #{label := Label}}}, _) when Label =:= {gen_server, terminate}; Label =:= {proc_lib, crash} ->
    case topos_partisan_listener:is_connection() of
        true -> stop;
        false -> ignore
    end;
filter(_Event, _) ->
    ignore.
