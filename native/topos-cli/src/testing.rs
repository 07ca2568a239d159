//! `topos test`: builds modules with their tests and has them run by `topos_test_runner`, in a VM of their own. With `--nodes`
//! there are more VMs, which do what a test calls there, or with `--engine sim` virtual nodes of a single one.

use std::{fs, net::Ipv4Addr, path::Path};

use crate::{
    args::{Test, RUNS, TIMEOUT},
    build::{self, Job},
    commands,
    failure::{Error, Failure},
    home::{self, Home},
    render::Style,
    run::{
        sim::{self, Asked, Time},
        Plan, Work,
    },
    server::Server,
};

/// Builds and runs; the answer is the exit status.
pub(crate) fn test(args: &Test, style: Style) -> Result<i32, Failure> {
    let stdlib = home::stdlib(&args.places)?;
    commands::check_engine(args.engine.as_deref())?;
    sim::check_test(args)?;
    let home = Home::find(&args.places)?;
    let beams = args.cache.join("test");
    let job = Job {
        paths: &args.files,
        stdlib: stdlib.as_deref(),
        cache: &args.cache,
        output: &beams,
        with_stdlib: true,
        tests: true,
    };
    let tests = build::build(&job, &home)?.tests;
    let wanted = args.filter.as_deref().unwrap_or_default();
    let chosen = tests.iter().filter(|test| test.module.contains(wanted) || title(&test.flow).contains(wanted));
    let mut list = String::new();
    for test in chosen {
        // Names of modules and titles are on one line; so are paths that a build accepts.
        let path = test.path.replace(['\n', '\t'], " ");
        let flow = test.flow.replace(['\n', '\t'], " ");
        list.push_str(&format!("{}\t{flow}\t{path}:{}\n", test.module, test.line));
    }
    if list.is_empty() {
        return Err(none(tests.len(), args).into());
    }
    let file = beams.join("tests");
    fs::write(&file, list).map_err(|why| {
        Error::new("TP0807", format!("cannot write {}: {why}", file.display()), "choose another --cache")
    })?;
    if args.engine.as_deref() == Some(sim::ENGINE) {
        return simulate(args, &home, &beams, &file, style);
    }
    let seed = args.seed.unwrap_or_else(sim::drawn_seed);
    let color = if style == Style::Coloured { "color" } else { "plain" };
    let engine = engine(args, &home)?;
    let arguments = [
        file.display().to_string(),
        seed.to_string(),
        args.runs.to_string(),
        (u64::from(args.timeout) * 1000).to_string(),
        color.to_owned(),
        args.nodes.to_string(),
        options(args, engine),
        repeated(args, engine, args.filter.as_deref()),
    ];
    let plan = Plan {
        home: &home,
        beams: &beams,
        work: Work::Tests { args: &arguments },
        engine,
        // The runner of the tests says it.
        announce: false,
        nodes: usize::from(args.nodes),
        host: "127.0.0.1",
        address: Ipv4Addr::LOCALHOST.into(),
    };
    commands::run_nodes(&plan, style)
}

/// Has `topos_test_simulated` run the tests of the file.
fn simulate(args: &Test, home: &Home, beams: &Path, file: &Path, style: Style) -> Result<i32, Failure> {
    let color = if style == Style::Coloured { "color" } else { "plain" };
    let arguments = [
        file.display().to_string(),
        args.runs.to_string(),
        color.to_owned(),
        options(args, Some(sim::ENGINE)),
        repeated(args, Some(sim::ENGINE), None),
    ];
    let plan = Plan {
        home,
        beams,
        work: Work::Tests { args: &arguments },
        engine: Some(sim::ENGINE),
        announce: false,
        nodes: usize::from(args.nodes),
        host: "127.0.0.1",
        address: Ipv4Addr::LOCALHOST.into(),
    };
    let asked = Asked { seed: args.seed, max_time: Some(Time::of_seconds(args.timeout)), simulation: &args.simulation };
    sim::test(&plan, &arguments, asked, style).map_err(|why| commands::cannot_run(&why))
}

/// All that decides about tests but the seed, as it is written on a command line. A simulated test is repeated alone, by its name.
fn repeated(args: &Test, engine: Option<&str>, filter: Option<&str>) -> String {
    let mut words = Vec::new();
    words.extend(filter.map(|text| format!("--filter {}", word(text))));
    words.extend(Some(options(args, engine)).filter(|options| !options.is_empty()));
    words.extend((args.runs != RUNS).then(|| format!("--runs {}", args.runs)));
    words.extend((args.timeout != TIMEOUT).then(|| format!("--timeout {}", args.timeout)));
    words.extend(sim::options(&args.simulation));
    words.extend(args.files.iter().filter(|file| file.as_os_str() != ".").map(|file| word(&file.to_string_lossy())));
    words.join(" ")
}

/// A word of a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The engine of the tests' nodes. To ask which ones there are takes a VM, so a single node chooses for itself.
fn engine(args: &Test, home: &Home) -> Result<Option<&'static str>, Error> {
    let asked = args.engine.as_deref();
    if asked.is_none() && args.nodes == 1 {
        return Ok(None);
    }
    let available = Server::start(home)?.call("topos_engine", "available")?;
    commands::choose_engine(asked, &available).map(Some)
}

/// The options that chose the nodes, to run the same tests again in the same way.
fn options(args: &Test, engine: Option<&str>) -> String {
    let nodes = (args.nodes > 1).then(|| format!("--nodes {}", args.nodes));
    let engine = engine.map(|engine| format!("--engine {engine}"));
    nodes.into_iter().chain(engine).collect::<Vec<_>>().join(" ")
}

fn title(flow: &str) -> &str {
    flow.split_once(' ').map_or(flow, |(_, title)| title)
}

fn none(all: usize, args: &Test) -> Error {
    match &args.filter {
        Some(text) if all > 0 => Error::new(
            "TP0817",
            format!("none of the {all} tests has \"{text}\" in its module or title"),
            "choose another --filter",
        ),
        _ => Error::new("TP0817", "there are no tests here", "write `test \"title\" { assert(..) }` into a module"),
    }
}
