%% @doc An Erlang process around pure Topos: it keeps the items, Topos knows what they mean. A record of Topos is a map,
%% `Accepted(5)' is `{accepted, 5}'.
-module(app_template_cart).
-behaviour(gen_server).

-export([start_link/0, add/3, order/1]).
-export([init/1, handle_call/3, handle_cast/2]).

-type item() :: #{name := binary(), price := integer(), count := integer()}.

-spec start_link() -> gen_server:start_ret().
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Puts something into the cart.
-spec add(binary(), integer(), pos_integer()) -> ok.
add(Name, Price, Count) -> gen_server:call(?MODULE, {add, #{name => Name, price => Price, count => Count}}).

%% @doc Orders what is in the cart, if it costs no more than the budget. Answers what it costs.
-spec order(integer()) -> {ok, integer()} | {error, binary()}.
order(Budget) -> gen_server:call(?MODULE, {order, Budget}).

-spec init([]) -> {ok, [item()]}.
init([]) -> {ok, []}.

-spec handle_call({add, item()} | {order, integer()}, gen_server:from(), [item()]) -> {reply, term(), [item()]}.
handle_call({add, Item}, _From, Items) ->
    {reply, ok, [Item | Items]};
handle_call({order, Budget}, _From, Items) ->
    case 'Shop.Cart':order(Items, Budget) of
        {accepted, Sum} -> {reply, {ok, Sum}, []};
        {refused, Why} -> {reply, {error, Why}, Items}
    end.

-spec handle_cast(term(), [item()]) -> {noreply, [item()]}.
handle_cast(_, Items) -> {noreply, Items}.
