%% @doc Supervises the senders and receivers of lanes. They are temporary: what a lane held is told by `topos_lanes' when it
%% ends, and the next message starts a fresh one.
-module(topos_lane_sup).
-behaviour(supervisor).

-export([start_link/0, start_sender/3, start_receiver/1, stop/1]).
%% The supervisor's own.
-export([start_lane/2]).
-export([init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec start_sender(topos_lanes:key(), topos_lane:room(), topos_local:channel()) -> {ok, pid()}.
start_sender(Key, Room, Settings) ->
    {ok, _} = supervisor:start_child(?MODULE, [topos_lane_sender, [Key, Room, Settings]]).

-spec start_receiver({node(), topos_incarnation:t(), topos_frame:lane_id()}) -> {ok, pid()}.
start_receiver(Key) -> {ok, _} = supervisor:start_child(?MODULE, [topos_lane_receiver, [Key]]).

%% @doc Ends a lane that nobody needs any more.
-spec stop(pid()) -> ok.
stop(Pid) ->
    _ = exit(Pid, shutdown),
    ok.

-spec start_lane(module(), [term()]) -> {ok, pid()}.
start_lane(Module, Args) -> apply(Module, start_link, Args).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Lane = #{id => lane, start => {?MODULE, start_lane, []}, restart => temporary, shutdown => 1000},
    {ok, {#{strategy => simple_one_for_one}, [Lane]}}.
