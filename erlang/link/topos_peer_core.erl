%% @doc One peer as this node sees it: handshake, echoes, liveness. A pure state machine; `topos_link' carries out its effects.
%%
%% == States ==
%% ```
%% connecting --first echo reply--> up --silent for suspect_after, or transport down--> suspect
%% suspect --anything from the peer--> up
%% suspect --silent for down_after, or transport down for flap_grace--> down
%% up, suspect --handshake with a higher incarnation--> down --echo reply--> up
%% down --echo reply, of the same or a later life--> up
%% up, suspect --no echo answered for 4 x down_after, whatever else came--> suspect --> down
%% '''
%% The handshake begins when the transport comes up and repeats its HELLO until an echo is answered, each time after twice as long: nodes that are slow because
%% many greet each other at once must not be greeted more for it. The side whose transport comes up later greets at once, so nobody waits for the other's next time.
%% ```
%% A                              B
%% HELLO(na)            ------->          says who A is and challenges B, which dials back if it did not ask for A
%%                      <-------  HELLO_ACK(nb, na, proof of B over all of it)
%% HELLO_ACK(na, nb, proof of A) ->       now both hold the tokens
%% ECHO(id) with token  ------->
%%                      <-------  ECHO_REPLY(id) with token: A takes B for up
%% '''
%% Both sides do this at once and independently. A HELLO changes nothing but is only answered: who did not prove anything
%% cannot disturb a session. A session is replaced when a proof over other nonces is verified. A HELLO_ACK to a lower
%% incarnation than the one its sender knows tells the receiver so (`refute').
%%
%% == Who watches it ==
%% With the method `echo' this node asks the peer for echoes all the time. With `swim' the detector of the cluster watches a peer that is up, and says
%% by {@link verdict/3} when it does not answer: then, and whenever the peer is not up, this node asks by itself, as with `echo'. So a peer that this node
%% hears is not down, whatever others say; and one that is down was heard neither by the others nor, since then, by this node.
%%
%% == Heard and not hearing ==
%% Any frame of a session is a sign of life, so that a link full of data is not taken for a dead one. But it does not say that the peer hears this node: a way that
%% carries frames in one direction only looks well from its far end. So a peer that sends and answers no echo is down in the end, with `unanswered' as the reason,
%% and up again when it answers one.
%%
%% == Late answers ==
%% How long answers take is measured as TCP measures round trips (RFC 6298). Where they take longer than the time between two echoes, because a machine or
%% a link is too busy, the times of silence are longer by the excess, up to four times those of the settings (after Bertier, Marin, Sens, DSN 2002: a
%% detector that adapts to the delays it sees). Peers that answer in time are judged by the settings alone.
%%
%% Until the peer is admitted (the cluster decides that when a session opens) its echoes are not answered, so neither side
%% takes the other for up.
-module(topos_peer_core).

-include("topos_frame.hrl").

-export([new/3, settings/2, transport_up/3, transport_down/3, frame/3, heard/2, tick/2, is_due/3, paused/2, pace/3, admit/2, reject/2, self_changed/3, known/2, verdict/3]).
-export([send/3, status/1, incarnation/1, is_admitted/1, has_session/1, has_transport/1]).
-export_type([t/0, self/0, settings/0, effect/0, status/0, session/0, verdict/0]).

-type ms() :: integer().
%% `addresses' are those the engine listens on, to be dialled back.
-type self() :: #{
    name := binary(), incarnation := topos_incarnation:t(), cluster := binary(), key := topos_auth:key(),
    addresses => [topos_engine:address()]
}.
-type settings() :: #{
    echo_interval := pos_integer(), suspect_after := pos_integer(), down_after := pos_integer(),
    hello_interval => pos_integer(), flap_grace => pos_integer(), method => echo | swim, atom() => term()
}.
-type status() :: connecting | up | suspect | down.
%% What the detector of the cluster says of a peer.
-type verdict() :: alive | suspect | dead.
-type session() :: #{
    incarnation := topos_incarnation:t(),
    nonce := topos_frame:nonce(),
    token_in := topos_frame:token(),
    token_out := topos_frame:token()
}.
-type effect() ::
    {send, iodata()}
    | {session, session()}
    | {status, From :: status(), To :: status(), Reason :: term()}
    %% The first echo of a session came back, or the first since the transport came back.
    | confirmed
    %% The peer will not have this node, or this node the peer.
    | {refused, topos_error:reason(), #{atom() => term()}}
    | {refute, topos_incarnation:t()}.

-record(peer, {
    name :: binary(),
    self :: self(),
    settings :: settings(),
    transport = down :: up | down,
    nonce :: topos_frame:nonce() | undefined,
    session :: session() | undefined,
    %% The peer's nonce of the session.
    theirs :: topos_frame:nonce() | undefined,
    admitted = false :: boolean(),
    %% An echo of this session came back.
    confirmed = false :: boolean(),
    status = connecting :: status(),
    %% The highest incarnation that was proved or told by the cluster.
    known = 0 :: non_neg_integer(),
    %% The incarnation that was last up.
    met = 0 :: non_neg_integer(),
    heard = 0 :: ms(),
    lost = 0 :: ms(),
    next_hello = 0 :: ms(),
    %% How often it was greeted, and asked for its first echo, since the transport came up or the session was opened.
    greeted = 0 :: non_neg_integer(),
    asked = 0 :: non_neg_integer(),
    next_echo = 0 :: ms(),
    echo = 0 :: non_neg_integer(),
    %% When the last echo was sent, the last one that was answered; mean and deviation of the times that answers took.
    echoed = 0 :: ms(),
    answered = 0 :: non_neg_integer(),
    %% When the first echo was sent since one was answered.
    asking = none :: none | ms(),
    took = none :: none | {Mean :: float(), Deviation :: float()},
    %% Times of echoes and of silence are so many times those of the settings.
    pace = 1 :: pos_integer(),
    verdict = alive :: verdict()
}).
-opaque t() :: #peer{}.

-define(REJECT_TOO_MANY, 1).
%% The interval of greetings is doubled so often.
-define(MAX_DOUBLED, 4).
%% So many times a time of the settings is the longest that late answers make of it, and so many times `down_after' a peer that is heard may leave echoes unanswered.
-define(MAX_PATIENCE, 4).
-define(DEFAULTS, #{hello_interval => 100, flap_grace => 300, method => echo}).

%% @doc A peer that was never heard.
-spec new(Name :: binary(), self(), settings()) -> t().
new(Name, Self, Settings) ->
    #peer{name = Name, self = Self, settings = maps:merge(?DEFAULTS, Settings)}.

%% @doc Other settings from now on.
-spec settings(settings(), t()) -> t().
settings(Settings, Peer) -> Peer#peer{settings = maps:merge(?DEFAULTS, Settings)}.

%% @doc The cluster knows of this incarnation of the peer: a session with an earlier one is no use.
-spec known(non_neg_integer(), t()) -> t().
known(Known, #peer{known = Before} = Peer) when Known =< Before -> Peer;
known(Known, Peer) ->
    Peer#peer{known = Known, session = undefined, theirs = undefined, admitted = false, confirmed = false, asking = none, greeted = 0}.

%% @doc The engine says that frames pass now.
-spec transport_up(topos_frame:nonce(), ms(), t()) -> {t(), [effect()]}.
transport_up(Nonce, Now, Peer) ->
    hello(Now, Peer#peer{transport = up, nonce = Nonce, confirmed = false, asking = none, greeted = 0, asked = 0}).

%% @doc The engine says that they do not any more. The peer gets `flap_grace' to come back.
-spec transport_down(term(), ms(), t()) -> {t(), [effect()]}.
transport_down(Reason, Now, #peer{status = up} = Peer) ->
    change(suspect, {transport_down, Reason}, Peer#peer{transport = down, lost = Now});
transport_down(_Reason, Now, Peer) ->
    {Peer#peer{transport = down, lost = Now}, []}.

%% @doc A frame whose source is this peer. The token of frames of a session was checked by the caller against the session,
%% except for those of the handshake.
-spec frame(topos_frame:t(), ms(), t()) -> {t(), [effect()]}.
frame(#{kind := ?TOPOS_FRAME_HELLO, version := Theirs}, _Now, Peer) when Theirs =/= ?TOPOS_FRAME_VERSION ->
    {Peer, [{refused, version_mismatch, #{theirs => Theirs, ours => ?TOPOS_FRAME_VERSION}}]};
frame(#{kind := ?TOPOS_FRAME_HELLO, payload := Payload} = Frame, _Now, Peer) ->
    case topos_frame:decode_hello(Payload) of
        {ok, Hello} -> on_hello(Frame, Hello, Peer);
        {error, malformed} -> {Peer, []}
    end;
frame(#{kind := ?TOPOS_FRAME_HELLO_ACK, payload := Payload} = Frame, Now, Peer) ->
    case topos_frame:decode_hello_ack(Payload) of
        {ok, Ack} -> on_hello_ack(Frame, Ack, Now, Peer);
        {error, malformed} -> {Peer, []}
    end;
frame(#{kind := ?TOPOS_FRAME_REJECT, payload := Payload}, _Now, #peer{nonce = Nonce} = Peer) ->
    case topos_frame:decode_reject(Payload) of
        {ok, {Nonce, ?REJECT_TOO_MANY}} -> {Peer, [{refused, too_many_members, #{limit => <<"as many as it may have">>}}]};
        _ -> {Peer, []}
    end;
frame(#{kind := ?TOPOS_FRAME_ECHO, payload := <<_:64>> = Id}, Now, #peer{admitted = true} = Peer) ->
    {Heard, Effects} = heard(Now, Peer),
    {Heard, Effects ++ [send_effect(?TOPOS_FRAME_ECHO_REPLY, Id, Heard)]};
frame(#{kind := ?TOPOS_FRAME_ECHO_REPLY, payload := <<Id:64>>}, Now, #peer{echo = Last} = Peer) when Id =< Last ->
    on_echo_reply(Now, measured(Id, Now, Peer));
frame(_Frame, _Now, Peer) ->
    {Peer, []}.

%% @doc A frame with the session's token came: whoever sends lives.
-spec heard(ms(), t()) -> {t(), [effect()]}.
heard(Now, #peer{status = suspect, transport = up, confirmed = true} = Peer) ->
    case is_unanswered(Now, Peer) of
        true -> {Peer#peer{heard = Now}, []};
        false -> change(up, echo, Peer#peer{heard = Now})
    end;
heard(Now, #peer{heard = Before} = Peer) -> {Peer#peer{heard = max(Now, Before)}, []}.

%% @doc To be called some times an `echo_interval'.
-spec tick(ms(), t()) -> {t(), [effect()]}.
tick(Now, Given) ->
    Peer = case is_watched(Given) of true -> Given; false -> Given#peer{heard = Now, asking = none} end,
    {Judged, Effects} = judge(Now, Peer),
    {Asked, More} = ask(Now, Judged),
    {Asked, Effects ++ More}.

%% @doc Whether {@link tick/2} can change anything at this pace: most of the time it cannot for a peer that is well, and there may be many.
-spec is_due(pos_integer(), ms(), t()) -> boolean().
is_due(Pace, Now, #peer{
    pace = Pace, status = up, transport = up, confirmed = true, admitted = true, next_echo = Next, heard = Heard,
    settings = #{method := echo, suspect_after := Limit}
}) ->
    Now >= Next orelse Now - Heard >= Pace * Limit;
is_due(_, _, _) ->
    true.

%% @doc This VM did not run for so many milliseconds: silence in that time says nothing about the peer.
-spec paused(pos_integer(), t()) -> t().
paused(Ms, #peer{heard = Heard, lost = Lost, asking = Asking} = Peer) ->
    Peer#peer{heard = Heard + Ms, lost = Lost + Ms, asking = case Asking of none -> none; Since -> Since + Ms end}.

%% @doc Echoes from now on take so many times as long as configured, and so does the judgement of silence: for peers that are
%% reached over others, whose number is not bounded by the topology.
-spec pace(pos_integer(), ms(), t()) -> t().
pace(Pace, _Now, #peer{pace = Pace} = Peer) -> Peer;
%% What was not asked for meanwhile is no silence.
pace(Pace, Now, #peer{heard = Heard, next_echo = Next, settings = #{echo_interval := Echo}} = Peer) ->
    Peer#peer{pace = Pace, heard = max(Heard, Now), asking = none, next_echo = min(Next, Now + Pace * Echo)}.

%% @doc What the detector of the cluster says, where that is the method. `suspect': the peer is suspect here too until it is heard; silence counts from now on. `dead': it is down,
%% unless it was heard since it was suspect; then this node goes on to ask by itself. `alive': it need not.
-spec verdict(verdict(), ms(), t()) -> {t(), [effect()]}.
verdict(_, _, #peer{settings = #{method := echo}} = Peer) ->
    {Peer, []};
verdict(suspect, Now, #peer{status = up, verdict = alive} = Peer) ->
    change(suspect, suspected, Peer#peer{verdict = suspect, heard = Now, next_echo = Now});
verdict(dead, Now, #peer{status = up, verdict = alive} = Peer) ->
    change(suspect, suspected, Peer#peer{verdict = dead, heard = Now, next_echo = Now});
verdict(dead, _, #peer{status = suspect} = Peer) ->
    change(down, silent, Peer#peer{verdict = dead});
verdict(Verdict, _, Peer) ->
    {Peer#peer{verdict = Verdict}, []}.

%% Whether this node asks the peer for echoes itself and judges its silence.
-spec is_watched(t()) -> boolean().
is_watched(#peer{settings = #{method := swim}, status = up, verdict = alive, confirmed = true}) -> false;
is_watched(_) -> true.

%% @doc The cluster takes the peer of this session.
-spec admit(ms(), t()) -> {t(), [effect()]}.
admit(Now, #peer{session = #{}} = Peer) -> echo(Now, Peer#peer{admitted = true});
admit(_Now, Peer) -> {Peer, []}.

%% @doc The cluster does not take the peer: it has too many members.
-spec reject(too_many_members, t()) -> {t(), [effect()]}.
reject(too_many_members, #peer{theirs = Theirs} = Peer) when is_binary(Theirs) ->
    {Peer, [handshake_effect(?TOPOS_FRAME_REJECT, topos_frame:reject(Theirs, ?REJECT_TOO_MANY), Peer)]};
reject(_, Peer) ->
    {Peer, []}.

%% @doc This node lives a new life: every session begins again.
-spec self_changed(self(), {topos_frame:nonce(), ms()}, t()) -> {t(), [effect()]}.
self_changed(Self, {Nonce, Now}, Peer) ->
    Fresh = Peer#peer{self = Self, session = undefined, theirs = undefined, admitted = false, confirmed = false, asking = none},
    case Peer#peer.transport of
        up -> hello(Now, Fresh#peer{nonce = Nonce, greeted = 0, asked = 0});
        down -> {Fresh, []}
    end.

%% @doc A frame of the session, if there is one.
-spec send(byte(), iodata(), t()) -> [effect()].
send(Kind, Payload, #peer{session = #{}, transport = up} = Peer) -> [send_effect(Kind, Payload, Peer)];
send(_, _, _) -> [].

-spec status(t()) -> status().
status(#peer{status = Status}) -> Status.

%% @doc The incarnation of the session, 0 without one.
-spec incarnation(t()) -> non_neg_integer().
incarnation(#peer{session = #{incarnation := Incarnation}}) -> Incarnation;
incarnation(#peer{}) -> 0.

-spec is_admitted(t()) -> boolean().
is_admitted(#peer{admitted = Admitted}) -> Admitted.

-spec has_session(t()) -> boolean().
has_session(#peer{session = Session}) -> Session =/= undefined.

-spec has_transport(t()) -> boolean().
has_transport(#peer{transport = Transport}) -> Transport =:= up.

%% internal

%% It is answered whatever it says: the answer tells the peer that its cluster or its cookie is another.
-spec on_hello(topos_frame:t(), topos_frame:hello(), t()) -> {t(), [effect()]}.
on_hello(_, _, #peer{transport = down} = Peer) ->
    %% It cannot be answered; it comes again.
    {Peer, []};
on_hello(#{incarnation := Incarnation}, #{nonce := Nonce}, Peer) ->
    {Peer, [hello_ack(Incarnation, Nonce, not is_settled(Nonce, Peer), Peer)]}.

%% Whether the session is the one that the peer opens when it gets our answer to this challenge. It is not if the transport came up again since: an
%% echo that was under way then confirms a session over a nonce that is no longer ours, and the peer leaves that session with our answer.
-spec is_settled(topos_frame:nonce(), t()) -> boolean().
is_settled(Theirs, #peer{confirmed = true, theirs = Theirs, nonce = Nonce, session = #{nonce := Nonce}}) -> true;
is_settled(_, _) -> false.

-spec on_hello_ack(topos_frame:t(), topos_frame:hello_ack(), ms(), t()) -> {t(), [effect()]}.
on_hello_ack(Frame, #{yours := Nonce} = Ack, _Now, #peer{nonce = Nonce, self = Self} = Peer) ->
    #{incarnation := Incarnation, destination := Destination} = Frame,
    #{nonce := Theirs, cluster := Cluster, proof := Proof} = Ack,
    #{name := Name, cluster := Ours, key := Key, incarnation := Mine} = Self,
    Prover = {Peer#peer.name, Incarnation, Theirs},
    Verifier = {Name, Destination, Nonce},
    Proved = topos_auth:equal(Proof, topos_auth:proof(Key, Ours, Prover, Verifier)),
    if
        Cluster =/= Ours ->
            {Peer, [{refused, cluster_mismatch, #{theirs => Cluster, ours => Ours}}]};
        not Proved ->
            {Peer, [{refused, cookie_mismatch, #{}}]};
        Destination > Mine ->
            {Peer, [{refute, Destination}]};
        Destination < Mine ->
            %% The answer to a HELLO of an earlier life.
            {Peer, []};
        Incarnation < Peer#peer.known ->
            {Peer, [hello_ack(Incarnation, Theirs, false, Peer)]};
        true ->
            {Opened, Effects} = open(Prover, Verifier, Peer),
            {Opened, [hello_ack(Incarnation, Theirs, false, Opened) || maps:get(reply_wanted, Ack)] ++ Effects}
    end;
on_hello_ack(_, _, _, Peer) ->
    {Peer, []}.

-spec open(topos_auth:party(), topos_auth:party(), t()) -> {t(), [effect()]}.
open({_, Incarnation, Theirs}, {_, _, Nonce}, #peer{
    theirs = Theirs, session = #{incarnation := Incarnation, nonce := Nonce}
} = Peer) ->
    {Peer, []};
open({_, Incarnation, Theirs} = Them, {_, _, Nonce} = Us, #peer{self = #{cluster := Cluster, key := Key}} = Peer) ->
    Session = #{
        incarnation => Incarnation,
        nonce => Nonce,
        token_in => topos_auth:token(Key, Cluster, Them, Us),
        token_out => topos_auth:token(Key, Cluster, Us, Them)
    },
    {Lived, Effects} = end_of_life(Incarnation, Peer),
    Opened = Lived#peer{session = Session, theirs = Theirs, known = Incarnation, admitted = false, confirmed = false, asking = none, asked = 0},
    {Opened, Effects ++ [{session, Session}]}.

%% A session with a later life ends the earlier one.
-spec end_of_life(topos_incarnation:t(), t()) -> {t(), [effect()]}.
end_of_life(Incarnation, #peer{met = Met, status = Status} = Peer) when
    Incarnation > Met, Status =:= up; Incarnation > Met, Status =:= suspect
->
    change(down, new_incarnation, Peer);
end_of_life(_, Peer) ->
    {Peer, []}.

-spec on_echo_reply(ms(), t()) -> {t(), [effect()]}.
on_echo_reply(Now, #peer{session = #{incarnation := Incarnation}, admitted = true, transport = up} = Peer) ->
    %% A peer that was silent for too long is confirmed again, in the same session and without a greeting.
    Confirmed = [confirmed || not Peer#peer.confirmed orelse Peer#peer.status =:= down],
    Heard = Peer#peer{heard = Now, asking = none, confirmed = true, met = Incarnation},
    case Heard of
        #peer{status = up} ->
            {Heard, Confirmed};
        _ ->
            {Up, Effects} = change(up, echo, Heard),
            {Up, Effects ++ Confirmed}
    end;
on_echo_reply(_Now, Peer) ->
    {Peer, []}.

-spec judge(ms(), t()) -> {t(), [effect()]}.
judge(Now, #peer{status = up, heard = Heard, pace = Pace, settings = #{suspect_after := Limit}} = Peer) ->
    case {is_over(Now - Heard, Pace * Limit, Peer), is_unanswered(Now, Peer)} of
        {true, _} -> change(suspect, silent, Peer);
        {false, true} -> change(suspect, unanswered, Peer);
        {false, false} -> {Peer, []}
    end;
judge(Now, #peer{status = suspect, transport = Transport, lost = Lost, heard = Heard, pace = Pace} = Peer) ->
    #peer{settings = #{flap_grace := Grace, down_after := Limit}} = Peer,
    case {Transport =:= down andalso is_over(Now - Lost, Grace, Peer), is_over(Now - Heard, Pace * Limit, Peer), is_unanswered(Now, Peer)} of
        {true, _, _} -> change(down, transport_down, Peer);
        {_, true, _} -> change(down, silent, Peer);
        {_, _, true} -> change(down, unanswered, Peer);
        _ -> {Peer, []}
    end;
judge(_Now, Peer) ->
    {Peer, []}.

%% Whether this node was asking in vain for long. The first echoes of a session prove nothing yet: until one is answered the peer is not up by it.
-spec is_unanswered(ms(), t()) -> boolean().
is_unanswered(_, #peer{asking = none}) -> false;
is_unanswered(_, #peer{confirmed = false}) -> false;
is_unanswered(Now, #peer{asking = Since, pace = Pace, settings = #{down_after := Limit}} = Peer) ->
    is_over(Now - Since, ?MAX_PATIENCE * Pace * Limit, Peer).

-spec is_over(ms(), ms(), t()) -> boolean().
is_over(Time, Limit, Peer) -> Time >= Limit andalso Time >= patience(Limit, Peer).

%% A time of the settings, longer by what answers take beyond the time between two echoes.
-spec patience(ms(), t()) -> number().
patience(Limit, #peer{took = none}) -> Limit;
patience(Limit, #peer{took = {Mean, Deviation}} = Peer) ->
    min(?MAX_PATIENCE * Limit, Limit + max(0, Mean + 4 * Deviation - interval(Peer))).

-spec interval(t()) -> ms().
interval(#peer{pace = Pace, settings = #{echo_interval := Slow}}) -> Pace * Slow.

%% What was sent before the last echo was sent in the intervals before. The first echoes of a session go out more often than that and measure nothing, and
%% neither does an answer that comes again.
-spec measured(non_neg_integer(), ms(), t()) -> t().
measured(_, _, #peer{confirmed = false, echo = Last} = Peer) ->
    Peer#peer{answered = Last};
measured(Id, _, #peer{answered = Answered} = Peer) when Id =< Answered ->
    Peer;
measured(Id, Now, #peer{echo = Last, echoed = Echoed, took = Took} = Peer) ->
    Time = Now - Echoed + (Last - Id) * interval(Peer),
    Peer#peer{answered = Id, took = case Took of
        none -> {Time / 1, Time / 2};
        {Mean, Deviation} -> {Mean + (Time - Mean) / 8, Deviation + (abs(Time - Mean) - Deviation) / 4}
    end}.

-spec ask(ms(), t()) -> {t(), [effect()]}.
ask(_Now, #peer{transport = down} = Peer) ->
    {Peer, []};
%% A peer that is down may hold another session than this side, after frames that overtook each other: then each refuses the
%% other's echoes, and only a greeting brings them together.
ask(Now, #peer{confirmed = Confirmed, status = Status} = Peer) when not Confirmed; Status =:= down ->
    {Greeted, Hello} = case Now >= Peer#peer.next_hello of true -> hello(Now, Peer); false -> {Peer, []} end,
    {Asked, Echo} = ask_echo(Now, Greeted),
    {Asked, Hello ++ Echo};
ask(Now, Peer) ->
    ask_echo(Now, Peer).

-spec ask_echo(ms(), t()) -> {t(), [effect()]}.
ask_echo(Now, #peer{admitted = true, next_echo = At} = Peer) when Now >= At ->
    case is_watched(Peer) of
        true -> echo(Now, Peer);
        false -> {Peer, []}
    end;
ask_echo(_Now, Peer) ->
    {Peer, []}.

-spec hello(ms(), t()) -> {t(), [effect()]}.
hello(Now, #peer{nonce = Nonce, self = Self, known = Known, greeted = Greeted, pace = Pace, settings = #{hello_interval := Interval}} = Peer) ->
    #{name := Name, incarnation := Incarnation, cluster := Cluster, key := Key} = Self,
    Addresses = maps:get(addresses, Self, []),
    Hello = topos_frame:hello(#{
        nonce => Nonce,
        proof => topos_auth:greeting(Key, ?TOPOS_FRAME_VERSION, Cluster, {Name, Incarnation, Nonce}, Known, Addresses),
        cluster => Cluster,
        addresses => Addresses
    }),
    {Peer#peer{next_hello = Now + doubled(Interval, Pace, Greeted), greeted = Greeted + 1}, [handshake_effect(?TOPOS_FRAME_HELLO, Hello, Peer)]}.

%% A peer over others is far and its way passes nothing by: there is less reason to ask twice, and the answer takes longer.
-spec doubled(ms(), pos_integer(), non_neg_integer()) -> ms().
doubled(Interval, Pace, Times) -> min(Pace * Interval bsl min(Times, ?MAX_DOUBLED), Interval bsl ?MAX_DOUBLED).

%% Until the first reply of a session the echo repeats as the hello does.
-spec echo(ms(), t()) -> {t(), [effect()]}.
echo(Now, #peer{echo = Id, confirmed = Confirmed, pace = Pace, asked = Already, settings = #{echo_interval := Slow, hello_interval := Fast}} = Peer) ->
    Wait = case Confirmed of true -> Pace * Slow; false -> doubled(min(Slow, Fast), Pace, Already) end,
    Since = case Peer#peer.asking of none -> Now; Before -> Before end,
    Asked = Peer#peer{echo = Id + 1, echoed = Now, asking = Since, next_echo = Now + Wait, asked = Already + 1},
    {Asked, [send_effect(?TOPOS_FRAME_ECHO, <<(Id + 1):64>>, Asked)]}.

%% The answer to a challenge. It is meant for the incarnation that sent it, or tells it of a higher one.
-spec hello_ack(topos_incarnation:t(), topos_frame:nonce(), boolean(), t()) -> effect().
hello_ack(Incarnation, Theirs, ReplyWanted, #peer{self = Self, nonce = Nonce, known = Known} = Peer) ->
    #{name := OurName, incarnation := Ours, cluster := Cluster, key := Key} = Self,
    Meant = max(Incarnation, Known),
    Payload = topos_frame:hello_ack(#{
        nonce => Nonce,
        yours => Theirs,
        reply_wanted => ReplyWanted,
        proof => topos_auth:proof(Key, Cluster, {OurName, Ours, Nonce}, {Peer#peer.name, Meant, Theirs}),
        cluster => Cluster
    }),
    {send, topos_frame:encode(header(?TOPOS_FRAME_HELLO_ACK, Meant, topos_frame:no_token(), Peer), Payload)}.

-spec handshake_effect(byte(), iodata(), t()) -> effect().
handshake_effect(Kind, Payload, #peer{known = Known} = Peer) ->
    {send, topos_frame:encode(header(Kind, Known, topos_frame:no_token(), Peer), Payload)}.

-spec send_effect(byte(), iodata(), t()) -> effect().
send_effect(Kind, Payload, #peer{session = #{incarnation := Incarnation, token_out := Token}} = Peer) ->
    {send, topos_frame:encode(header(Kind, Incarnation, Token, Peer), Payload)}.

-spec header(byte(), non_neg_integer(), topos_frame:token(), t()) -> topos_frame:header().
header(Kind, Destination, Token, #peer{self = #{name := Name, incarnation := Incarnation}}) ->
    #{kind => Kind, source => Name, incarnation => Incarnation, destination => Destination, token => Token}.

-spec change(status(), term(), t()) -> {t(), [effect()]}.
change(To, Reason, #peer{status = From} = Peer) -> {Peer#peer{status = To}, [{status, From, To, Reason}]}.
