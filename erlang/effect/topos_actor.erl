%% @doc The process of an actor, and of every `serve': a `gen_server' that hands each message to a function.
%%
%% A message is `{'$topos', Message}', sent or cast. A question carries, in the message, where its answer goes: a process alias
%% that ends with the first answer, with the time or with the process that asked, so that a late answer is dropped.
-module(topos_actor).
-behaviour(gen_server).

-export([serve/1, ask/3, reply/2, stop/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, handle_continue/2]).
-export_type([reply/0]).

%% Where an answer goes: an alias, which is a reference.
-opaque reply() :: reference().
-type state() :: fun((term()) -> term()).
-type next() :: {noreply, state()} | {noreply, state(), {continue, set_aside}} | {stop, term(), state()}.

%% How long a process may take to end when it is told to, in milliseconds.
-define(SHUTDOWN, 5000).
-define(THROWN, '$topos_thrown').

%% @doc Makes the calling process a `gen_server', for ever. One that was not started by `proc_lib' receives plainly.
-spec serve(fun((term()) -> term())) -> no_return().
serve(Handle) ->
    case erlang:get('$ancestors') of
        undefined -> receive_all(Handle);
        _ ->
            %% So that the end comes between two messages, and leaves the `with's around: their `finally' clauses run.
            _ = process_flag(trap_exit, true),
            try
                %% What came before and was set aside comes first.
                set_aside_first(Handle),
                gen_server:enter_loop(?MODULE, [], Handle)
            catch
                exit:{shutdown, {?THROWN, Thrown}} -> throw(Thrown)
            end
    end.

%% @doc Sends what `Make' makes of the place for an answer, and waits for it.
-spec ask(pid(), fun((reply()) -> term()), non_neg_integer()) -> {some, term()} | none.
ask(Pid, Make, Timeout) ->
    Alias = monitor(process, Pid, [{alias, reply_demonitor}]),
    Pid ! Make(Alias),
    receive
        {'$topos_reply', Alias, Answer} -> {some, Answer};
        {'DOWN', Alias, process, _, _} -> none
    after Timeout ->
        true = demonitor(Alias, [flush]),
        %% An answer that came in between.
        receive
            {'$topos_reply', Alias, Answer} -> {some, Answer}
        after 0 -> none
        end
    end.

-spec reply(reply(), term()) -> ok.
reply(Alias, Answer) ->
    Alias ! {'$topos_reply', Alias, Answer},
    ok.

%% @doc Ends a process with the reason `shutdown', by force if it takes too long; returns when it has ended.
-spec stop(pid()) -> ok.
stop(Pid) ->
    Monitor = monitor(process, Pid),
    true = exit(Pid, shutdown),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    after ?SHUTDOWN ->
        true = exit(Pid, kill),
        receive
            {'DOWN', Monitor, process, _, _} -> ok
        end
    end.

%% gen_server

%% Only {@link serve/1} makes these servers.
-spec init(state()) -> {ok, state()}.
init(Handle) -> {ok, Handle}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, {error, topos_error:t()}, state()}.
handle_call(Request, _From, Handle) ->
    {reply, {error, topos_error:new(no_such_call, #{request => Request})}, Handle}.

-spec handle_cast(term(), state()) -> next().
handle_cast(Message, Handle) -> handle_info(Message, Handle).

-spec handle_info(term(), state()) -> next().
handle_info({'EXIT', _, Reason}, Handle) when Reason =/= normal ->
    {stop, Reason, Handle};
handle_info(Info, Handle) ->
    case topos_mailbox:message(Info) of
        {some, Message} -> handle(Message, Handle);
        %% Not for an actor: what libraries send to the process.
        none -> {noreply, Handle}
    end.

%% A message that a selective receive set aside.
-spec handle_continue(set_aside, state()) -> next().
handle_continue(set_aside, Handle) ->
    case topos_mailbox:is_waiting() of
        true -> handle(topos_mailbox:next(), Handle);
        false -> {noreply, Handle}
    end.

%% internal

-spec set_aside_first(state()) -> ok.
set_aside_first(Handle) ->
    case topos_mailbox:is_waiting() of
        true ->
            _ = Handle(topos_mailbox:next()),
            set_aside_first(Handle);
        false ->
            ok
    end.

-spec receive_all(state()) -> no_return().
receive_all(Handle) ->
    _ = Handle(topos_mailbox:next()),
    receive_all(Handle).

-spec handle(term(), state()) -> next().
handle(Message, Handle) ->
    try Handle(Message) of
        _ ->
            case topos_mailbox:is_waiting() of
                true -> {noreply, Handle, {continue, set_aside}};
                false -> {noreply, Handle}
            end
    catch
        %% An `abort' of a handler around the loop. To `gen_server' a throw is an answer, so it goes round it.
        throw:Thrown -> {stop, {shutdown, {?THROWN, Thrown}}, Handle}
    end.
