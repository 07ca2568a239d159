%% @doc What runs under a `with' of a handler written in Topos, and the state of the handler.
%%
%% A state variable is a cell. Where nothing under the `with' can start a process (the compiler knows), a cell is <b>local</b>:
%% an entry of the process dictionary. Elsewhere it is <b>shared</b>: a process owns a public table that everybody under the
%% `with' reads directly; who assigns first takes the owner's lock, so that an assignment that reads what it assigns, and
%% all of an `atomic' block, are one step for others. What an `atomic' block assigns becomes visible at its end, all at
%% once, and not at all if it fails. The lock is the process's that took it: it is set free if the process ends.
%%
%% After the `with' has ended, every use of its state, and every `abort', fails with `handler_gone' (TP1068).
-module(topos_scope).

-export([run/5, cell/2, get/1, put/2, update/2, atomic/2, abort/2, owner/0]).
-export_type([scope/0, cell/0]).

-compile({no_auto_import, [get/1, put/2]}).
-compile({inline, [boxed/1]}).

%% A local scope is the process that runs the `with' and a reference, under which its cells are listed.
-type scope() :: {pid(), reference()} | {pid(), reference(), topos_owner:owner(), ets:table()}.
%% A local cell is its key in the process dictionary, which finds small integers faster than what it has to hash. Unique
%% ones begin at the smallest of them: far from any that other code would use. Of a shared cell, the table, its key there
%% and its owner.
-opaque cell() :: integer() | {ets:table(), pos_integer(), topos_owner:owner()}.

-define(ABORT, '$topos_abort').
-define(OWNER, '$topos_owner').
%% The value `undefined' of a local cell: the process dictionary says `undefined' of a cell that is gone.
-define(UNDEFINED, '$topos_undefined').

%% @doc Runs a `with'. `Setup' makes the instance, with the cells of its state; `Init' and `Finally' are clauses, or `none'.
%% `Finally' runs once the setup is done, however the rest ends; then the state is gone, and so are the processes that `Init'
%% started. Answers what `Body' does, or the value of an `abort'.
-spec run(boolean(), fun((scope()) -> I), none | fun((I) -> term()), fun((I) -> R), none | fun((I) -> term())) -> R.
run(false, Setup, Init, Body, Finally) ->
    Ref = make_ref(),
    Scope = {self(), Ref},
    _ = erlang:put(Ref, []),
    try
        run_in(Scope, Setup, Init, Body, Finally)
    after
        lists:foreach(fun(Cell) -> erlang:erase(Cell) end, erlang:erase(Ref))
    end;
run(true, Setup, Init, Body, Finally) ->
    Ref = make_ref(),
    {Owner, Table} = topos_owner:start(self()),
    _ = erlang:put(Ref, []),
    try
        run_in({self(), Ref, Owner, Table}, Setup, Init, Body, Finally)
    after
        _ = erlang:erase(Ref),
        ok = topos_owner:stop(Owner)
    end.

%% @doc A new cell with its first value; only for the `Setup' of {@link run/5}.
-spec cell(scope(), term()) -> cell().
cell({_, Ref}, Value) ->
    Cell = erlang:unique_integer(),
    _ = erlang:put(Ref, [Cell | erlang:get(Ref)]),
    _ = erlang:put(Cell, boxed(Value)),
    Cell;
cell({_, _, Owner, Table}, Value) ->
    Key = ets:info(Table, size) + 1,
    true = ets:insert(Table, {Key, Value}),
    {Table, Key, Owner}.

%% @doc The value of a cell.
-spec get(cell()) -> term().
get(Cell) when is_integer(Cell) ->
    case erlang:get(Cell) of
        undefined -> gone();
        ?UNDEFINED -> undefined;
        Value -> Value
    end;
get({Table, Key, _}) ->
    case erlang:get(Table) of
        #{Key := Value} -> Value;
        _ -> read(Table, Key)
    end.

%% @doc Assigns a value that does not depend on the cell.
-spec put(cell(), term()) -> ok.
put(Cell, Value) when is_integer(Cell) ->
    case erlang:put(Cell, boxed(Value)) of
        undefined ->
            _ = erlang:erase(Cell),
            gone();
        _ ->
            ok
    end;
put({Table, Key, Owner}, Value) ->
    case erlang:get(Table) of
        undefined -> locked(Owner, Table, fun() -> write(Table, #{Key => Value}) end);
        Written ->
            _ = erlang:put(Table, Written#{Key => Value}),
            ok
    end.

%% @doc Assigns a value that depends on the cell.
-spec update(cell(), fun(() -> term())) -> ok.
update(Cell, Value) when is_integer(Cell) -> put(Cell, Value());
update({Table, _, Owner} = Cell, Value) -> transaction(Owner, Table, fun() -> put(Cell, Value()) end).

%% @doc Runs an `atomic' block.
-spec atomic(scope(), fun(() -> Result)) -> Result when Result :: term().
atomic({_, Ref}, Body) ->
    Before = [{Cell, erlang:get(Cell)} || Cell <- cells(Ref)],
    try
        Body()
    catch
        Class:Reason:Stack ->
            lists:foreach(fun({Cell, Value}) -> erlang:put(Cell, Value) end, Before),
            erlang:raise(Class, Reason, Stack)
    end;
atomic({_, _, Owner, Table}, Body) ->
    transaction(Owner, Table, Body).

%% @doc Leaves the `with', which then has this value. Only the process that runs the `with' can.
-spec abort(scope(), term()) -> no_return().
abort(Scope, Value) ->
    {Home, Ref} = {element(1, Scope), element(2, Scope)},
    case {Home =:= self(), erlang:get(Ref)} of
        {true, Cells} when is_list(Cells) -> throw({?ABORT, Ref, Value});
        {true, undefined} -> gone();
        {false, _} -> erlang:error(topos_error:new(abort_elsewhere, #{process => self(), home => Home}))
    end.

%% @doc The owner that a process which is started now is linked to: that of the handler whose `init' runs.
-spec owner() -> topos_owner:owner() | undefined.
owner() -> erlang:get(?OWNER).

%% internal

run_in(Scope, Setup, Init, Body, Finally) ->
    Ref = element(2, Scope),
    Instance = Setup(Scope),
    try
        ok = init(Scope, Init, Instance),
        Body(Instance)
    catch
        throw:{?ABORT, Ref, Value} -> Value
    after
        ok = finish(Finally, Instance)
    end.

init(_, none, _) ->
    ok;
init({_, _}, Init, Instance) ->
    _ = Init(Instance),
    ok;
init({_, _, Owner, _}, Init, Instance) ->
    Outer = erlang:put(?OWNER, Owner),
    try
        _ = Init(Instance),
        ok
    after
        case Outer of
            undefined -> erlang:erase(?OWNER);
            _ -> erlang:put(?OWNER, Outer)
        end
    end.

finish(none, _) ->
    ok;
finish(Finally, Instance) ->
    _ = Finally(Instance),
    ok.

boxed(undefined) -> ?UNDEFINED;
boxed(Value) -> Value.

cells(Ref) ->
    case erlang:get(Ref) of
        undefined -> gone();
        Cells -> Cells
    end.

%% Inside of a transaction the values that were assigned wait under the table's own identifier.
transaction(Owner, Table, Body) ->
    case erlang:get(Table) of
        undefined ->
            locked(Owner, Table, fun() ->
                _ = erlang:put(Table, #{}),
                try Body() of
                    Result ->
                        ok = write(Table, erlang:get(Table)),
                        Result
                after
                    erlang:erase(Table)
                end
            end);
        _ ->
            Body()
    end.

locked(Owner, _Table, Body) ->
    case topos_owner:lock(Owner) of
        ok ->
            try
                Body()
            after
                ok = topos_owner:unlock(Owner)
            end;
        gone ->
            gone();
        timeout ->
            erlang:error(topos_error:new(timeout, #{operation => atomic, timeout => topos_owner:patience()}))
    end.

read(Table, Key) ->
    try
        ets:lookup_element(Table, Key, 2)
    catch
        error:badarg -> gone()
    end.

%% One insertion of several objects is atomic and isolated.
write(_Table, Values) when map_size(Values) =:= 0 ->
    ok;
write(Table, Values) ->
    try ets:insert(Table, maps:to_list(Values)) of
        true -> ok
    catch
        error:badarg -> gone()
    end.

-spec gone() -> no_return().
gone() -> erlang:error(topos_error:new(handler_gone, #{})).
