%% @doc Where messages for the inbox arrive on a node that is one of Partisan's own managers.
%%
%% Partisan delivers to registered names. This process has the name that `topos_native_send' sends to, and puts what comes into `topos_inbox'. What finds
%% no room is lost, which the sender cannot be told; the log is, at most once a second.
-module(topos_native_inbox).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(LOG_EVERY, 1_000).

%% How many were lost since the log was told, and when that was, in monotonic milliseconds.
-record(state, {lost = 0 :: non_neg_integer(), told :: integer()}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, #state{}}.
init([]) -> {ok, #state{told = erlang:monotonic_time(millisecond) - ?LOG_EVERY}}.

%% A message of this node to itself.
-spec handle_call({letter, node(), term()}, gen_server:from(), #state{}) -> {reply, ok | {error, topos_error:t()}, #state{}}.
handle_call({letter, From, Message}, _From, State) -> {reply, topos_inbox:offer(From, Message), State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_, State) -> {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({topos_letter, 1, From, Bytes}, State) when is_atom(From), is_binary(Bytes) ->
    try binary_to_term(Bytes) of
        Message ->
            case topos_inbox:offer(From, Message) of
                ok -> {noreply, State};
                {error, _} -> {noreply, lost(From, State)}
            end
    catch
        error:badarg -> {noreply, lost(From, State)}
    end;
handle_info(Other, State) ->
    ?LOG_WARNING("topos_partisan: the inbox got what is no letter: ~0tP", [Other, 8]),
    {noreply, State}.

%% internal

-spec lost(node(), #state{}) -> #state{}.
lost(From, #state{lost = Lost, told = Told} = State) ->
    case erlang:monotonic_time(millisecond) of
        Now when Now - Told >= ?LOG_EVERY ->
            ?LOG_WARNING("topos_partisan: the inbox is full, or gets no terms: ~b message(s) lost, the last of ~ts", [Lost + 1, From]),
            State#state{lost = 0, told = Now};
        _ ->
            State#state{lost = Lost + 1}
    end.
