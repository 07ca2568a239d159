//! Finds Erlang, the built application and the standard library.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{args::Places, failure::Error};

/// The application's own beams, seen from the directory it was built in.
const APPLICATION: &str = "_build/default/lib/topos_partisan/ebin/topos_partisan.app";

/// The same, seen from an application directory.
const INSTALLED: &str = "ebin/topos_partisan.app";

/// A built topos_partisan and an Erlang to run it.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    /// The `erl` program.
    pub(crate) erl: PathBuf,
    /// The directories of beams.
    pub(crate) ebins: Vec<PathBuf>,
}

impl Home {
    /// A VM without a terminal. Names and arguments are UTF-8 whatever the locale says: without a locale, as in many
    /// containers, Erlang would read them as Latin-1.
    pub(crate) fn vm(&self) -> Command {
        let mut command = Command::new(&self.erl);
        command.args(["-noinput", "+Bd", "+fnu"]);
        command
    }

    /// Looks where `--home` says, else in the directories above this program, then above the working directory.
    pub(crate) fn find(places: &Places) -> Result<Self, Error> {
        let erl = on_path("erl").ok_or_else(|| {
            Error::new(
                "TP0801",
                "Erlang is not installed: there is no `erl` on the PATH",
                "install Erlang/OTP 25 or newer (Debian: apt-get install erlang-base erlang-dev erlang-ssl)",
            )
        })?;
        let root = match &places.home {
            Some(root) if root.join(APPLICATION).is_file() => Some(root.clone()),
            // An application directory, as it lies in the `_build` of a project or in a release.
            Some(root) if root.join(INSTALLED).is_file() => return Ok(Self { erl, ebins: vec![root.join("ebin")] }),
            Some(root) => {
                return Err(Error::new(
                    "TP0802",
                    format!("there is no built topos_partisan in {}", root.display()),
                    "run `rebar3 compile` in that directory, or correct --home (TOPOS_HOME)",
                ))
            }
            None => above(APPLICATION),
        };
        let root = root.ok_or_else(|| {
            Error::new(
                "TP0802",
                "the Erlang side of topos_partisan is not built, or not where this program looks",
                "run `make build` in the repository, or name its directory with --home (TOPOS_HOME)",
            )
        })?;
        Ok(Self { erl, ebins: ebins(&root.join("_build/default/lib")) })
    }
}

/// The directory of the standard library: `--stdlib`, else the one above this program; `None` means the built-in one.
pub(crate) fn stdlib(places: &Places) -> Result<Option<PathBuf>, Error> {
    const MARK: &str = "topos_stdlib/Topos/Partisan.topos";
    match &places.stdlib {
        Some(directory) if directory.join("Topos").is_dir() => Ok(Some(directory.clone())),
        Some(directory) => Err(Error::new(
            "TP0803",
            format!("there is no standard library in {}", directory.display()),
            "the directory given with --stdlib (TOPOS_STDLIB) must hold a directory `Topos`",
        )),
        None => Ok(places
            .home
            .clone()
            .filter(|home| home.join(MARK).is_file())
            .or_else(|| above(MARK))
            .map(|root| root.join("topos_stdlib"))),
    }
}

/// The nearest directory that holds `what`, above this program or above the working directory.
fn above(what: &str) -> Option<PathBuf> {
    let program = env::current_exe().and_then(fs::canonicalize).ok();
    let here = env::current_dir().ok();
    let starts = [program.as_deref().and_then(Path::parent), here.as_deref()];
    let mut roots = starts.into_iter().flatten().flat_map(Path::ancestors);
    roots.find(|root| root.join(what).is_file()).map(Path::to_path_buf)
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(program)).find(|path| path.is_file())
}

fn ebins(lib: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(lib) else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path().join("ebin")).filter(|ebin| ebin.is_dir()).collect();
    found.sort();
    found
}
