%% @doc The channel of what a process sends without naming one: `data', or that of the innermost {@link run/2} around it.
%%
%% It is kept in the dictionary of the process: a process that is started in it begins with `data' again.
-module(topos_default_channel).

-export([run/2, options/1]).

-define(KEY, ?MODULE).

%% @doc Calls a function whose messages take this channel if they name none.
-spec run(topos_engine:channel(), fun(() -> Result)) -> Result when Result :: term().
run(Channel, Fun) ->
    Before = put(?KEY, Channel),
    try
        Fun()
    after
        case Before of
            undefined -> erase(?KEY);
            _ -> put(?KEY, Before)
        end
    end.

%% @doc The options of a send with the channel it takes, unless that is `data'.
-spec options(Options) -> Options when Options :: #{atom() => term()}.
options(#{channel := _} = Options) ->
    Options;
options(Options) ->
    case get(?KEY) of
        undefined -> Options;
        Channel -> Options#{channel => Channel}
    end.
