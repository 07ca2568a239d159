%% The frame: one binary that crosses between two nodes.
%%
%% An engine delivers a frame to a registered process as the message `{topos, Version, Epoch, Frame}'. `Version' is
%% ?TOPOS_FRAME_VERSION of the sender. `Epoch' is a non-negative integer of the engine's own choosing (its start), good
%% for traces only: everything this house relies on is inside the frame, so that it holds on every engine.
%%
%% == Layout, version 1 (integers are unsigned and big-endian; sizes in bytes) ==
%%
%%   Version 1 | Kind 1 | N 1 | Source N | SourceIncarnation 8 | DestinationIncarnation 8 | Token 16 | Payload ...
%%
%% Source is the sender's node name in UTF-8. DestinationIncarnation is 0 while the sender does not know it; otherwise a
%% receiver of another incarnation refuses the frame. Token proves that the sender completed the handshake (see
%% docs/link.md); it is zero in HELLO, HELLO_ACK and REJECT, which carry their own proof or change nothing. The header and HELLO keep
%% their layout in every later version, so that a node of another version can always be told so.
%%
%% == Payloads ==
%%
%%   HELLO       Nonce 16 | Proof 32 | ClusterLength 1 | Cluster | Count 1 | Count times (4 or 6 1 | Ip 4 or 16 | Port 2)
%%   HELLO_ACK   Nonce 16 | YourNonce 16 | ReplyWanted 1 | Proof 32 | ClusterLength 1 | Cluster
%%   REJECT      YourNonce 16 | Reason 1
%%   ECHO        Id 8
%%   ECHO_REPLY  Id 8
%%   GOSSIP      membership entries in external term format, without atoms
%%   LEAVE       LeftIncarnation 8
%%   LEAVE_ACK   LeftIncarnation 8
%%   BATCH       N 1 | Channel N | Lane 2 | Stream 8 | Receiver 8 | Sequence 8 | Flags 1 | Count 2 | Count times
%%                 (More 1 bit | Length 31 bits | Piece)
%%               With the flag COMPRESSED, instead of what follows Flags: Size 4 | Deflated, in the zlib format; inflated it is
%%               the Size bytes that would follow Flags otherwise, ?TOPOS_BATCH_MAX_BYTES at most
%%   ACK         N 1 | Channel N | Lane 2 | Stream 8 | Receiver 8 | Cumulative 8 | Flags 1 | Count 2 | Count times
%%                 (Sequence 8 | Index 2 | Reason 1)
%%   REQUEST     Slot 4 | Sequence 8 | Timeout 4 (ms) | N 1 | Service N | Request, in external term format
%%   REPLY       Slot 4 | Sequence 8 | Reason 1 (0, or why the request was not served) | Reply, in external term format
%%   RELAY       Hops 1 | Process 1 (1: topos_link, 2: topos_lanes, 3: topos_overlay, 4: topos_request) | Lane 2 | N 1 | Target N | C 1 | Channel C | Frame
%%   OVERLAY     a message of a topology, as native/topos-overlay writes it
%%
%% A RELAY frame goes from a node to the next one on the way to Target, over at most Hops more links; the frame in it is for that
%% process of Target, on that channel and lane.
%%
%% The addresses of a HELLO are those its sender listens on. Reason of a REJECT is 1: the cluster has too many members.
%%
%% Receiver numbers the receiving halves that a lane had, growing; a batch carries the one its sender heard of, or 0.
%%
%% The pieces of a lane, in order, make up its records: a piece with More = 1 is continued by the next one, mostly in the
%% next batch. A Record is DestinationKind 1 | N 2 | Destination N | Message, the message in external term format.
-ifndef(TOPOS_FRAME_HRL).
-define(TOPOS_FRAME_HRL, true).

-define(TOPOS_FRAME_VERSION, 1).

-define(TOPOS_FRAME_HELLO, 1).
-define(TOPOS_FRAME_HELLO_ACK, 2).
-define(TOPOS_FRAME_REJECT, 3).
-define(TOPOS_FRAME_ECHO, 4).
-define(TOPOS_FRAME_ECHO_REPLY, 5).
-define(TOPOS_FRAME_GOSSIP, 6).
-define(TOPOS_FRAME_LEAVE, 7).
-define(TOPOS_FRAME_LEAVE_ACK, 8).
-define(TOPOS_FRAME_BATCH, 9).
-define(TOPOS_FRAME_ACK, 10).
-define(TOPOS_FRAME_RELAY, 11).
-define(TOPOS_FRAME_OVERLAY, 12).
-define(TOPOS_FRAME_REQUEST, 13).
-define(TOPOS_FRAME_REPLY, 14).

-define(TOPOS_FRAME_TOKEN_BYTES, 16).
-define(TOPOS_FRAME_NONCE_BYTES, 16).
-define(TOPOS_FRAME_PROOF_BYTES, 32).

%% Flags of a BATCH.
%% Its sender waits for the acknowledgement; without it the receiver may gather some.
-define(TOPOS_BATCH_URGENT, 1).
%% Any receiver understands it; whether to compress is the sender's decision.
-define(TOPOS_BATCH_COMPRESSED, 2).
%% Its pieces are whole records, apart from the one that was begun before it and goes on after it.
-define(TOPOS_BATCH_ASIDE, 4).
%% It has no pieces and the sequence 0, and asks for an acknowledgement with TOPOS_ACK_PROBED and the same upper half of flags.
-define(TOPOS_BATCH_PROBE, 8).
%% What is compressed at most, and inflated. A sender's largest piece is smaller.
-define(TOPOS_BATCH_MAX_BYTES, 2_097_152).

%% Larger requests and replies go through lanes.
-define(TOPOS_REQUEST_MAX_BYTES, 65_536).

%% Flags of an ACK.
%% A later sequence came before the next one: the sender begins again after Cumulative.
-define(TOPOS_ACK_GAP, 1).
%% What came before the probe whose number is the upper half of the flags was seen.
-define(TOPOS_ACK_PROBED, 2).

%% Why a record was not delivered (Reason of an ACK).
-define(TOPOS_UNDELIVERED_NO_PROCESS, 1).
-define(TOPOS_UNDELIVERED_BAD_TERM, 2).
-define(TOPOS_UNDELIVERED_ATOMS, 3).
-define(TOPOS_UNDELIVERED_NO_HANDLER, 4).
%% The receiver's own queue is full.
-define(TOPOS_UNDELIVERED_FULL, 5).
%% For a process of an earlier life of the receiver.
-define(TOPOS_UNDELIVERED_STALE, 6).

%% Kinds of destination of a record. Kinds from ?TOPOS_DEST_FREE on may be claimed (`topos_delivery:claim/2').
%% A registered name, as UTF-8.
-define(TOPOS_DEST_NAME, 0).
%% A process or alias of `topos_remote' (erlang/actor).
-define(TOPOS_DEST_PROCESS, 1).
%% A request to a service and its reply (`topos_request') that are too large for a frame of their own. Destination of a
%% request: Slot 4 | Sequence 8 | Timeout 4 | Service; of a reply, which is that to a large request or large itself: Slot 4 |
%% Sequence 8 | Reason 1 (0, or why the request was not served; then the message is empty).
-define(TOPOS_DEST_REQUEST, 2).
-define(TOPOS_DEST_REPLY, 3).
%% The node's inbox (`topos_inbox') and the leases of monitors (`topos_actors').
-define(TOPOS_DEST_INBOX, 4).
-define(TOPOS_DEST_MONITOR, 5).
%% Switching the topology (`topos_switch').
-define(TOPOS_DEST_SWITCH, 6).
-define(TOPOS_DEST_FREE, 16).

%% The registered processes that frames are addressed to.
-define(TOPOS_DEST_PROCESS_LINK, topos_link).
-define(TOPOS_DEST_PROCESS_LANES, topos_lanes).
-define(TOPOS_DEST_PROCESS_RELAY, topos_relay).
-define(TOPOS_DEST_PROCESS_OVERLAY, topos_overlay).
-define(TOPOS_DEST_PROCESS_REQUEST, topos_request).

-endif.
