%% @doc Compiles the `.topos' files of an application: a rebar3 compiler (`rebar_compiler') around `topos build'.
%%
%% rebar3 looks at files one by one; `topos build' at the application as a whole, with a cache that knows what depends on what.
%% So rebar3 is given one file to compile, which stands for all. It is asked in every run, and answers in milliseconds
%% if nothing has changed.
%%
%% `rebar.config' may say `{topos_opts, [{src_dirs, ["src"]}]}'; the default are the `src_dirs' of the application. A
%% module `A.B' stands in `A/B.topos' below one of them.
%%
%% The behaviour is not declared, and rebar3's modules are called through {@link rebar/3}: they exist in rebar3's VM alone.
-module(topos_rebar3_compiler).

-export([context/1, needed_files/4, dependencies/3, dependencies/4, compile/4, clean/2, rebar/3]).

-type app_info() :: term().
-type mappings() :: [{Extension :: string(), Dir :: file:filename()}].
-type job() :: #{name := binary(), dir := file:filename(), ebin := file:filename(), cache := file:filename(),
                 src_dirs := [file:filename()]}.

%% A build that says nothing for so long hangs.
-define(SILENCE, 1_200_000).

%% @doc Where the sources are and where the beams go.
-spec context(app_info()) -> map().
context(App) ->
    #{src_dirs => src_dirs(App), include_dirs => [], src_ext => ".topos",
      out_mappings => [{".beam", ebin(App)}], dependencies_opts => []}.

%% @doc One file for all, see above. When the last file is gone, so are the beams.
-spec needed_files(digraph:graph(), [file:filename()], mappings(), app_info()) ->
    {{[file:filename()], [job()]}, {[file:filename()], [job()]}}.
needed_files(_, [], _, App) ->
    ok = clean([], App),
    {{[], []}, {[], []}};
needed_files(_, [First | _], _, App) ->
    Dir = rebar(rebar_app_info, dir, [App]),
    Job = #{name => rebar(rebar_app_info, name, [App]), dir => Dir, ebin => ebin(App), cache => cache(App),
            src_dirs => [D || D <- src_dirs(App), filelib:wildcard("**/*.topos", filename:join(Dir, D)) =/= []]},
    {{[], []}, {[First], [Job]}}.

%% @doc What depends on what `topos build' knows.
-spec dependencies(file:filename(), file:filename(), [file:filename()]) -> [].
dependencies(_, _, _) -> [].

%% @doc As {@link dependencies/3}.
-spec dependencies(file:filename(), file:filename(), [file:filename()], term()) -> [].
dependencies(_, _, _, _) -> [].

%% @doc Builds the application's modules that changed. Mistakes are shown as `topos' draws them, and end rebar3.
-spec compile(file:filename(), mappings(), term(), [job()]) -> ok.
compile(_, _, _, [#{name := Name, dir := Dir, ebin := Ebin, cache := Cache, src_dirs := SrcDirs}]) ->
    Home = home(),
    Arguments = ["--color", color(), "build", "--home", Home, "--stdlib", filename:join(source(Home), "topos_stdlib"),
                 "--output", Ebin, "--cache", Cache, "--without-stdlib" | SrcDirs],
    Topos = program(Home),
    case run(Topos, Arguments, Dir) of
        {0, Output} ->
            rebar(rebar_api, debug, ["~ts", [Output]]);
        {_, Output} ->
            ok = io:put_chars(standard_error, Output),
            rebar(rebar_api, abort, ["Compiling the Topos modules of ~ts failed", [Name]])
    end.

%% @doc Removes the beams and the cache.
-spec clean([file:filename()], app_info()) -> ok.
clean(_, App) ->
    Cache = cache(App),
    case filelib:is_dir(Cache) of
        true ->
            {0, _} = run(program(home()), ["clean", "--output", ebin(App), "--cache", Cache], "."),
            file:del_dir_r(Cache);
        false ->
            ok
    end.

%% @doc Calls rebar3.
-spec rebar(module(), atom(), [term()]) -> term().
rebar(Module, Function, Arguments) -> erlang:apply(Module, Function, Arguments).

%% internal

-spec src_dirs(app_info()) -> [file:filename()].
src_dirs(App) ->
    Opts = rebar(rebar_app_info, opts, [App]),
    case proplists:get_value(src_dirs, rebar(rebar_opts, get, [Opts, topos_opts, []])) of
        undefined -> rebar(rebar_dir, src_dirs, [Opts, ["src"]]);
        Dirs -> Dirs
    end.

-spec ebin(app_info()) -> file:filename().
ebin(App) -> filename:absname(rebar(rebar_app_info, ebin_dir, [App])).

-spec cache(app_info()) -> file:filename().
cache(App) -> filename:absname(filename:join(rebar(rebar_app_info, out_dir, [App]), "topos")).

%% The directory of this plugin's application.
-spec home() -> file:filename().
home() -> filename:dirname(filename:dirname(filename:absname(code:which(?MODULE)))).

%% Where the plugin's sources are: its directory, or the one it was built from, to which `priv' then is a link.
-spec source(file:filename()) -> file:filename().
source(Home) ->
    case file:read_link_all(filename:join(Home, "priv")) of
        {ok, Link} -> filename:dirname(filename:absname(Link, Home));
        {error, _} -> Home
    end.

%% The compiler; built when first needed.
-spec program(file:filename()) -> file:filename().
program(Home) ->
    Source = source(Home),
    Script = filename:join([Source, "native", "build.sh"]),
    Program = filename:join([Source, "priv", "topos"]),
    case run(os:find_executable("sh"), [Script, "topos"], Source) of
        {0, _} ->
            Program;
        {_, Output} ->
            ok = io:put_chars(standard_error, Output),
            rebar(rebar_api, abort, ["The Topos compiler could not be built", []])
    end.

-spec color() -> string().
color() ->
    case {os:getenv("NO_COLOR", ""), io:columns(standard_error)} of
        {"", {ok, _}} -> "always";
        _ -> "never"
    end.

-spec run(file:filename(), [string()], file:filename()) -> {non_neg_integer(), unicode:chardata()}.
run(Program, Arguments, Dir) ->
    Settings = [{args, Arguments}, {cd, Dir}, exit_status, stderr_to_stdout, hide, binary],
    collect(open_port({spawn_executable, Program}, Settings), []).

-spec collect(port(), unicode:chardata()) -> {non_neg_integer(), unicode:chardata()}.
collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, Output}
    after ?SILENCE ->
        true = port_close(Port),
        {1, [Output, "it said nothing for too long\n"]}
    end.
