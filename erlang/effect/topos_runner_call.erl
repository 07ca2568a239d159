%% @doc What crosses when a function is called on another node of the same `topos run' or `topos test': the function, and what
%% came of it, each as one word of a line.
%%
%% It takes the way over the runner, so it works before the nodes are a cluster, and while the network between them is cut. All VMs
%% of a run have the same beams, so a function value crosses as it is; it is called with the evidence of the root handlers there.
%% Processes and ports do not cross: VMs that are not distributed number theirs alike, and a foreign one would stand for one of
%% this VM.
-module(topos_runner_call).

-export([encode_body/1, serve/1, decode_answer/2]).
-export_type([body/0]).

-type body() :: fun((ok, topos_effect:evidence()) -> term()).
-type outcome() :: {value, term()} | {raised, term()} | {failed, Text :: binary()}.

%% So that a line of the runner's protocol, which has other words too, stays below 1 MiB.
-define(MAX_BYTES, 700_000).

%% @doc The word that carries the function. Errors: `stays_here', `call_too_large'.
-spec encode_body(body()) -> {ok, binary()} | {error, topos_error:t()}.
encode_body(Body) -> encode(Body).

%% @doc Runs the function of such a word, in the calling process, and answers the word for what came of it.
-spec serve(binary()) -> binary().
serve(Word) ->
    Outcome = run(binary_to_term(base64:decode(Word))),
    case encode(Outcome) of
        {ok, Answer} ->
            Answer;
        {error, Error} ->
            {ok, Answer} = encode({raised, Error}),
            Answer
    end.

%% @doc What the function answered on the node of that name. What it failed with there it fails with here.
-spec decode_answer(Name :: binary(), binary()) -> term().
decode_answer(Name, Word) ->
    case binary_to_term(base64:decode(Word)) of
        {value, Value} ->
            Value;
        {raised, {topos_test_failed, #{about := About} = Failure}} ->
            erlang:error({topos_test_failed, Failure#{about := [<<"on ", Name/binary>> | About]}});
        {raised, Reason} ->
            erlang:error(Reason);
        {failed, Why} ->
            erlang:error(topos_error:new(call_failed, #{node => Name, why => Why}))
    end.

%% internal

%% Failures that a caller can take apart stay what they are; others cross as they are shown to people.
-spec run(body()) -> outcome().
run(Body) ->
    try
        {value, Body(ok, topos_effect:root())}
    catch
        error:{topos_test_failed, _} = Failure ->
            {raised, Failure};
        Class:Reason:Stack ->
            case Class =:= error andalso topos_error:is_error(Reason) of
                true -> {raised, Reason};
                false -> {failed, unicode:characters_to_binary(topos_rt:format_error(Class, Reason, Stack))}
            end
    end.

-spec encode(term()) -> {ok, binary()} | {error, topos_error:t()}.
encode(Term) ->
    case local(Term) of
        {some, Process} ->
            {error, topos_error:new(stays_here, #{value => shown(Process)})};
        none ->
            Bytes = term_to_binary(Term),
            case byte_size(Bytes) of
                Size when Size > ?MAX_BYTES -> {error, topos_error:new(call_too_large, #{size => Size, limit => ?MAX_BYTES})};
                _ -> {ok, base64:encode(Bytes)}
            end
    end.

-spec shown(pid() | port()) -> binary().
shown(Process) when is_pid(Process) -> list_to_binary(pid_to_list(Process));
shown(Port) -> list_to_binary(port_to_list(Port)).

%% A process or a port in the term, also in what a function captured.
-spec local(term()) -> {some, pid() | port()} | none.
local(Term) when is_pid(Term); is_port(Term) -> {some, Term};
local([Head | Tail]) -> first(Head, Tail);
local(Term) when is_tuple(Term) -> local(tuple_to_list(Term));
local(Term) when is_map(Term) -> local(maps:to_list(Term));
local(Term) when is_function(Term) ->
    {env, Captured} = erlang:fun_info(Term, env),
    local(Captured);
local(_) -> none.

-spec first(term(), term()) -> {some, pid() | port()} | none.
first(Head, Tail) ->
    case local(Head) of
        none -> local(Tail);
        Found -> Found
    end.
