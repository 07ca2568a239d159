%% @doc Supervises a node that is one of Partisan's own managers, in the place of `topos_node_sup'. It ends with Partisan.
-module(topos_native_sup).
-behaviour(supervisor).

-export([start_link/1]).
-export([init/1]).

%% As long as Partisan may take to stop, and a little.
-define(SHUTDOWN, 40_000).

-spec start_link(fun(() -> topos_config:t())) -> {ok, pid()} | {error, term()}.
start_link(Given) -> supervisor:start_link({local, ?MODULE}, ?MODULE, Given).

-spec init(fun(() -> topos_config:t())) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Given) ->
    #{limits := #{max_inbox_messages := Max}} = Given(),
    Children = [
        %% Not started again: a Partisan that was would be alone, and this node would be as if nothing had happened.
        #{id => topos_native, start => {topos_native, start_link, [Given]}, restart => temporary, significant => true, shutdown => ?SHUTDOWN},
        #{id => topos_inbox, start => {topos_inbox, start_link, [Max]}},
        #{id => topos_native_inbox, start => {topos_native_inbox, start_link, []}}
    ],
    {ok, {#{strategy => rest_for_one, intensity => 10, period => 10, auto_shutdown => any_significant}, Children}}.
