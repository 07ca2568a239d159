%% @doc The application's supervisor. Its one possible child is the node.
-module(topos_sup).
-behaviour(supervisor).

-export([start_link/0, start_node/2, stop_node/0]).
-export([init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @doc Starts everything a node needs, or nothing.
-spec start_node(topos_config:t(), EngineModule :: module()) -> ok | {error, topos_error:t()}.
start_node(#{node := Node, engine := Engine} = Config, Module) ->
    Child = #{
        id => topos_node_sup,
        start => start(Config, Module),
        %% A node that cannot be kept alive is stopped, not started again and again: its users see not_started.
        restart => temporary,
        type => supervisor,
        shutdown => infinity
    },
    case supervisor:start_child(?MODULE, Child) of
        {ok, _} -> ok;
        {error, {already_started, _}} -> {error, topos_error:new(already_started, #{node => Node})};
        {error, Reason} -> {error, failure(Engine, Reason)}
    end.

-spec stop_node() -> ok | {error, not_started}.
stop_node() ->
    ok = case topos_local:is_started() of true -> topos_local:stopping(); false -> ok end,
    case supervisor:terminate_child(?MODULE, topos_node_sup) of
        ok -> ok;
        {error, not_found} -> {error, not_started}
    end.

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) -> {ok, {#{strategy => one_for_one}, []}}.

%% internal

%% In a function, so that no report of a supervisor prints the cookie.
-spec start(topos_config:t(), module()) -> {module(), start_link, [fun()]}.
start(#{topology := #{type := native}} = Config, _) -> {topos_native_sup, start_link, [fun() -> Config end]};
start(Config, Module) -> {topos_node_sup, start_link, [fun() -> {Config, Module} end]}.

-spec failure(topos_engine:name(), term()) -> topos_error:t().
failure(Engine, {shutdown, {failed_to_start_child, _, Reason}}) -> failure(Engine, Reason);
%% What supervisor:start_child/2 adds: the child it tried to start.
failure(Engine, {Reason, Child}) when element(1, Child) =:= child -> failure(Engine, Reason);
failure(_Engine, {Reason, Details}) when is_atom(Reason), is_map(Details) -> {Reason, Details};
failure(Engine, Reason) -> topos_error:new(engine_failed, #{engine => Engine, why => Reason}).
