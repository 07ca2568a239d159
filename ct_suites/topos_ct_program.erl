%% @doc Programs that suites run: git, rebar3, make.
-module(topos_ct_program).

-export([run/4, root/1, build_quickly/1]).

%% A first build of the native library, on a machine that has something else to do.
-define(PATIENCE, 900_000).

%% @doc Runs a program in a directory and answers its status and output, which goes to the log too.
-spec run(file:filename(), [string()], file:filename(), [{string(), string() | false}]) -> {non_neg_integer(), string()}.
run(Program, Args, Dir, Env) ->
    Path = case filename:pathtype(Program) of absolute -> Program; _ -> os:find_executable(Program) end,
    Port = open_port(
        {spawn_executable, Path}, [{args, Args}, {cd, Dir}, {env, Env}, exit_status, stderr_to_stdout, binary]
    ),
    {Status, Output} = collect(Port, []),
    ct:log("~ts ~tp~n~ts~nstatus ~b", [Program, Args, Output, Status]),
    {Status, Output}.

%% @doc The root of the repository, above a directory of it.
-spec root(file:filename()) -> file:filename().
root(Dir) ->
    case filelib:is_regular(filename:join(Dir, "Cargo.toml")) of
        true -> Dir;
        false -> root(filename:dirname(Dir))
    end.

%% @doc What Cargo builds in folders below, it builds soon rather than well: our own crates are built again there, since Cargo knows
%% them by their folders, and nobody waits for what they do. What they depend on is that of this project.
-spec build_quickly(file:filename()) -> ok.
build_quickly(Dir) ->
    Package = "[profile.release.package.~s]~nopt-level = 0~ncodegen-units = 16~ndebug = false~n",
    Crates = ["topos-term", "topos-lane", "topos-overlay", "topos-sim", "topos-lang", "topos-cli", "topos-nif"],
    File = filename:join([Dir, ".cargo", "config.toml"]),
    ok = filelib:ensure_dir(File),
    file:write_file(File, [io_lib:format(Package, [Crate]) || Crate <- Crates]).

%% internal

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, unicode:characters_to_list(iolist_to_binary(Output))}
    after ?PATIENCE ->
        {os_pid, Pid} = erlang:port_info(Port, os_pid),
        _ = os:cmd("kill " ++ integer_to_list(Pid)),
        error({no_end, unicode:characters_to_list(iolist_to_binary(Output))})
    end.
