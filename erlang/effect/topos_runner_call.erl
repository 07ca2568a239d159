%% @doc What crosses when a function is called on another node of the same `topos run' or `topos test': the function, and what
%% came of it, each as one word of a line.
%%
%% It takes the way over the runner, so it works before the nodes are a cluster, and while the network between them is cut. All VMs
%% of a run have the same beams, so a function value crosses as it is; it is called with the evidence of the root handlers there.
%% What belongs to one VM does not cross, in a function or in an answer: see {@link topos_portable}.
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
    case topos_portable:check(Term) of
        ok ->
            Bytes = term_to_binary(Term),
            case byte_size(Bytes) of
                Size when Size > ?MAX_BYTES -> {error, topos_error:new(call_too_large, #{size => Size, limit => ?MAX_BYTES})};
                _ -> {ok, base64:encode(Bytes)}
            end;
        {error, _} = Error ->
            Error
    end.
