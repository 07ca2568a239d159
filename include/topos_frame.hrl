%% The message that an engine delivers to the registered process a frame was sent to:
%%     {topos, ?TOPOS_FRAME_VERSION, Epoch :: non_neg_integer(), Frame :: binary()}
-define(TOPOS_FRAME_VERSION, 1).
