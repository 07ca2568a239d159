%% @doc Rates and round trips of a channel, measured without the statistics: between what they must lie, whatever the
%% operating system does to the VMs meanwhile.
-module(topos_ct_rates).

-export([start_sink/1, start/4, stop/1, out/2, in/3, send/3]).
-export_type([measured/0]).

%% Messages and bytes a second as the statistics say, and the fewest and most messages that it can have been.
-type measured() :: {Messages :: float(), Bytes :: float(), {Low :: float(), High :: float()}}.
%% Messages that are under way at a time.
-define(CHUNK, 20).
%% A rate is that of as many intervals between samples.
-define(WINDOW, 4).
-define(POLL, 5).
%% How far the bounds may be apart for a measurement that says something.
-define(CLOSE, 1.05).
-define(DEADLINE, 100_000).

%% @doc A process that counts what it is sent, and keeps none of it.
-spec start_sink(atom()) -> ok.
start_sink(Name) ->
    Parent = self(),
    Counter = counters:new(1, []),
    ok = persistent_term:put({?MODULE, sink, Name}, Counter),
    Pid = spawn(fun() -> true = register(Name, self()), Parent ! {self(), registered}, counting(Counter) end),
    receive {Pid, registered} -> ok end.

%% @doc A process that sends messages of so many bytes until it is stopped, some at a time, and counts.
-spec start(node(), atom(), atom(), pos_integer()) -> pid().
start(Node, Sink, Channel, Size) ->
    %% Messages that were begun, and that are acknowledged.
    Counters = counters:new(2, []),
    ok = persistent_term:put({?MODULE, Channel}, Counters),
    Message = binary:copy(<<7>>, Size),
    spawn(fun() -> sending(Node, Sink, Channel, Message, Counters) end).

-spec stop(pid()) -> ok.
stop(Pid) ->
    Ref = monitor(process, Pid),
    Pid ! stop,
    receive {'DOWN', Ref, process, Pid, normal} -> ok end.

%% @doc The rates of messages that went out on a channel, the last first, until one is known closely.
-spec out(node(), atom()) -> [measured(), ...].
out(Node, Channel) ->
    Counters = persistent_term:get({?MODULE, Channel}),
    Count = fun() -> {counters:get(Counters, 2), counters:get(Counters, 1)} end,
    measure({Node, Channel}, messages_out, bytes_out, Count).

%% @doc The rates of messages that came in, by what a sink has received.
-spec in(node(), binary(), atom()) -> [measured(), ...].
in(Node, Channel, Sink) ->
    Counter = persistent_term:get({?MODULE, sink, Sink}),
    Count = fun() ->
        Received = counters:get(Counter, 1),
        {message_queue_len, Waiting} = process_info(whereis(Sink), message_queue_len),
        {max(0, Received - ?CHUNK), Received + Waiting + ?CHUNK}
    end,
    measure({Node, Channel}, messages_in, bytes_in, Count).

%% @doc Sends one message and waits for its acknowledgement; how long that took, in microseconds.
-spec send(node(), atom(), atom()) -> non_neg_integer().
send(Node, Sink, Channel) ->
    Start = erlang:monotonic_time(microsecond),
    ok = topos_partisan:send(Node, Sink, timed, #{channel => Channel, ack => true, timeout => 100_000}),
    erlang:monotonic_time(microsecond) - Start.

%% internal

counting(Counter) ->
    receive _ -> ok = counters:add(Counter, 1, 1), counting(Counter) end.

sending(Node, Sink, Channel, Message, Counters) ->
    receive
        stop -> ok
    after 0 ->
        ok = counters:add(Counters, 1, ?CHUNK),
        [ok = topos_partisan:send(Node, Sink, Message, #{channel => Channel}) || _ <- lists:seq(2, ?CHUNK)],
        ok = topos_partisan:send(Node, Sink, Message, #{channel => Channel, ack => true, timeout => 100_000}),
        ok = counters:add(Counters, 2, ?CHUNK),
        sending(Node, Sink, Channel, Message, Counters)
    end.

%% A sample of the statistics was taken between a look that did not show it and the next, which did.
measure(Of, Messages, Bytes, Count) ->
    First = look(Of, Count),
    measure({Of, Messages, Bytes, Count}, now_us() + 1000 * ?DEADLINE, First, [], []).

%% `Taken': of the latest samples, the last first, the time and the count between what they lie.
measure({Of, Messages, Bytes, Count} = What, Deadline, #{history := Before} = Last, Taken, Measured) ->
    receive after ?POLL -> ok end,
    true = now_us() < Deadline,
    #{history := Shown, rates := #{Messages := Reported, Bytes := ReportedBytes}} = Now = look(Of, Count),
    case samples(Before, Shown) of
        0 ->
            measure(What, Deadline, Now, Taken, Measured);
        1 ->
            Sample = between(Last, Now),
            All = [{Reported, ReportedBytes, Bounds} || Bounds <- bounds(Sample, Taken)] ++ Measured,
            case All of
                [{_, _, {Low, High}} | _] when Low > 0, High =< ?CLOSE * Low -> All;
                _ -> measure(What, Deadline, Now, lists:sublist([Sample | Taken], ?WINDOW), All)
            end;
        %% This process slept through a sample.
        many ->
            measure(What, Deadline, Now, [], Measured)
    end.

%% How many were taken between two looks at the history, which grows until it is full, and then forgets the first.
samples(History, History) -> 0;
samples(Before, History) ->
    case lists:droplast(History) of
        Before -> 1;
        Rest when Before =/= [], Rest =:= tl(Before) -> 1;
        _ -> many
    end.

look({Node, Channel}, Count) ->
    From = now_us(),
    {Low, _} = Count(),
    #{history_out := History} = Rates = topos_channel_monitor:rates(Node, Channel),
    {_, High} = Count(),
    #{from => From, low => Low, rates => Rates, history => History, high => High, to => now_us()}.

between(#{from := From, low := Low}, #{to := To, high := High}) -> {From, To, Low, High}.

bounds({From, To, Low, High}, [_, _, _, {From0, To0, Low0, High0}]) ->
    [{(Low - High0) / (To - From0) * 1.0e6, (High - Low0) / (From - To0) * 1.0e6}];
bounds(_, _) ->
    [].

now_us() -> erlang:monotonic_time(microsecond).
