%% Laws of simulations: what the network promises holds whatever befalls it, and a run follows from its seed.
-module(prop_topos_sim).

-include_lib("proper/include/proper.hrl").

-export([prop_messages_arrive_once_and_in_order/0, prop_a_run_follows_from_its_seed/0]).

-import(topos_simulated, [simulate/3, process/0, distributed/0, say/2, meet/1, received/0, runner/2]).

%% While both nodes live, what a process sends arrives once and in its order, over any delay, loss, cut and pause.
prop_messages_arrive_once_and_in_order() ->
    ?FORALL({Seed, First, Spread, Loss, Steps},
        {seed(), range(0, 50_000), range(0, 200_000), range(0, 40), list(step())},
        begin
            Options = #{seed => Seed, delay => {First, First + Spread}, loss => Loss / 100},
            Count = length([send || send <- Steps]),
            {Outcome, Told} = simulate(2, Options, fun() -> program(Steps, Count) end),
            ?WHENFAIL(io:format("~p~n~p~n", [Outcome, Told]),
                {Outcome, [Line || {2, out, Line} <- Told]} =:=
                    {{exit, 0}, [unicode:characters_to_binary(io_lib:format("~w", [lists:seq(1, Count)]))]})
        end).

%% The same seed, options and program: the same run, with all that the network does.
prop_a_run_follows_from_its_seed() ->
    ?FORALL({Seed, Loss, Steps}, {seed(), range(0, 40), list(step())},
        begin
            Run = fun() -> simulate(3, #{seed => Seed, loss => Loss / 100, trace => true, max_steps => 10_000},
                fun() -> chatter(Steps) end) end,
            equals(Run(), Run())
        end).

seed() -> range(0, 1_000_000).

step() -> frequency([{6, send}, {2, {sleep, range(1, 4_000)}}, {1, cut}, {1, heal}, {1, pause}, {1, resume}, {1, hold},
    {1, release}]).

program(Steps, Count) ->
    case meet(1) of
        <<"seed">> ->
            lists:foldl(fun do/2, 1, Steps),
            [{ok, ok} = Calm || Calm <- [runner(heal, []), runner(resume, [<<"node2">>]),
                runner(release, [<<"node2">>])]],
            topos_sim_process:sleep(process(), 100_000);
        _ ->
            say("~w", [[received() || _ <- lists:seq(1, Count)]]),
            none = topos_sim_distributed:recv_within(distributed(), 30_000)
    end.

%% Waits until the other node is up again, if it is not.
do(send, N) ->
    case topos_sim_distributed:send(distributed(), 'node2@127.0.0.1', N) of
        {ok, ok} -> N + 1;
        {error, #{reason := <<"not_connected">>}} ->
            [{ok, ok} = Calm || Calm <- [runner(heal, []), runner(resume, [<<"node2">>])]],
            topos_sim_process:sleep(process(), 1_000),
            do(send, N)
    end;
do({sleep, Time}, N) ->
    ok = topos_sim_process:sleep(process(), Time),
    N;
do(Fault, N) ->
    {ok, ok} =
        case Fault of
            cut -> runner(partition, [[[<<"seed">>], [<<"node2">>]]]);
            heal -> runner(heal, []);
            _ -> runner(Fault, [<<"node2">>])
        end,
    N.

%% Two nodes wait for what the seed does to them, and tell it.
chatter(Steps) ->
    case meet(2) of
        <<"seed">> -> lists:foldl(fun do/2, 1, Steps);
        _ -> listen()
    end.

listen() ->
    case topos_sim_distributed:next_event_within(distributed(), 10_000) of
        {some, Event} -> say("~w", [Event]), listen();
        none -> ok
    end.
