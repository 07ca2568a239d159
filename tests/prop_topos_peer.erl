%% Two peer cores against each other, over transports that lose and delay, with pauses and restarts.
-module(prop_topos_peer).

-include("topos_frame.hrl").
-include_lib("proper/include/proper.hrl").

-export([prop_meet_when_the_network_is_good/0, prop_verdicts_do_no_lasting_harm/0, prop_silence_behind_a_verdict_is_found/0, prop_one_way_is_found/0, prop_transitions_alternate/0, prop_other_secret_never_up/0,
         prop_frames_of_anybody_do_no_harm/0]).
-export([prop_pace_stretches_silence/0, prop_pace_stretches_echoes/0, prop_a_faster_pace_asks_before_it_judges/0]).
%% For `topos_peer_core_tests'.
-export([statuses_after/1]).

-define(SETTINGS, #{echo_interval => 250, suspect_after => 1000, down_after => 3000}).

step() ->
    frequency([
        {6, {wait, range(10, 400)}},
        {1, {wait, range(400, 4000)}},
        {3, {transport, side(), bool()}},
        {2, {lose, side()}},
        {1, {restart, side()}},
        {1, {pace, side(), range(1, 4)}},
        {1, {known, side(), range(1, 2)}},
        {1, {repeat, side()}},
        %% Frames stay on their way while transports come and go: over a route that is what they do.
        {3, {hold, range(10, 300)}},
        {4, {take, side(), range(1, 3)}},
        {2, {drop, side(), range(1, 3)}},
        {3, {overtake, side(), range(1, 4)}},
        {2, {flap, side()}}
    ]).

side() -> oneof([a, b]).

-record(side, {core, incarnation, inbox = [], statuses = [], key, old = []}).

world() -> world(<<"cookie">>, <<"cookie">>).

world(CookieA, CookieB) ->
    %% As on Erlang's monotonic scale, which is far below 0.
    #{now => -500_000_000, count => 0, a => new(a, 1, topos_auth:key(CookieA)), b => new(b, 1, topos_auth:key(CookieB))}.

new(Name, Incarnation, Key) ->
    #side{core = core(Name, Incarnation, Key), incarnation = Incarnation, key = Key}.

core(Name, Incarnation, Key) ->
    Self = #{name => name(Name), incarnation => Incarnation, cluster => <<"c">>, key => Key,
             addresses => [{{127, 0, 0, 1}, 1}]},
    topos_peer_core:new(name(other(Name)), Self, ?SETTINGS).

name(a) -> <<"a@h">>;
name(b) -> <<"b@h">>.

other(a) -> b;
other(b) -> a.

%% Whatever happened, once the transports are up and nothing is lost both are up, with each other's present life.
prop_meet_when_the_network_is_good() ->
    ?FORALL(Steps, list(step()),
            begin
                #{a := A, b := B} = World = heal(lists:foldl(fun step/2, world(), Steps)),
                ?WHENFAIL(io:format("~p~n~p~n", [A, B]),
                          conjunction([
                              {a_up, topos_peer_core:status(A#side.core) =:= up},
                              %% What the lanes are told.
                              {a_open, maps:get({open, a}, World)},
                              {b_open, maps:get({open, b}, World)},
                              {b_up, topos_peer_core:status(B#side.core) =:= up},
                              {a_knows_b, topos_peer_core:incarnation(A#side.core) =:= B#side.incarnation},
                              {b_knows_a, topos_peer_core:incarnation(B#side.core) =:= A#side.incarnation}
                          ]))
            end).

%% With the detector of the cluster as the judge, right or wrong: whatever it said last, peers that hear each other are up.
prop_verdicts_do_no_lasting_harm() ->
    ?FORALL({Steps, Last}, {list(frequency([{6, step()}, {3, {verdict, side(), verdict()}}])), [verdict(), verdict()]},
            begin
                %% A new life has the settings of before.
                Before = swim(lists:foldl(fun step/2, swim(world()), Steps)),
                [OfA, OfB] = Last,
                #{a := C, b := D} = heal(step({verdict, b, OfB}, step({verdict, a, OfA}, heal(Before)))),
                {up, up} =:= {topos_peer_core:status(C#side.core), topos_peer_core:status(D#side.core)}
                    andalso alternate(connecting, lists:reverse(C#side.statuses))
            end).

%% One that falls silent is down when the detector says so, if it was not heard since; without the detector it stays up, which is what that is for.
prop_silence_behind_a_verdict_is_found() ->
    %% Four times `down_after' where answers came late.
    ?FORALL({Steps, Verdict, Wait}, {list(step()), oneof([suspect, dead]), range(12_050, 14_000)},
            begin
                Up = heal(step({pace, a, 1}, swim(lists:foldl(fun step/2, swim(world()), Steps)))),
                Silent = silence(10_000, step({verdict, a, alive}, Up)),
                #{a := Unjudged} = Silent,
                #{a := Judged} = silence(Wait, step({verdict, a, Verdict}, Silent)),
                {up, down} =:= {topos_peer_core:status(Unjudged#side.core), topos_peer_core:status(Judged#side.core)}
            end).

%% Where frames of one of them get lost for long, both say so, and both are up when they no longer do.
prop_one_way_is_found() ->
    %% Four times `down_after', times four where answers came late.
    ?FORALL({Steps, Lost, Late}, {list(step()), side(), range(0, 5_000)},
            begin
                Up = heal(step({pace, b, 1}, step({pace, a, 1}, heal(lists:foldl(fun step/2, world(), Steps))))),
                #{a := A, b := B} = Cut = one_way(48_500 + Late, Lost, Up),
                #{a := C, b := D} = heal(Cut),
                Statuses = fun(Sides) -> [topos_peer_core:status(Side#side.core) || Side <- Sides] end,
                ?WHENFAIL(io:format("~p, then ~p~n", [Statuses([A, B]), Statuses([C, D])]),
                          {[down, down], [up, up]} =:= {Statuses([A, B]), Statuses([C, D])}
                              andalso alternate(connecting, lists:reverse(C#side.statuses))
                              andalso alternate(connecting, lists:reverse(D#side.statuses)))
            end).

%% Time passes, and nothing of what this side sends arrives.
one_way(Ms, _, World) when Ms =< 0 -> World;
one_way(Ms, Lost, #{now := Now} = World) -> one_way(Ms - 50, Lost, one_way_quiet(Lost, ticked(World#{now := Now + 50}))).

one_way_quiet(Lost, World) ->
    Deaf = other(Lost),
    #{Deaf := S} = World,
    case World#{Deaf := S#side{inbox = []}} of
        #{Lost := #side{inbox = []}} = Quiet -> Quiet;
        Cut -> one_way_quiet(Lost, deliver(Lost, Cut))
    end.

verdict() -> oneof([alive, suspect, dead]).

swim(World) ->
    Swim = fun(#side{core = Core} = Side) -> Side#side{core = topos_peer_core:settings(?SETTINGS#{method => swim}, Core)} end,
    maps:update_with(a, Swim, maps:update_with(b, Swim, World)).

%% Time passes for a, and b says nothing.
silence(Ms, World) when Ms =< 0 -> World;
silence(Ms, #{now := Now} = World) ->
    #{b := B} = Quiet = act(a, fun(Core) -> topos_peer_core:tick(Now + 50, Core) end, World#{now := Now + 50}),
    silence(Ms - 50, Quiet#{b := B#side{inbox = []}}).

%% The status of the peer at both sides after these steps and a while of a good network.
statuses_after(Steps) ->
    #{a := A, b := B} = heal(lists:foldl(fun step/2, world(), Steps)),
    {topos_peer_core:status(A#side.core), topos_peer_core:status(B#side.core)}.

%% What one life of a node sees of its peer: up begins, up comes only after down, suspect only after up.
prop_transitions_alternate() ->
    ?FORALL(Steps, list(step()),
            begin
                #{a := A, b := B} = heal(lists:foldl(fun step/2, world(), Steps)),
                alternate(connecting, lists:reverse(A#side.statuses)) andalso
                    alternate(connecting, lists:reverse(B#side.statuses))
            end).

alternate(_, []) -> true;
alternate(_, [reborn | Rest]) -> alternate(connecting, Rest);
alternate(State, [{State, To} | Rest]) -> legal(State, To) andalso alternate(To, Rest);
alternate(_, _) -> false.

legal(connecting, up) -> true;
legal(up, suspect) -> true;
legal(up, down) -> true;
legal(suspect, up) -> true;
legal(suspect, down) -> true;
legal(down, up) -> true;
legal(_, _) -> false.

prop_other_secret_never_up() ->
    ?FORALL(Steps, list(step()),
            begin
                #{a := A, b := B} = World = heal(lists:foldl(fun step/2, world(<<"one">>, <<"two">>), Steps)),
                conjunction([
                    {no_transition, [S || S <- A#side.statuses ++ B#side.statuses, S =/= reborn] =:= []},
                    {a_is_told, maps:get({refused, a}, World, none) =:= cookie_mismatch},
                    {b_is_told, maps:get({refused, b}, World, none) =:= cookie_mismatch}
                ])
            end).

%% Frames that say they come from the peer, but carry no proof, change neither session nor status.
prop_frames_of_anybody_do_no_harm() ->
    ?FORALL({Kind, Incarnation, Destination, Payload}, {range(1, 3), range(1, 5), range(0, 3), payload()},
            begin
                #{a := #side{core = Core}, now := Now} = heal(world()),
                Frame = #{version => 1, kind => Kind, source => <<"b@h">>, incarnation => Incarnation, destination => Destination,
                          token => <<0:128>>, payload => Payload},
                {After, Effects} = topos_peer_core:frame(Frame, Now, Core),
                topos_peer_core:status(After) =:= up
                    andalso topos_peer_core:incarnation(After) =:= topos_peer_core:incarnation(Core)
                    andalso topos_peer_core:is_admitted(After)
                    andalso [E || E <- Effects, element(1, E) =/= send] =:= []
            end).

%% A peer that is asked so many times less often may be silent so many times longer.
prop_pace_stretches_silence() ->
    ?FORALL({Pace, Silence}, {range(1, 5), range(0, 20_000)},
            begin
                #{now := Now, a := #side{core = Core}} = at_pace(Pace),
                {Status, _} = alone(Now, Now + Silence, Core),
                Expected = if
                    Silence >= 3_000 * Pace -> down;
                    Silence >= 1_000 * Pace -> suspect;
                    true -> up
                end,
                ?WHENFAIL(io:format("~p instead of ~p~n", [topos_peer_core:status(Status), Expected]),
                          topos_peer_core:status(Status) =:= Expected)
            end).

%% The first echo comes at the pace of before or sooner, others at the new one.
prop_pace_stretches_echoes() ->
    ?FORALL(Pace, range(1, 5),
            begin
                #{now := Now, a := #side{core = Core}} = at_pace(Pace),
                {_, [First | Times]} = alone(Now, Now + 1_000 * Pace - 1, Core),
                Between = [Later - Earlier || {Earlier, Later} <- lists:zip(lists:droplast([First | Times]), Times)],
                First =< Now + 250 andalso lists:usort(Between) -- [250 * Pace] =:= []
            end).

%% A peer that becomes a neighbour after it was asked seldom has its time to answer.
prop_a_faster_pace_asks_before_it_judges() ->
    ?FORALL({Pace, Silence}, {range(2, 5), range(0, 20_000)},
            begin
                #{now := Now, a := #side{core = Core}} = at_pace(Pace),
                Then = Now + Silence rem (1_000 * Pace),
                {Quiet, _} = alone(Now, Then, Core),
                Fast = topos_peer_core:pace(1, Then, Quiet),
                {Still, Asked} = alone(Then, Then + 950, Fast),
                {Late, _} = alone(Then + 950, Then + 1_000, Still),
                conjunction([
                    {up_before, topos_peer_core:status(Quiet) =:= up},
                    {asked, [At || At <- Asked, At =< Then + 250] =/= []},
                    {up_meanwhile, topos_peer_core:status(Still) =:= up},
                    {suspect_then, topos_peer_core:status(Late) =:= suspect},
                    {same_pace_is_nothing, topos_peer_core:pace(1, Then + 500, Fast) =:= Fast}
                ])
            end).

%% Two that are up, at a moment when one has just heard the other.
at_pace(Pace) ->
    #{now := Now} = World = heal(world()),
    act(a, fun(Core) ->
        {Heard, Effects} = topos_peer_core:heard(Now, Core),
        {topos_peer_core:pace(Pace, Now, Heard), Effects}
    end, World).

%% A core that hears nothing, and the times at which it asked.
alone(From, To, Core) ->
    lists:foldl(
        fun(Now, {Before, Asked}) ->
            {Next, Effects} = topos_peer_core:tick(Now, Before),
            {Next, Asked ++ [Now || {send, Frame} <- Effects, is_echo(Frame)]}
        end, {Core, []}, lists:seq(From + 1, To)).

is_echo(Frame) ->
    {ok, #{kind := Kind}} = topos_frame:decode(iolist_to_binary(Frame)),
    Kind =:= ?TOPOS_FRAME_ECHO.

payload() ->
    oneof([binary(),
           ?LET({N, P}, {binary(16), binary(32)}, <<N/binary, P/binary, 1, "c", 0>>),
           ?LET({N, Y, P}, {binary(16), binary(16), binary(32)}, <<N/binary, Y/binary, 1, P/binary, 1, "c">>)]).

step({wait, Ms}, World) -> wait(Ms, World);
step({transport, Side, true}, #{now := Now} = World) ->
    {Nonce, Next} = nonce(World),
    act(Side, fun(Core) ->
        case topos_peer_core:has_transport(Core) of
            true -> {Core, []};
            false -> topos_peer_core:transport_up(Nonce, Now, Core)
        end
    end, Next);
step({transport, Side, false}, #{now := Now} = World) ->
    act(Side, fun(Core) ->
        case topos_peer_core:has_transport(Core) of
            true -> topos_peer_core:transport_down(closed, Now, Core);
            false -> {Core, []}
        end
    end, World);
step({verdict, Side, Verdict}, #{now := Now} = World) ->
    act(Side, fun(Core) -> topos_peer_core:verdict(Verdict, Now, Core) end, World);
%% The cluster hears of a life of the peer: of the present one, or of none yet.
step({known, Side, Back}, World) ->
    #{a := #side{incarnation = A}, b := #side{incarnation = B}} = World,
    Known = case Side of a -> B; b -> A end,
    act(Side, fun(Core) -> {topos_peer_core:known(max(0, Known + 1 - Back), Core), []} end, World);
step({hold, Ms}, #{now := Now} = World) -> ticked(World#{now := Now + Ms});
step({take, Side, Count}, World) ->
    #{Side := #side{inbox = Inbox} = S} = World,
    {Taken, Rest} = lists:split(min(Count, length(Inbox)), Inbox),
    lists:foldl(fun(Frame, W) -> arrive(Side, Frame, W) end, World#{Side := S#side{inbox = Rest}}, Taken);
step({drop, Side, Count}, World) ->
    #{Side := #side{inbox = Inbox} = S} = World,
    World#{Side := S#side{inbox = lists:nthtail(min(Count, length(Inbox)), Inbox)}};
%% When routes change, frames overtake each other.
step({overtake, Side, Count}, World) ->
    #{Side := #side{inbox = Inbox} = S} = World,
    {Late, First} = lists:split(min(Count, length(Inbox)), Inbox),
    World#{Side := S#side{inbox = First ++ Late}};
step({flap, Side}, World) -> step({transport, Side, true}, step({transport, Side, false}, World));
step({lose, Side}, World) ->
    #{Side := S} = World,
    World#{Side := S#side{inbox = []}};
step({pace, Side, Pace}, #{now := Now} = World) ->
    act(Side, fun(Core) -> {topos_peer_core:pace(Pace, Now, Core), []} end, World);
step({repeat, Side}, World) ->
    #{Side := #side{inbox = Inbox, old = Old} = S} = World,
    World#{Side := S#side{inbox = Inbox ++ lists:sublist(Old, 3)}};
%% A new life: the transports of both are new ones.
step({restart, Side}, World) ->
    Quiet = step({transport, other(Side), false}, World),
    #{Side := #side{incarnation = I, key = Key, statuses = Statuses}} = Quiet,
    Fresh = new(Side, I + 1, Key),
    Quiet#{Side := Fresh#side{statuses = [reborn | Statuses]}}.

%% Nonces need not be secret here, only different.
nonce(#{count := Count} = World) -> {<<(Count + 1):128>>, World#{count := Count + 1}}.

heal(World) ->
    Up = lists:foldl(fun(Side, W) -> step({transport, Side, true}, W) end, World, [a, b]),
    lists:foldl(fun(_, W) -> wait(50, W) end, Up, lists:seq(1, 100)).

wait(Ms, #{now := Now} = World) when Ms =< 50 -> quiet(ticked(World#{now := Now + Ms}));
wait(Ms, World) -> wait(Ms - 50, wait(50, World)).

ticked(#{now := Now} = World) ->
    lists:foldl(fun(Side, W) -> act(Side, fun(Core) -> topos_peer_core:tick(Now, Core) end, W) end, World, [a, b]).

%% Delivers until nothing is on the way.
quiet(#{a := #side{inbox = []}, b := #side{inbox = []}} = World) -> World;
quiet(World) -> quiet(deliver(b, deliver(a, World))).

deliver(Side, World) ->
    #{Side := #side{inbox = Inbox} = S} = World,
    lists:foldl(fun(Frame, W) -> arrive(Side, Frame, W) end, World#{Side := S#side{inbox = [], old = Inbox}}, Inbox).

%% As topos_link does: frames of a session need its token and this life.
arrive(Side, Bytes, #{now := Now} = World) ->
    {ok, #{kind := Kind} = Frame} = topos_frame:decode(Bytes),
    #{Side := #side{core = Core}} = World,
    case Kind =< 3 orelse genuine(Side, Frame, World) of
        true when Kind > 3 ->
            Heard = act(Side, fun(C) -> topos_peer_core:frame(Frame, Now, C) end, World),
            act(Side, fun(C) -> topos_peer_core:heard(Now, C) end, Heard);
        true -> act(Side, fun(_) -> topos_peer_core:frame(Frame, Now, Core) end, World);
        false -> World
    end.

genuine(Side, #{token := Token, destination := Destination}, World) ->
    #{Side := #side{incarnation = Mine}} = World,
    maps:get({token, Side}, World, none) =:= Token andalso Destination =:= Mine.

act(Side, Fun, World) ->
    #{Side := #side{core = Core} = S} = World,
    {Next, Effects} = Fun(Core),
    lists:foldl(fun(E, W) -> effect(Side, E, W) end, World#{Side := S#side{core = Next}}, Effects).

effect(Side, {send, Frame}, World) ->
    To = other(Side),
    #{Side := #side{core = Core}, To := #side{inbox = Inbox} = S} = World,
    case topos_peer_core:has_transport(Core) of
        true -> World#{To := S#side{inbox = Inbox ++ [iolist_to_binary(Frame)]}};
        false -> World
    end;
effect(Side, {session, #{token_in := Token}}, #{now := Now} = World) ->
    act(Side, fun(C) -> topos_peer_core:admit(Now, C) end, World#{{token, Side} => Token});
effect(Side, {status, From, To, _}, World) ->
    #{Side := #side{statuses = Statuses} = S} = World,
    Open = maps:get({open, Side}, World, false) andalso To =/= down,
    World#{Side := S#side{statuses = [{From, To} | Statuses]}, {open, Side} => Open};
effect(Side, {refused, Reason, _}, World) -> World#{{refused, Side} => Reason};
effect(Side, confirmed, World) -> World#{{open, Side} => true};
effect(_, _, World) -> World.
