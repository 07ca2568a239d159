%% @doc The process through which channels change while the node runs: one change at a time, checked as a whole.
%%
%% The engine hears of a new layout before the lanes do and of a channel that is closed after them, so a lane always finds
%% its channel there.
-module(topos_channels).
-behaviour(gen_server).

-export([start_link/0, create/1, reconfigure/1, remove/1, removed/0]).
-export([init/1, handle_call/3, handle_cast/2]).

-type answer() :: ok | {error, topos_error:t()}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Adds channels; none of them may exist.
-spec create(term()) -> answer().
create(Given) -> gen_server:call(?MODULE, {create, Given}).

%% @doc Changes settings of channels that exist.
-spec reconfigure(#{atom() => term()}) -> answer().
reconfigure(Given) -> gen_server:call(?MODULE, {reconfigure, Given}).

%% @doc Refuses further messages on a channel. Its lanes are still there, and the engine's part: see {@link removed/0}.
-spec remove(atom()) -> answer().
remove(Name) -> gen_server:call(?MODULE, {remove, Name}).

%% @doc The lanes of the channels that were removed have ended: the engine may close what they used.
-spec removed() -> ok.
removed() -> gen_server:call(?MODULE, removed).

%% gen_server

-spec init([]) -> {ok, []}.
init([]) -> {ok, []}.

-spec handle_call(term(), gen_server:from(), []) -> {reply, answer(), []}.
handle_call({create, Given}, _From, State) ->
    Old = topos_local:config(channels),
    {reply, change(Given, [N || N <- names(Given), is_map_key(N, by_text(Old))], fun exists/2), State};
handle_call({reconfigure, Given}, _From, State) ->
    Old = topos_local:config(channels),
    {reply, change(Given, [N || N <- names(Given), not is_map_key(N, by_text(Old))], fun unknown/2), State};
handle_call({remove, Name}, _From, State) ->
    Channels = topos_local:config(channels),
    Standard = topos_config:standard_channels(),
    case Channels of
        _ when is_map_key(Name, Standard) ->
            {reply, {error, topos_error:new(standard_channel, #{channel => Name})}, State};
        #{Name := _} ->
            {reply, topos_local:set_channels(maps:remove(Name, Channels)), State};
        _ ->
            {reply, unknown(Name, Channels), State}
    end;
handle_call(removed, _From, State) ->
    {reply, (topos_local:engine()):reconfigure(topos_local:config(channels)), State}.

-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_, State) -> {noreply, State}.

%% internal

%% The names as texts, so that those that are refused become no atoms; none of what cannot be read, which the parser tells.
-spec names(term()) -> [binary()].
names(Given) ->
    case topos_config_value:pairs(<<>>, Given) of
        {ok, Pairs} -> [Name || {Name, _} <- Pairs];
        {error, _} -> []
    end.

-spec by_text(topos_node_spec:channels()) -> #{binary() => []}.
by_text(Channels) -> maps:from_list([{atom_to_binary(Name), []} || Name <- maps:keys(Channels)]).

-spec change(term(), Wrong :: [binary()], fun((binary(), map()) -> answer())) -> answer().
change(Given, Wrong, Otherwise) ->
    #{channels := Old} = Config = topos_local:config(),
    case Wrong of
        [Name | _] ->
            Otherwise(Name, Old);
        [] ->
            case topos_config:parse_changed(Config, Given) of
                {ok, New} -> set(Old, New);
                {error, _} = Error -> Error
            end
    end.

-spec set(topos_node_spec:channels(), topos_node_spec:channels()) -> ok.
set(Same, Same) ->
    ok;
set(Old, New) ->
    ok = case layout(Old) =:= layout(New) of
        true -> ok;
        false -> (topos_local:engine()):reconfigure(New)
    end,
    ok = topos_local:set_channels(New),
    Changed = [Name || {Name, Settings} <- maps:to_list(New), maps:get(Name, Old, Settings) =/= Settings],
    %% Not waited for: lanes that have nothing left end by themselves, also when no further message comes.
    lists:foreach(fun(Name) -> _ = topos_lanes:retire(Name, 0) end, Changed).

%% What the engine sees of channels.
-spec layout(topos_node_spec:channels()) -> #{atom() => term()}.
layout(Channels) -> maps:map(fun(_, Settings) -> maps:with([parallelism], Settings) end, Channels).

-spec exists(binary(), map()) -> {error, topos_error:t()}.
exists(Name, _) -> {error, topos_error:new(channel_exists, #{channel => Name})}.

-spec unknown(atom() | binary(), map()) -> {error, topos_error:t()}.
unknown(Name, Channels) ->
    {error, topos_error:new(no_such_channel, #{channel => Name, known => lists:sort(maps:keys(Channels))})}.
