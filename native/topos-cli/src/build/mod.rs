//! Incremental builds: [`plan`] finds the modules, [`cache`] knows the last build, and here only what changed is checked
//! and compiled again.
//!
//! A module is built again when its *key* has changed: the compiler, its path, its text, or the interface of a module that
//! it reaches by imports. Not the texts of those: a change that leaves an interface as it was stops there.

mod cache;
mod plan;
mod timings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use topos_lang::{
    check::{self, Imports, Interface, Options},
    core, emit,
};

use self::{
    cache::{Cache, Entry, Hash, Stamp},
    plan::Unit,
    timings::Timings,
};
use crate::{
    failure::{Error, Failure},
    frontend::{self, ROOT_EFFECTS},
    home::Home,
    server::Server,
    source::Findings,
    visible::Visible,
};

/// One VM compiles at least so many modules: to start another one costs as much.
const MODULES_PER_VM: usize = 12;

/// What to build.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// Files and directories.
    pub(crate) paths: &'a [PathBuf],
    /// Where the standard library is.
    pub(crate) stdlib: Option<&'a Path>,
    /// Where the cache is.
    pub(crate) cache: &'a Path,
    /// Where beams go.
    pub(crate) output: &'a Path,
    /// Whether those of the standard library too.
    pub(crate) with_stdlib: bool,
    /// Whether tests and properties become part of the beams.
    pub(crate) tests: bool,
}

/// What a build did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The beams that were written.
    pub(crate) written: Vec<PathBuf>,
    /// How many modules were as they should be.
    pub(crate) fresh: usize,
    /// The tests of the modules that were asked for, if the job has tests.
    pub(crate) tests: Vec<Test>,
    /// How long it took.
    pub(crate) timings: Timings,
}

/// A test or a property in a beam.
#[derive(Debug)]
pub(crate) struct Test {
    /// Its module.
    pub(crate) module: String,
    /// The file it stands in.
    pub(crate) path: String,
    /// From 1.
    pub(crate) line: usize,
    /// The name of its flow: `test` or `property`, a blank, and its title.
    pub(crate) flow: String,
}

/// A module that goes to the Erlang compiler.
struct Pending {
    unit: usize,
    forms: Vec<u8>,
    key: Hash,
    interface: Hash,
    /// The interface as bytes.
    encoded: Vec<u8>,
    mentions: BTreeSet<String>,
    tests: Vec<(usize, String)>,
}

/// Builds what has changed.
pub(crate) fn build(job: &Job<'_>, home: &Home) -> Result<Done, Failure> {
    let mut timings = Timings::start();
    let mut cache = Cache::open(job.cache, job.output, &home.erl);
    let mut units = plan::units(job.paths, job.stdlib, &cache)?;
    timings.lines = units.iter().filter(|unit| unit.own).map(|unit| unit.source.text.lines().count()).sum();
    timings.phase("read and parse");
    let mut front = Front::new(&mut units, job, &cache)?;
    front.run()?;
    let Front { pending, fresh, timings: spent, .. } = front;
    timings.add(spent);
    let mut done = Done { fresh: fresh.len(), ..Done::default() };
    for (index, entry) in fresh {
        let unit = &units[index];
        done.tests.extend(tests_of(unit, &entry));
        cache.keep(&unit.source.path, &unit.name, entry, None);
    }
    timings.restart();
    let beams = compile(home, &pending)?;
    timings.phase("OTP compiler");
    fs::create_dir_all(job.output).map_err(|why| unwritable(job.output, &why))?;
    for (Pending { unit, key, interface, encoded, mentions, tests, .. }, beam) in pending.into_iter().zip(beams) {
        let unit = &units[unit];
        let mut stamp = None;
        if let Some(beam) = beam {
            let path = beam_path(job.output, &unit.name);
            // A build that is interrupted, or a VM that loads meanwhile, never sees half a beam.
            let new = path.with_extension("beam.new");
            fs::write(&new, &beam).and_then(|()| fs::rename(&new, &path)).map_err(|why| unwritable(&path, &why))?;
            stamp = Stamp::of(&path);
            done.written.push(path);
        }
        let entry = Entry {
            source: unit.hash,
            declared: unit.declared.clone(),
            imports: unit.imports.clone(),
            main: unit.main,
            key,
            interface,
            place: (0, 0),
            mentions,
            beam: stamp,
            tests,
        };
        done.tests.extend(tests_of(unit, &entry));
        cache.keep(&unit.source.path, &unit.name, entry, Some(encoded));
    }
    done.tests.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for name in cache.finish().map_err(|why| unwritable(job.cache, &why))? {
        let path = beam_path(job.output, &name);
        if path.is_file() {
            fs::remove_file(&path).map_err(|why| unwritable(&path, &why))?;
        }
    }
    timings.phase("write");
    done.timings = timings;
    Ok(done)
}

fn tests_of(unit: &Unit, entry: &Entry) -> Vec<Test> {
    let test = |(line, flow): &(usize, String)| Test {
        module: unit.name.clone(),
        path: unit.source.path.clone(),
        line: *line,
        flow: flow.clone(),
    };
    entry.tests.iter().filter(|_| unit.asked).map(test).collect()
}

/// Removes what builds into `output` left: their beams, and what is remembered of them. Answers how many beams.
pub(crate) fn clean(cache: &Path, output: &Path) -> Result<usize, Error> {
    for directory in [cache, output] {
        if directory.exists() && !directory.is_dir() {
            return Err(Error::new(
                "TP0807",
                format!("cannot clean {}: it is no directory", directory.display()),
                "name the directories that `topos build` was given: `-o` for the beams, `--cache` for what it remembers",
            ));
        }
    }
    let mut removed = 0;
    for name in Cache::remove(cache, output).map_err(|why| unremovable(cache, &why))? {
        let path = beam_path(output, &name);
        if path.is_file() {
            fs::remove_file(&path).map_err(|why| unremovable(&path, &why))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn unremovable(path: &Path, why: &io::Error) -> Error {
    let message = format!("cannot remove {}: {why}", path.display());
    Error::new("TP0807", message, "check the permissions of its directory")
}

/// Checks without the Erlang side: nothing is written, nothing remembered.
/// Answers how many files were asked for.
pub(crate) fn check(path: &PathBuf, stdlib: Option<&Path>) -> Result<(usize, Timings), Failure> {
    let mut timings = Timings::start();
    let cache = Cache::none();
    let paths = std::slice::from_ref(path);
    let mut units = plan::units(paths, stdlib, &cache)?;
    let files = if path.is_dir() { units.iter().filter(|unit| unit.own).count() } else { 1 };
    timings.lines = units.iter().filter(|unit| unit.own).map(|unit| unit.source.text.lines().count()).sum();
    timings.phase("read and parse");
    let job = Job { paths, stdlib, cache: Path::new(""), output: Path::new(""), with_stdlib: false, tests: false };
    let mut front = Front::new(&mut units, &job, &cache)?;
    front.emits = false;
    front.run()?;
    timings.add(front.timings);
    Ok((files, timings))
}

/// The front end over all modules of a build, in the order of their imports.
struct Front<'a> {
    units: &'a mut [Unit],
    job: &'a Job<'a>,
    cache: &'a Cache,
    order: Vec<usize>,
    visible: Visible,
    interfaces: BTreeMap<String, (Hash, Shown)>,
    wrong: BTreeSet<String>,
    mistakes: Vec<Findings>,
    pending: Vec<Pending>,
    fresh: Vec<(usize, Entry)>,
    emits: bool,
    /// Forms as they are written.
    buffer: Vec<u8>,
    timings: Timings,
}

/// An interface, decoded when somebody needs it.
enum Shown {
    Bytes(Vec<u8>),
    Whole(Arc<Interface>),
}

impl<'a> Front<'a> {
    fn new(units: &'a mut [Unit], job: &'a Job<'a>, cache: &'a Cache) -> Result<Self, Failure> {
        let imports: BTreeMap<String, BTreeSet<String>> =
            units.iter().map(|unit| (unit.name.clone(), unit.imports.clone())).collect();
        let order = match check::order(&imports) {
            Ok(order) => order,
            Err(cycle) => {
                if let Some(unread) = frontend::unread_first(units.iter().filter_map(Unit::syntax_errors)) {
                    return Err(unread);
                }
                let on_it = units.iter_mut().filter(|unit| cycle.contains(&unit.name));
                let program: Vec<_> = on_it.map(Unit::loaded).collect();
                return Err(frontend::cyclic(&program, &cycle));
            }
        };
        let places: BTreeMap<&str, usize> =
            units.iter().enumerate().map(|(index, unit)| (unit.name.as_str(), index)).collect();
        let order = order.iter().filter_map(|name| places.get(name.as_str()).copied()).collect();
        Ok(Self {
            units,
            job,
            cache,
            order,
            visible: Visible::default(),
            interfaces: BTreeMap::new(),
            wrong: BTreeSet::new(),
            mistakes: Vec::new(),
            pending: Vec::new(),
            fresh: Vec::new(),
            emits: true,
            buffer: Vec::new(),
            timings: Timings::start(),
        })
    }

    fn run(&mut self) -> Result<(), Failure> {
        check::on_large_stack(|| self.modules())
    }

    fn modules(&mut self) -> Result<(), Failure> {
        for index in std::mem::take(&mut self.order) {
            self.module(index)?;
        }
        if self.mistakes.is_empty() {
            Ok(())
        } else {
            Err(Failure::Mistakes(std::mem::take(&mut self.mistakes)))
        }
    }

    fn module(&mut self, index: usize) -> Result<(), Failure> {
        let unit = &self.units[index];
        let seen = self.visible.of(&unit.name, &unit.imports);
        let blocked = unit.imports.iter().any(|import| self.wrong.contains(import));
        let key = self.key(unit, &seen);
        if blocked {
            self.wrong.insert(unit.name.clone());
            self.mistakes.extend(unit.syntax_errors());
        } else if !self.is_fresh(index, &key) {
            self.check(index, key, &seen)?;
        }
        Ok(())
    }

    fn key(&self, unit: &Unit, seen: &BTreeSet<String>) -> Hash {
        let mut parts: Vec<&[u8]> = vec![
            self.cache.compiler(),
            if self.job.tests { b"tests" } else { b"" },
            unit.name.as_bytes(),
            unit.source.path.as_bytes(),
            &unit.hash,
        ];
        for name in seen {
            if let Some((hash, _)) = self.interfaces.get(name) {
                parts.extend([name.as_bytes(), hash]);
            }
        }
        cache::hash(parts)
    }

    /// Whether the last build's interface and beam still hold; the interface is then at hand.
    fn is_fresh(&mut self, index: usize, key: &Hash) -> bool {
        let unit = &self.units[index];
        let Some(entry) = unit.entry.clone().filter(|entry| entry.key == *key) else { return false };
        let wanted = unit.own || self.job.with_stdlib;
        if wanted && (entry.beam.is_none() || entry.beam != Stamp::of(&beam_path(self.job.output, &unit.name))) {
            return false;
        }
        let Some(bytes) = self.cache.interface(&entry).map(<[u8]>::to_vec) else { return false };
        self.interfaces.insert(unit.name.clone(), (entry.interface, Shown::Bytes(bytes)));
        self.visible.shows(&unit.name, entry.mentions.clone());
        self.fresh.push((index, entry));
        true
    }

    fn check(&mut self, index: usize, key: Hash, seen: &BTreeSet<String>) -> Result<(), Failure> {
        let mut imports = Imports::new();
        for name in seen {
            if let Some(interface) = self.interface(name)? {
                imports.insert(name.as_str().into(), interface);
            }
        }
        let unit = &mut self.units[index];
        let (name, path) = (unit.name.clone(), unit.source.path.clone());
        let options = Options {
            file: &path,
            default_name: &name,
            root_effects: unit.main.then_some(ROOT_EFFECTS),
            test_effects: ROOT_EFFECTS,
        };
        self.timings.restart();
        let readable = unit.readable();
        self.timings.phase("read and parse");
        let checked = check::check_readable(&readable, &imports, &options);
        drop(readable);
        self.timings.phase("check");
        match checked {
            Ok((core, interface)) => self.checked(index, key, core, interface),
            Err(mut diagnostics) => {
                let source = unit.source.clone();
                diagnostics.iter_mut().for_each(|found| frontend::say_where_modules_are(found, &source));
                self.wrong.insert(name);
                self.mistakes.push(Findings { source, diagnostics });
                Ok(())
            }
        }
    }

    fn checked(
        &mut self,
        index: usize,
        key: Hash,
        mut core: core::Module,
        interface: Interface,
    ) -> Result<(), Failure> {
        let unit = &self.units[index];
        let mut tests = Vec::new();
        if self.job.tests && unit.own {
            let flows = core.flows.iter().filter(|flow| check::is_test(&flow.name));
            tests = flows.map(|flow| (unit.source.position(flow.span.start).0, flow.name.clone())).collect();
        } else {
            core.flows.retain(|flow| !check::is_test(&flow.name));
        }
        let mentions = interface.mentions();
        let mut hash = Hash::default();
        if self.emits {
            let encoded = cache::encode(&interface).map_err(|why| unwritable(self.job.cache, &why))?;
            hash = cache::hash([encoded.as_slice()]);
            self.timings.phase("interfaces");
            let mut forms = Vec::new();
            if unit.own || self.job.with_stdlib {
                match emit::emit(&core, &unit.source.text) {
                    Ok(emitted) => {
                        self.buffer.clear();
                        emitted.write_etf(&mut self.buffer);
                        forms.extend_from_slice(&self.buffer);
                    }
                    Err(diagnostics) => {
                        self.wrong.insert(unit.name.clone());
                        self.mistakes.push(Findings { source: unit.source.clone(), diagnostics });
                        return Ok(());
                    }
                }
            }
            drop(core);
            self.timings.phase("emit");
            let mentions = mentions.clone();
            self.pending.push(Pending { unit: index, forms, key, interface: hash, encoded, mentions, tests });
        }
        self.visible.shows(&unit.name, mentions);
        self.interfaces.insert(unit.name.clone(), (hash, Shown::Whole(Arc::new(interface))));
        Ok(())
    }

    fn interface(&mut self, name: &str) -> Result<Option<Arc<Interface>>, Failure> {
        let Some((_, shown)) = self.interfaces.get_mut(name) else { return Ok(None) };
        if let Shown::Bytes(bytes) = shown {
            let interface = cache::decode(bytes).ok_or_else(|| {
                Error::new(
                    "TP0814",
                    format!("the interface of {name} in the cache cannot be read"),
                    format!("remove the directory {}", self.job.cache.display()),
                )
            })?;
            *shown = Shown::Whole(Arc::new(interface));
        }
        match shown {
            Shown::Whole(interface) => Ok(Some(Arc::clone(interface))),
            Shown::Bytes(_) => Ok(None),
        }
    }
}

/// Forms to beams, on as many VMs as it pays; `None` for a module without forms.
fn compile(home: &Home, pending: &[Pending]) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let wanted = pending.iter().filter(|module| !module.forms.is_empty()).count();
    if wanted == 0 {
        return Ok(vec![None; pending.len()]);
    }
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let vms = wanted.div_ceil(MODULES_PER_VM).min(cores);
    let queue = Mutex::new(pending.iter().enumerate().filter(|(_, module)| !module.forms.is_empty()));
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    let worker = || -> Result<Vec<(usize, Vec<u8>)>, Error> {
        let mut server = Server::start(home)?;
        let mut beams = Vec::new();
        while let Some((index, module)) = next() {
            beams.push((index, server.compile(module.forms.clone())?.1));
        }
        Ok(beams)
    };
    let compiled: Vec<Result<_, Error>> = thread::scope(|scope| {
        let workers: Vec<_> = (1..vms).map(|_| scope.spawn(worker)).collect();
        let own = worker();
        let others = workers.into_iter().map(|other| other.join().unwrap_or_else(|why| std::panic::resume_unwind(why)));
        std::iter::once(own).chain(others).collect()
    });
    let mut beams = vec![None; pending.len()];
    for part in compiled {
        for (index, beam) in part? {
            beams[index] = Some(beam);
        }
    }
    Ok(beams)
}

fn beam_path(output: &Path, module: &str) -> PathBuf {
    output.join(format!("{module}.beam"))
}

fn unwritable(path: &Path, why: &io::Error) -> Error {
    Error::new(
        "TP0807",
        format!("cannot write {}: {why}", path.display()),
        "choose another directory, or check its permissions and the room on its disk",
    )
}
