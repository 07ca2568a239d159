%% For tests of simulations: runs main functions that are written in Erlang, and says what a program says with effects.
-module(topos_simulated).

-export([simulate/2, simulate/3, lines/3, process/0, distributed/0, say/2, spawned/1, config/0, meet/1, meet/2,
    until/1]).
-export([sent/2, received/0, event/0, event/1, now_ms/0, runner/2]).

-define(LINES, {?MODULE, lines}).

%% Runs `Main' on so many nodes. Answers the outcome and what was told, the earliest first.
simulate(Nodes, Main) -> simulate(Nodes, #{}, Main).

simulate(Nodes, Options, Main) ->
    {ok, _} = topos_effect:install(topos_sim:handlers([], vm)),
    put(?LINES, []),
    Tell = fun(From, {Stream, Line}) ->
        put(?LINES, [{From, Stream, unicode:characters_to_binary(Line)} | get(?LINES)]),
        ok
    end,
    Names = [<<"seed">> | [<<"node", (integer_to_binary(N))/binary>> || N <- lists:seq(2, Nodes)]],
    All = maps:merge((topos_sim_options:defaults())#{names := Names, tell := Tell, max_time := 600_000,
        max_steps := 1_000_000}, Options),
    Outcome = topos_sim:run(All, Main),
    ok = topos_effect:uninstall(),
    {Outcome, lists:reverse(erase(?LINES))}.

%% What the nodes wrote to their standard output.
lines(Nodes, Options, Main) ->
    {{exit, 0}, Told} = simulate(Nodes, Options, Main),
    [{From, Line} || {From, out, Line} <- Told].

handler(Effect) -> element(2, maps:get(Effect, topos_effect:root())).

process() -> handler('Topos.Process.Process').
distributed() -> handler('Topos.Partisan.Distributed').

say(Format, Arguments) -> topos_sim_io:print(io, unicode:characters_to_binary(io_lib:format(Format, Arguments))).

spawned(Body) -> topos_sim_process:spawn(process(), fun(ok, _Ev) -> Body() end).

config() ->
    #{
        topology => full_mesh, channels => 1, compression => false, fault_detection => swim_detection, engine => best,
            name => <<>>,
        cookie => <<>>, inbox_size => 10_000, insecure => false
    }.

%% Joins the cluster of the run, and waits until so many others are up. Answers the node's name.
meet(Others) -> meet(Others, config()).

meet(Others, Config) ->
    D = distributed(),
    {ok, ok} = topos_sim_distributed:init(D, Config),
    Name = topos_sim_distributed:node_name(D),
    {ok, ok} =
        case Name of
            <<"seed">> -> topos_sim_distributed:create_cluster(D, <<"test">>);
            _ -> topos_sim_distributed:join_cluster(D, <<"seed@127.0.0.1">>, <<"test">>)
        end,
    ok = until(fun() -> length(topos_sim_distributed:members(D)) =:= Others end),
    Name.

until(Condition) ->
    case Condition() of
        true -> ok;
        false ->
            ok = topos_sim_process:sleep(process(), 1),
            until(Condition)
    end.

sent(Node, Message) -> topos_sim_distributed:send(distributed(), Node, Message).

received() -> topos_sim_distributed:recv(distributed()).

event() -> topos_sim_distributed:next_event(distributed()).

%% The next event that is like this one.
event(Like) ->
    case event() of
        Event when element(1, Event) =:= Like -> Event;
        _ -> event(Like)
    end.

now_ms() -> topos_sim_time:monotonic(time).

runner(Operation, Arguments) -> apply(topos_sim_runner, Operation, [[] | Arguments]).

