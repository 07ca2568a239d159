%% @doc Processes of other nodes: spawned, sent to, watched, ended. All of it works the same for processes of this node.
%%
%% A process is named by a reference (`topos_remote'), which may be sent in messages; never send a pid. Every function
%% answers `{error, topos_error:t()}' for what it cannot do, in bounded time.
-module(topos_process).
-behaviour(topos_request).
-behaviour(topos_delivery).

-include("topos_frame.hrl").

-export([serve/0, self/0, ref/1, spawn/2, spawn/3, spawn_as/3, spawn/4, send/2, send/3, monitor/1, demonitor/1, exit/2, whereis/2,
    is_alive/1]).
-export([handle_request/2, deliver/3]).
-export_type([ref/0]).

-compile({no_auto_import, [self/0, spawn/2, spawn/3, spawn/4, monitor/1, demonitor/1, exit/2, send/2, send/3]}).

-type ref() :: topos_remote:t().
-define(SERVICE, topos_process).

%% @doc Makes this module answer for processes of this node. Called once, when the node starts.
-spec serve() -> ok.
serve() ->
    ok = topos_request:serve(?SERVICE, ?MODULE),
    topos_delivery:claim(?TOPOS_DEST_PROCESS, ?MODULE).

%% @doc The reference to the calling process.
-spec self() -> {ok, ref()} | {error, topos_error:t()}.
self() -> ref(erlang:self()).

%% @doc The reference to a process of this node.
-spec ref(pid()) -> {ok, ref()} | {error, topos_error:t()}.
ref(Pid) when is_pid(Pid) ->
    case topos_local:is_started() of
        true -> {ok, topos_remote:of_pid(Pid)};
        false -> topos_local:absent({?MODULE, ref})
    end.

%% @doc Runs a function in a new process on `Node'.
%%
%% The node needs the module that the function was written in, in the same version, or the answer is `code_mismatch' or
%% `no_such_function'. What the function captured crosses as it is: capture references, not pids, and no atoms that the
%% node has not (`bad_message'). Errors: those of
%% `topos_request:call/4'; after `timeout' and `in_doubt' the process may have been started.
-spec spawn(node(), fun(() -> any())) -> {ok, ref()} | {error, topos_error:t()}.
spawn(Node, Fun) -> spawn_as(Node, Fun, Fun).

%% @doc As {@link spawn/2}. `channel': what the process sends takes this channel of `Node', where nothing else is said.
-spec spawn(node(), fun(() -> any()), #{channel => atom()}) -> {ok, ref()} | {error, topos_error:t()}.
spawn(Node, Fun, #{channel := Channel}) when is_atom(Channel) ->
    spawn_as(Node, Fun, fun() -> topos_default_channel:run(Channel, Fun) end);
spawn(Node, Fun, Options) when map_size(Options) =:= 0 ->
    spawn(Node, Fun).

%% @doc As {@link spawn/2} for a function that calls another one: `Inner' is the one whose module the node needs in the same
%% version.
-spec spawn_as(node(), Inner :: fun(), fun(() -> any())) -> {ok, ref()} | {error, topos_error:t()}.
spawn_as(Node, Inner, Fun) when is_atom(Node), is_function(Inner), is_function(Fun, 0) ->
    {module, Module} = erlang:fun_info(Inner, module),
    {type, Type} = erlang:fun_info(Inner, type),
    Version = case Type of local -> element(2, erlang:fun_info(Inner, new_uniq)); external -> none end,
    linked(spawn, call(Node, {spawn, atom_to_binary(Module), Version, term_to_binary(Fun)})).

%% @doc Runs a function of a module in a new process on `Node'.
-spec spawn(node(), module(), atom(), [term()]) -> {ok, ref()} | {error, topos_error:t()}.
spawn(Node, Module, Function, Arguments) when is_atom(Node), is_atom(Module), is_atom(Function), is_list(Arguments) ->
    linked(spawn, call(Node, {spawn, atom_to_binary(Module), atom_to_binary(Function), length(Arguments), Arguments})).

%% @equiv send(Ref, Message, #{})
-spec send(ref(), term()) -> ok | {error, topos_error:t()}.
send(Ref, Message) -> send(Ref, Message, #{}).

%% @doc Sends a message to the process, with the options, guarantees and errors of `topos_partisan:send/4'. A reference
%% to an earlier life of its node is refused with `stale_incarnation'.
-spec send(ref(), term(), topos_lane:options()) -> ok | {error, topos_error:t()}.
send(Ref, Message, Options) ->
    case check(Ref) of
        ok ->
            Destination = <<(topos_remote:incarnation(Ref)):64, (topos_remote:id(Ref))/binary>>,
            topos_lane:send(
                topos_remote:node(Ref), {?TOPOS_DEST_PROCESS, Destination}, Message, topos_default_channel:options(Options)
            );
        Error -> linked(send, Error)
    end.

%% @doc Watches a process. It returns when the process's node watches it (or after a second, if that node is slow), so a
%% process that is ended afterwards is seen to end with its own reason.
%%
%% Exactly one `{'DOWN', Monitor, process, Ref, Reason}' comes, when it ends or its node is
%% declared down or left. Reasons beside the process's own: `noproc' (there is none), `noconnection' (its node is
%% down, left, or was started anew), `stale_incarnation' (the reference was to an earlier life), `overloaded' (the node
%% holds `limits.max_leases' monitors already), `{unknown_reason, Text}' (it has more new atoms than
%% `limits.max_new_atoms' lets in). Pids in a reason come as references.
-spec monitor(ref()) -> {ok, Monitor :: reference()} | {error, topos_error:t()}.
monitor(Ref) ->
    Alias = erlang:alias([reply]),
    case topos_actors:monitor(Alias, Ref) of
        ok -> {ok, Alias};
        {error, Error} ->
            _ = erlang:unalias(Alias),
            linked(monitor, {error, Error})
    end.

%% @doc Ends a watch of the calling process; no `DOWN' of it comes after this returns.
-spec demonitor(Monitor :: reference()) -> ok | {error, topos_error:t()}.
demonitor(Monitor) ->
    _ = erlang:unalias(Monitor),
    Result = linked(demonitor, topos_actors:demonitor(Monitor)),
    receive
        {'DOWN', Monitor, process, _, _} -> Result
    after 0 -> Result
    end.

%% @doc Sends an exit signal, as `erlang:exit/2' does. `ok': the signal was sent on the process's node.
-spec exit(ref(), Reason :: term()) -> ok | {error, topos_error:t()}.
exit(Ref, Reason) ->
    case ask(Ref, fun(Id) -> {exit, Id, Reason} end) of
        {ok, sent} -> ok;
        {error, Error} -> linked(exit, {error, Error})
    end.

%% @doc The process registered under a name on a node.
-spec whereis(node(), atom() | binary()) -> {ok, ref()} | {error, topos_error:t()}.
whereis(Node, Name) when is_atom(Name) -> whereis(Node, atom_to_binary(Name));
whereis(Node, Name) when is_atom(Node), is_binary(Name) -> linked(whereis, call(Node, {whereis, Name})).

%% @doc Whether a process lives. A reference to an earlier life is `stale_incarnation'.
-spec is_alive(ref()) -> {ok, boolean()} | {error, topos_error:t()}.
is_alive(Ref) -> linked(is_alive, ask(Ref, fun(Id) -> {is_alive, Id} end)).

%% topos_request: in a process of its own

-spec handle_request(node(), term()) -> {ok, term()} | {error, topos_error:t()}.
handle_request(_, {spawn, Module, Version, Bytes}) when is_binary(Module), is_binary(Bytes) ->
    spawn_fun(loaded(Module), Version, Bytes);
handle_request(_, {spawn, Module, Function, Arity, Arguments}) when is_binary(Module), is_binary(Function) ->
    spawn_function(loaded(Module), Function, Arity, Arguments);
handle_request(_, {exit, Life, Id, Reason}) ->
    on_local(Life, Id, fun(Pid) -> true = erlang:exit(Pid, Reason), sent end);
handle_request(_, {is_alive, Life, Id}) ->
    on_local(Life, Id, fun erlang:is_process_alive/1);
handle_request(_, {whereis, Name}) when is_binary(Name) ->
    try erlang:whereis(binary_to_existing_atom(Name)) of
        Pid when is_pid(Pid) -> {ok, topos_remote:of_pid(Pid)};
        _ -> no_such_process(Name)
    catch
        error:badarg -> no_such_process(Name)
    end.

%% topos_delivery: in the process of the lane

-spec deliver(topos_delivery:from(), binary(), {bytes, binary()} | {term, term()}) ->
    ok | {error, topos_delivery:reason()}.
deliver(_, <<Life:64, Id/binary>>, Message) ->
    case {topos_local:incarnation(), topos_remote:pid(Id)} of
        {Life, {ok, Pid}} ->
            case erlang:is_process_alive(Pid) andalso topos_delivery:message(Message) of
                {ok, Term} -> Pid ! Term, ok;
                {error, Reason} -> {error, Reason};
                false -> {error, ?TOPOS_UNDELIVERED_NO_PROCESS}
            end;
        {Life, error} -> {error, ?TOPOS_UNDELIVERED_NO_PROCESS};
        _ -> {error, ?TOPOS_UNDELIVERED_STALE}
    end;
deliver(_, _, _) ->
    {error, ?TOPOS_UNDELIVERED_BAD_TERM}.

%% internal

%% Where nothing is started that has a link, there may be one of Partisan's own managers, which can do none of this.
-spec linked(atom(), Answer | {error, topos_error:t()}) -> Answer | {error, topos_error:t()}.
linked(Function, {error, {Reason, _}}) when Reason =:= not_started; Reason =:= unsupported_by_manager -> topos_local:absent({?MODULE, Function});
linked(_, Answer) -> Answer.

-spec ask(ref(), fun((topos_remote:id()) -> tuple())) -> {ok, term()} | {error, topos_error:t()}.
ask(Ref, Request) ->
    case check(Ref) of
        ok ->
            [Tag, Id | Rest] = tuple_to_list(Request(topos_remote:id(Ref))),
            call(topos_remote:node(Ref), list_to_tuple([Tag, topos_remote:incarnation(Ref), Id | Rest]));
        Error -> Error
    end.

-spec call(node(), term()) -> {ok, term()} | {error, topos_error:t()}.
call(Node, Request) -> topos_request:call(Node, ?SERVICE, Request).

%% What can be known here of the life a reference belongs to. A node that is not up is left to the send to refuse.
-spec check(ref()) -> ok | {error, topos_error:t()}.
check(Ref) ->
    Node = topos_remote:node(Ref),
    Life = topos_remote:incarnation(Ref),
    case topos_local:is_started() andalso present(Node) of
        false -> {error, topos_error:new(not_started, #{})};
        {ok, Other} when Other =/= Life -> {error, topos_error:new(stale_incarnation, #{node => Node})};
        _ -> ok
    end.

-spec present(node()) -> {ok, topos_incarnation:t()} | unknown.
present(Node) ->
    case topos_local:config(node) of
        Node -> {ok, topos_local:incarnation()};
        _ ->
            case topos_link:status(Node) of
                {Status, Life} when Status =:= up; Status =:= suspect -> {ok, Life};
                _ -> unknown
            end
    end.

%% A module of that name, loaded. No atom is made of a name that no module of this node has.
-spec loaded(binary()) -> {ok, module()} | {error, topos_error:t()}.
loaded(Name) ->
    case exists(Name) of
        true ->
            Module = binary_to_atom(Name),
            case code:ensure_loaded(Module) of
                {module, Module} -> {ok, Module};
                {error, _} -> no_such_function(Name)
            end;
        false -> no_such_function(Name)
    end.

-spec exists(binary()) -> boolean().
exists(Name) when byte_size(Name) =< 255 ->
    try binary_to_existing_atom(Name) of
        _ -> true
    catch
        error:badarg -> code:where_is_file(unicode:characters_to_list(Name) ++ ".beam") =/= non_existing
    end;
exists(_) -> false.

-spec spawn_fun({ok, module()} | {error, topos_error:t()}, binary() | none, binary()) ->
    {ok, ref()} | {error, topos_error:t()}.
spawn_fun({error, Error}, _, _) -> {error, Error};
spawn_fun({ok, Module}, Version, Bytes) ->
    case Version =:= none orelse Version =:= Module:module_info(md5) of
        true ->
            case topos_delivery:decode(Bytes) of
                {ok, Fun} when is_function(Fun, 0) -> {ok, topos_remote:of_pid(erlang:spawn(Fun))};
                _ -> {error, topos_error:new(bad_message, #{node => topos_local:config(node), why => captured_terms})}
            end;
        false -> {error, topos_error:new(code_mismatch, #{module => Module, node => topos_local:config(node)})}
    end.

-spec spawn_function({ok, module()} | {error, topos_error:t()}, binary(), non_neg_integer(), [term()]) ->
    {ok, ref()} | {error, topos_error:t()}.
spawn_function({error, Error}, _, _, _) -> {error, Error};
spawn_function({ok, Module}, Function, Arity, Arguments) ->
    case [Name || {Name, A} <- Module:module_info(exports), A =:= Arity, atom_to_binary(Name) =:= Function] of
        [Name] -> {ok, topos_remote:of_pid(erlang:spawn(Module, Name, Arguments))};
        [] -> no_such_function(io_lib:format("~ts:~ts/~b", [Module, Function, Arity]))
    end.

-spec on_local(topos_incarnation:t(), topos_remote:id(), fun((pid()) -> term())) ->
    {ok, term()} | {error, topos_error:t()}.
on_local(Life, Id, Fun) ->
    case topos_remote:local_pid(topos_remote:new(topos_local:config(node), Life, Id)) of
        {ok, Pid} -> {ok, Fun(Pid)};
        Error -> Error
    end.

-spec no_such_process(binary()) -> {error, topos_error:t()}.
no_such_process(Target) ->
    {error, topos_error:new(no_such_process, #{target => Target, node => topos_local:config(node)})}.

-spec no_such_function(unicode:chardata()) -> {error, topos_error:t()}.
no_such_function(What) ->
    {error, topos_error:new(no_such_function, #{
        function => unicode:characters_to_binary(What), node => topos_local:config(node)
    })}.
