%% @doc Root handler of the effect `Topos.Partisan.Distributed', over the public API `topos_partisan'.
%%
%% What the runner of the program decided comes in the environment: `TOPOS_NODE' (full name), `TOPOS_ENGINE',
%% `TOPOS_COOKIE' and `TOPOS_LISTEN'. A name and a cookie of the program's own configuration win over it, the engine does
%% not.
%%
%% Messages and events wait in `topos_program_node' until a process takes them. An error becomes a record of four texts: its
%% code, reason, message and help.
-module(topos_effect_distributed).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1]).
-export([create_cluster/2, join_cluster/3, leave/1, node_name/1, self/1, members/1, statuses/1]).
-export([current_topology/1, neighbours/1, route/2]).
-export([set_topology/2, pause_new_connections/1, resume_new_connections/1, reconnect_all/1, metrics/1]).
-export([send/3, send_with/4, default_channel/1, broadcast/3, recv/1, recv_within/2, next_event/1, next_event_within/2]).
-export([monitor/2, demonitor/2, on_up/2, on_down/2, cancel/2]).
-export([configuration/2]).
%% For `topos_effect_channel', and for the same effects in a simulation.
-export([outcome/1, on_channel/3, send_options/1, value/1, item/1, topology/1, shown_topology/1, wait/1]).
-export([spawn_on/3, spawn_through/4, send_to_process/4, this_process/1, run/1]).
-export_type([instance/0, error/0, options/0, topology/0]).

-compile({no_auto_import, [monitor/2, demonitor/2]}).

%% The specs say what the effect's declaration promises, which is more than what the API answers today.
-dialyzer(no_underspecs).

%% The evidence that callbacks are called with.
-record(distributed, {evidence :: topos_effect:evidence()}).
-opaque instance() :: #distributed{}.
%% `SendOptions' and `Error' of Topos.Partisan.
-type options() :: #{channel := binary(), key := {some, binary()} | none, wait := integer(), acknowledged := boolean()}.
-type error() :: #{code := binary(), reason := binary(), message := binary(), help := binary()}.
-type outcome() :: {ok, ok} | {error, error()}.
-type topology() :: full_mesh | {peer_to_peer | client_server | custom, map()} | {native, manager()}.
-type manager() :: pluggable_manager | hy_par_view_manager | client_server_manager.
-type body() :: fun((ok, topos_effect:evidence()) -> term()).

-define(DEFAULT_NODE, <<"node@127.0.0.1">>).
%% How long a node of the same run may take to listen, in milliseconds.
-define(CONTACT_TIMEOUT, 15000).
-define(MAX_WAIT, 16#FFFFFFFF).

%% @doc Makes the handler (a list of arguments and evidence), or performs `init' (an instance and the program's `Config').
-spec init([], topos_effect:evidence()) -> {ok, instance()};
          (instance(), Config :: map()) -> outcome().
init([], Ev) ->
    {ok, #distributed{evidence = Ev}};
init(#distributed{}, Config) ->
    outcome(topos_program_node:start(configuration(Config, fun os:getenv/1), topos_runner:owner())).

%% @doc A program that ends says good-bye to its cluster, which also waits for what it sent last.
-spec terminate(term(), instance()) -> ok.
terminate(_Reason, #distributed{}) ->
    case topos_program_node:leave() of
        ok -> ok;
        {error, {not_started, _}} -> ok;
        %% There is nobody to say good-bye to: one of Partisan's own managers that cannot.
        {error, {unsupported_by_manager, _}} -> topos_program_node:stop();
        {error, Error} -> io:put_chars(standard_error, [topos_error:format(Error), $\n])
    end.

-spec portable(instance()) -> false.
portable(#distributed{}) -> false.

-spec create_cluster(instance(), binary()) -> outcome().
create_cluster(#distributed{}, Cluster) ->
    outcome(topos_program_node:enter(Cluster)).

-spec join_cluster(instance(), binary(), binary()) -> outcome().
join_cluster(#distributed{}, Contact, Cluster) ->
    case peer(Contact) of
        {ok, #{node := Node, addresses := Addresses}} ->
            case topos_program_node:enter(Cluster) of
                ok -> outcome(topos_partisan:join(Node, options(Addresses)));
                {error, _} = Error -> outcome(Error)
            end;
        {error, _} = Error ->
            outcome(Error)
    end.

-spec leave(instance()) -> outcome().
leave(#distributed{}) -> outcome(topos_program_node:leave()).

-spec node_name(instance()) -> binary().
node_name(#distributed{}) ->
    Full =
        case topos_partisan:node() of
            {error, _} -> chosen(os:getenv("TOPOS_NODE"), ?DEFAULT_NODE);
            Node -> atom_to_binary(Node)
        end,
    hd(binary:split(Full, <<"@">>)).

-spec self(instance()) -> node().
self(#distributed{}) -> value(topos_partisan:node()).

-spec members(instance()) -> [node()].
members(#distributed{}) -> value(topos_partisan:nodes()).

-spec statuses(instance()) -> [#{node := node(), status := topos_partisan:status(), incarnation := integer()}].
statuses(#distributed{}) ->
    [maps:with([node, status, incarnation], Member) || Member <- value(topos_partisan:members())].

-spec current_topology(instance()) -> topology().
current_topology(#distributed{}) -> shown_topology(value(topos_topology:current())).

-spec set_topology(instance(), topology()) -> outcome().
set_topology(#distributed{}, Topology) -> outcome(topos_topology:set_topology(topology(Topology))).

-spec pause_new_connections(instance()) -> outcome().
pause_new_connections(#distributed{}) -> outcome(topos_topology:pause_new_connections()).

-spec resume_new_connections(instance()) -> outcome().
resume_new_connections(#distributed{}) -> outcome(topos_topology:resume_new_connections()).

-spec reconnect_all(instance()) -> outcome().
reconnect_all(#distributed{}) -> outcome(topos_topology:reconnect_all()).

%% A `Duration' is whole milliseconds.
-spec metrics(instance()) -> #{
    node_count := integer(), message_rate := float(), average_latency := integer(), network_partition_detected := boolean()
}.
metrics(#distributed{}) ->
    #{nodes := Nodes, message_rate := Rate, round_trip := Micros, missing := Missing} = value(topos_topology:metrics()),
    #{
        node_count => Nodes, message_rate => Rate, average_latency => (Micros + 500) div 1_000,
        network_partition_detected => Missing =/= []
    }.

-spec neighbours(instance()) -> [node()].
neighbours(#distributed{}) -> value(topos_topology:neighbours()).

-spec route(instance(), node()) -> {ok, [node()]} | {error, error()}.
route(#distributed{}, Node) ->
    case topos_topology:route(Node) of
        {ok, _} = Route -> Route;
        {error, _} = Error -> outcome(Error)
    end.

-spec send(instance(), node(), term()) -> outcome().
send(#distributed{}, Node, Message) -> outcome(topos_program_node:send(Node, Message)).

-spec send_with(instance(), node(), term(), options()) -> outcome().
send_with(#distributed{}, Node, Message, #{channel := <<>>} = Given) ->
    outcome(topos_program_node:send(Node, Message, send_options(Given)));
send_with(#distributed{}, Node, Message, #{channel := Channel} = Given) ->
    on_channel(Channel, send_options(Given), fun(Options) -> topos_program_node:send(Node, Message, Options) end).

-spec default_channel(instance()) -> binary().
default_channel(#distributed{}) -> <<"data">>.

-spec broadcast(instance(), [node()], term()) -> [{node(), error()}].
broadcast(#distributed{} = Instance, Nodes, Message) ->
    [{Node, Error} || Node <- Nodes, {error, Error} <- [send(Instance, Node, Message)]].

-spec recv(instance()) -> term().
recv(#distributed{}) ->
    {some, {message, _Sender, Message}} = taken(topos_program_node:take(messages, infinity)),
    Message.

-spec recv_within(instance(), integer()) -> {some, term()} | none.
recv_within(#distributed{}, Timeout) ->
    case taken(topos_program_node:take(messages, wait(Timeout))) of
        {some, {message, _Sender, Message}} -> {some, Message};
        none -> none
    end.

-spec next_event(instance()) -> tuple().
next_event(#distributed{}) ->
    {some, Item} = taken(topos_program_node:take(all, infinity)),
    item(Item).

-spec next_event_within(instance(), integer()) -> {some, tuple()} | none.
next_event_within(#distributed{}, Timeout) ->
    case taken(topos_program_node:take(all, wait(Timeout))) of
        {some, Item} -> {some, item(Item)};
        none -> none
    end.

-spec monitor(instance(), node()) -> reference().
monitor(#distributed{}, Node) -> value(topos_program_node:monitor(Node)).

-spec demonitor(instance(), reference()) -> ok.
demonitor(#distributed{}, Ref) -> topos_program_node:forget(Ref).

-spec on_up(instance(), topos_program_node:callback()) -> reference().
on_up(#distributed{evidence = Ev}, Callback) -> value(topos_program_node:on(up, Callback, Ev)).

-spec on_down(instance(), topos_program_node:callback()) -> reference().
on_down(#distributed{evidence = Ev}, Callback) -> value(topos_program_node:on(down, Callback, Ev)).

-spec cancel(instance(), reference()) -> ok.
cancel(#distributed{}, Ref) -> topos_program_node:forget(Ref).

%% @doc What `topos_partisan:start/1' is given for a Topos `Config' in an environment.
-spec configuration(map(), fun((string()) -> string() | false)) -> map().
configuration(Config, Env) ->
    #{topology := Topology, channels := Channels, compression := Compression, engine := Engine, name := Name,
      cookie := Cookie, fault_detection := Detection, inbox_size := InboxSize, insecure := Insecure} = Config,
    Given = [
        {node, given(Name, Env("TOPOS_NODE"), ?DEFAULT_NODE)},
        {cookie, given(Cookie, Env("TOPOS_COOKIE"), none)},
        {engine, case Env("TOPOS_ENGINE") of false when Engine =:= best -> none; false -> Engine; Wins -> text(Wins) end},
        {listen, case Env("TOPOS_LISTEN") of false -> none; Listen -> string:lexemes(Listen, ",") end},
        {fault_detection, detection(Detection)},
        {channels, #{data => #{parallelism => Channels, compression => Compression}}},
        {topology, topology(Topology)},
        {limits, #{max_inbox_messages => InboxSize}},
        {insecure, Insecure},
        {compression, Compression}
    ],
    maps:from_list([Entry || {_, Value} = Entry <- Given, Value =/= none]).

%% For `Topos.Remote', whose flows act through the root handler of this effect

%% @doc Starts a process on a node that runs the body there, with the handlers that are installed there at start.
-spec spawn_on(instance(), node(), body()) -> {ok, topos_process:ref()} | {error, error()}.
spawn_on(#distributed{} = Instance, Node, Body) -> spawn_through(Instance, Node, Body, Body).

%% @doc As {@link spawn_on/3} for a body that is called by another one. It is the inner one whose module the node needs in the
%% same version; the outer one is of the standard library. What it captured must be able to cross: `stays_here' (TP1079).
-spec spawn_through(instance(), node(), Inner :: body(), Outer :: body()) -> {ok, topos_process:ref()} | {error, error()}.
spawn_through(#distributed{}, Node, Inner, Outer) ->
    case topos_portable:check(Inner) of
        ok -> remote(topos_process:spawn_as(Node, Inner, fun() -> ?MODULE:run(Outer) end));
        {error, _} = Error -> outcome(Error)
    end.

%% @doc Sends a message of a program. It must be able to cross, also where the process is of this node: `stays_here' (TP1079).
-spec send_to_process(instance(), options(), term(), topos_process:ref()) -> outcome().
send_to_process(#distributed{}, #{channel := Channel} = Given, Message, Process) ->
    case topos_portable:check(Message) of
        ok ->
            on_channel(Channel, send_options(Given), fun(Full) -> topos_process:send(Process, {'$topos', Message}, Full) end);
        {error, _} = Error ->
            outcome(Error)
    end.

-spec this_process(instance()) -> {ok, topos_process:ref()} | {error, error()}.
this_process(#distributed{}) -> remote(topos_process:self()).

%% @private What runs on the other node.
-spec run(body()) -> term().
run(Body) ->
    try
        Body(ok, topos_effect:root())
    catch
        Class:Reason:Stack -> topos_effect:report(Class, Reason, Stack)
    end.

%% internal

-spec remote(ok | {ok, Value} | {error, topos_error:t()}) -> {ok, ok | Value} | {error, error()}.
remote({ok, Value}) -> {ok, Value};
remote(Result) -> outcome(Result).

-spec given(binary(), string() | false, Default) -> binary() | Default.
given(<<>>, FromEnvironment, Default) -> chosen(FromEnvironment, Default);
given(Own, _, _) -> Own.

-spec chosen(string() | false, Default) -> binary() | Default.
chosen(false, Default) -> Default;
chosen(Chosen, _) -> text(Chosen).

-spec text(string()) -> binary().
text(Chars) -> unicode:characters_to_binary(Chars).

-spec detection(swim_detection | {echo_detection, map()}) -> map().
detection(swim_detection) -> #{method => swim};
detection({echo_detection, #{interval := Interval, suspect_after := Suspect, down_after := Down}}) ->
    #{echo_interval => Interval, suspect_after => Suspect, down_after => Down}.

%% @doc A topology as the effect shows it.
-spec shown_topology(topos_config_topology:t() | #{type := topos_config_topology:type(), atom() => term()}) -> topology().
shown_topology(full_mesh) ->
    full_mesh;
shown_topology(#{type := full_mesh}) ->
    full_mesh;
shown_topology(#{type := hyparview} = Settings) ->
    {peer_to_peer, maps:with([active_view, passive_view, active_walk, passive_walk, shuffle_period], Settings)};
shown_topology(#{type := client_server, hubs := Hubs, hubs_of_a_client := Count}) ->
    {client_server, #{hubs => [atom_to_binary(Hub) || Hub <- Hubs], hubs_of_a_client => Count}};
shown_topology(#{type := custom, handler := topos_topology_flow, args := Flow, max_links := MaxLinks}) ->
    {custom, #{handler => Flow, max_links => MaxLinks}};
shown_topology(#{type := custom, handler := Module, max_links := MaxLinks}) ->
    %% A module of Erlang, which nodes that are no programs may have chosen.
    {custom, #{handler => <<"erlang:", (atom_to_binary(Module))/binary>>, max_links => MaxLinks}};
shown_topology(#{type := native, manager := Manager}) ->
    {native, case Manager of pluggable -> pluggable_manager; hyparview -> hy_par_view_manager; client_server -> client_server_manager end}.

%% @doc A topology of a program, as a configuration has it.
-spec topology(topology()) -> full_mesh | map().
topology(full_mesh) -> full_mesh;
topology({peer_to_peer, Settings}) -> Settings#{type => hyparview};
topology({client_server, Settings}) -> Settings#{type => client_server};
topology({custom, #{handler := Flow, max_links := MaxLinks}}) ->
    #{type => custom, handler => topos_topology_flow, args => Flow, max_links => MaxLinks};
topology({native, Manager}) ->
    {native, case Manager of pluggable_manager -> pluggable; hy_par_view_manager -> hyparview; client_server_manager -> client_server end}.

%% Under `topos run' nodes listen where there is room: the runner knows where.
-spec peer(binary()) -> {ok, topos_engine:peer()} | {error, topos_error:t()}.
peer(Contact) ->
    case topos_node_spec:parse_peer(Contact) of
        {ok, #{node := Node, addresses := []} = Peer} ->
            case topos_runner:is_present() andalso topos_runner:contact(Node, ?CONTACT_TIMEOUT) of
                false -> {ok, Peer};
                {ok, Addresses} -> {ok, Peer#{addresses := Addresses}};
                {error, _} = Error -> Error
            end;
        {ok, Peer} ->
            {ok, Peer};
        error ->
            {error, topos_error:new(unknown_node, #{node => Contact})}
    end.

-spec options([topos_engine:address()]) -> topos_partisan:join_options().
options([]) -> #{};
options(Addresses) -> #{addresses => Addresses}.

%% @doc An answer of the API as a `Result' of Topos.
-spec outcome(ok | {error, topos_error:t()}) -> outcome().
outcome(ok) -> {ok, ok};
outcome({error, Error}) -> {error, error_record(Error)}.

%% @doc Calls a function that sends, with the options and the channel of this name. A text that is no channel becomes no atom.
-spec on_channel(binary(), topos_partisan:send_options(), fun((topos_partisan:send_options()) -> ok | {error, topos_error:t()})) ->
    outcome().
on_channel(Name, Options, Send) ->
    try binary_to_existing_atom(Name) of
        Channel -> outcome(Send(Options#{channel => Channel}))
    catch
        error:badarg -> outcome(no_such_channel(Name))
    end.

%% @doc The options without the channel, as `topos_partisan:send/4' has them.
-spec send_options(options()) -> topos_partisan:send_options().
send_options(#{key := Key, wait := Wait, acknowledged := Acknowledged}) ->
    Options = #{wait => max(0, Wait), ack => Acknowledged},
    case Key of
        {some, Given} -> Options#{key => Given};
        none -> Options
    end.

-spec no_such_channel(binary()) -> {error, topos_error:t()}.
no_such_channel(Name) ->
    case topos_channel:list() of
        {ok, Channels} -> {error, topos_error:new(no_such_channel, #{channel => Name, known => lists:sort(maps:keys(Channels))})};
        {error, _} = Error -> Error
    end.

-spec error_record(topos_error:t()) -> error().
error_record(Error) ->
    #{
        code => topos_error:code(Error),
        reason => atom_to_binary(topos_error:reason(Error)),
        message => unicode:characters_to_binary(topos_error:message(Error)),
        help => unicode:characters_to_binary(topos_error:help(Error))
    }.

%% @doc For operations that have no `Result': their error ends the process, with its code.
-spec value({error, topos_error:t()} | {ok, Value} | Value) -> Value when Value :: term().
value({error, Error}) -> erlang:error(Error);
value({ok, Value}) -> Value;
value(Value) -> Value.

-spec taken({some, Item} | none | {error, topos_error:t()}) -> {some, Item} | none when Item :: topos_program_queue:item().
taken({error, Error}) -> erlang:error(Error);
taken(Answer) -> Answer.

%% @doc What came, as an `Event' of Topos.
-spec item(topos_program_queue:item()) -> tuple().
item({message, Sender, Message}) -> {message, Sender, Message};
item({event, Event}) -> event(Event).

-spec event(topos_program_node:event()) -> tuple().
event({up, Node, _Incarnation}) -> {node_up, Node};
event({suspect, Node}) -> {node_suspect, Node};
event({recovered, Node}) -> {node_recovered, Node};
event({down, Node, _Reason}) -> {node_down, Node};
event({left, Node}) -> {node_left, Node};
event({in_doubt, Node, Count}) -> {in_doubt, Node, Count};
event({undeliverable, Node, Error}) -> {undeliverable, Node, error_record(Error)};
event({monitor_down, Ref, Node}) -> {monitor_down, Ref, Node};
event({missed, Count}) -> {missed, Count}.

%% @doc A time to wait for, in milliseconds.
-spec wait(integer()) -> non_neg_integer().
wait(Time) -> max(0, min(Time, ?MAX_WAIT)).
