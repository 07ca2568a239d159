%% @doc A service and callers for the suite of requests, run inside the VMs of nodes. The service counts how often each request
%% was carried out.
-module(topos_ct_request).
-behaviour(topos_request).

-export([serve/0, handle_request/2, carried_out/1, call/3, size_of_answer/3, start_callers/3, start_refused/3, answered/1, stop_callers/1]).
-export([start_caller/2, kill_caller/1, waiting/0, strangers/2]).

-define(SERVICE, topos_ct_request).
-define(TIMEOUT, 60_000).
%% Between two tries where the peer is down, in milliseconds.
-define(RETRY, 5).

%% @doc Begins to serve, with nothing counted.
-spec serve() -> ok.
serve() ->
    ok = case ets:info(?SERVICE, size) of
        undefined ->
            Parent = self(),
            _ = spawn(fun() ->
                ?SERVICE = ets:new(?SERVICE, [named_table, public]),
                Parent ! counting,
                receive never -> ok end
            end),
            receive counting -> ok end;
        _ ->
            %% The VM served in an earlier case.
            true = ets:delete_all_objects(?SERVICE),
            ok
    end,
    topos_request:serve(?SERVICE, ?MODULE).

-spec handle_request(node(), term()) -> {ok, term()} | {error, topos_error:t()}.
handle_request(_, {count, Id}) -> {ok, {Id, ets:update_counter(?SERVICE, Id, 1, {Id, 0})}};
handle_request(_, {zeros, Size, Given}) when is_binary(Given) -> {ok, <<0:(8 * Size)>>};
handle_request(_, {hang, Id}) ->
    true = ets:insert(?SERVICE, {{hangs, self()}, Id}),
    receive never -> {ok, never} end.

%% @doc How often each request was carried out, of those that were: the most, and which were it how often.
-spec carried_out([term()]) -> #{Times :: non_neg_integer() => Requests :: pos_integer()}.
carried_out(Ids) ->
    Times = [case ets:lookup(?SERVICE, Id) of [{_, N}] -> N; [] -> 0 end || Id <- Ids],
    lists:foldl(fun(N, Acc) -> maps:update_with(N, fun(Count) -> Count + 1 end, 1, Acc) end, #{}, Times).

%% @doc The processes of this node that serve and do not end.
-spec waiting() -> [term()].
waiting() -> [Id || {{hangs, Pid}, Id} <- ets:tab2list(?SERVICE), is_process_alive(Pid)].

-spec call(node(), term(), pos_integer()) -> {ok, term()} | {error, topos_error:t()}.
call(Node, Request, Timeout) -> topos_request:call(Node, ?SERVICE, Request, Timeout).

%% @doc Asks with so many bytes for so many.
-spec size_of_answer(node(), pos_integer(), pos_integer()) -> {ok, non_neg_integer()} | {error, topos_error:t()}.
size_of_answer(Node, Request, Reply) ->
    case call(Node, {zeros, Reply, <<0:(8 * Request)>>}, ?TIMEOUT) of
        {ok, Bytes} -> {ok, byte_size(Bytes)};
        {error, _} = Error -> Error
    end.

%% @doc What is left in the mailbox of a process that asked so many times.
-spec strangers(node(), pos_integer()) -> [term()].
strangers(Node, Count) ->
    {Pid, Ref} = spawn_monitor(fun() ->
        [{ok, _} = call(Node, {count, {stranger, N}}, ?TIMEOUT) || N <- lists:seq(1, Count)],
        {messages, Messages} = process_info(self(), messages),
        exit({messages, Messages})
    end),
    receive {'DOWN', Ref, process, Pid, {messages, Messages}} -> Messages end.

%% @doc Processes that ask one numbered request after the other until they are stopped.
-spec start_callers(node(), [term()], pos_integer()) -> pid().
start_callers(Node, Names, Timeout) ->
    start_asking(Names, fun(Id) ->
        case call(Node, {count, Id}, Timeout) of
            {ok, {Id, 1}} -> ok;
            {ok, Other} -> {wrong, Other};
            {error, {Reason, _}} -> Reason
        end
    end).

%% @doc The same, but with large requests to a service that the node does not have.
-spec start_refused(node(), [term()], pos_integer()) -> pid().
start_refused(Node, Names, Timeout) ->
    start_asking(Names, fun(_) ->
        {error, {Reason, _}} = topos_request:call(Node, topos_ct_no_service, <<0:(8 * 70_000)>>, Timeout),
        Reason
    end).

%% @doc How many answers the callers have from a peer that they reached.
-spec answered(pid()) -> non_neg_integer().
answered(Pid) -> ask(Pid, answered).

%% @doc The answers by request.
-spec stop_callers(pid()) -> [{Id :: term(), ok | {wrong, term()} | atom()}].
stop_callers(Pid) -> lists:append(ask(Pid, stop)).

-spec start_caller(node(), term()) -> pid().
start_caller(Node, Request) -> spawn(fun() -> call(Node, Request, 60_000) end).

-spec kill_caller(pid()) -> true.
kill_caller(Pid) -> exit(Pid, kill).

%% internal

start_asking(Names, Ask) ->
    spawn(fun() ->
        %% Whether to stop, and how many were answered.
        Shared = atomics:new(2, []),
        Callers = [spawn_monitor(fun() -> exit({asked, asking(Name, Ask, Shared, 1, [])}) end) || Name <- Names],
        until_stopped(Shared, Callers)
    end).

until_stopped(Shared, Callers) ->
    receive
        {From, Ref, answered} -> From ! {Ref, atomics:get(Shared, 2)}, until_stopped(Shared, Callers);
        {From, Ref, stop} -> ok = atomics:put(Shared, 1, 1), From ! {Ref, [ended(C) || C <- Callers]}
    end.

ask(Pid, What) ->
    Ref = monitor(process, Pid),
    Pid ! {self(), Ref, What},
    receive
        {Ref, Answer} -> true = demonitor(Ref, [flush]), Answer;
        {'DOWN', Ref, process, _, Reason} -> error(Reason)
    end.

asking(Name, Ask, Shared, Number, Answers) ->
    case atomics:get(Shared, 1) of
        1 ->
            Answers;
        0 ->
            Id = {Name, Number},
            Answer = Ask(Id),
            ok = case Answer =:= not_connected orelse Answer =:= unknown_node of
                true -> receive after ?RETRY -> ok end;
                false -> atomics:add(Shared, 2, 1)
            end,
            asking(Name, Ask, Shared, Number + 1, [{Id, Answer} | Answers])
    end.

ended({Pid, Ref}) -> receive {'DOWN', Ref, process, Pid, {asked, Answers}} -> Answers end.
