%% @doc Keeps the house as docs/ARCHITECTURE.md draws it: which folder may call which, which crate may depend on which,
%% what pure crates never touch, and how long a module may be. A new folder or crate must be added here on purpose.
-module(topos_house_tests).

-include_lib("eunit/include/eunit.hrl").

-export([root/0]).

-define(MAX_LINES, 800).

%% Folder under erlang/ => the folders its modules may call. Every module may call its own folder.
arrows() ->
    #{
        "base" => [],
        "nif" => ["base"],
        "engine" => ["base", "nif"],
        "link" => ["base", "nif", "engine"],
        "overlay" => ["base", "nif", "engine", "link"],
        "actor" => ["base", "nif", "link"],
        "api" => ["base", "nif", "engine", "link", "overlay", "actor"],
        "compile" => ["base"],
        "effect" => ["base", "nif", "api", "actor", "compile"],
        "simulation" => ["base", "effect"],
        "testing" => ["base", "effect", "simulation"],
        "rebar3" => []
    }.

%% Crate => the workspace crates it may depend on.
crates() ->
    #{
        "topos-term" => [],
        "topos-lane" => [],
        "topos-overlay" => [],
        "topos-sim" => ["topos-overlay"],
        "topos-lang" => [],
        "topos-cli" => ["topos-lang", "topos-sim"],
        "topos-nif" => ["topos-term", "topos-lane", "topos-overlay"],
        "topos-router" => []
    }.

%% What a crate without I/O never names: it is given time, randomness and bytes.
impure() ->
    ["std::fs", "std::net", "std::process", "std::thread", "SystemTime", "Instant::now", "std::env", "println!", "eprintln!"].

%% @doc Where the repository begins: tests run in it or below.
root() ->
    {ok, Dir} = file:get_cwd(),
    root(Dir).

root(Dir) ->
    case filelib:is_regular(filename:join(Dir, "Cargo.toml")) andalso filelib:is_dir(filename:join(Dir, "erlang")) of
        true -> Dir;
        false -> root(filename:dirname(Dir))
    end.

arrows_between_folders_test() ->
    Folder = maps:from_list(
        [{list_to_atom(filename:basename(F, ".erl")), hd(filename:split(string:prefix(F, root() ++ "/erlang/")))}
         || F <- filelib:wildcard(root() ++ "/erlang/*/**/*.erl") ++ filelib:wildcard(root() ++ "/erlang/*/*.erl")]),
    Wrong = [{Caller, Callee}
             || {Caller, From} <- maps:to_list(Folder),
                Callee <- callees(Caller),
                {ok, To} <- [maps:find(Callee, Folder)],
                To =/= From,
                not lists:member(To, maps:get(From, arrows()))],
    ?assertEqual([], Wrong).

callees(Module) ->
    {ok, {Module, [{imports, Imports}]}} = beam_lib:chunks(code:which(Module), [imports]),
    lists:usort([M || {M, _, _} <- Imports]).

every_folder_is_drawn_test() ->
    Folders = [F || F <- filelib:wildcard("*", root() ++ "/erlang"), filelib:is_dir(root() ++ "/erlang/" ++ F)],
    ?assertEqual([], lists:sort(Folders) -- lists:sort(maps:keys(arrows()))).

crates_depend_downwards_test() ->
    Names = filelib:wildcard("*", root() ++ "/native"),
    Crates = [N || N <- Names, filelib:is_regular(root() ++ "/native/" ++ N ++ "/Cargo.toml")],
    ?assertEqual(lists:sort(maps:keys(crates())), lists:sort(Crates)),
    Wrong = [{Crate, D} || Crate <- Crates, D <- dependencies(Crate), lists:member(D, Crates),
                           not lists:member(D, maps:get(Crate, crates()))],
    ?assertEqual([], Wrong).

dependencies(Crate) ->
    {ok, Toml} = file:read_file(root() ++ "/native/" ++ Crate ++ "/Cargo.toml"),
    case re:run(Toml, "^(topos-[a-z]+)", [multiline, global, {capture, all_but_first, list}]) of
        {match, Found} -> [D || [D] <- Found];
        nomatch -> []
    end.

pure_crates_do_no_io_test() ->
    Wrong = [{File, Word}
             || Crate <- maps:keys(crates()), not lists:member(Crate, ["topos-cli", "topos-nif", "topos-router"]),
                File <- sources(Crate),
                Word <- impure(),
                contains(without_tests(File), Word)],
    ?assertEqual([], Wrong).

only_the_nif_crate_may_be_unsafe_test() ->
    Wrong = [File
             || Crate <- maps:keys(crates()), Crate =/= "topos-nif",
                File <- sources(Crate),
                contains(without_tests(File), "unsafe ")],
    ?assertEqual([], Wrong).

%% A crate's own code: unit tests that got a file of their own (`tests.rs', `tests/') may use the world.
sources(Crate) ->
    [F || F <- filelib:wildcard(root() ++ "/native/" ++ Crate ++ "/src/**/*.rs"),
          string:find(F, "/tests/") =:= nomatch, filename:basename(F) =/= "tests.rs"].

%% Unit tests stand at the end of a module: what follows `#[cfg(test)]' may use the world. Comments do not count.
without_tests(File) ->
    {ok, Text} = file:read_file(File),
    [Code | _] = binary:split(Text, <<"#[cfg(test)]">>),
    [L || L <- binary:split(Code, <<"\n">>, [global]), re:run(L, "^\\s*//") =:= nomatch].

contains(Lines, Word) -> lists:any(fun(L) -> binary:match(L, list_to_binary(Word)) =/= nomatch end, Lines).

no_module_is_too_long_test() ->
    Globs = ["/erlang/**/*.erl", "/include/*.hrl", "/native/*/src/**/*.rs", "/native/*/tests/**/*.rs", "/tests/*.erl",
             "/ct_suites/*.erl", "/bench/*.erl", "/topos_stdlib/**/*.topos", "/examples/**/*.topos"],
    Long = [{F, N} || G <- Globs, F <- filelib:wildcard(root() ++ G), N <- [lines(F)], N > ?MAX_LINES],
    ?assertEqual([], Long).

lines(File) ->
    {ok, Text} = file:read_file(File),
    length(binary:matches(Text, <<"\n">>)).
