%% @doc The application: a supervisor without children until a node is started (`topos_partisan:start/1').
-module(topos_partisan_app).
-behaviour(application).

-export([start/2, stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) -> topos_sup:start_link().

-spec stop(term()) -> ok.
stop(_State) -> ok.
