%% A message on its way to a lane's sender, and in it until it is acknowledged. The tuple is what crosses between the
%% processes: nothing is built anew for it.
-ifndef(TOPOS_LANE_HRL).
-define(TOPOS_LANE_HRL, true).

-record(topos_item, {
    %% The one piece it is in a batch (`topos_frame:record/4'), and the size of its record in bytes.
    piece :: topos_frame:piece(),
    bytes :: non_neg_integer(),
    %% On a monotonic channel: what a newer item may replace.
    key = undefined :: term(),
    %% Who is told the outcome: nobody; a reference, of every outcome; `{failures, Reference}', unless it is `ok'.
    notify = undefined :: term(),
    %% What keeps its order where small items overtake large ones (`topos_lane_flow'); `none' if nothing large is
    %% before it.
    flow = none :: none | non_neg_integer()
}).

%% What a batch holds at most, but for one larger piece.
-define(TOPOS_LANE_BATCH, 1_024).
-define(TOPOS_LANE_BATCH_BYTES, 262_144).
%% Records up to this size are copied into a row of them rather than kept one by one.
-define(TOPOS_LANE_COPIED_BYTES, 1_024).

-endif.
