%% @doc A custom topology for the suites: a ring, or a line; and what a handler may do wrong, when the VM is told to.
-module(topos_ct_shape).
-behaviour(topos_topology_handler).

-export([init/1, neighbours/3, spoil/1]).

%% @doc From now on calls in this VM fail in this way; `none': no more.
-spec spoil(none | refuse | crash | hang | hoard | stranger | too_many | no_list) -> ok.
spoil(How) -> persistent_term:put(?MODULE, How).

-spec init(ring | line) -> {ok, ring | line} | {error, on_purpose}.
init(Shape) ->
    case persistent_term:get(?MODULE, none) of
        refuse -> {error, on_purpose};
        _ -> {ok, Shape}
    end.

-spec neighbours(node(), [node(), ...], ring | line) -> [node()].
neighbours(Node, Members, Shape) ->
    case persistent_term:get(?MODULE, none) of
        none -> lists:sublist(next(Node, Members, Shape), 1);
        crash -> error(on_purpose);
        hang -> receive never -> [] end;
        hoard -> hoard([]);
        stranger -> [nobody@nowhere];
        too_many -> lists:duplicate(1_000, hd(Members));
        no_list -> Node
    end.

next(Node, Members, Shape) ->
    [Node | After] = lists:dropwhile(fun(Member) -> Member =/= Node end, Members),
    case Shape of
        ring -> (After ++ Members) -- [Node];
        line -> After
    end.

hoard(All) -> hoard([lists:seq(1, 100_000) | All]).
