%% @doc Supervisors of compiled programs: OTP's own, whose children are started by functions that spawn.
-module(topos_supervisor).
-behaviour(supervisor).

-export([start/3, start_child/4, count/1, is_starting/0]).
-export([init/1, start_linked/1]).
-export_type([strategy/0]).

-type strategy() :: one_for_one | one_for_all | rest_for_one.

-define(STARTING, '$topos_starting').
-define(SHUTDOWN, 5000).

%% @doc Starts a supervisor without children; `Period' is in milliseconds, at least a second counts. It is linked to the
%% supervisor that starts it as a child, and to nothing else.
-spec start(strategy(), integer(), integer()) -> pid().
start(Strategy, Intensity, Period) ->
    Flags = #{strategy => Strategy, intensity => max(0, Intensity), period => max(1, Period div 1000)},
    {ok, Pid} = supervisor:start_link(?MODULE, Flags),
    true = is_starting() orelse unlink(Pid),
    Pid.

%% @doc Starts a child and waits until its function has answered. Fails with `child_not_started' (TP1074).
-spec start_child(pid(), binary(), permanent | transient | temporary, fun(() -> pid())) -> ok.
start_child(Supervisor, Id, Restart, Start) ->
    Spec = #{id => Id, start => {?MODULE, start_linked, [Start]}, restart => Restart, shutdown => ?SHUTDOWN},
    case supervisor:start_child(Supervisor, Spec) of
        {ok, _} -> ok;
        {error, Why} -> erlang:error(topos_error:new(child_not_started, #{id => Id, why => Why}))
    end.

%% @doc How many children run.
-spec count(pid()) -> non_neg_integer().
count(Supervisor) -> proplists:get_value(active, supervisor:count_children(Supervisor)).

%% @doc Whether a supervisor is starting a child in this process: what is spawned then is linked to it.
-spec is_starting() -> boolean().
is_starting() -> erlang:get(?STARTING) =:= true.

-spec init(supervisor:sup_flags()) -> {ok, {supervisor:sup_flags(), []}}.
init(Flags) -> {ok, {Flags, []}}.

%% @doc Runs in the supervisor.
-spec start_linked(fun(() -> pid())) -> {ok, pid()}.
start_linked(Start) ->
    _ = erlang:put(?STARTING, true),
    try
        {ok, Start()}
    after
        erlang:erase(?STARTING)
    end.
