%% @doc A node that is one of Partisan's own managers, unchanged: starts Partisan or attaches to the one that runs in this VM, and
%% knows which it is.
%%
%% There is no link on such a node. What of the API it can do is the table of `topos_native_capabilities', and is done by
%% `topos_native_send', `topos_native_join' and `topos_native_view' over Partisan's own functions, so it works with nodes that run Partisan alone. When
%% Partisan ends, this process does, and the node with it.
-module(topos_native).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/1, running/0, absent/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([here/0]).

%% What every operation reads.
-type here() :: #{
    node := node(), manager := topos_native_capabilities:manager(), tag := none | server | client, cluster := binary(),
    addresses := [topos_engine:address()], contacts := #{node() => [topos_engine:address()]},
    timeouts := #{connect := pos_integer(), call := pos_integer(), leave := pos_integer()},
    max_message_bytes := pos_integer(), max_queue_messages := pos_integer()
}.
-define(HERE, {?MODULE, here}).

%% `own': this process started Partisan, and stops it.
-record(state, {
    manager :: topos_native_capabilities:manager(),
    sup :: reference() | {own, pid(), topos_partisan_api:saved()}
}).

%% @doc The function gives the configuration, as reports of supervisors show arguments.
-spec start_link(fun(() -> topos_config:t())) -> {ok, pid()} | {error, topos_error:t()}.
start_link(Given) ->
    case gen_server:start_link({local, ?MODULE}, ?MODULE, Given, []) of
        {ok, Pid} -> {ok, Pid};
        {error, {shutdown, Error}} -> {error, Error}
    end.

-spec running() -> {ok, here()} | none.
running() ->
    case persistent_term:get(?HERE, none) of
        none -> none;
        Here -> {ok, Here}
    end.

%% @doc Why an operation that needs the link cannot be done: this node is one of Partisan's managers, or there is no node.
-spec absent(topos_native_capabilities:operation()) -> {error, topos_error:t()}.
absent(Operation) ->
    case running() of
        {ok, #{manager := Manager}} ->
            {no, Why} = topos_native_capabilities:lookup(Manager, Operation),
            topos_native_capabilities:refusal(Manager, Operation, Why);
        none ->
            {error, topos_error:new(not_started, #{})}
    end.

%% gen_server

-spec init(fun(() -> topos_config:t())) -> {ok, #state{}} | {stop, {shutdown, topos_error:t()}}.
init(Given) ->
    %% So that terminate/2 runs.
    _ = process_flag(trap_exit, true),
    #{topology := #{manager := Manager}} = Config = Given(),
    case enter(Config) of
        {ok, Sup, Addresses} ->
            ok = persistent_term:put(?HERE, here(Config, Addresses)),
            {ok, #state{manager = Manager, sup = Sup}};
        {error, Error} ->
            {stop, {shutdown, Error}}
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_, _From, State) -> {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_, State) -> {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, {shutdown, partisan_ended}, #state{}}.
handle_info({'DOWN', Ref, process, _, Reason}, #state{sup = Ref} = State) -> ended(Reason, State);
handle_info({'EXIT', Sup, Reason}, #state{sup = {own, Sup, _}} = State) -> ended(Reason, State);
handle_info(_, State) -> {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{manager = Manager, sup = Sup}) ->
    _ = persistent_term:erase(?HERE),
    case Sup of
        {own, Pid, Saved} -> topos_partisan_api:stop(topos_native_capabilities:module(Manager), Pid, Saved);
        _ -> ok
    end.

%% internal

-spec ended(term(), #state{}) -> {stop, {shutdown, partisan_ended}, #state{}}.
ended(Reason, State) ->
    ?LOG_ERROR("topos_partisan: Partisan has ended, and this node with it: ~0tp", [Reason]),
    {stop, {shutdown, partisan_ended}, State}.

-spec here(topos_config:t(), [topos_engine:address()]) -> here().
here(#{node := Node, topology := #{manager := Manager, tag := Tag}, limits := Limits} = Config, Addresses) ->
    maps:merge(
        maps:with([cluster, contacts, timeouts], Config),
        (maps:with([max_message_bytes, max_queue_messages], Limits))#{
            node => Node, manager => Manager, tag => Tag, addresses => Addresses
        }
    ).

-spec enter(topos_config:t()) ->
    {ok, reference() | {own, pid(), topos_partisan_api:saved()}, [topos_engine:address()]} | {error, topos_error:t()}.
enter(#{node := Node} = Config) ->
    case {topos_partisan_api:usable(Node), whereis(partisan_sup)} of
        {ok, undefined} -> start(Config);
        {ok, Sup} -> attach(Sup, Config);
        {{error, _} = Error, _} -> Error
    end.

-spec attach(pid(), topos_config:t()) -> {ok, reference(), [topos_engine:address()]} | {error, topos_error:t()}.
attach(Sup, #{node := Node, topology := #{manager := Manager}}) ->
    Ref = monitor(process, Sup),
    Runs = config(peer_service_manager),
    Strategy = config(membership_strategy),
    case {config(name), topos_native_capabilities:module(Manager)} of
        {Node, Runs} when Manager =/= pluggable; Strategy =:= partisan_full_membership_strategy ->
            {ok, Ref, [{Ip, Port} || #{ip := Ip, port := Port} <- config(listen_addrs)]};
        {Node, Module} ->
            true = demonitor(Ref, [flush]),
            Running = case Runs of Module -> {Manager, Strategy}; _ -> topos_native_capabilities:name(Runs) end,
            {error, topos_error:new(other_manager, #{node => Node, running => Running, manager => Manager})};
        {Running, _} ->
            true = demonitor(Ref, [flush]),
            {error, topos_error:new(foreign_node, #{node => Node, running => Running})}
    end.

-spec config(atom()) -> term().
config(Key) -> topos_partisan_api:call(partisan_config, get, [Key, undefined]).

-spec start(topos_config:t()) -> {ok, {own, pid(), topos_partisan_api:saved()}, [topos_engine:address()]} | {error, topos_error:t()}.
start(#{listen := Listen} = Config) ->
    case topos_engine_listen:reserve(Listen) of
        {ok, Addresses} ->
            case topos_partisan_api:start_unchanged(topos_partisan_settings:native(Config, Addresses)) of
                {ok, Sup, Saved} ->
                    {ok, {own, Sup, Saved}, Addresses};
                {error, Reason} ->
                    %% Partisan's supervisor is linked, and its exit is in the mailbox.
                    {error, topos_engine_listen:start_error(Reason, Addresses)}
            end;
        {error, _} = Error ->
            Error
    end.
