%% @doc Incarnations: a node's lives, numbered.
%%
%% An incarnation is a 64-bit integer that grows with every boot of a node, so that a message, a token or a reference of an
%% earlier life is recognised and refused. It is the system time in microseconds at the start of the life, which needs no
%% storage; a clock that was set back is repaired by the cluster: a node that hears of a higher incarnation of itself
%% moves above it (the refutation of SWIM, Das et al. 2002).
-module(topos_incarnation).

-export([new/0, above/1, is_valid/1]).
-export_type([t/0]).

-type t() :: 1..16#ffffffffffffffff.

%% @doc An incarnation for a life that begins now.
-spec new() -> t().
new() -> above(0).

%% @doc An incarnation for now that is higher than `Earlier'.
-spec above(0 | t()) -> t().
above(Earlier) -> max(erlang:system_time(microsecond), Earlier + 1).

-spec is_valid(term()) -> boolean().
is_valid(I) -> is_integer(I) andalso I > 0 andalso I =< 16#ffffffffffffffff.
