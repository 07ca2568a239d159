//! `topos test`: builds modules with their tests and has them run by `topos_test`, in a VM of their own.

use std::{
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher, Hasher},
    process::Stdio,
};

use crate::{
    args::Test,
    build::{self, Job},
    failure::{Error, Failure},
    home::{self, Home},
    render::Style,
};

/// Builds and runs; the answer is the exit status.
pub(crate) fn test(args: &Test, style: Style) -> Result<i32, Failure> {
    let stdlib = home::stdlib(&args.places)?;
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
    let status = home
        .vm()
        .arg("-pa")
        .arg(&beams)
        .args(&home.ebins)
        .args(["-s", "topos_test_runner", "main", "-extra"])
        .arg(&file)
        .args([seed.to_string(), args.runs.to_string(), (u64::from(args.timeout) * 1000).to_string()])
        .arg(color)
        .env("ERL_CRASH_DUMP_SECONDS", "0")
        .stdin(Stdio::null())
        .status();
    let status = status
        .map_err(|why| Error::new("TP0808", format!("the tests cannot be run: {why}"), "check that `erl` starts"))?;
    Ok(status.code().unwrap_or(1))
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
