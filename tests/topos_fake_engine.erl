%% An engine without sockets: what it is asked for goes to the test as messages, and the test says what its sink hears.
-module(topos_fake_engine).
-behaviour(topos_engine).

-export([start_link/2, capabilities/0, addresses/0, connect/1, disconnect/1, send/5, send_clean/5, failure/1, connections/0, reconfigure/1, cut/1]).
-export([use/1, tell/1]).

%% The calling process sees the engine's calls from now on.
use(Test) -> persistent_term:put(?MODULE, Test).

tell(Event) -> topos_link ! {topos_engine, Event}, ok.

start_link(_Config, _Sink) -> {ok, spawn_link(fun() -> receive stop -> ok end end)}.

capabilities() ->
    #{channel_isolation => true, lane_isolation => true, tls => false, addresses => true,
      fault_injection => false}.
addresses() -> [{{127, 0, 0, 1}, 1}].
connect(#{node := Node, addresses := Addresses}) -> say({connect, Node, Addresses}).
disconnect(Node) -> say({disconnect, Node}).
failure(_) -> none.
connections() -> [].
reconfigure(Channels) -> say({reconfigure, Channels}).
cut(Nodes) -> say({cut, Nodes}).

send(Node, Channel, Lane, Dest, Frame) -> say({frame, Node, Channel, Lane, Dest, iolist_to_binary(Frame)}).

send_clean(Node, Channel, Lane, Dest, Frame) -> send(Node, Channel, Lane, Dest, Frame).

say(Message) ->
    persistent_term:get(?MODULE) ! {fake_engine, Message},
    ok.
