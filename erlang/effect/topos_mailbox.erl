%% @doc The messages of a Topos process, and taking one out of turn.
%%
%% A message is `{'$topos', Message}', so that it is never confused with what Erlang libraries send to a process. The end of a
%% watched process becomes a message too ({@link notify_end/2}). A selective receive looks at the messages in the order in which
%% they came; those that it does not want are set aside in the process dictionary and come before all that are
%% still in the mailbox. They are the mailbox's own messages, so they take no more room than there. A process that sets aside more
%% than the application variable `max_set_aside_messages' of `topos_partisan' says (100,000) fails with `mailbox_full': each
%% receive looks at all of them, and nothing says that it ever takes one.
-module(topos_mailbox).

-export([next/0, next/1, select/2, is_waiting/0]).
-export([next_of/2, select_of/3]).
-export([notify_end/2, how_ended/1, failed/1, message/1]).
-export_type([exit/0, source/0]).

%% `Topos.Process.Exit'.
-type exit() :: finished | gone | {failed, binary()}.

%% Where messages come from, and the time there in milliseconds. The process's own mailbox is one; a simulation has another.
-type source() :: {Take :: fun((timeout()) -> {some, term()} | none), Now :: fun(() -> integer())}.

%% The messages that were set aside, the oldest first.
-define(ASIDE, '$topos_aside').
-define(DOWN, '$topos_down').
-define(FAILED, '$topos_failed').
-define(MAX_ASIDE, 100_000).

%% @doc The next message.
-spec next() -> term().
next() ->
    {some, Message} = next(infinity),
    Message.

%% @doc The next message, or `none' after so many milliseconds.
-spec next(timeout()) -> {some, term()} | none.
next(Timeout) -> next_of(mailbox(), Timeout).

%% @doc As {@link next/1}, of another source.
-spec next_of(source(), timeout()) -> {some, term()} | none.
next_of({Take, _}, Timeout) ->
    case aside() of
        [Message | Rest] ->
            ok = set_aside(Rest),
            {some, Message};
        [] ->
            Take(Timeout)
    end.

%% @doc What `Choose' makes of the first message that it does not answer with `none'. If it fails, no message is lost.
-spec select(fun((term()) -> {some, Result} | none), timeout()) -> {some, Result} | none.
select(Choose, Timeout) -> select_of(mailbox(), Choose, Timeout).

%% @doc As {@link select/2}, of another source.
-spec select_of(source(), fun((term()) -> {some, Result} | none), timeout()) -> {some, Result} | none.
select_of(Source, Choose, Timeout) ->
    case choose(Choose, aside(), []) of
        {some, Result, Rest} ->
            ok = set_aside(Rest),
            {some, Result};
        none ->
            Refused = lists:reverse(aside()),
            wait(Source, Choose, deadline(Source, Timeout), Refused, max_aside() - length(Refused))
    end.

%% @doc Whether messages were set aside.
-spec is_waiting() -> boolean().
is_waiting() -> aside() =/= [].

%% @doc Watches a process: what `Make' makes of its end comes as a message.
-spec notify_end(pid(), fun((exit()) -> term())) -> reference().
notify_end(Pid, Make) -> monitor(process, Pid, [{tag, {?DOWN, Make}}]).

%% @doc What a process that failed ends with: its error was reported, so nobody else has to.
-spec failed(unicode:chardata()) -> term().
failed(Text) -> {shutdown, {?FAILED, unicode:characters_to_binary(Text)}}.

%% @doc How a process ended, by its exit reason.
-spec how_ended(term()) -> exit().
how_ended(noproc) -> gone;
how_ended({shutdown, {?FAILED, Text}}) -> {failed, Text};
how_ended(Reason) when Reason =:= normal; Reason =:= shutdown -> finished;
how_ended({shutdown, _}) -> finished;
how_ended(Reason) -> {failed, unicode:characters_to_binary(io_lib:format("~0tP", [Reason, 30]))}.

%% @doc The message of a program that an Erlang message is, if it is one.
-spec message(term()) -> {some, term()} | none.
message({'$topos', Message}) -> {some, Message};
message({{?DOWN, Make}, _, process, _, Reason}) -> {some, Make(how_ended(Reason))};
message(_) -> none.

%% internal

-spec aside() -> [term()].
aside() ->
    case get(?ASIDE) of
        undefined -> [];
        Messages -> Messages
    end.

-spec set_aside([term()]) -> ok.
set_aside([]) ->
    _ = erase(?ASIDE),
    ok;
set_aside(Messages) ->
    _ = put(?ASIDE, Messages),
    ok.

-spec take(timeout()) -> {some, term()} | none.
take(Timeout) ->
    receive
        {'$topos', Message} -> {some, Message};
        {{?DOWN, _}, _, process, _, _} = Down -> message(Down)
    after Timeout -> none
    end.

choose(_, [], _) ->
    none;
choose(Choose, [Message | Rest], Before) ->
    case Choose(Message) of
        {some, Result} -> {some, Result, lists:reverse(Before, Rest)};
        none -> choose(Choose, Rest, [Message | Before])
    end.

-spec max_aside() -> pos_integer().
max_aside() -> application:get_env(topos_partisan, max_set_aside_messages, ?MAX_ASIDE).

%% `Refused' are all messages that were set aside, the newest first; there is room for `Room' more.
wait({Take, _} = Source, Choose, Deadline, Refused, Room) ->
    case Take(left(Source, Deadline)) of
        none ->
            ok = set_aside(lists:reverse(Refused)),
            none;
        {some, Message} ->
            try Choose(Message) of
                {some, Result} ->
                    ok = set_aside(lists:reverse(Refused)),
                    {some, Result};
                none when Room =< 0 ->
                    ok = set_aside(lists:reverse(Refused, [Message])),
                    erlang:error(topos_error:new(mailbox_full, #{limit => max_aside()}));
                none ->
                    wait(Source, Choose, Deadline, [Message | Refused], Room - 1)
            catch
                Class:Reason:Stack ->
                    ok = set_aside(lists:reverse(Refused, [Message])),
                    erlang:raise(Class, Reason, Stack)
            end
    end.

-spec mailbox() -> source().
mailbox() -> {fun take/1, fun() -> erlang:monotonic_time(millisecond) end}.

-spec deadline(source(), timeout()) -> integer() | infinity.
deadline(_, infinity) -> infinity;
deadline({_, Now}, Timeout) -> Now() + Timeout.

-spec left(source(), integer() | infinity) -> timeout().
left(_, infinity) -> infinity;
left({_, Now}, Deadline) -> max(0, Deadline - Now()).
