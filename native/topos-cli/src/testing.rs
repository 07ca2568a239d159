//! `topos test`: builds modules with their tests and has them run by `topos_test_runner`, in a VM of their own. With `--nodes`
//! there are more VMs, which do what a test calls there.

use std::{
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher, Hasher},
    net::Ipv4Addr,
    path::Path,
};

use crate::{
    args::{Test, DEFAULT_RUNS},
    build::{self, Job},
    commands,
    failure::{Error, Failure},
    home::{self, Home},
    render::Style,
    run::{Plan, Work},
    server::Server,
};

/// Builds and runs; the answer is the exit status.
pub(crate) fn test(args: &Test, style: Style) -> Result<i32, Failure> {
    let stdlib = home::stdlib(&args.places)?;
    commands::check_engine(args.engine.as_deref(), false)?;
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
    let seed = args.seed.unwrap_or_else(|| {
        // From the seeds that the standard library draws from the operating system.
        u32::try_from(RandomState::new().build_hasher().finish() % 1_000_000).unwrap_or_default()
    });
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
        again(args, engine),
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

/// The engine of the tests' nodes. To ask which ones there are takes a VM, so a single node chooses for itself.
fn engine(args: &Test, home: &Home) -> Result<Option<&'static str>, Error> {
    let asked = args.engine.as_deref();
    if asked.is_none() && args.nodes == 1 {
        return Ok(None);
    }
    let available = Server::start(home)?.call("topos_engine", "available")?;
    commands::choose_engine(asked, &available).map(Some)
}

/// What stands behind the seed to run the same tests again in the same way.
fn again(args: &Test, engine: Option<&str>) -> String {
    let nodes = Some(options(args, engine)).filter(|options| !options.is_empty());
    let filter = args.filter.as_ref().map(|text| format!("--filter {}", quoted(text)));
    let runs = (args.runs != DEFAULT_RUNS).then(|| format!("--runs {}", args.runs));
    let here = args.files.iter().all(|file| file == Path::new("."));
    let files = args.files.iter().filter(|_| !here).map(|file| quoted(&file.display().to_string()));
    nodes.into_iter().chain(filter).chain(runs).chain(files).collect::<Vec<_>>().join(" ")
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@=+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The options that chose the nodes.
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

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_reach_a_shell_whole() {
        assert_eq!(quoted("src/Shop-1.topos"), "src/Shop-1.topos");
        assert_eq!(quoted("a cart"), "'a cart'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("$(x)"), "'$(x)'");
        assert_eq!(quoted(""), "''");
    }
}
