%% @doc Promises of time, kept on a machine that does other things too.
%%
%% What a test promises in milliseconds holds for VMs that run. So a clock counts, from its start, how long processes of the test waited
%% for a processor that others had (as Linux tells of each thread), how long other virtual machines of the host had the processors of this
%% one, and how much later than asked for it was woken itself: as much later may come what was promised. Where nobody waited the promise
%% is what it says.
-module(topos_ct_clock).

-export([start/1, stop/1, kept/4, undisturbed/3]).
-export_type([t/0]).

-opaque t() :: #{
    watcher := pid(), waited := #{OsPid :: string() => Milliseconds :: non_neg_integer()}, stolen := Milliseconds :: non_neg_integer()
}.

%% How often the clock looks whether it is late, in milliseconds; and what is not called late.
-define(TICK, 20).
-define(EXACT, 5).

%% @doc Starts a clock for what these VMs and this one do. A VM that ends meanwhile counts no more.
-spec start([topos_ct_node:t()]) -> t().
start(Vms) ->
    OsPids = [os:getpid() | [topos_ct_node:os_pid(Vm) || Vm <- Vms]],
    #{watcher => spawn(fun watch/0), waited => maps:from_list([{OsPid, waited(OsPid)} || OsPid <- OsPids]), stolen => stolen()}.

%% @doc How much later than promised something may have come since the start, in milliseconds.
-spec stop(t()) -> non_neg_integer().
stop(#{watcher := Watcher, waited := Before, stolen := Stolen}) ->
    Ref = monitor(process, Watcher),
    Watcher ! {stop, self(), Ref},
    Late = receive
        {Ref, Milliseconds} -> true = demonitor(Ref, [flush]), Milliseconds;
        {'DOWN', Ref, process, _, Reason} -> error(Reason)
    end,
    Late + stolen() - Stolen + lists:sum([max(0, waited(OsPid) - Waited) || {OsPid, Waited} <- maps:to_list(Before)]).

%% @doc Fails the test where something took longer than promised and allowed, both in milliseconds.
-spec kept(What :: term(), Took :: integer(), Promised :: integer(), Allowed :: non_neg_integer()) -> ok.
kept(_, Took, Promised, Allowed) when Took =< Promised + Allowed -> ok;
kept(What, Took, Promised, Allowed) -> error({late, What, #{took => Took, promised => Promised, allowed => Allowed}}).

%% @doc For what must not happen while all VMs run: a list of what happened nevertheless is looked for, and looked for again where VMs
%% had to wait for the processor for `Limit' milliseconds or more meanwhile. Who waits looks like who hangs. Five times in a row fail
%% the test all the same.
-spec undisturbed([topos_ct_node:t()], Limit :: pos_integer(), fun(() -> [term()])) -> ok.
undisturbed(Vms, Limit, Find) -> undisturbed(Vms, Limit, Find, 5).

%% internal

-spec undisturbed([topos_ct_node:t()], pos_integer(), fun(() -> [term()]), pos_integer()) -> ok.
undisturbed(Vms, Limit, Find, Tries) ->
    Clock = start(Vms),
    Found = Find(),
    case {Found, stop(Clock)} of
        {[], _} ->
            ok;
        {_, Waited} when Waited >= Limit, Tries > 1 ->
            ct:pal("waited for the processor for ~b ms, so this says nothing: ~p", [Waited, Found]),
            undisturbed(Vms, Limit, Find, Tries - 1);
        {_, Waited} ->
            error({happened, Found, {waited, Waited}})
    end.

-spec watch() -> ok.
watch() ->
    _ = process_flag(priority, high),
    watch(0).

-spec watch(non_neg_integer()) -> ok.
watch(Late) ->
    Start = erlang:monotonic_time(millisecond),
    receive
        {stop, From, Ref} -> From ! {Ref, Late + late(Start)}, ok
    after ?TICK -> watch(Late + late(Start))
    end.

-spec late(integer()) -> non_neg_integer().
late(Start) ->
    case topos_ct_node:elapsed(Start) - ?TICK of
        Late when Late > ?EXACT -> Late;
        _ -> 0
    end.

%% The second field of `schedstat': nanoseconds in which a thread could run and did not. 0 where the system does not tell.
-spec waited(string()) -> non_neg_integer().
waited(OsPid) ->
    Threads = filelib:wildcard(filename:join(["/proc", OsPid, "task", "*", "schedstat"])),
    lists:sum([list_to_integer(Wait) || Thread <- Threads, {ok, Text} <- [file:read_file(Thread)],
                                        [_, Wait | _] <- [string:lexemes(binary_to_list(Text), " \n")]]) div 1_000_000.

%% "steal" of all processors, the eighth figure of their first line, in hundredths of a second. 0 where the system does not tell.
-spec stolen() -> non_neg_integer().
stolen() ->
    case file:read_file("/proc/stat") of
        {ok, <<"cpu ", Text/binary>>} ->
            [Line | _] = string:split(Text, "\n"),
            10 * binary_to_integer(lists:nth(8, string:lexemes(Line, " ")));
        _ ->
            0
    end.
