%% @doc Who waits for a large message, in a lane where small ones overtake it.
%%
%% A flow is what has to keep its order in a lane: the messages of one key, or process, and receiver. A large message
%% is sent in pieces, and others go out between them. So that its flow keeps its order, whatever of the flow comes
%% behind it waits here until its last piece is cut; flows of which no large message waits do not come here.
%%
%% Every item is moved three times at most: here, back to the queue of the lane, and from there into a batch.
-module(topos_lane_flow).

-include("topos_lane.hrl").

-export([new/1, admit/2, passed/2, items/1, count/1]).
-export_type([t/0]).

-record(flows, {
    %% Larger items are cut into pieces.
    max :: pos_integer(),
    %% Of each flow with a large item that was admitted and has not passed: what came behind it.
    behind = #{} :: #{topos_lane_out:flow() => queue:queue(topos_lane_out:item())},
    count = 0 :: non_neg_integer()
}).
-opaque t() :: #flows{}.

%% @doc Nothing waits. An item of more than so many bytes is large.
-spec new(Max :: pos_integer()) -> t().
new(Max) -> #flows{max = Max}.

%% @doc Those of the items that may go, in their order; the others wait. What may go has to be sent in this order, but
%% that a large item may be overtaken.
-spec admit([topos_lane_out:item()], t()) -> {[topos_lane_out:item()], t()}.
admit(Items, Flows) -> admit(Items, [], Flows).

%% @doc The last piece of the large item of a flow is cut: those that may go now.
-spec passed(topos_lane_out:flow() | none, t()) -> {[topos_lane_out:item()], t()}.
passed(none, Flows) ->
    {[], Flows};
passed(Flow, #flows{max = Max, behind = Behind, count = Count} = Flows) ->
    {Free, Left} = up_to_large(map_get(Flow, Behind), Max, []),
    Rest = case Left of
        none -> maps:remove(Flow, Behind);
        _ -> Behind#{Flow := Left}
    end,
    {Free, Flows#flows{behind = Rest, count = Count - length(Free)}}.

%% @doc All that wait.
-spec items(t()) -> [topos_lane_out:item()].
items(#flows{behind = Behind}) -> lists:append([queue:to_list(Queue) || Queue <- maps:values(Behind)]).

%% @doc How many wait.
-spec count(t()) -> non_neg_integer().
count(#flows{count = Count}) -> Count.

%% internal

-spec admit([topos_lane_out:item()], [topos_lane_out:item()], t()) -> {[topos_lane_out:item()], t()}.
admit([#topos_item{flow = none} = Item | Rest], Free, Flows) ->
    admit(Rest, [Item | Free], Flows);
admit([#topos_item{flow = Flow, bytes = Bytes} = Item | Rest], Free, #flows{max = Max, behind = Behind} = Flows) ->
    case Behind of
        #{Flow := Queue} ->
            admit(Rest, Free, Flows#flows{behind = Behind#{Flow := queue:in(Item, Queue)}, count = Flows#flows.count + 1});
        _ when Bytes > Max ->
            admit(Rest, [Item | Free], Flows#flows{behind = Behind#{Flow => queue:new()}});
        _ ->
            admit(Rest, [Item | Free], Flows)
    end;
admit([], Free, Flows) ->
    {lists:reverse(Free), Flows}.

%% Up to the next large item of the flow, which has all the others behind it; `none': there is none.
-spec up_to_large(queue:queue(topos_lane_out:item()), pos_integer(), [topos_lane_out:item()]) ->
    {[topos_lane_out:item()], queue:queue(topos_lane_out:item()) | none}.
up_to_large(Queue, Max, Free) ->
    case queue:out(Queue) of
        {{value, #topos_item{bytes = Bytes} = Item}, Left} when Bytes > Max -> {lists:reverse(Free, [Item]), Left};
        {{value, Item}, Left} -> up_to_large(Left, Max, [Item | Free]);
        {empty, _} -> {lists:reverse(Free), none}
    end.
