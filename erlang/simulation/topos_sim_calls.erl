%% @doc Calls of functions on other nodes of a simulated run of tests: what `topos_runner:call/2' is on real nodes.
%%
%% A call takes no way over the simulated network and no virtual time, so it works before there is a cluster and while nodes are cut
%% off from each other. Function and answer cross in the form of `topos_runner_call', so what cannot cross between VMs does not
%% cross here either.
-module(topos_sim_calls).
-behaviour(topos_sim_scheduler).

%% In a process of the program.
-export([serve/0, call/2]).
%% In the scheduler.
-export([started/2, crashed/2]).
-export([handle/3, happen/2, ended/4]).

-type id() :: topos_sim_world:node_id().
-type caller() :: {pid(), topos_sim_world:wait_id()}.
%% Calls of nodes that have not started yet, the latest first.
-type part() :: #{id() => [{Word :: binary(), caller()}]}.

%% @doc What a node of tests does but the first one: it waits for calls, for ever.
-spec serve() -> no_return().
serve() -> topos_sim_scheduler:call(?MODULE, serve).

%% @doc Calls a function on the node of that short name. Fails as `topos_runner:call/2' does.
-spec call(binary(), topos_runner_call:body()) -> term().
call(Name, Body) ->
    case topos_runner_call:encode_body(Body) of
        {ok, Word} ->
            case topos_sim_scheduler:call(?MODULE, {call, Name, Word}) of
                {answered, Answer} -> topos_runner_call:decode_answer(Name, Answer);
                {failed, Error} -> erlang:error(Error)
            end;
        {error, Error} ->
            erlang:error(Error)
    end.

%% @doc A node has started: what it was asked before begins.
-spec started(id(), topos_sim_world:world()) -> topos_sim_world:world().
started(Id, World) ->
    case maps:take(Id, part(World)) of
        {Calls, Others} ->
            lists:foldr(fun({Word, Caller}, W) -> begin_call(Id, Word, Caller, W) end, set(Others, World), Calls);
        error ->
            World
    end.

%% @doc A node ended before it started to answer.
-spec crashed(id(), topos_sim_world:world()) -> topos_sim_world:world().
crashed(Id, World) ->
    case maps:take(Id, part(World)) of
        {Calls, Others} ->
            lists:foldr(fun({_, Caller}, W) -> answer(Caller, node_ended(Id, W), W) end, set(Others, World), Calls);
        error ->
            World
    end.

-spec handle(serve | {call, binary(), binary()}, pid(), topos_sim_world:world()) -> topos_sim_scheduler:answer().
handle(serve, Pid, World) ->
    {_, Parked} = topos_sim_world:park(Pid, idle, infinity, World),
    {wait, Parked};
handle({call, Name, Word}, Pid, World) ->
    Names = topos_sim_nodes:names(World),
    case {topos_sim_world:option(tests, World), lists:member(Name, Names)} of
        {false, _} ->
            {error, topos_error:new(no_serving_nodes, #{}), World};
        {true, false} ->
            Known = unicode:characters_to_binary(lists:join(", ", Names)),
            {error, topos_error:new(unknown_contact, #{node => Name, known => Known}), World};
        {true, true} ->
            {ok, Id} = topos_sim_nodes:by_name(Name, World),
            {Wait, Parked} = topos_sim_world:park(Pid, "Runner.on_node", infinity, World),
            {wait, called(topos_sim_nodes:status(Id, World), Id, Word, {Pid, Wait}, Parked)}
    end.

-spec happen(term(), topos_sim_world:world()) -> no_return().
happen(Event, _) -> erlang:error({no_event_of_calls, Event}).

-spec ended(pid(), topos_sim_world:process(), topos_sim_scheduler:reason(), topos_sim_world:world()) ->
    topos_sim_world:world().
ended(_, #{call := Caller}, {answered, _} = Answer, World) ->
    answer(Caller, Answer, World);
ended(_, #{call := Caller, node := Id}, Reason, World) ->
    case topos_sim_nodes:status(Id, World) of
        ended ->
            answer(Caller, node_ended(Id, World), World);
        running ->
            Why = unicode:characters_to_binary(io_lib:format("the process of the call ended: ~0tP", [Reason, 20])),
            Error = topos_error:new(call_failed, #{node => topos_sim_nodes:name(Id, World), why => Why}),
            answer(Caller, {failed, Error}, World)
    end;
ended(_, _, _, World) ->
    World.

%% internal

-spec part(topos_sim_world:world()) -> part().
part(World) -> topos_sim_world:part(?MODULE, #{}, World).

-spec set(part(), topos_sim_world:world()) -> topos_sim_world:world().
set(Part, World) -> topos_sim_world:set_part(?MODULE, Part, World).

-spec called(new | running | ended, id(), binary(), caller(), topos_sim_world:world()) -> topos_sim_world:world().
called(new, Id, Word, Caller, World) ->
    Part = part(World),
    set(Part#{Id => [{Word, Caller} | maps:get(Id, Part, [])]}, World);
called(running, Id, Word, Caller, World) ->
    begin_call(Id, Word, Caller, World);
called(ended, Id, _, Caller, World) ->
    answer(Caller, node_ended(Id, World), World).

-spec begin_call(id(), binary(), caller(), topos_sim_world:world()) -> topos_sim_world:world().
begin_call(Id, Word, Caller, World) ->
    About = #{life => topos_sim_nodes:life(Id, World), kind => call, call => Caller},
    Body = fun() -> {answered, topos_runner_call:serve(Word)} end,
    {_, Started} = topos_sim_scheduler:start_process(Id, About, Body, World),
    Started.

-spec node_ended(id(), topos_sim_world:world()) -> {failed, topos_error:t()}.
node_ended(Id, World) -> {failed, topos_error:new(node_ended, #{node => topos_sim_nodes:name(Id, World)})}.

-spec answer(caller(), {answered, binary()} | {failed, topos_error:t()}, topos_sim_world:world()) ->
    topos_sim_world:world().
answer({Pid, Wait}, Answer, World) -> topos_sim_world:wake(Pid, Wait, {value, Answer}, World).
