%% @doc Distributed Erlang, started and stopped at run time.
%%
%% The node is hidden and connects to nobody by itself (`dist_auto_connect never'). epmd is started where there is none,
%% on loopback only; one that runs already is used as it is. A VM that is distributed when we come keeps its
%% distribution: it must have the configured name, gets the configured cookie, and has its own back at the end.
-module(topos_otp_distribution).

-include_lib("kernel/include/logger.hrl").

-export([check/1, start/2, stop/1, port/1, is_registered/1]).
-export_type([started/0]).

%% What `stop/1' has to undo.
-opaque started() ::
    #{mode := ours, environment := [{atom(), undefined | {ok, term()}}]} | #{mode := theirs, cookie := atom()}.

-define(EPMD_TIMEOUT, 5_000).
-define(POLL_INTERVAL, 20).
-define(STOP_TIMEOUT, 2_000).
-define(STOP_POLL, 2).

%% @doc Finds what would go wrong, before anything is started; the answer is the address to listen on, or `theirs' when
%% the VM is distributed already.
-spec check(topos_config:t()) -> {ok, theirs | topos_engine:address()} | {error, topos_error:t()}.
check(#{tls := Tls}) when Tls =/= undefined ->
    %% The transport of the distribution is chosen when the VM boots (-proto_dist inet_tls), not after.
    {error, topos_error:new(unsupported, #{engine => otp, operation => tls})};
check(#{listen := [_, _ | _]}) ->
    {error, topos_error:new(unsupported, #{engine => otp, operation => <<"listen on several addresses">>})};
check(#{node := Node, listen := [Address]}) ->
    case node() of
        Node ->
            {ok, theirs};
        nonode@nohost ->
            case topos_engine_listen:reserve([Address]) of
                %% With port 0 the distribution finds one itself.
                {ok, _} -> {ok, Address};
                {error, _} = Error -> Error
            end;
        Running ->
            {error, topos_error:new(foreign_node, #{node => Node, running => Running})}
    end.

%% @doc Makes this VM the node of the configuration.
-spec start(topos_config:t(), theirs | topos_engine:address()) -> {ok, started()} | {error, topos_error:t()}.
start(#{cookie := Cookie}, theirs) ->
    case persistent_term:get(?MODULE, none) of
        %% An engine that was killed started it: it is still ours to stop.
        #{mode := ours} = Started ->
            true = erlang:set_cookie(binary_to_atom(Cookie)),
            {ok, Started};
        none -> {ok, use_theirs(Cookie)}
    end;
start(#{node := Node, cookie := Cookie}, {Ip, Port}) ->
    case ensure_epmd() of
        ok ->
            case is_registered(Node) of
                true -> {error, topos_error:new(name_in_use, #{node => Node})};
                false -> start_net_kernel(Node, Cookie, environment(Ip, Port))
            end;
        {error, Why} ->
            {error, topos_error:new(engine_failed, #{engine => otp, why => Why})}
    end.

%% @doc Undoes `start/2'.
-spec stop(started()) -> ok.
stop(#{mode := theirs, cookie := Cookie}) ->
    true = erlang:set_cookie(Cookie),
    ok;
stop(#{mode := ours, environment := Environment}) ->
    _ = persistent_term:erase(?MODULE),
    %% `not_found': somebody stopped it before us.
    case net_kernel:stop() of
        ok -> await_nobody(erlang:monotonic_time(millisecond) + ?STOP_TIMEOUT);
        {error, not_found} -> ok
    end,
    restore(Environment).

%% @doc The port a node listens on, as epmd of its host knows it.
-spec port(node()) -> {ok, inet:port_number()} | {error, not_registered | no_epmd}.
port(Node) ->
    {Name, Host} = parts(Node),
    case erl_epmd:port_please(Name, Host, ?EPMD_TIMEOUT) of
        {port, Port, _Version} -> {ok, Port};
        noport -> {error, not_registered};
        closed -> {error, no_epmd};
        {error, _} -> {error, no_epmd}
    end.

%% @doc Whether a node of this name is registered with epmd of its host.
-spec is_registered(node()) -> boolean().
is_registered(Node) ->
    case port(Node) of
        {ok, _} -> true;
        {error, _} -> false
    end.

%% internal

%% The VM keeps its name for some milliseconds, while its connections are taken down; a start in that time would take it for
%% distributed by somebody else.
-spec await_nobody(integer()) -> ok.
await_nobody(Deadline) ->
    case {node(), erlang:monotonic_time(millisecond) > Deadline} of
        {nonode@nohost, _} ->
            ok;
        {Node, true} ->
            ?LOG_WARNING(#{description => "the distribution has stopped, and the VM keeps its name", node => Node});
        {_, false} ->
            receive after ?STOP_POLL -> ok end,
            await_nobody(Deadline)
    end.

-spec use_theirs(binary()) -> started().
use_theirs(Cookie) ->
    Old = erlang:get_cookie(),
    true = erlang:set_cookie(binary_to_atom(Cookie)),
    #{mode => theirs, cookie => Old}.

-spec start_net_kernel(node(), binary(), [{atom(), term()}]) -> {ok, started()} | {error, topos_error:t()}.
start_net_kernel(Node, Cookie, Environment) ->
    Before = [{Key, application:get_env(kernel, Key)} || {Key, _} <- Environment],
    ok = lists:foreach(fun({Key, Value}) -> ok = application:set_env(kernel, Key, Value) end, Environment),
    case net_kernel:start(Node, #{name_domain => domain(Node), hidden => true}) of
        {ok, _} ->
            true = erlang:set_cookie(binary_to_atom(Cookie)),
            Started = #{mode => ours, environment => Before},
            ok = persistent_term:put(?MODULE, Started),
            {ok, Started};
        {error, Reason} ->
            ok = restore(Before),
            {error, topos_error:new(engine_failed, #{engine => otp, why => Reason})}
    end.

-spec environment(inet:ip_address(), inet:port_number()) -> [{atom(), term()}].
environment(Ip, Port) ->
    Ports = case Port of 0 -> []; _ -> [{inet_dist_listen_min, Port}, {inet_dist_listen_max, Port}] end,
    [{dist_auto_connect, never}, {inet_dist_use_interface, Ip} | Ports].

-spec restore([{atom(), undefined | {ok, term()}}]) -> ok.
restore(Environment) ->
    lists:foreach(
        fun ({Key, undefined}) -> ok = application:unset_env(kernel, Key);
            ({Key, {ok, Value}}) -> ok = application:set_env(kernel, Key, Value)
        end,
        Environment
    ).

%% A long name has a dot in its host part (or is an IPv6 address).
-spec domain(node()) -> longnames | shortnames.
domain(Node) ->
    {_, Host} = parts(Node),
    case lists:any(fun(Char) -> Char =:= $. orelse Char =:= $: end, Host) of
        true -> longnames;
        false -> shortnames
    end.

-spec parts(node()) -> {string(), string()}.
parts(Node) ->
    [Name, Host] = string:split(atom_to_list(Node), "@"),
    {Name, Host}.

-spec ensure_epmd() -> ok | {error, no_epmd_program | epmd_silent}.
ensure_epmd() ->
    case epmd_answers() of
        true ->
            ok;
        false ->
            case epmd_program() of
                false ->
                    {error, no_epmd_program};
                Program ->
                    Port = open_port({spawn_executable, Program}, [
                        {args, ["-daemon"]}, {env, [{"ERL_EPMD_ADDRESS", "127.0.0.1"}]}, exit_status, stderr_to_stdout
                    ]),
                    ok = exited(Port),
                    await_epmd(erlang:monotonic_time(millisecond) + ?EPMD_TIMEOUT)
            end
    end.

%% Two nodes that start epmd at once: the second daemon ends at once, which is as good.
-spec exited(port()) -> ok.
exited(Port) ->
    receive
        {Port, {exit_status, _}} -> ok;
        {Port, {data, _}} -> exited(Port)
    after ?EPMD_TIMEOUT -> ok
    end.

-spec await_epmd(integer()) -> ok | {error, epmd_silent}.
await_epmd(Deadline) ->
    case epmd_answers() of
        true ->
            ok;
        false ->
            case erlang:monotonic_time(millisecond) > Deadline of
                true ->
                    {error, epmd_silent};
                false ->
                    receive after ?POLL_INTERVAL -> ok end,
                    await_epmd(Deadline)
            end
    end.

-spec epmd_answers() -> boolean().
epmd_answers() ->
    case erl_epmd:names({127, 0, 0, 1}) of
        {ok, _} -> true;
        {error, _} -> false
    end.

-spec epmd_program() -> file:filename() | false.
epmd_program() ->
    Bundled = filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "bin", "epmd"]),
    case filelib:is_regular(Bundled) of
        true -> Bundled;
        false -> os:find_executable("epmd")
    end.
