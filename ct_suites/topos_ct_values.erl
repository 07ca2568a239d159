%% @doc Values of keys that change all the time, inside the VMs of nodes: those who send each change to several nodes, and
%% a store that keeps the newest value of each key and counts.
-module(topos_ct_values).

-export([start_store/1, store/1, update/5]).

-type key() :: non_neg_integer().
%% How many values came, the newest of each key, and those that came after a newer one, the first 10.
-type store() :: #{came := non_neg_integer(), newest := #{key() => pos_integer()}, older := [{key(), pos_integer()}]}.

-define(WAIT, 30_000).

-spec start_store(atom()) -> ok.
start_store(Name) ->
    Parent = self(),
    Pid = spawn(fun() ->
        true = register(Name, self()),
        Parent ! {self(), registered},
        keeping(#{came => 0, newest => #{}, older => []})
    end),
    receive {Pid, registered} -> ok end.

-spec store(atom()) -> store().
store(Name) ->
    Ref = monitor(process, Name),
    Name ! {ask, self(), Ref},
    receive
        {Ref, Store} -> true = demonitor(Ref, [flush]), Store;
        {'DOWN', Ref, process, _, Reason} -> error({gone, Name, Reason})
    end.

%% @doc `Senders' processes send the values `First..Last' on a channel, each to the stores of all nodes, as fast as they are
%% accepted. The key of a value is what is left when it is divided by `Keys'; each key has one sender.
-spec update([node()], {Store :: atom(), Channel :: atom()}, Keys :: pos_integer(), {pos_integer(), pos_integer()}, pos_integer()) -> ok.
update(Nodes, To, Keys, {First, Last}, Senders) ->
    Pids = [
        spawn_monitor(fun() -> send(Nodes, To, Keys, [N || N <- lists:seq(First, Last), N rem Keys rem Senders =:= Sender]) end)
     || Sender <- lists:seq(0, Senders - 1)
    ],
    lists:foreach(fun({Pid, Ref}) -> receive {'DOWN', Ref, process, Pid, Reason} -> normal = Reason end end, Pids).

%% internal

-spec send([node()], {atom(), atom()}, pos_integer(), [pos_integer()]) -> ok.
send(Nodes, {Store, Channel}, Keys, Values) ->
    lists:foreach(
        fun(Value) ->
            Key = Value rem Keys,
            Options = #{channel => Channel, key => Key, wait => ?WAIT},
            [ok = topos_partisan:send(Node, Store, {Key, Value}, Options) || Node <- Nodes]
        end, Values).

-spec keeping(store()) -> no_return().
keeping(#{came := Came, newest := Newest, older := Older} = Store) ->
    receive
        {Key, Value} when is_integer(Key) ->
            Next = case Newest of
                #{Key := Newer} when Newer >= Value -> Store#{older := lists:sublist(Older ++ [{Key, Value}], 10)};
                _ -> Store#{newest := Newest#{Key => Value}}
            end,
            keeping(Next#{came := Came + 1});
        {ask, From, Ref} ->
            From ! {Ref, Store},
            keeping(Store)
    end.
