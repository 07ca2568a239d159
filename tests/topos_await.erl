%% @doc Waits for what no message tells: looks again and again, for as long as the slowest machine may take.
-module(topos_await).

-export([until/1, process_gone/1, patience/0]).

-define(PATIENCE, 60_000).
-define(PAUSE, 10).

%% @doc How long anything is waited for before the test fails, in milliseconds.
-spec patience() -> pos_integer().
patience() -> ?PATIENCE.

%% @doc Returns when the fun answers `true'; fails the test with its last answer when that does not happen.
-spec until(fun(() -> term())) -> ok.
until(Fun) -> until(Fun, erlang:monotonic_time(millisecond) + ?PATIENCE).

%% @doc Returns when the operating system has no such process any more. Where there is no `/proc' nothing is known of it.
-spec process_gone(OsPid :: pos_integer()) -> ok.
process_gone(OsPid) -> until(fun() -> not filelib:is_dir("/proc/" ++ integer_to_list(OsPid)) end).

%% internal

-spec until(fun(() -> term()), integer()) -> ok.
until(Fun, Deadline) ->
    case Fun() of
        true ->
            ok;
        Last ->
            case erlang:monotonic_time(millisecond) > Deadline of
                true -> error({not_within, ?PATIENCE, {last, Last}});
                false ->
                    receive after ?PAUSE -> ok end,
                    until(Fun, Deadline)
            end
    end.
