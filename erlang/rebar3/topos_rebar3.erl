%% @doc The rebar3 plugin: `{plugins, [{topos_partisan, {git, ..}}]}' in the `rebar.config' of a project makes
%% `rebar3 compile' compile its `.topos' files. See docs/rebar3.md.
-module(topos_rebar3).

-export([init/1]).

%% @doc Called by rebar3 when it loads the plugin. The state is rebar3's.
-spec init(State) -> {ok, State} when State :: term().
init(State) ->
    %% Before the Erlang compiler, so that a parse transform or a macro may look into Topos modules.
    {ok, topos_rebar3_compiler:rebar(rebar_state, prepend_compilers, [State, [topos_rebar3_compiler]])}.
