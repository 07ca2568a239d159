%% @doc What an effect handler written in Erlang is.
%%
%% A handler is a module. `init/2' makes an instance of it for one `with' (or, for a root handler, for the whole program);
%% `perform E.op(a, b)' is the call `Module:op(Instance, A, B)', in the process that performs. Besides the callbacks below the
%% module exports one function an operation, with the instance as its first argument.
%%
%% An operation returns the value that the effect's declaration says, in the run-time representation (`Result' is
%% `{ok, Value}' or `{error, Value}', the unit is `ok', `None' is `none', `Some(x)' is `{some, X}'). It fails by
%% `erlang:error(topos_error:t())'. A function value among its arguments is tied to the evidence of the performer already:
%% call it with the evidence that `init/2' was given, from any process.
%%
%% `Args' is always a list. So where an effect has an operation `init' of one argument, which is `init/2' as well, an
%% instance that is not a list tells the clauses apart.
-module(topos_handler).

-export_type([instance/0]).

-type instance() :: term().

%% Makes an instance, or answers `{error, topos_error:t()}'. `Args' are those of the `with', `Ev' the evidence around it.
%% (The type is wider because an operation `init' of one argument answers here too, in its own shape.)
-callback init(Args :: [term()], Ev :: topos_effect:evidence()) ->
    {ok, instance()} | {error, term()}.

%% The `with' ended: `normal', or the class and reason of the exception that leaves it.
-callback terminate(Reason :: normal | {error | exit | throw, term()}, instance()) -> ok.

%% Whether the instance still works when it is copied to another node.
-callback portable(instance()) -> boolean().
