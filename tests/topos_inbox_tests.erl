-module(topos_inbox_tests).
-include_lib("eunit/include/eunit.hrl").
-include("topos_frame.hrl").

inbox_test_() ->
    {foreach, fun start/0, fun stop/1, [
        {Name, Test}
     || {Name, Test} <- [
            {"in order", fun in_order/0},
            {"receivers in order", fun receivers_in_order/0},
            {"bounded", fun bounded/0},
            {"times out", fun times_out/0},
            {"dead receivers take nothing", fun dead_receivers_take_nothing/0},
            {"late receivers take nothing", fun late_receivers_take_nothing/0},
            {"the order of waiters stays small", fun order_of_waiters_stays_small/0},
            {"many senders and receivers", fun many_senders_and_receivers/0},
            {"a sender is told no limit of its own", fun limits_of_the_receiver/0},
            {"a process takes over", fun taken_over/0},
            {"who took over and ended gives back", fun given_back/0},
            {"not started", fun not_started/0}
        ]
    ]}.

start() ->
    ok = meck:new(topos_local, [non_strict]),
    ok = meck:expect(topos_local, config, fun(node) -> 'here@host' end),
    ok = meck:expect(topos_local, own_node, fun() -> 'here@host' end),
    started(100).

stop(_) ->
    ok = stopped(whereis(topos_inbox)),
    meck:unload(topos_local).

%% Not linked: set-up, test and clean-up are processes of their own.
started(Max) ->
    {ok, Pid} = topos_inbox:start_link(Max),
    true = unlink(Pid),
    Pid.

stopped(Pid) ->
    gen_server:stop(Pid, shutdown, topos_await:patience()).

in_order() ->
    [ok = topos_inbox:offer(a@h, N) || N <- lists:seq(1, 50)],
    ?assertEqual([{ok, {a@h, N}} || N <- lists:seq(1, 50)], [topos_inbox:recv(0) || _ <- lists:seq(1, 50)]).

%% Each waits in a process of its own; they are served in the order in which they began.
receivers_in_order() ->
    Waiting = [waiter(infinity, N) || N <- lists:seq(1, 10)],
    [ok = topos_inbox:offer(a@h, N) || N <- lists:seq(1, 10)],
    ?assertEqual([{ok, {a@h, N}} || N <- lists:seq(1, 10)], [answer(W) || W <- Waiting]).

bounded() ->
    [ok = topos_inbox:offer(a@h, N) || N <- lists:seq(1, 100)],
    ?assertEqual({error, {inbox_full, #{node => 'here@host', limit => 100}}}, topos_inbox:offer(a@h, 101)),
    ?assertEqual(100, topos_inbox:count()),
    {ok, {a@h, 1}} = topos_inbox:recv(0),
    ?assertEqual(ok, topos_inbox:offer(a@h, 101)),
    ?assertMatch({error, {inbox_full, _}}, topos_inbox:offer(a@h, 102)).

%% A sender with other limits than the node that refused: neither says a number that is not the receiver's.
limits_of_the_receiver() ->
    ok = meck:expect(topos_local, config,
        fun(node) -> 'here@host'; (limits) -> #{max_inbox_messages => 7_777, max_new_atoms => 7_777} end),
    Full = topos_lane:failure(?TOPOS_UNDELIVERED_FULL, 'there@host', {?TOPOS_DEST_INBOX, <<>>}),
    Atoms = topos_lane:failure(?TOPOS_UNDELIVERED_ATOMS, 'there@host', {?TOPOS_DEST_INBOX, <<>>}),
    ?assertMatch({inbox_full, #{node := 'there@host'}}, Full),
    ?assertMatch({too_many_atoms, #{node := 'here@host'}}, Atoms),
    {error, Here} = lists:last([topos_inbox:offer(a@h, N) || N <- lists:seq(1, 101)]),
    %% Nor a place for one.
    lists:foreach(
        fun({Error, Wrong}) ->
            ?assertEqual(nomatch, binary:match(unicode:characters_to_binary(topos_error:format(Error)), Wrong))
        end, [{Full, <<"7777">>}, {Atoms, <<"7777">>}, {Here, <<"{">>}]).

%% What waits there counts as what waits here: the bound is that of the node.
taken_over() ->
    ok = topos_inbox:offer(a@h, 1),
    ok = topos_inbox:offer(b@h, 2),
    ?assertEqual({ok, 100}, topos_inbox:take_over(90)),
    ok = topos_inbox:offer(c@h, 3),
    ?assertEqual([{letter, {a@h, 1}}, {letter, {b@h, 2}}, {letter, {c@h, 3}}], [receive M -> M end || _ <- lists:seq(1, 3)]),
    [ok = topos_inbox:offer(a@h, N) || N <- lists:seq(1, 7)],
    ?assertMatch({error, {inbox_full, #{limit := 100}}}, topos_inbox:offer(a@h, 8)),
    ok = topos_inbox:taken(),
    ?assertEqual(ok, topos_inbox:offer(a@h, 8)),
    ?assertMatch({error, {inbox_full, _}}, topos_inbox:offer(a@h, 9)),
    ?assertEqual(0, topos_inbox:count()).

given_back() ->
    {Pid, Monitor} = spawn_monitor(fun() -> {ok, 100} = topos_inbox:take_over(100) end),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    ok = topos_await:until(fun() -> topos_inbox:offer(a@h, mine) =:= ok end),
    ?assertEqual({ok, {a@h, mine}}, topos_inbox:recv(topos_await:patience())),
    [ok = topos_inbox:offer(a@h, N) || N <- lists:seq(1, 100)],
    ?assertMatch({error, {inbox_full, _}}, topos_inbox:offer(a@h, 101)).

times_out() ->
    Start = erlang:monotonic_time(millisecond),
    ?assertMatch({error, {timeout, #{timeout := 30}}}, topos_inbox:recv(30)),
    Took = erlang:monotonic_time(millisecond) - Start,
    ?assert(Took >= 30),
    ?assertMatch({error, {timeout, _}}, topos_inbox:recv(0)),
    ?assertEqual(0, topos_inbox:waiting()).

dead_receivers_take_nothing() ->
    {Pid, _} = waiter(infinity, 1),
    Second = waiter(infinity, 2),
    exit(Pid, kill),
    ok = topos_await:until(fun() -> topos_inbox:waiting() =:= 1 end),
    ok = topos_inbox:offer(a@h, m),
    ?assertEqual({ok, {a@h, m}}, answer(Second)).

late_receivers_take_nothing() ->
    ?assertMatch({error, {timeout, _}}, topos_inbox:recv(1)),
    ok = topos_inbox:offer(a@h, m),
    ?assertEqual({ok, {a@h, m}}, topos_inbox:recv(0)).

%% A thousand that gave up leave nothing behind.
order_of_waiters_stays_small() ->
    [{error, {timeout, _}} = topos_inbox:recv(1) || _ <- lists:seq(1, 200)],
    {state, _, _, Waiters, Order, _} = sys:get_state(topos_inbox),
    ?assertEqual(0, map_size(Waiters)),
    ?assert(queue:len(Order) =< 17).

%% Nothing is lost, nothing comes twice, and each sender's messages keep their order.
many_senders_and_receivers() ->
    Receivers = [spawn_monitor(fun() -> exit({took, take_all([])}) end) || _ <- lists:seq(1, 4)],
    Senders = [spawn_monitor(fun() -> [send({S, N}) || N <- lists:seq(1, 500)] end) || S <- lists:seq(1, 4)],
    [receive {'DOWN', Ref, process, Pid, normal} -> ok end || {Pid, Ref} <- Senders],
    [send(stop) || _ <- Receivers],
    Taken = [receive {'DOWN', Ref, process, Pid, {took, Took}} -> Took end || {Pid, Ref} <- Receivers],
    ?assertEqual(lists:sort([{S, N} || S <- lists:seq(1, 4), N <- lists:seq(1, 500)]), lists:sort(lists:append(Taken))),
    [?assertEqual(lists:sort(Of), Of) || Took <- Taken, S <- lists:seq(1, 4), Of <- [[N || {S1, N} <- Took, S1 =:= S]]].

not_started() ->
    ok = stopped(whereis(topos_inbox)),
    ?assertMatch({error, {not_started, _}}, topos_inbox:offer(a@h, m)),
    ?assertMatch({error, {not_started, _}}, topos_inbox:recv(0)),
    started(1).

%% A process that waits for a message, surely after those started before it.
waiter(Timeout, Nth) ->
    {Pid, Ref} = spawn_monitor(fun() -> exit({answer, topos_inbox:recv(Timeout)}) end),
    ok = topos_await:until(fun() -> topos_inbox:waiting() =:= Nth end),
    {Pid, Ref}.

answer({Pid, Ref}) ->
    receive {'DOWN', Ref, process, Pid, {answer, Answer}} -> Answer after topos_await:patience() -> no_answer end.

take_all(Took) ->
    case topos_inbox:recv(topos_await:patience()) of
        {ok, {a@h, stop}} -> lists:reverse(Took);
        {ok, {a@h, Message}} -> take_all([Message | Took])
    end.

%% Back-pressure by hand: a refused offer is made again.
send(Message) ->
    case topos_inbox:offer(a@h, Message) of
        ok -> ok;
        {error, {inbox_full, _}} -> receive after 1 -> send(Message) end
    end.
