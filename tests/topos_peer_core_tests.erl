%% Courses of a handshake that random steps do not find.
-module(topos_peer_core_tests).

-include_lib("eunit/include/eunit.hrl").

%% Seen as two nodes of a HyParView that stayed `down' and `joining' to each other: one's way to the other changed while
%% its first echo was on the way. The echo confirms the session that was opened over the earlier way, so this side greets
%% no more; the other side, which is not confirmed, takes up the session of the later greeting. Both then held tokens that
%% the other refused, and neither asked again.
echo_of_the_session_before_the_way_changed_test() ->
    Steps = [
        {transport, a, true}, {transport, b, true},
        %% Both open the session; the first echoes and their answers are on the way to a.
        {take, b, 1}, {take, a, 2}, {take, b, 3},
        {flap, a},
        %% The greeting over the new way is lost, and so is the answer to b's echo.
        {drop, b, 1}, {take, a, 3}, {drop, b, 1}
    ],
    ?assertEqual({up, up}, prop_topos_peer:statuses_after(Steps)).
