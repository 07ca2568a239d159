%% @doc Supervises a started node. The order says who relies on whom: when one ends, those after it begin anew.
%%
%% Subscriptions, lanes, requests and actors stand before the link and the engine, so no failure of these touches them;
%% membership is kept in a table of `topos_local', so the cluster resumes it. When `topos_local' itself ends, the node
%% begins a new life.
-module(topos_node_sup).
-behaviour(supervisor).

-export([start_link/1]).
%% The supervisor's own.
-export([start_engine/1]).
-export([init/1]).

%% @doc The function gives the configuration and the engine's module.
-spec start_link(topos_local:given()) -> {ok, pid()} | {error, term()}.
start_link(Given) -> supervisor:start_link({local, ?MODULE}, ?MODULE, Given).

%% @doc Starts the engine with the link as its sink, and lets the link watch it.
-spec start_engine(module()) -> {ok, pid()} | {error, term()}.
start_engine(Engine) ->
    case Engine:start_link(topos_local:config(), whereis(topos_link)) of
        {ok, Pid} ->
            ok = topos_link:engine_started(Pid),
            {ok, Pid};
        {error, Error} ->
            {error, Error}
    end.

-spec init(topos_local:given()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Given) ->
    {_, Engine} = Given(),
    Children = [
        worker(topos_local, [Given]),
        worker(topos_events, []),
        supervisor(topos_lane_sup),
        worker(topos_lanes, []),
        worker(topos_relay, []),
        worker(topos_request, []),
        supervisor(topos_actor_sup),
        worker(topos_link, []),
        #{id => engine, start => {?MODULE, start_engine, [Engine]}, shutdown => 10_000},
        worker(topos_channels, []),
        worker(topos_channel_monitor, []),
        worker(topos_channel_pool, []),
        worker(topos_overlay, []),
        worker(topos_swim, []),
        worker(topos_switch, []),
        worker(topos_cluster, []),
        worker(topos_metrics_server, [])
    ],
    {ok, {#{strategy => rest_for_one, intensity => 10, period => 10}, Children}}.

%% internal

-spec worker(module(), [term()]) -> supervisor:child_spec().
worker(Module, Args) -> #{id => Module, start => {Module, start_link, Args}}.

-spec supervisor(module()) -> supervisor:child_spec().
supervisor(Module) -> #{id => Module, start => {Module, start_link, []}, type => supervisor, shutdown => infinity}.
