%% @doc What waits for the process of a lane, outside of any mailbox and heap (crate `topos-lane').
%%
%% Senders put messages there without one to the lane's process, which takes them when it has credit; it is told that something
%% waits only when it had found nothing. So a lane that is out of credit is not woken at all, a long queue costs no garbage collection, and small records are
%% put together as they come. What is taken comes in the order in which it was added.
-module(topos_lane_buffer).

-export([new/2, push/3, push_item/4, close/1, take/1]).
-export_type([t/0, taken/1]).

-type t() :: topos_nif:lane().
%% `{records, Count, Bytes}': whole records. `empty': the process is told when there is something.
-type taken(Item) :: {records, pos_integer(), binary()} | {items, [Item, ...]} | empty.

%% @doc A buffer from which at most so many records or items and bytes are taken at once (more bytes only if a single one has
%% them).
-spec new(Count :: pos_integer(), Bytes :: pos_integer()) -> t().
new(Count, Bytes) -> topos_nif:lane_new(Count, Bytes).

%% @doc Copies a record, as it goes into a batch, for the lane of this process, which gets `{topos_lane, waiting}' if it was idle.
%% `closed': it was not added.
-spec push(t(), pid(), nonempty_maybe_improper_list(binary(), iodata())) -> ok | closed.
push(Buffer, Process, [Head | Tail]) when is_binary(Tail) -> topos_nif:lane_push(Buffer, Process, Head, Tail);
push(Buffer, Process, [Head, Tail]) when is_binary(Tail) -> topos_nif:lane_push(Buffer, Process, Head, Tail);
push(Buffer, Process, [Head | Tail]) -> topos_nif:lane_push(Buffer, Process, Head, iolist_to_binary(Tail)).

%% @doc Adds an item of so many bytes; large binaries in it are not copied. `closed': it was not added.
-spec push_item(t(), pid(), Item :: term(), Bytes :: non_neg_integer()) -> ok | closed.
push_item(Buffer, Process, Item, Bytes) -> topos_nif:lane_push_item(Buffer, Process, Item, Bytes).

%% @doc Nothing more is added from now on.
-spec close(t()) -> ok.
close(Buffer) -> topos_nif:lane_close(Buffer).

%% @doc Takes what was added first. For the lane's process alone.
-spec take(t()) -> taken(term()).
take(Buffer) -> topos_nif:lane_take(Buffer).
