%% @doc Supervises what this node keeps for processes and programs: monitors, leases, the inbox.
%%
%% It owns the table of monitors, so a restart of `topos_actors' loses none.
-module(topos_actor_sup).
-behaviour(supervisor).

-include("topos_frame.hrl").

-export([start_link/0]).
-export([init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    ok = topos_actors:new_table(),
    ok = topos_process:serve(),
    ok = topos_delivery:claim(?TOPOS_DEST_INBOX, topos_inbox),
    #{max_inbox_messages := Max} = topos_local:config(limits),
    Children = [
        #{id => topos_inbox, start => {topos_inbox, start_link, [Max]}},
        #{id => topos_actors, start => {topos_actors, start_link, []}}
    ],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, Children}}.
