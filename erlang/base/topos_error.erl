%% @doc Errors of the bridge: one tagged shape, stable codes, shared with the compiler's (TP0001-TP0999 are the
%% compiler's, TP1000 and up belong to the run time).
%%
%% Every public function that can fail answers `{error, t()}' where `t()' is `{Reason, Details}': an atom to match on and a
%% map that says what was expected and what came. `format/1' renders it for people, with its code and a help line.
-module(topos_error).

-export([new/2, reason/1, code/1, format/1]).
-export([message/1, help/1, is_error/1]).
-export_type([t/0, reason/0]).

%% How much of a term a message shows.
-define(DEPTH, 12).
-define(WIDTH, 160).

-type reason() :: atom().
-type t() :: {reason(), #{atom() => term()}}.

%% @doc Builds an error. The reason must be one of the table below, so that every error has a code and a help line.
-spec new(reason(), #{atom() => term()}) -> t().
new(Reason, Details) when is_map(Details) ->
    _ = entry(Reason),
    {Reason, Details}.

-spec reason(t()) -> reason().
reason({Reason, _}) -> Reason.

%% @doc The stable code, for instance `<<"TP1003">>'.
-spec code(t() | reason()) -> binary().
code({Reason, _}) -> code(Reason);
code(Reason) -> {Code, _, _} = entry(Reason), Code.

%% @doc `error[TP1003]: what happened' and a `help:' line, as UTF-8 text without a trailing newline.
-spec format(t()) -> unicode:chardata().
format({Reason, Details}) ->
    {Code, Message, Help} = entry(Reason),
    ["error[", Code, "]: ", render(Message, Details), "\n  help: ", render(Help, Details)].

%% @doc What happened, without code and help.
-spec message(t()) -> unicode:chardata().
message({Reason, Details}) ->
    {_, Message, _} = entry(Reason),
    render(Message, Details).

%% @doc Whether a term is an error of this table: what `erlang:error/1' was called with may be anything.
-spec is_error(term()) -> boolean().
is_error({Reason, Details}) when is_atom(Reason), is_map(Details) ->
    try entry(Reason) of
        _ -> true
    catch
        error:function_clause -> false
    end;
is_error(_) -> false.

%% @doc What can be done about it.
-spec help(t()) -> unicode:chardata().
help({Reason, Details}) ->
    {_, _, Help} = entry(Reason),
    render(Help, Details).

%% internal

%% `{key}' in a text is replaced by the detail of that key. One pass from the left, so that braces in a detail stay.
-spec render(string(), #{atom() => term()}) -> unicode:chardata().
render(Text, Details) ->
    case string:split(Text, "{") of
        [Before, Rest] ->
            [Key, After] = string:split(Rest, "}"),
            [Before, detail(Key, Details), render(After, Details)];
        [_] ->
            Text
    end.

-spec detail(string(), #{atom() => term()}) -> unicode:chardata().
detail(Key, Details) ->
    case [Value || {Name, Value} <- maps:to_list(Details), atom_to_list(Name) =:= Key] of
        [Violations] when Key =:= "violations" -> violations(Violations);
        [Value] -> show(Value);
        [] -> "?"
    end.

-spec violations([map()]) -> unicode:chardata().
violations(Violations) ->
    lists:join($\n, [violation(Violation) || Violation <- Violations]).

-spec violation(map()) -> unicode:chardata().
violation(#{path := Path, expected := Expected, got := missing}) ->
    ["  ", show_path(Path), "is missing: expected ", show(Expected)];
violation(#{path := Path, expected := Expected, got := unknown_key}) ->
    ["  ", show_path(Path), "is not a key: expected ", show(Expected)];
violation(#{path := Path, expected := Expected, got := Got}) ->
    ["  ", show_path(Path), "expected ", show(Expected), ", got ", show_value(Got)].

-spec show_path(binary()) -> unicode:chardata().
show_path(<<>>) -> "";
show_path(Path) -> [show(Path), ": "].

%% For people: names and texts as they are, addresses as one writes them, lists with commas.
-spec show(term()) -> unicode:chardata().
show(Value) when is_atom(Value) -> atom_to_binary(Value);
show(Value) when is_integer(Value) -> integer_to_binary(Value);
show(Value) when is_binary(Value) ->
    case unicode:characters_to_binary(Value) of
        Value -> Value;
        _ -> show_value(Value)
    end;
show([First | _] = Values) when is_atom(First) ->
    case lists:all(fun is_atom/1, Values) of
        true -> lists:join(", ", [atom_to_binary(Value) || Value <- Values]);
        false -> show_value(Values)
    end;
show({Ip, Port} = Value) when is_tuple(Ip), is_integer(Port) ->
    case inet:ntoa(Ip) of
        {error, einval} -> show_value(Value);
        Host when tuple_size(Ip) =:= 8 -> ["[", Host, "]:", integer_to_binary(Port)];
        Host -> [Host, ":", integer_to_binary(Port)]
    end;
show([_ | _] = Value) ->
    case io_lib:printable_unicode_list(Value) of
        true -> Value;
        false -> show_value(Value)
    end;
show(Value) -> show_value(Value).

%% What came, as a term, cut where it is deep or long: it may be anything.
-spec show_value(term()) -> unicode:chardata().
show_value(Value) when is_binary(Value), byte_size(Value) =< ?WIDTH ->
    case io_lib:printable_unicode_list(unicode:characters_to_list(Value)) of
        true -> [$", Value, $"];
        false -> io_lib:format("~0tp", [Value])
    end;
show_value(Value) ->
    io_lib:format("~0tP", [Value, ?DEPTH], [{chars_limit, ?WIDTH}]).

-spec entry(reason()) -> {binary(), string(), string()}.
entry(invalid_config) ->
    {<<"TP1001">>, "the configuration has mistakes ({count}):\n{violations}", "mend the fields named above; see docs/configuration.md"};
entry(unknown_engine) ->
    {<<"TP1002">>, "there is no engine called {engine}", "the engines of this release are {known}"};
entry(engine_not_installed) ->
    {<<"TP1003">>, "the engine {engine} is not installed here", "add partisan 5.0.x to your dependencies, or choose engine = otp"};
entry(address_in_use) ->
    {<<"TP1004">>, "cannot listen on {address}: it is in use", "choose another port, or port 0 for any free one"};
entry(already_started) ->
    {<<"TP1005">>, "this VM runs the node {node} already", "stop it first: P.leave in Topos, topos_partisan:stop/0 in Erlang"};
entry(not_started) ->
    {<<"TP1006">>, "the node is not started", "start it first: P.init in Topos, topos_partisan:start/1 in Erlang"};
entry(unreachable) ->
    {<<"TP1007">>, "{node} did not answer within {timeout} ms", "check that it runs and that its address and port are right"};
entry(version_mismatch) ->
    {<<"TP1008">>, "{node} speaks protocol version {theirs}, this node {ours}", "run the same major release of topos_partisan on both"};
entry(cookie_mismatch) ->
    {<<"TP1009">>, "{node} has another cookie", "give every node of the cluster the same cookie"};
entry(no_certificate) ->
    {<<"TP1010">>, "the TLS handshake with {node} failed: {why}", "check the certificates and that both sides trust the same authority"};
entry(message_too_large) ->
    {<<"TP1011">>, "a message of {size} bytes is over the limit of {limit}", "raise limits.max_message_bytes on both nodes, or send it in parts"};
entry(unknown_node) ->
    {<<"TP1012">>, "{node} is not a member of this cluster", "join it first, or look at topos_partisan:members/0"};
entry(not_connected) ->
    {<<"TP1013">>, "{node} is not connected (it is {status})", "wait for on_up, or handle the error"};
entry(overloaded) ->
    {<<"TP1014">>, "the queue to {node} on channel {channel} is full", "slow down, wait, or give the channel more room"};
entry(no_such_channel) ->
    {<<"TP1015">>, "there is no channel called {channel}", "the channels of this node are {known}"};
entry(unsupported) ->
    {<<"TP1016">>, "the engine {engine} cannot do this: {operation}", "choose an engine whose capabilities include it"};
entry(self_join) ->
    {<<"TP1017">>, "a node cannot join itself ({node})", "name another node of the cluster"};
entry(stale_incarnation) ->
    {<<"TP1018">>, "the message was for an earlier life of {node}", "ask for a fresh reference after the node is up again"};
entry(insecure_listener) ->
    {<<"TP1019">>, "listening on {address} without TLS would open this node to anyone who can reach it", "configure tls, listen on loopback, or say insecure = true"};
entry(stale_library) ->
    {<<"TP1020">>, "the native library is version {found}, this code needs {needed}", "run rebar3 compile, or restart the VM if you upgraded it in place"};
entry(library_not_loaded) ->
    {<<"TP1040">>, "the native library cannot be loaded: {why}", "run rebar3 compile; it needs Rust (https://rustup.rs)"};
entry(malformed_term) ->
    {<<"TP1041">>, "the bytes are no term: {why} at byte {offset}", "what sent them does not encode as topos_term does, or they were damaged"};
entry(invalid_descriptor) ->
    {<<"TP1042">>, "this is no type descriptor: {why}", "see topos_term:shape() for what a descriptor may be"};
entry(invalid_overlay) ->
    {<<"TP1043">>, "the overlay's {parameter} must be {expected}, not {got}", "see topos_overlay_nif:params()"};
entry(overlay_full) ->
    {<<"TP1044">>, "the overlay holds its limit of {limit} members", "raise max_members"};
entry(topology_handler_failed) ->
    {<<"TP1045">>, "the handler of the topology, {handler}, failed: {why}", "mend it; the links of its last good answer stand meanwhile"};
entry(unsupported_by_manager) ->
    {<<"TP1046">>, "Partisan's manager {manager} cannot do this: {operation} ({why})", "see topos_topology:capabilities/0, or choose a topology of the bridge instead of native"};
entry(other_manager) ->
    {<<"TP1047">>, "{node} runs Partisan with the manager {running}, the configuration says {manager}", "give all nodes of the cluster the same manager: two kinds crash each other"};
entry(not_joined) ->
    {<<"TP1048">>, "Partisan's manager {manager} has not taken {node} within {timeout} ms: {why}", "look at topos_partisan:members/0, and try again"};
entry(type_mismatch) ->
    {<<"TP1021">>, "at {path}: expected {expected}, got {got}", "the value does not have the type its receiver declares"};
%% Errors of simulations.
entry(not_simulated) ->
    {<<"TP1082">>, "the simulation cannot do this: {operation}", "use real nodes, or see docs/simulation.md for what is simulated"};
entry(simulation_deadlock) ->
    {<<"TP1083">>, "at {time} s nobody can go on, and nothing is going to happen:\n  {waiting}",
     "what they wait for never comes: look for a message that nobody sends, or two who wait for each other"};
entry(simulation_limit) ->
    {<<"TP1084">>, "the simulation has reached its limit of {what}: {limit}", "let the program end, or raise the limit (--max-time, --max-steps; --timeout of a test)"};
entry(simulation_stuck) ->
    {<<"TP1085">>, "{process} has performed no operation for {timeout} ms", "a calculation that does not end, or Erlang code that waits"};
entry(foreign_process) ->
    {<<"TP1086">>, "{process} is a process of another node", "a Pid means nothing on another node: send a RemoteRef (Topos.Remote)"};
entry(only_simulated) ->
    {<<"TP1087">>, "only a simulation can do this: {operation}", "add `--engine sim' to `topos run' or `topos test'"};
entry(too_many_atoms) ->
    {<<"TP1022">>, "{node} sent more new atoms than its receiver takes", "raise limits.max_new_atoms of the receiver, or send texts instead of atoms"};
%% Errors of compiled programs.
entry(program_failed) ->
    {<<"TP1060">>, "{message}, at {file}:{line}:{column}", "handle this case in the program"};
entry(arithmetic) ->
    {<<"TP1061">>, "a calculation has no result that fits its type", "a Float goes up to about 1.8e308"};
entry(no_handler) ->
    {<<"TP1062">>, "nothing handles the effect {effect} here", "install a handler around the call, or call it from a flow that has the effect"};
entry(no_main) ->
    {<<"TP1063">>, "there is no program {module}: no module of that name exports `main'", "give the module a flow `main : () -> () / {..}' or `main : [Text] -> () / {..}'"};
entry(too_many_missing) ->
    {<<"TP1064">>, "a partial application lacks {missing} arguments, the limit is {limit}", "write a function `fn(..) -> ..' instead"};
entry(bad_exit_status) ->
    {<<"TP1066">>, "{status} is no exit status", "an exit status is from 0 to 255"};
entry(unreadable_input) ->
    {<<"TP1067">>, "standard input cannot be read: {why}", "give it UTF-8 text"};
entry(handler_gone) ->
    {<<"TP1068">>, "the `with' of this handler has ended", "do not keep operations of a handler, or processes that perform them, beyond its `with'"};
entry(abort_elsewhere) ->
    {<<"TP1069">>, "`abort' in {process} cannot leave a `with' that {home} runs", "answer the operation, and let the process of the `with' decide"};
entry(child_not_started) ->
    {<<"TP1074">>, "the supervisor cannot start its child {id}: {why}", "let the child do what may fail after it has started"};
entry(no_such_call) ->
    {<<"TP1075">>, "an actor answers no calls of gen_server: {request}", "send it {'$topos', Message}, or use topos_actor:ask/3"};
entry(program_exit) ->
    {<<"TP1076">>, "the program would end here:\n{why}", "in a test only the test fails; take the `Result' apart where an error is expected"};
entry(node_ended) ->
    {<<"TP1077">>, "{node} ended before it answered", "see what it wrote to standard error"};
entry(call_failed) ->
    {<<"TP1078">>, "what was called on {node} failed: {why}", "mend it there, or catch the failure with `try'"};
entry(stays_here) ->
    {<<"TP1079">>, "{value} cannot be used on another node", "let a process cross as a RemoteRef, which Topos.Remote.this_process answers; of anything else, send or capture what is needed of it"};
entry(call_too_large) ->
    {<<"TP1054">>, "what crosses to another node has {size} bytes, the limit is {limit}", "send large values as messages of the cluster"};
entry(too_few_nodes) ->
    {<<"TP1055">>, "{wanted} nodes are wanted, and this run has {found}", "run it with --nodes {wanted}"};
entry(mailbox_full) ->
    {<<"TP1057">>, "more than {limit} messages wait that no `receive' of this process takes", "give the `receive' an arm for them, or raise max_set_aside_messages of topos_partisan"};
entry(no_serving_nodes) ->
    {<<"TP1056">>, "there are no nodes here that can be called", "let a test do it, and run that with `topos test --nodes N'"};
entry(timeout) ->
    {<<"TP1023">>, "{operation} was not finished within {timeout} ms", "try again, or allow more time"};
entry(no_such_process) ->
    {<<"TP1024">>, "there is no process {target} on {node}", "the process may have ended"};
entry(cluster_mismatch) ->
    {<<"TP1025">>, "{node} belongs to the cluster {theirs}, this node to {ours}", "give both nodes the same cluster name"};
entry(too_many_members) ->
    {<<"TP1026">>, "the cluster has {limit} members already", "raise limits.max_members on every node"};
entry(in_doubt) ->
    {<<"TP1027">>, "{node} was lost before it confirmed the message", "it may or may not have been delivered: make it safe to repeat"};
entry(bad_message) ->
    {<<"TP1028">>, "{node} sent a message that cannot be decoded here: {why}", "check that both nodes run the same release"};
entry(no_such_service) ->
    {<<"TP1029">>, "nothing on {node} serves {service}", "start the application that offers it on that node"};
entry(superseded) ->
    {<<"TP1030">>, "a newer message of its key took the place of this one", "this is what a monotonic channel is for"};
entry(too_many_subscriptions) ->
    {<<"TP1031">>, "there are {limit} subscriptions already", "cancel those that are no longer needed, or raise limits.max_subscriptions"};
entry(service_failed) ->
    {<<"TP1032">>, "{service} on {node} failed while it answered", "see the log of that node"};
entry(wrong_node) ->
    {<<"TP1033">>, "the address given for {node} is that of another node ({found})", "check the name and the address"};
entry(not_a_node) ->
    {<<"TP1034">>, "what answers at the address given for {node} is not a node of this kind: {why}", "check the address, and that both nodes use the same engine"};
entry(expired) ->
    {<<"TP1035">>, "the message to {node} waited longer than its channel allows and was not sent", "send it again if it still matters, or raise the channel's expiry"};
entry(standard_channel) ->
    {<<"TP1036">>, "the channel {channel} cannot be closed: the bridge needs it", "close a channel that was created"};
entry(channel_exists) ->
    {<<"TP1037">>, "there is a channel called {channel} already", "choose another name, or reconfigure that channel"};
entry(no_route) ->
    {<<"TP1038">>, "no way leads to {node} over the nodes between (it is {status})", "wait for on_up, or handle the error; see topos_topology:links/0"};
entry(inbox_full) ->
    {<<"TP1070">>, "the inbox of {node} is full", "let that node take messages with recv, or raise its limits.max_inbox_messages"};
entry(no_such_function) ->
    {<<"TP1071">>, "there is no {function} on {node}", "load the module on that node; check the name and the number of arguments"};
entry(code_mismatch) ->
    {<<"TP1072">>, "{node} has another version of {module}", "run the same release on both nodes, or spawn a function by its name"};
entry(too_many_monitors) ->
    {<<"TP1073">>, "this node has {limit} monitors already", "end monitors that are not needed, or raise limits.max_leases"};
entry(cannot_listen) ->
    {<<"TP1050">>, "cannot listen on {address}: {why}", "choose an address of this host and a port this user may open"};
entry(name_in_use) ->
    {<<"TP1051">>, "the name {node} is taken on this host", "give every node a name of its own, or stop the other one"};
entry(erlang_error) ->
    {<<"TP1092">>, "Erlang code failed: {why}", "see the documentation of the Erlang function that was called"};
entry(no_element) ->
    {<<"TP1091">>, "the list has no element at {index}", "ask for `xs[k]` first: it is `None` where there is no element"};
entry(foreign_node) ->
    {<<"TP1052">>, "this VM is the node {running} already, the configuration says {node}", "set node to {running}, or start a VM without -name, -sname and a Partisan of its own"};
entry(engine_failed) ->
    {<<"TP1053">>, "the engine {engine} did not start: {why}", "see the log for what came before"};
entry(switch_in_progress) ->
    {<<"TP1094">>, "{node} is switching the topology already", "wait until its switch is over, and look at topos_topology:current_topology/0"};
entry(switch_conflict) ->
    {<<"TP1095">>, "{node} switches the topology at the same time, and goes first", "look at topos_topology:current_topology/0, then try again"};
entry(partition_suspected) ->
    {<<"TP1096">>, "not all members answer ({nodes}): a switch now could cut the cluster", "wait until they are up or forgotten, or let them leave"};
entry(switch_rolled_back) ->
    {<<"TP1097">>, "{nodes} did not follow to {topology} within {timeout} ms: the topology stays as it was", "see why in the details; try again when they are well, or with more time"};
entry(switch_unconfirmed) ->
    {<<"TP1098">>, "the topology is {topology} now, but {nodes} did not confirm it within {timeout} ms", "they follow when they answer; until then the links of both topologies stay"};
entry(connections_paused) ->
    {<<"TP1099">>, "this node takes no new connections for another {remaining} ms", "call topos_topology:resume_new_connections/0, or wait"};
entry(promise_ended) ->
    {<<"TP1081">>, "the promise {promise} was cancelled, or the process that made it has ended", "wait before it is cancelled, in time of the process that made it"};
entry(unknown_contact) ->
    {<<"TP1080">>, "this run has no node called {node}", "its nodes are {known}"}.
