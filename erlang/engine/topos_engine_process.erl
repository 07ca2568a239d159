%% @doc What the processes of the engines have in common: what they tell, when they dial again, how they fail to start.
-module(topos_engine_process).

-export([tell/2, backoff/1, not_started/1]).

-define(MIN_BACKOFF, 25).
-define(MAX_BACKOFF, 1_000).

%% @doc Hands an event to the process that the engine was started for.
-spec tell(Sink :: pid(), {up, node()} | {down, node(), term()} | reset) -> ok.
tell(Sink, Event) ->
    Sink ! {topos_engine, Event},
    ok.

%% @doc Milliseconds before the next attempt to connect, after so many that failed: 25 doubled with each, 1,000 at most, a
%% quarter more or less so that many nodes do not dial at once.
-spec backoff(Attempts :: non_neg_integer()) -> pos_integer().
backoff(Attempts) ->
    Base = min(?MAX_BACKOFF, ?MIN_BACKOFF bsl min(Attempts, 10)),
    Base - Base div 4 + rand:uniform(Base div 2 + 1) - 1.

%% @doc What `init/1' answers when the engine cannot start: the caller gets the error, and no exit signal on top, which would
%% end one that is no supervisor.
-spec not_started(topos_error:t()) -> {stop, {shutdown, topos_error:t()}}.
not_started(Error) ->
    Parent =
        case hd(get('$ancestors')) of
            Pid when is_pid(Pid) -> Pid;
            Name -> whereis(Name)
        end,
    true = unlink(Parent),
    {stop, {shutdown, Error}}.
