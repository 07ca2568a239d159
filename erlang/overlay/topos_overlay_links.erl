%% @doc The links of a node in a topology that does not connect all: which are asked of the engine, why, and which of
%% them carry messages. Pure: `topos_overlay' carries out the effects. Times are milliseconds on one monotonic scale.
%%
%% A link is asked for because the topology <em>wants</em> it, or it is <em>held</em> for a while: for a message to a
%% node out of reach, for a node that joins, or because the topology does not want it any more and what was sent on it
%% has yet to arrive. When there is no reason left it is closed.
%%
%% A link is <em>confirmed</em> while the engine has a transport and the peer answers. A transport that is lost has 300
%% ms to come back; a link that was asked for has 10 s to come up while the engine does not say that it failed; a peer that was declared down has no time: then the
%% topology is told that the link is down.
-module(topos_overlay_links).

-export([new/0, want/3, unwant/3, hold/4, transport/4, answers/4, drop/2, tick/3, is_direct/2, is_asked/2, is_confirmed/2, asked/1]).
-export_type([t/0, effect/0]).

-type ms() :: integer().
-record(link, {
    wanted = false :: boolean(),
    %% Not closed before.
    held :: ms(),
    %% Somebody waits for it until then: a failed attempt is no reason to give up.
    firm :: ms(),
    direct = false :: boolean(),
    answers = false :: boolean(),
    %% It was up since it was asked for.
    met = false :: boolean(),
    %% When it was asked for, lost, or came up.
    since :: ms()
}).
-opaque t() :: #{node() => #link{}}.
%% `connect', `disconnect': for the engine. `confirmed', `unconfirmed', `down': for the topology. `down' also says that
%% what waits to be sent on the link is lost.
-type effect() :: {connect | disconnect | confirmed | unconfirmed | down, node()}.
%% Asked of links that nobody wants any more: `keep' those whose end would cut the node off, or a handshake short; of links that do not come
%% up: whether the engine has given up on the address.
-type questions() :: #{keep := fun((node()) -> boolean()), failed := fun((node()) -> boolean())}.

-define(GRACE, 300).
%% The engine tells sooner of an address that does not answer: so long only a machine takes that is too busy, and who gives up then begins again.
-define(CONNECT_TIME, 10_000).
-define(LINGER, 2_000).
%% A failure is believed after the engine tried twice.
-define(TRY_TIME, 150).
%% A link that would cut the node off, or whose peer is being greeted, is kept so long beyond its time.
-define(MAX_KEPT, 10_000).

-spec new() -> t().
new() -> #{}.

%% @doc The topology wants a link.
-spec want(node(), ms(), t()) -> {t(), [effect()]}.
want(Node, Now, Links) ->
    #link{} = Link = find(Node, Now, Links),
    %% It may have been confirmed before it was wanted.
    Known = [{confirmed, Node} || is_confirmed(Link)],
    {Links#{Node => Link#link{wanted = true}}, [{connect, Node} | Known]}.

%% @doc The topology does not want it any more.
-spec unwant(node(), ms(), t()) -> {t(), [effect()]}.
unwant(Node, Now, Links) ->
    case Links of
        #{Node := #link{direct = true, held = Held} = Link} ->
            {Links#{Node := Link#link{wanted = false, held = max(Held, Now + ?LINGER)}}, []};
        #{Node := #link{firm = Firm} = Link} when Firm > Now ->
            {Links#{Node := Link#link{wanted = false}}, []};
        #{Node := _} ->
            {maps:remove(Node, Links), [{disconnect, Node}]};
        _ ->
            {Links, []}
    end.

%% @doc Asks for a link until then. `firm': it is tried all the time; else one failure ends it.
-spec hold(node(), {firm | once, Until :: ms()}, ms(), t()) -> {t(), [effect()]}.
hold(Node, {How, Until}, Now, Links) ->
    #link{held = Held, firm = Firm} = Link = find(Node, Now, Links),
    More = case How of firm -> Link#link{firm = max(Firm, Until)}; once -> Link#link{held = max(Held, Until)} end,
    {Links#{Node => More}, [{connect, Node} || not is_map_key(Node, Links)]}.

%% @doc The engine has a transport to the node, or lost it.
-spec transport(node(), up | down, ms(), t()) -> {t(), [effect()]}.
transport(Node, up, Now, Links) ->
    %% One that nobody asked for is closed in a while.
    #link{held = Held} = Link = find(Node, Now, Links),
    confirm(Node, Link, Link#link{direct = true, met = true, since = Now, held = max(Held, Now + ?LINGER)}, Links);
transport(Node, down, Now, Links) ->
    case Links of
        #{Node := #link{direct = true} = Link} ->
            %% The session may have to be opened anew.
            confirm(Node, Link, Link#link{direct = false, answers = false, since = Now}, Links);
        _ -> {Links, []}
    end.

%% @doc Whether the peer answers. `failed': it was declared down.
-spec answers(node(), boolean() | failed, ms(), t()) -> {t(), [effect()]}.
answers(Node, failed, Now, Links) ->
    case Links of
        #{Node := #link{direct = true, answers = true} = Link} ->
            {Told, Effects} = confirm(Node, Link, Link#link{answers = false, since = Now}, Links),
            {Told, Effects ++ [{down, Node}]};
        #{Node := Link} ->
            {Links#{Node := Link#link{answers = false}}, []};
        _ ->
            {Links, []}
    end;
answers(Node, true, Now, Links) ->
    case Links of
        %% Who waited for it has it.
        #{Node := #link{held = Held, firm = Firm} = Link} when Firm > Now ->
            confirm(Node, Link, Link#link{answers = true, firm = Now, held = max(Held, Now + ?LINGER)}, Links);
        #{Node := Link} ->
            confirm(Node, Link, Link#link{answers = true}, Links);
        _ ->
            {Links, []}
    end;
answers(Node, false, _Now, Links) ->
    case Links of
        #{Node := Link} -> confirm(Node, Link, Link#link{answers = false}, Links);
        _ -> {Links, []}
    end.

%% @doc Forgets the node. The caller disconnects it.
-spec drop(node(), t()) -> t().
drop(Node, Links) -> maps:remove(Node, Links).

%% @doc To be called some times a second.
-spec tick(ms(), questions(), t()) -> {t(), [effect()]}.
tick(Now, Ask, Links) ->
    {Ticked, Effects} = maps:fold(
        fun(Node, Link, {Acc, Before}) ->
            {Judged, New} = judge(Node, Link, Now, Ask, Acc),
            {Judged, [New | Before]}
        end, {Links, []}, Links),
    {Ticked, lists:append(lists:reverse(Effects))}.

%% @doc Whether the engine has a transport to the node.
-spec is_direct(node(), t()) -> boolean().
is_direct(Node, Links) ->
    case Links of
        #{Node := #link{direct = Direct}} -> Direct;
        _ -> false
    end.

%% @doc Whether the engine was asked for a link to the node.
-spec is_asked(node(), t()) -> boolean().
is_asked(Node, Links) -> is_map_key(Node, Links).

%% @doc Whether the link carries messages both ways.
-spec is_confirmed(node(), t()) -> boolean().
is_confirmed(Node, Links) ->
    case Links of
        #{Node := Link} -> is_confirmed(Link);
        _ -> false
    end.

%% @doc The nodes that the engine was asked for links to, or has one to.
-spec asked(t()) -> [node()].
asked(Links) -> maps:keys(Links).

%% internal

-spec find(node(), ms(), t()) -> #link{}.
find(Node, Now, Links) ->
    case Links of
        #{Node := Link} -> Link;
        _ -> #link{held = Now, firm = Now, since = Now}
    end.

-spec is_confirmed(#link{}) -> boolean().
is_confirmed(#link{direct = Direct, answers = Answers}) -> Direct andalso Answers.

-spec confirm(node(), #link{}, #link{}, t()) -> {t(), [effect()]}.
confirm(Node, Before, After, Links) ->
    Effects = case {is_confirmed(Before), is_confirmed(After)} of
        {false, true} -> [{confirmed, Node}];
        {true, false} -> [{unconfirmed, Node}];
        _ -> []
    end,
    {Links#{Node => After}, Effects}.

-spec judge(node(), #link{}, ms(), questions(), t()) -> {t(), [effect()]}.
judge(Node, #link{direct = false, since = Since, met = Met} = Link, Now, #{failed := Failed}, Links) ->
    Limit = case Met of true -> ?GRACE; false -> ?CONNECT_TIME end,
    Waited = Now - Since,
    case Waited >= Limit orelse (not Met andalso Waited >= ?TRY_TIME andalso Failed(Node)) of
        true -> given_up(Node, Link, Now, Links);
        false -> {Links, []}
    end;
judge(Node, #link{wanted = false, held = Held, firm = Firm} = Link, Now, #{keep := Keep}, Links) when
    Held =< Now, Firm =< Now
->
    case Now - max(Held, Firm) < ?MAX_KEPT andalso Keep(Node) of
        true -> {Links, []};
        false -> {maps:remove(Node, Links), [{unconfirmed, Node} || is_confirmed(Link)] ++ [{disconnect, Node}]}
    end;
judge(_, _, _, _, Links) ->
    {Links, []}.

%% The topology may want it no more after that; if it does, the engine tries on.
-spec given_up(node(), #link{}, ms(), t()) -> {t(), [effect()]}.
given_up(Node, #link{wanted = Wanted, firm = Firm} = Link, Now, Links) when Wanted; Firm > Now ->
    {Links#{Node := Link#link{since = Now, met = false}}, [{down, Node} || Wanted]};
given_up(Node, _, _, Links) ->
    {maps:remove(Node, Links), [{disconnect, Node}, {down, Node}]}.
