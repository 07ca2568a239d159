%% @doc Serves the statistics of the node over HTTP/1.1, where the configuration says so (`metrics'): `/metrics' for
%% Prometheus, `/stats', `/topology' and `/health' in JSON (`/health' answers 503 while something is not well).
%%
%% It answers GET, one request a connection, at most 16 at once; a request has 5 s and 64 headers of 4 kB.
-module(topos_metrics_server).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, addresses/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(MAX_CONNECTIONS, 16).
-define(MAX_HEADERS, 64).
-define(MAX_LINE, 4_096).
-define(TIMEOUT, 5_000).

-record(state, {
    listeners :: [gen_tcp:socket()],
    addresses :: [topos_engine:address()],
    %% Those that wait for a connection, and those that serve one.
    acceptors = #{} :: #{reference() => gen_tcp:socket()}
}).
-type state() :: #state{}.

%% @doc Listens on the configured addresses; starts nothing if there are none.
-spec start_link() -> {ok, pid()} | ignore | {error, topos_error:t()}.
start_link() ->
    case topos_local:config(metrics) of
        undefined -> ignore;
        #{listen := Addresses} ->
            case gen_server:start_link({local, ?MODULE}, ?MODULE, Addresses, []) of
                {ok, Pid} -> {ok, Pid};
                {error, {shutdown, Error}} -> {error, Error}
            end
    end.

%% @doc Where it listens, port 0 resolved; nowhere if it is not configured.
-spec addresses() -> [topos_engine:address()].
addresses() ->
    case whereis(?MODULE) of
        undefined -> [];
        Pid -> gen_server:call(Pid, addresses)
    end.

%% gen_server

-spec init([topos_engine:address()]) -> {ok, state()} | {stop, {shutdown, topos_error:t()}}.
init(Addresses) ->
    case listen(Addresses, []) of
        {ok, Listeners} ->
            Actual = [Address || Listener <- Listeners, {ok, Address} <- [inet:sockname(Listener)]],
            State = #state{listeners = Listeners, addresses = Actual},
            {ok, lists:foldl(fun accepting/2, State, Listeners)};
        {error, Error} ->
            {stop, {shutdown, Error}}
    end.

-spec handle_call(addresses, gen_server:from(), state()) -> {reply, [topos_engine:address()], state()}.
handle_call(addresses, _From, #state{addresses = Addresses} = State) -> {reply, Addresses, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_, State) -> {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({accepted, Listener}, #state{acceptors = Acceptors} = State) when map_size(Acceptors) =< ?MAX_CONNECTIONS ->
    {noreply, accepting(Listener, State)};
handle_info({accepted, _}, State) ->
    %% The next connection waits in the backlog until one of these ends.
    {noreply, State};
handle_info({'DOWN', Ref, process, _, _}, #state{acceptors = Acceptors, listeners = Listeners} = State) ->
    Left = State#state{acceptors = maps:remove(Ref, Acceptors)},
    Idle = [L || L <- Listeners, not lists:member(L, maps:values(Left#state.acceptors))],
    {noreply, lists:foldl(fun accepting/2, Left, Idle)};
handle_info(_, State) ->
    {noreply, State}.

%% internal

-spec listen([topos_engine:address()], [gen_tcp:socket()]) -> {ok, [gen_tcp:socket()]} | {error, topos_error:t()}.
listen([], Listeners) ->
    {ok, lists:reverse(Listeners)};
listen([{Ip, Port} = Address | Rest], Listeners) ->
    Family = case tuple_size(Ip) of 4 -> inet; 8 -> inet6 end,
    Options = [Family, binary, {ip, Ip}, {active, false}, {reuseaddr, true}, {packet, http_bin}, {packet_size, ?MAX_LINE},
               {send_timeout, ?TIMEOUT}, {send_timeout_close, true}, {backlog, 16}],
    case gen_tcp:listen(Port, Options) of
        {ok, Listener} -> listen(Rest, [Listener | Listeners]);
        {error, eaddrinuse} -> {error, topos_error:new(address_in_use, #{address => Address})};
        {error, Why} -> {error, topos_error:new(cannot_listen, #{address => Address, why => Why})}
    end.

-spec accepting(gen_tcp:socket(), state()) -> state().
accepting(Listener, #state{acceptors = Acceptors} = State) ->
    Server = self(),
    {_, Ref} = spawn_opt(fun() -> accept(Listener, Server) end, [link, monitor]),
    State#state{acceptors = Acceptors#{Ref => Listener}}.

-spec accept(gen_tcp:socket(), pid()) -> ok.
accept(Listener, Server) ->
    case gen_tcp:accept(Listener) of
        {ok, Socket} ->
            Server ! {accepted, Listener},
            %% A fault in a request is its own.
            true = unlink(Server),
            ok = serve(Socket),
            gen_tcp:close(Socket);
        {error, Reason} when Reason =:= emfile; Reason =:= enfile; Reason =:= econnaborted ->
            ?LOG_WARNING("topos_partisan: the metrics endpoint cannot accept: ~0tp", [Reason]),
            ok;
        {error, closed} ->
            ok
    end.

-spec serve(gen_tcp:socket()) -> ok.
serve(Socket) ->
    Deadline = erlang:monotonic_time(millisecond) + ?TIMEOUT,
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, {http_request, Method, {abs_path, Path}, _}} ->
            case headers(Socket, ?MAX_HEADERS, Deadline) of
                ok -> answer(Socket, respond(Method, hd(binary:split(Path, <<"?">>))));
                {error, too_many} -> answer(Socket, {431, "text/plain", "too many headers\n"});
                {error, _} -> ok
            end;
        {ok, _} -> answer(Socket, {400, "text/plain", "not a request\n"});
        {error, _} -> ok
    end.

-spec headers(gen_tcp:socket(), non_neg_integer(), integer()) -> ok | {error, term()}.
headers(_Socket, 0, _) ->
    {error, too_many};
headers(Socket, Left, Deadline) ->
    case gen_tcp:recv(Socket, 0, max(0, Deadline - erlang:monotonic_time(millisecond))) of
        {ok, http_eoh} -> ok;
        {ok, {http_header, _, _, _, _}} -> headers(Socket, Left - 1, Deadline);
        {ok, Other} -> {error, Other};
        {error, _} = Error -> Error
    end.

-type response() :: {100..599, string(), iodata()}.

-spec respond(atom() | binary(), binary()) -> response().
respond('GET', <<"/metrics">>) -> content("text/plain; version=0.0.4; charset=utf-8", topos_metrics:prometheus());
respond('GET', <<"/stats">>) -> content("application/json", topos_metrics:stats());
respond('GET', <<"/topology">>) -> content("application/json", topos_metrics:topology());
respond('GET', <<"/health">>) ->
    case topos_metrics:health() of
        {ok, ok, Text} -> {200, "application/json", Text};
        {ok, degraded, Text} -> {503, "application/json", Text};
        {error, _} = Error -> content("application/json", Error)
    end;
respond('GET', _) -> {404, "text/plain", "there are /metrics, /stats, /topology and /health\n"};
respond(_, _) -> {405, "text/plain", "only GET\n"}.

-spec content(string(), {ok, iodata()} | {error, topos_error:t()}) -> response().
content(Type, {ok, Text}) -> {200, Type, Text};
content(_, {error, Error}) -> {503, "text/plain; charset=utf-8", unicode:characters_to_binary([topos_error:format(Error), $\n])}.

-spec answer(gen_tcp:socket(), response()) -> ok.
answer(Socket, {Status, Type, Text}) ->
    Body = iolist_to_binary(Text),
    %% A client that has gone needs no answer.
    _ = gen_tcp:send(Socket, [
        "HTTP/1.1 ", integer_to_binary(Status), $\s, phrase(Status), "\r\nContent-Type: ", Type,
        "\r\nContent-Length: ", integer_to_binary(byte_size(Body)), "\r\nConnection: close\r\n\r\n", Body
    ]),
    ok.

-spec phrase(100..599) -> string().
phrase(200) -> "OK";
phrase(400) -> "Bad Request";
phrase(404) -> "Not Found";
phrase(405) -> "Method Not Allowed";
phrase(431) -> "Request Header Fields Too Large";
phrase(503) -> "Service Unavailable".
