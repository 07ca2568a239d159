%% @doc Supervisors of compiled programs: OTP's own, whose children are started by functions that spawn.
-module(topos_supervisor).
-behaviour(supervisor).

-export([start/3, start_child/4, count/1, is_starting/0]).
-export([start_pool/4, start_worker/2, start_linked/2]).
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
    {ok, Pid} = supervisor:start_link(?MODULE, {Flags, []}),
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

%% @doc Starts a supervisor of workers that `Start' starts, each with an argument of its own: `simple_one_for_one'.
-spec start_pool(permanent | transient | temporary, integer(), integer(), fun((term()) -> pid())) -> pid().
start_pool(Restart, Intensity, Period, Start) ->
    Flags = #{strategy => simple_one_for_one, intensity => max(0, Intensity), period => max(1, Period div 1000)},
    Spec = #{id => worker, start => {?MODULE, start_linked, [Start]}, restart => Restart, shutdown => ?SHUTDOWN},
    {ok, Pid} = supervisor:start_link(?MODULE, {Flags, [Spec]}),
    true = is_starting() orelse unlink(Pid),
    Pid.

%% @doc Starts a worker. Fails with `child_not_started' (TP1074).
-spec start_worker(pid(), term()) -> pid().
start_worker(Pool, Argument) ->
    case supervisor:start_child(Pool, [Argument]) of
        {ok, Pid} -> Pid;
        {error, Why} -> erlang:error(topos_error:new(child_not_started, #{id => <<"worker">>, why => Why}))
    end.

%% @doc How many children run.
-spec count(pid()) -> non_neg_integer().
count(Supervisor) -> proplists:get_value(active, supervisor:count_children(Supervisor)).

%% @doc Whether a supervisor is starting a child in this process: what is spawned then is linked to it.
-spec is_starting() -> boolean().
is_starting() -> erlang:get(?STARTING) =:= true.

-spec init({supervisor:sup_flags(), [supervisor:child_spec()]}) ->
    {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Specification) -> {ok, Specification}.

%% @doc As {@link start_linked/1}, with the argument of a worker.
-spec start_linked(fun((term()) -> pid()), term()) -> {ok, pid()}.
start_linked(Start, Argument) -> start_linked(fun() -> Start(Argument) end).

%% @doc Runs in the supervisor.
-spec start_linked(fun(() -> pid())) -> {ok, pid()}.
start_linked(Start) ->
    _ = erlang:put(?STARTING, true),
    try
        {ok, Start()}
    after
        erlang:erase(?STARTING)
    end.
