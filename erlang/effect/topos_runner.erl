%% @doc This VM's line to the `topos run' that started it.
%%
%% The runner holds both ends of the VM's standard input and output. A line on standard output that begins with the
%% ASCII record separator (16#1E) is a message to the runner, every other line is output of the program. Lines on
%% standard input are the runner's answers:
%% ```
%% VM -> runner   listening NODE ADDRESS,..    this node listens there
%%                contact ID NODE              where does that node listen?
%%                nodes ID                     which nodes run?
%%                kill ID NAME                 kill that node with SIGKILL
%%                start ID NAME                start that node again
%%                read ID                      a line of the user's standard input
%%                call ID NAME WORD            call that function on that node
%%                answered KEY WORD            what came of a call of the runner
%%                reset ID                     end the nodes that were called or killed, and start them anew
%% runner -> VM   ok ID REST                   the answer: addresses or names with commas, the line, or what the call came to
%%                error ID TEXT
%%                eof ID
%%                call KEY WORD                another node calls this function here
%% '''
%% When standard input ends, the runner is gone, whatever the reason, and the VM halts at once: no VM outlives its
%% runner.
-module(topos_runner).
-behaviour(gen_server).

-export([start/0, is_present/0, publish/2, contact/2, nodes/0, kill/1, start_node/1, read_line/0]).
-export([call/2, reset/0, owner/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
%% Body of a process.
-export([serve/2]).

%% A line longer than this is no answer of the runner: the VM halts.
-define(MAX_LINE, 1048576).
-define(TIMEOUT, 15000).
%% In the dictionary of a process that serves a call.
-define(SERVES, '$topos_serves').

-record(state, {
    input :: port(),
    next = 1 :: pos_integer(),
    waiting = #{} :: #{pos_integer() => gen_server:from()}
}).

%% @doc Takes over standard input; for `erl -noinput -s topos_runner start'.
-spec start() -> ok.
start() ->
    {ok, _} = gen_server:start({local, ?MODULE}, ?MODULE, [], []),
    ok.

%% @doc Whether this VM was started by `topos run'.
-spec is_present() -> boolean().
is_present() -> whereis(?MODULE) =/= undefined.

%% @doc Tells the runner where a node listens, so that others can be told. Nothing happens without a runner.
-spec publish(node(), [topos_engine:address()]) -> ok.
publish(Node, Addresses) ->
    case is_present() of
        true -> gen_server:cast(?MODULE, {listening, Node, Addresses});
        false -> ok
    end.

%% @doc Where a node of this run listens. Waits until it does, at most `Timeout' milliseconds. `unknown_contact' if the
%% runner starts no node of that name, `unreachable' if it ended or did not listen in time.
-spec contact(node(), timeout()) -> {ok, [topos_engine:address()]} | {error, topos_error:t()}.
contact(Node, Timeout) ->
    Start = erlang:monotonic_time(millisecond),
    try ask(["contact ", {id}, " ", atom_to_binary(Node)], Timeout) of
        {ok, Addresses} ->
            {ok, [address(Text) || Text <- string:lexemes(Addresses, ",")]};
        {error, <<"ended">>} ->
            Waited = erlang:monotonic_time(millisecond) - Start,
            {error, topos_error:new(unreachable, #{node => Node, timeout => Waited})};
        {error, <<"unknown ", Names/binary>>} ->
            Known = lists:join(", ", string:lexemes(Names, ",")),
            {error, topos_error:new(unknown_contact, #{node => Node, known => unicode:characters_to_binary(Known)})};
        {error, NoRunner} ->
            {error, topos_error:new(unknown_contact, #{node => Node, known => NoRunner})}
    catch
        %% The contact was asked for and has not come; a late answer is dropped.
        exit:{timeout, _} ->
            {error, topos_error:new(unreachable, #{node => Node, timeout => Timeout})}
    end.

%% @doc The short names of the nodes that the runner started, the seed first.
-spec nodes() -> {ok, [binary()]} | {error, binary()}.
nodes() ->
    case ask(["nodes ", {id}], ?TIMEOUT) of
        {ok, Names} -> {ok, binary:split(Names, <<",">>, [global])};
        {error, _} = Error -> Error
    end.

%% @doc Has a node killed with SIGKILL; answers when its process is gone. To kill this node itself never returns.
-spec kill(binary()) -> ok | {error, binary()}.
kill(Name) -> of_node("kill ", Name).

%% @doc Has a node that ended started again.
-spec start_node(binary()) -> ok | {error, binary()}.
start_node(Name) -> of_node("start ", Name).

%% @doc The next line of the user's standard input, without its newline.
-spec read_line() -> {ok, binary()} | eof | {error, binary()}.
read_line() -> ask(["read ", {id}], infinity).

%% @doc Calls a function on another node of this run, over the runner, and answers what it answered. It fails as the function
%% failed, or with `unknown_contact', `node_ended', `stays_here', `call_too_large' or, where nodes run a program of their own,
%% `no_serving_nodes'.
-spec call(Name :: binary(), topos_runner_call:body()) -> term().
call(Name, Body) ->
    case is_present() of
        true -> ok;
        false -> erlang:error(topos_error:new(no_serving_nodes, #{}))
    end,
    case topos_runner_call:encode_body(Body) of
        {ok, Word} -> called(Name, ask(["call ", {id}, " ", escaped(Name), " ", Word], infinity));
        {error, Error} -> erlang:error(Error)
    end.

%% @doc Between two tests: the other nodes that were called, killed or started are ended and started anew, and what the runner
%% knew of where nodes listen is forgotten. They take calls at once, and answer them when they run.
-spec reset() -> ok.
reset() ->
    {ok, _} = ask(["reset ", {id}], ?TIMEOUT),
    ok.

%% @doc Whose end ends a node that the calling process starts: the process itself, or where it serves a call of another node the
%% VM, since the node shall outlive the call.
-spec owner() -> pid().
owner() ->
    case get(?SERVES) of
        true -> whereis(?MODULE);
        undefined -> self()
    end.

%% gen_server

-spec init([]) -> {ok, #state{}}.
init([]) ->
    %% The runner reads UTF-8, whatever the locale says.
    ok = io:setopts(user, [{encoding, unicode}]),
    ok = io:setopts(standard_error, [{encoding, unicode}]),
    {ok, #state{input = open_port({fd, 0, 0}, [in, eof, binary, {line, ?MAX_LINE}])}}.

-spec handle_call({ask, [iodata() | {id}]}, gen_server:from(), #state{}) -> {noreply, #state{}}.
handle_call({ask, Request}, From, #state{next = Id, waiting = Waiting} = State) ->
    tell([case Part of {id} -> integer_to_binary(Id); _ -> Part end || Part <- Request]),
    {noreply, State#state{next = Id + 1, waiting = Waiting#{Id => From}}}.

-spec handle_cast({listening, node(), [topos_engine:address()]}, #state{}) -> {noreply, #state{}}.
handle_cast({listening, Node, Addresses}, State) ->
    Texts = [[host(Ip), $:, integer_to_binary(Port)] || {Ip, Port} <- Addresses],
    tell(["listening ", atom_to_binary(Node), " ", lists:join($,, Texts)]),
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({Port, {data, {eol, Line}}}, #state{input = Port} = State) ->
    case string:split(Line, " ", all) of
        [<<"call">>, Key, Word] ->
            _ = spawn(?MODULE, serve, [Key, Word]),
            {noreply, State};
        _ ->
            {noreply, answer(Line, State)}
    end;
handle_info({Port, _EofOrOverlong}, #state{input = Port}) ->
    %% Without flushing: nobody reads what this VM writes any more, and a full pipe must not hold it.
    erlang:halt(1, [{flush, false}]).

%% @private
-spec serve(binary(), binary()) -> ok.
serve(Key, Word) ->
    undefined = put(?SERVES, true),
    tell(["answered ", Key, " ", topos_runner_call:serve(Word)]).

%% internal

-spec called(binary(), {ok, binary()} | {error, binary()}) -> term().
called(Name, {ok, Word}) ->
    topos_runner_call:decode_answer(Name, Word);
called(Name, {error, <<"ended">>}) ->
    erlang:error(topos_error:new(node_ended, #{node => Name}));
called(_, {error, <<"busy">>}) ->
    erlang:error(topos_error:new(no_serving_nodes, #{}));
called(Name, {error, <<"unknown ", Names/binary>>}) ->
    Known = unicode:characters_to_binary(lists:join(", ", string:lexemes(Names, ","))),
    erlang:error(topos_error:new(unknown_contact, #{node => Name, known => Known})).

%% A name is one word of its line: what is none stays the name of no node.
-spec escaped(binary()) -> unicode:chardata().
escaped(<<>>) -> "?";
escaped(Name) -> re:replace(Name, "[^[:graph:]]", "?", [global]).

-spec ask([iodata() | {id}], timeout()) -> {ok, binary()} | eof | {error, binary()}.
ask(Request, Timeout) ->
    case is_present() of
        true -> gen_server:call(?MODULE, {ask, Request}, Timeout);
        false -> {error, <<"this program was not started by `topos run'">>}
    end.

%% A request is a line of words: what is not a word is the name of no node.
-spec of_node(string(), binary()) -> ok | {error, binary()}.
of_node(Request, Name) ->
    case re:run(Name, "^[[:graph:]]+$", [{capture, none}, dollar_endonly]) of
        match ->
            case ask([Request, {id}, " ", Name], ?TIMEOUT) of
                {ok, _} -> ok;
                {error, _} = Error -> Error
            end;
        nomatch ->
            {error, <<"there is no node called \"", Name/binary, "\"">>}
    end.

-spec tell(iodata()) -> ok.
tell(Line) -> io:put_chars(user, [16#1E, Line, $\n]).

-spec answer(binary(), #state{}) -> #state{}.
answer(Line, #state{waiting = Waiting} = State) ->
    {Kind, Id, Rest} = parse(Line),
    case maps:take(Id, Waiting) of
        {From, Others} ->
            gen_server:reply(From, case Kind of eof -> eof; _ -> {Kind, Rest} end),
            State#state{waiting = Others};
        error ->
            %% Its caller asked with a deadline that has passed; the gen_server call dropped the reply already.
            State
    end.

-spec parse(binary()) -> {ok | error | eof, pos_integer(), binary()}.
parse(Line) ->
    case string:split(Line, " ") of
        [<<"eof">>, Id] -> {eof, binary_to_integer(Id), <<>>};
        [<<"ok">>, Rest] -> parse_text(ok, string:split(Rest, " "));
        [<<"error">>, Rest] -> parse_text(error, string:split(Rest, " "))
    end.

-spec parse_text(ok | error, [binary()]) -> {ok | error, pos_integer(), binary()}.
parse_text(Kind, [Id]) -> {Kind, binary_to_integer(Id), <<>>};
parse_text(Kind, [Id, Text]) -> {Kind, binary_to_integer(Id), Text}.

-spec host(inet:ip_address()) -> iodata().
host(Ip) when tuple_size(Ip) =:= 8 -> [$[, inet:ntoa(Ip), $]];
host(Ip) -> inet:ntoa(Ip).

-spec address(binary()) -> topos_engine:address().
address(Text) ->
    [Host, Port] = string:split(Text, ":", trailing),
    {ok, Ip} = inet:parse_address(binary_to_list(string:trim(Host, both, "[]"))),
    {Ip, binary_to_integer(Port)}.
