%% @doc Gives channels that have a `max_parallelism' more lanes while messages queue, and takes them back when idle. When and
%% how many is decided by `topos_channel_pool_core'; this process looks five times a second.
%%
%% The `parallelism' of such a channel, as `topos_channel:list/0' shows it, is what it has now. Setting it by
%% `topos_channel:reconfigure/2' says anew how many lanes it has at least.
-module(topos_channel_pool).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(INTERVAL, 200).
-define(TABLE, topos_channel_pools).

%% With the `max_parallelism' each was made for.
-type pool() :: {pos_integer(), topos_channel_pool_core:t()}.
-type pools() :: #{topos_engine:channel() => pool()}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% gen_server

%% What an earlier process of this node knew: the lanes that a channel has now do not tell how many it has at least.
-spec init([]) -> {ok, pools()}.
init([]) ->
    _ = erlang:send_after(?INTERVAL, self(), look),
    Channels = topos_local:config(channels),
    {ok, maps:from_list([
        {Channel, {Max, topos_channel_pool_core:resumed(Lanes, Pool)}}
     || {Channel, Max, Pool} <- ets:tab2list(?TABLE), #{Channel := #{parallelism := Lanes}} <- [Channels]
    ])}.

-spec handle_call(term(), gen_server:from(), pools()) -> {reply, ok, pools()}.
handle_call(_, _From, Pools) -> {reply, ok, Pools}.

-spec handle_cast(term(), pools()) -> {noreply, pools()}.
handle_cast(_, Pools) -> {noreply, Pools}.

-spec handle_info(term(), pools()) -> {noreply, pools()}.
handle_info(look, Pools) ->
    _ = erlang:send_after(?INTERVAL, self(), look),
    Adaptive = maps:filter(fun(_, #{max_parallelism := Max}) -> Max > 0 end, topos_local:config(channels)),
    Lanes = case map_size(Adaptive) of 0 -> []; _ -> topos_channel_monitor:lanes() end,
    _ = [ets:delete(?TABLE, Channel) || Channel <- maps:keys(Pools), not is_map_key(Channel, Adaptive)],
    {noreply, maps:map(fun(Channel, Settings) -> look(Channel, Settings, Lanes, Pools) end, Adaptive)};
handle_info(_, Pools) ->
    {noreply, Pools}.

%% internal

-spec look(topos_engine:channel(), map(), [topos_channel_monitor:lane()], pools()) -> pool().
look(Channel, #{parallelism := Lanes, max_parallelism := Max}, All, Pools) ->
    Pool = case Pools of
        #{Channel := {Max, Known}} -> Known;
        _ -> none
    end,
    Current = case Pool =/= none andalso topos_channel_pool_core:lanes(Pool) =:= Lanes of
        true -> Pool;
        false -> topos_channel_pool_core:new(Lanes, Max, #{})
    end,
    {Decision, Next} = topos_channel_pool_core:sample(waiting(Channel, All), Current),
    true = ets:insert(?TABLE, {Channel, Max, Next}),
    ok = carry_out(Decision, Channel),
    {Max, Next}.

%% Lanes are for each peer: the one that waits most decides.
-spec waiting(topos_engine:channel(), [topos_channel_monitor:lane()]) -> non_neg_integer().
waiting(Channel, Lanes) ->
    ByNode = lists:foldl(
        fun(#{channel := Of, node := Node, messages := N}, Acc) when Of =:= Channel ->
                maps:update_with(Node, fun(M) -> M + N end, N, Acc);
           (_, Acc) ->
                Acc
        end, #{}, Lanes),
    lists:max([0 | maps:values(ByNode)]).

-spec carry_out(topos_channel_pool_core:decision(), topos_engine:channel()) -> ok.
carry_out(keep, _) ->
    ok;
carry_out({resize, Lanes}, Channel) ->
    case topos_channels:reconfigure(#{Channel => #{parallelism => Lanes}}) of
        ok ->
            ok;
        {error, Error} ->
            %% Closed, or changed, since this process looked: it looks again.
            ?LOG_NOTICE("topos_partisan: the lanes of ~ts stay as they are: ~ts", [Channel, topos_error:format(Error)])
    end.
