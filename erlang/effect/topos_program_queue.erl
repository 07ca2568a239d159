%% @doc What came for a Topos program and nobody has taken yet, and who waits for it: a pure queue.
%%
%% Messages and events keep one order. Those who wait are served in the order in which they began to wait; who wants messages
%% only is passed over by events. Either nobody waits for a thing or it does not wait.
%%
%% How many messages wait is bounded by the node's inbox, which refuses more. Events cannot be refused: when too many wait the oldest
%% are dropped, and `{missed, Count}' stands in their place.
-module(topos_program_queue).

-export([new/0, limit/2, put/2, take/2, wait/4, forget/2, waiters/1, messages/1]).
-export_type([t/1, item/0, wants/0]).

-type item() :: {message, node(), term()} | {event, term()}.
%% Messages, or both.
-type wants() :: messages | all.

-record(queue, {
    %% The place of the next thing in the one order.
    next = 0 :: non_neg_integer(),
    messages = queue:new() :: queue:queue({non_neg_integer(), item()}),
    events = queue:new() :: queue:queue({non_neg_integer(), item()}),
    missed = 0 :: non_neg_integer(),
    max_events = infinity :: pos_integer() | infinity,
    waiters = [] :: [{reference(), wants(), term()}]
}).
-opaque t(_Waiter) :: #queue{}.

-spec new() -> t(_).
new() -> #queue{}.

%% @doc From now on at most so many events wait.
-spec limit(pos_integer(), t(Waiter)) -> t(Waiter).
limit(MaxEvents, Queue) -> Queue#queue{max_events = MaxEvents}.

%% @doc How many messages wait.
-spec messages(t(_)) -> non_neg_integer().
messages(#queue{messages = Messages}) -> queue:len(Messages).

%% @doc A thing came: somebody who waits gets it, or it is kept.
-spec put(item(), t(Waiter)) -> {give, reference(), Waiter, t(Waiter)} | {kept, t(Waiter)}.
put(Item, #queue{waiters = Waiters} = Queue) ->
    case lists:splitwith(fun({_, Wants, _}) -> not is_wanted(Item, Wants) end, Waiters) of
        {Before, [{Ref, _, Waiter} | After]} -> {give, Ref, Waiter, Queue#queue{waiters = Before ++ After}};
        {_, []} -> {kept, keep(Item, Queue)}
    end.

%% @doc The oldest thing that is wanted.
-spec take(wants(), t(Waiter)) -> {item(), t(Waiter)} | empty.
take(Wants, #queue{messages = Messages, events = Events} = Queue) ->
    case {queue:peek(Messages), queue:peek(Events)} of
        {{value, {_, Item}}, _} when Wants =:= messages -> {Item, Queue#queue{messages = queue:drop(Messages)}};
        {{value, {At, Item}}, {value, {Other, _}}} when At < Other -> {Item, Queue#queue{messages = queue:drop(Messages)}};
        {{value, {_, Item}}, empty} -> {Item, Queue#queue{messages = queue:drop(Messages)}};
        {_, {value, _}} when Wants =:= all, Queue#queue.missed > 0 ->
            {{event, {missed, Queue#queue.missed}}, Queue#queue{missed = 0}};
        {_, {value, {_, Item}}} when Wants =:= all -> {Item, Queue#queue{events = queue:drop(Events)}};
        {empty, _} -> empty
    end.

%% @doc Somebody waits, behind all who wait.
-spec wait(reference(), wants(), Waiter, t(Waiter)) -> t(Waiter).
wait(Ref, Wants, Waiter, #queue{waiters = Waiters} = Queue) ->
    Queue#queue{waiters = Waiters ++ [{Ref, Wants, Waiter}]}.

%% @doc Somebody waits no longer.
-spec forget(reference(), t(Waiter)) -> {Waiter, t(Waiter)} | none.
forget(Ref, #queue{waiters = Waiters} = Queue) ->
    case lists:keytake(Ref, 1, Waiters) of
        {value, {_, _, Waiter}, Rest} -> {Waiter, Queue#queue{waiters = Rest}};
        false -> none
    end.

%% @doc All who wait, the first one first.
-spec waiters(t(Waiter)) -> [Waiter].
waiters(#queue{waiters = Waiters}) -> [Waiter || {_, _, Waiter} <- Waiters].

%% internal

-spec is_wanted(item(), wants()) -> boolean().
is_wanted({message, _, _}, _) -> true;
is_wanted({event, _}, Wants) -> Wants =:= all.

-spec keep(item(), t(Waiter)) -> t(Waiter).
keep({message, _, _} = Item, #queue{next = Next, messages = Messages} = Queue) ->
    Queue#queue{next = Next + 1, messages = queue:in({Next, Item}, Messages)};
keep({event, _} = Item, #queue{next = Next, events = Events, missed = Missed, max_events = Max} = Queue) ->
    %% An atom is more than every number.
    case queue:len(Events) < Max of
        true -> Queue#queue{next = Next + 1, events = queue:in({Next, Item}, Events)};
        false -> Queue#queue{next = Next + 1, events = queue:in({Next, Item}, queue:drop(Events)), missed = Missed + 1}
    end.
