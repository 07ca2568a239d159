%% Laws of the books of links, over any course of events.
-module(prop_topos_overlay_links).

-include_lib("proper/include/proper.hrl").

-export([prop_effects_make_sense/0, prop_nothing_stays_without_a_reason/0]).

-define(L, topos_overlay_links).

%% `confirmed' and `unconfirmed' of a node take turns but for a link that is wanted anew, a link is closed only after it
%% was asked for or came up, and no link is confirmed that the books do not have.
prop_effects_make_sense() ->
    ?FORALL(Events, events(), begin
        {Links, Seen, _} = play(Events),
        Known = fun(Node) -> ?L:is_asked(Node, Links) orelse not is_last_confirmed(Node, Seen) end,
        lists:all(fun(Node) -> sensible([Effect || {Effect, N} <- Seen, N =:= Node], false) end, nodes_of(Events))
            andalso lists:all(Known, nodes_of(Events))
    end).

%% When nobody wants anything any more and the engine has no transports, all links are gone a little later.
prop_nothing_stays_without_a_reason() ->
    ?FORALL(Events, events(), begin
        {Links, _, Now} = play(Events),
        Nodes = nodes_of(Events),
        Unwanted = lists:foldl(
            fun(Node, Acc) ->
                {A, _} = ?L:unwant(Node, Now, Acc),
                {B, _} = ?L:transport(Node, down, Now, A),
                B
            end, Links, Nodes),
        {Left, _} = lists:foldl(
            fun(At, {Acc, _}) -> ?L:tick(Now + At, quiet(), Acc) end, {Unwanted, []}, lists:seq(0, 20_000, 1_000)),
        Left =:= ?L:new()
    end).

%% internal

events() -> list({range(0, 1_500), event()}).

event() ->
    Node = oneof([a, b, c]),
    oneof([
        {want, Node}, {unwant, Node}, {hold, Node, oneof([firm, once]), range(1, 5_000)}, {up, Node}, {down, Node},
        {answers, Node, oneof([true, false, failed])}, tick
    ]).

nodes_of(Events) -> lists:usort([element(2, E) || {_, E} <- Events, is_tuple(E)]).

play(Events) ->
    lists:foldl(
        fun({Wait, Event}, {Links, Seen, Before}) ->
            Now = Before + Wait,
            {Next, Effects} = event(Event, Now, Links),
            {Next, Seen ++ Effects, Now}
        end, {?L:new(), [], 0}, Events).

event({want, Node}, Now, Links) -> ?L:want(Node, Now, Links);
event({unwant, Node}, Now, Links) -> ?L:unwant(Node, Now, Links);
event({hold, Node, How, Time}, Now, Links) -> ?L:hold(Node, {How, Now + Time}, Now, Links);
event({up, Node}, Now, Links) -> ?L:transport(Node, up, Now, Links);
event({down, Node}, Now, Links) -> ?L:transport(Node, down, Now, Links);
event({answers, Node, Answers}, Now, Links) -> ?L:answers(Node, Answers, Now, Links);
event(tick, Now, Links) -> ?L:tick(Now, quiet(), Links).

quiet() -> #{keep => fun(_) -> false end, failed => fun(_) -> false end}.

%% A confirmation is repeated after `connect' alone.
sensible([], _) -> true;
sensible([connect, confirmed | Rest], _) -> sensible(Rest, true);
sensible([confirmed | Rest], false) -> sensible(Rest, true);
sensible([unconfirmed | Rest], true) -> sensible(Rest, false);
sensible([disconnect | Rest], false) -> sensible(Rest, false);
sensible([Other | Rest], Confirmed) when Other =:= connect; Other =:= down -> sensible(Rest, Confirmed);
sensible(_, _) -> false.

is_last_confirmed(Node, Seen) ->
    Kinds = [confirmed, unconfirmed],
    case [Effect || {Effect, N} <- lists:reverse(Seen), N =:= Node, lists:member(Effect, Kinds)] of
        [confirmed | _] -> true;
        _ -> false
    end.
