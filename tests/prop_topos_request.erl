%% Requests that are repeated, delayed and overtaken, on two connections at once: each is carried out at most once,
%% and the last of each slot is carried out.
-module(prop_topos_request).
-behaviour(topos_request).

-include("topos_frame.hrl").
-include_lib("proper/include/proper.hrl").

-export([prop_once/0, handle_request/2]).

-define(OWN, 'own@127.0.0.1').
-define(PEER, 'peer@127.0.0.1').
-define(SERVICE, prop_topos_request).
-define(TIMEOUT, 60_000).

%% Each element: a slot, and which of the requests in it; both connections take the list in an order of their own.
prop_once() ->
    ?SETUP(fun() -> ok = start(), fun() -> ok = topos_sup:stop_node() end end,
        ?FORALL(Frames, list({range(0, 3), range(1, 6)}),
            ?FORALL({First, Second}, {shuffled(Frames), shuffled(Frames)},
                begin
                    true = ets:delete_all_objects(topos_served),
                    true = ets:delete_all_objects(?SERVICE),
                    Connections = [spawn_monitor(fun() -> [ask(Frame) || Frame <- Some] end) || Some <- [First, Second]],
                    [receive {'DOWN', Ref, process, Pid, Reason} -> normal = Reason end || {Pid, Ref} <- Connections],
                    ok = idle(),
                    Done = ets:tab2list(?SERVICE),
                    Last = lists:foldl(fun({Slot, N}, Acc) -> Acc#{Slot => max(N, maps:get(Slot, Acc, 0))} end, #{}, Frames),
                    ?WHENFAIL(io:format("carried out: ~p~n", [Done]),
                        conjunction([
                            {once, [] =:= [Id || {Id, Times} <- Done, Times =/= 1]},
                            {asked, [] =:= [Id || {Id, _} <- Done] -- Frames},
                            %% The last of a slot is past for nobody.
                            {last, [] =:= maps:to_list(Last) -- [Id || {Id, _} <- Done]}
                        ]))
                end))).

handle_request(?PEER, Id) ->
    1 = ets:update_counter(?SERVICE, Id, 1, {Id, 0}),
    {ok, Id}.

%% internal

ask({Slot, N} = Id) -> topos_request_server:request({?PEER, 1}, {Slot, N}, ?TIMEOUT, atom_to_binary(?SERVICE), term_to_binary(Id)).

%% Until nothing is being served any more.
idle() ->
    case [Pid || {_, Pid, _} <- ets:tab2list(topos_serving)] of
        [] -> ok;
        [undefined | _] -> erlang:yield(), idle();
        [Pid | _] ->
            Ref = monitor(process, Pid),
            receive {'DOWN', Ref, process, _, _} -> idle() end
    end.

shuffled(List) -> ?LET(Keys, vector(length(List), real()), [E || {_, E} <- lists:sort(lists:zip(Keys, List))]).

start() ->
    {ok, _} = application:ensure_all_started(topos_partisan),
    {ok, Config} = topos_config:parse(#{node => ?OWN, cluster => <<"c">>, cookie => <<"cookie">>, engine => otp}),
    ok = topos_fake_engine:use(self()),
    ok = topos_sup:start_node(Config, topos_fake_engine),
    ?SERVICE = ets:new(?SERVICE, [named_table, public]),
    ok = topos_request:serve(?SERVICE, ?MODULE).
