//! What each command does, up to its exit status.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, TcpListener, ToSocketAddrs},
    path::Path,
};

use topos_lang::emit;

use crate::{
    args::{Build, Check, Clean, Demo, Emit, Explain, Places, Run, Simulation},
    build, explain,
    failure::{Error, Failure},
    frontend::{self, Compiled, Role},
    home::{self, Home},
    loader::{self, Loaded},
    render::{plural, Style},
    run::{
        self,
        sim::{self, Asked},
        Plan, Work,
    },
    server::Server,
    source::Findings,
    stdlib::QUICK_START,
    terminal,
};

/// The engines of this release, best first.
const ENGINES: [&str; 2] = ["partisan", "otp"];

/// `topos check`.
pub(crate) fn check(args: &Check) -> Result<i32, Failure> {
    let mut mistakes = Vec::new();
    let mut read = 0;
    if args.syntax_only {
        for file in &args.files {
            let (source, parse) = loader::read(file)?;
            read += 1;
            if !parse.diagnostics.is_empty() {
                mistakes.push(Findings { source, diagnostics: parse.diagnostics });
            }
        }
    } else {
        let stdlib = home::stdlib(&args.places)?;
        for path in &args.files {
            match build::check(path, stdlib.as_deref()) {
                Ok((files, timings)) => {
                    read += files;
                    if args.timings {
                        terminal::remark(&timings.table());
                    }
                }
                Err(Failure::Mistakes(found)) => merge(&mut mistakes, found),
                Err(error) => return Err(error),
            }
        }
    }
    if mistakes.is_empty() {
        terminal::print(&format!("{}: no mistakes\n", plural(read, "file")))?;
        Ok(0)
    } else {
        Err(Failure::Mistakes(mistakes))
    }
}

/// Two programs may share a module with mistakes: they are shown once.
fn merge(all: &mut Vec<Findings>, more: Vec<Findings>) {
    for found in more {
        if !all.iter().any(|known| known.source.path == found.source.path) {
            all.push(found);
        }
    }
}

/// `topos build`.
pub(crate) fn build(args: &Build) -> Result<i32, Failure> {
    let stdlib = home::stdlib(&args.places)?;
    if args.emit == Emit::Beam {
        let job = build::Job {
            paths: &args.files,
            stdlib: stdlib.as_deref(),
            cache: &args.cache,
            output: &args.output,
            with_stdlib: !args.without_stdlib,
            tests: false,
        };
        let done = build::build(&job, &Home::find(&args.places)?)?;
        for path in &done.written {
            terminal::print(&format!("{}\n", path.display()))?;
        }
        if done.written.is_empty() {
            terminal::print(&format!("{} up to date\n", plural(done.fresh, "module")))?;
        }
        if args.timings {
            terminal::remark(&done.timings.table());
        }
        return Ok(0);
    }
    for file in &args.files {
        for module in compile(loader::load(file, stdlib.as_deref())?, Role::Module)? {
            let name = format!("{}.erl", module.name);
            write(&args.output, &name, module.emitted.to_erlang().as_bytes())?;
            terminal::print(&format!("{}\n", args.output.join(name).display()))?;
        }
    }
    Ok(0)
}

/// `topos clean`.
pub(crate) fn clean(args: &Clean) -> Result<i32, Failure> {
    build::clean(&args.cache, &args.output)?;
    Ok(0)
}

/// `topos run`.
pub(crate) fn run(args: &Run, style: Style) -> Result<i32, Failure> {
    check_engine(args.engine.as_deref())?;
    sim::check_run(args)?;
    let address = resolve(&args.host)?;
    let stdlib = home::stdlib(&args.places)?;
    let program = loader::load(&args.file, stdlib.as_deref())?;
    let request = Request {
        nodes: usize::from(args.nodes),
        engine: args.engine.as_deref(),
        host: &args.host,
        address,
        args: &args.args,
        places: &args.places,
        simulation: Asked { seed: args.seed, max_time: args.max_time, simulation: &args.simulation },
    };
    start(program, &request, style)
}

/// `topos demo`.
pub(crate) fn demo(args: &Demo, style: Style) -> Result<i32, Failure> {
    check_engine(args.engine.as_deref())?;
    let stdlib = home::stdlib(&args.places)?;
    let program = loader::load_text("examples/quick_start.topos", QUICK_START, stdlib.as_deref())?;
    let request = Request {
        nodes: 3,
        engine: args.engine.as_deref(),
        host: "127.0.0.1",
        address: Ipv4Addr::LOCALHOST.into(),
        args: &[],
        places: &args.places,
        simulation: Asked { seed: None, max_time: None, simulation: &Simulation::default() },
    };
    start(program, &request, style)
}

/// `topos explain`.
pub(crate) fn explain(args: &Explain) -> Result<i32, Failure> {
    terminal::print(&explain::explain(&args.code)?)?;
    Ok(0)
}

/// What is asked of a run.
struct Request<'a> {
    nodes: usize,
    engine: Option<&'a str>,
    host: &'a str,
    address: IpAddr,
    args: &'a [String],
    places: &'a Places,
    simulation: Asked<'a>,
}

fn start(program: Vec<Loaded>, request: &Request<'_>, style: Style) -> Result<i32, Failure> {
    let main = program.first().map(|own| own.name.clone()).unwrap_or_default();
    let modules = compile(program, Role::Program)?;
    let home = Home::find(request.places)?;
    let directory = tempfile::tempdir().map_err(|why| unwritable(Path::new("the temporary directory"), &why))?;
    let mut server = Server::start(&home)?;
    let engine = match request.engine {
        Some(sim::ENGINE) => sim::ENGINE,
        asked => choose_engine(asked, &server.call("topos_engine", "available")?)?,
    };
    for module in modules {
        let (name, beam) = server.compile(module.emitted.to_etf())?;
        write(directory.path(), &format!("{name}.beam"), &beam)?;
    }
    drop(server);
    let plan = Plan {
        home: &home,
        beams: directory.path(),
        work: Work::Program { main: &main, args: request.args },
        engine: Some(engine),
        announce: request.nodes > 1 || request.engine.is_some(),
        nodes: request.nodes,
        host: request.host,
        address: request.address,
    };
    if engine == sim::ENGINE {
        let program = sim::Program { main: &main, args: request.args };
        return sim::run(&plan, program, request.simulation, style).map_err(|why| cannot_run(&why));
    }
    run_nodes(&plan, style)
}

/// Runs nodes to their end; the answer is the exit status.
pub(crate) fn run_nodes(plan: &Plan<'_>, style: Style) -> Result<i32, Failure> {
    run::run(plan, style).map_err(|why| cannot_run(&why))
}

pub(crate) fn cannot_run(why: &io::Error) -> Failure {
    Error::new(
        "TP0808",
        format!("the nodes cannot be run: {why}"),
        "check that `erl` starts and that processes are allowed",
    )
    .into()
}

/// Checks a program and lowers its modules, the program's own first.
fn compile(program: Vec<Loaded>, role: Role) -> Result<Vec<Lowered>, Failure> {
    let mut lowered = Vec::new();
    let mut mistakes = Vec::new();
    for Compiled { core, source } in frontend::check(program, role)? {
        match emit::emit(&core, &source.text) {
            Ok(emitted) => lowered.push(Lowered { name: core.name, emitted }),
            Err(diagnostics) => mistakes.push(Findings { source, diagnostics }),
        }
    }
    if mistakes.is_empty() {
        Ok(lowered)
    } else {
        Err(Failure::Mistakes(mistakes))
    }
}

/// A module on its way to the VM.
struct Lowered {
    name: String,
    emitted: emit::Emitted,
}

/// Whether there is that engine, of real nodes or of virtual ones.
pub(crate) fn check_engine(asked: Option<&str>) -> Result<(), Error> {
    let engines: Vec<&str> = ENGINES.iter().copied().chain([sim::ENGINE]).collect();
    match (asked, engines.split_last()) {
        (Some(engine), Some((last, others))) if !engines.contains(&engine) => Err(Error::new(
            "TP1002",
            format!("there is no engine called {engine}"),
            format!("the engines of this release are {} and {last}", others.join(", ")),
        )),
        _ => Ok(()),
    }
}

/// The engine to run on, of those that Erlang finds, best first.
pub(crate) fn choose_engine(asked: Option<&str>, available: &str) -> Result<&'static str, Error> {
    // The list of atoms as Topos shows it: `[Partisan, Otp]`.
    let available = available.to_ascii_lowercase();
    let found = |engine: &&&str| available.split(|c: char| !c.is_ascii_lowercase()).any(|word| word == **engine);
    let engine = match asked {
        Some(asked) => ENGINES.iter().filter(|engine| **engine == asked).find(found),
        None => ENGINES.iter().find(found),
    };
    engine.copied().ok_or_else(|| {
        let asked = asked.unwrap_or("otp");
        Error::new(
            "TP1003",
            format!("the engine {asked} is not installed here"),
            "put Partisan 5.0.x on Erlang's code path (ERL_LIBS, or as a dependency of topos_partisan), or use \
             --engine otp",
        )
    })
}

/// The address that the nodes listen on: the host must be an address of this machine, or a name of one.
fn resolve(host: &str) -> Result<IpAddr, Error> {
    let wrong = |why: &str| {
        Error::new(
            "TP0812",
            format!("the nodes cannot be called NAME@{host}: {why}"),
            "give --host a name or an address of this machine; the default is 127.0.0.1",
        )
    };
    let mut addresses = (host, 0).to_socket_addrs().map_err(|_| wrong("the name does not resolve"))?;
    let own = addresses.find(|address| TcpListener::bind(address).is_ok());
    own.map(|address| address.ip()).ok_or_else(|| wrong("it is not of this machine"))
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = directory.join(name);
    fs::create_dir_all(directory).and_then(|()| fs::write(&path, bytes)).map_err(|why| unwritable(&path, &why))
}

fn unwritable(path: &Path, why: &io::Error) -> Error {
    Error::new(
        "TP0807",
        format!("cannot write {}: {why}", path.display()),
        "choose another directory, or check its permissions and the room on its disk",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_engine_is_chosen() {
        assert_eq!(choose_engine(None, "[Partisan, Otp]").unwrap(), "partisan");
        assert_eq!(choose_engine(None, "[Otp]").unwrap(), "otp");
        assert_eq!(choose_engine(Some("otp"), "partisan otp").unwrap(), "otp");
        assert!(choose_engine(Some("partisan"), "otp").is_err());
    }

    #[test]
    fn hosts_of_other_machines_are_refused() {
        assert_eq!(resolve("127.0.0.1"), Ok(Ipv4Addr::LOCALHOST.into()));
        assert!(resolve("192.0.2.1").is_err());
        assert!(resolve("no.such.host.invalid").is_err());
    }
}
