//! What a build remembers of the last one: an index of hashes, and the interfaces of all modules in one file, since a file
//! a module took a fifth of a cold build.
//!
//! The files are of this program alone: they carry the identity of the compiler that wrote them, and anything else in
//! them, or none at all, means that everything is built again.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use topos_lang::check::Interface;

/// Counted up whenever the shape of the files changes.
const VERSION: u32 = 2;

/// The file of the interfaces.
const INTERFACES: &str = "interfaces";

/// SHA-256.
pub(super) type Hash = [u8; 32];

/// The hash of several texts, each with its length, so that no two lists have the same bytes.
pub(super) fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// A beam as it was written: another size or time means that it is not ours any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    bytes: u64,
    modified: u128,
}

impl Stamp {
    /// Of a file that is there.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let modified = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self { bytes: found.len(), modified: modified.as_nanos() })
    }
}

/// A module that was built.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Of its text.
    pub(super) source: Hash,
    /// What it calls itself, if it does.
    pub(super) declared: Option<String>,
    /// What it imports.
    pub(super) imports: BTreeSet<String>,
    /// Whether it has a `main`.
    pub(super) main: bool,
    /// Of all that its beam depends on.
    pub(super) key: Hash,
    /// Of its interface.
    pub(super) interface: Hash,
    /// Where that begins among the interfaces, and its length: [`Cache::finish`] says so.
    pub(super) place: (usize, usize),
    /// The modules whose types stand in its interface.
    pub(super) mentions: BTreeSet<String>,
    /// Its beam; `None` if it was only checked.
    pub(super) beam: Option<Stamp>,
    /// Lines and flows of its tests, if it was built with them.
    pub(super) tests: Vec<(usize, String)>,
}

#[derive(Serialize, Deserialize)]
struct Index {
    version: u32,
    compiler: Hash,
    /// By the path of the source.
    entries: BTreeMap<String, (String, Entry)>,
}

/// The cache of the builds into one output directory.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    compiler: Hash,
    old: BTreeMap<String, (String, Entry)>,
    new: BTreeMap<String, (String, Entry)>,
    /// The interfaces of the last build, one behind the other.
    interfaces: Vec<u8>,
    /// Those that this one made, by the paths of the sources.
    made: BTreeMap<String, Vec<u8>>,
}

impl Cache {
    /// Opens what the last build into `output` left, if this compiler wrote it.
    pub(super) fn open(directory: &Path, output: &Path, erl: &Path) -> Self {
        let directory = place(directory, output);
        let compiler = compiler(erl);
        let old = index(&directory).filter(|index| index.compiler == compiler);
        let old = old.map(|index| index.entries).unwrap_or_default();
        // Their hashes tell whether they are those of the index.
        let interfaces = fs::read(directory.join(INTERFACES)).unwrap_or_default();
        Self { directory, compiler, old, interfaces, ..Self::none() }
    }

    /// Removes the cache of that output, whichever compiler wrote it. Answers the modules whose beams were written.
    pub(super) fn remove(directory: &Path, output: &Path) -> std::io::Result<Vec<String>> {
        let directory = place(directory, output);
        let entries = index(&directory).map(|index| index.entries).unwrap_or_default();
        if directory.is_dir() {
            fs::remove_dir_all(&directory)?;
        }
        Ok(entries.into_values().filter(|(_, entry)| entry.beam.is_some()).map(|(name, _)| name).collect())
    }

    /// One that knows nothing; for who writes nothing.
    pub(super) fn none() -> Self {
        Self {
            directory: PathBuf::new(),
            compiler: Hash::default(),
            old: BTreeMap::new(),
            new: BTreeMap::new(),
            interfaces: Vec::new(),
            made: BTreeMap::new(),
        }
    }

    /// The identity of this compiler: a part of each key.
    pub(super) fn compiler(&self) -> &Hash {
        &self.compiler
    }

    /// What is known of the module in a file with that text.
    pub(super) fn entry(&self, path: &str, source: &Hash) -> Option<&Entry> {
        self.old.get(path).map(|(_, entry)| entry).filter(|entry| entry.source == *source)
    }

    /// The interface of a module of the last build, if it is there and whole.
    pub(super) fn interface(&self, entry: &Entry) -> Option<&[u8]> {
        let (start, length) = entry.place;
        let bytes = self.interfaces.get(start..start.checked_add(length)?)?;
        (hash([bytes]) == entry.interface).then_some(bytes)
    }

    /// Says what became of a module: its interface, if this build made it.
    pub(super) fn keep(&mut self, path: &str, module: &str, entry: Entry, interface: Option<Vec<u8>>) {
        if let Some(interface) = interface {
            self.made.insert(path.to_owned(), interface);
        }
        self.new.insert(path.to_owned(), (module.to_owned(), entry));
    }

    /// Writes the interfaces and the index. Answers the modules whose beams the last build wrote and this one does not have.
    pub(super) fn finish(mut self) -> std::io::Result<Vec<String>> {
        let now: BTreeSet<&str> =
            self.new.values().filter(|(_, entry)| entry.beam.is_some()).map(|(name, _)| name.as_str()).collect();
        let before = self.old.values().filter(|(_, entry)| entry.beam.is_some()).map(|(name, _)| name);
        let gone: Vec<String> = before.filter(|name| !now.contains(name.as_str())).cloned().collect();
        fs::create_dir_all(&self.directory)?;
        let mut interfaces = Vec::with_capacity(self.interfaces.len());
        for (path, (_, entry)) in &mut self.new {
            let (start, length) = entry.place;
            // One of the last build was looked at: what is not there was made again.
            let old = start.checked_add(length).and_then(|end| self.interfaces.get(start..end));
            let bytes = self.made.get(path).map(Vec::as_slice).or(old).unwrap_or_default();
            entry.place = (interfaces.len(), bytes.len());
            interfaces.extend_from_slice(bytes);
        }
        if interfaces != self.interfaces {
            replace(&self.directory.join(INTERFACES), &interfaces)?;
        }
        let index = Index { version: VERSION, compiler: self.compiler, entries: self.new };
        let body = postcard::to_stdvec(&index).map_err(std::io::Error::other)?;
        let mut bytes = hash([body.as_slice()]).to_vec();
        bytes.extend_from_slice(&body);
        if fs::read(self.directory.join("index")).ok().as_deref() != Some(bytes.as_slice()) {
            replace(&self.directory.join("index"), &bytes)?;
        }
        Ok(gone)
    }
}

/// An interface as bytes: the same for the same interface.
pub(super) fn encode(interface: &Interface) -> std::io::Result<Vec<u8>> {
    postcard::to_stdvec(interface).map_err(std::io::Error::other)
}

/// The reverse of [`encode`]; the bytes were verified by their hash.
pub(super) fn decode(bytes: &[u8]) -> Option<Interface> {
    postcard::from_bytes(bytes).ok()
}

/// Each output directory has a cache of its own.
fn place(directory: &Path, output: &Path) -> PathBuf {
    let output = std::path::absolute(output).unwrap_or_else(|_| output.to_owned());
    directory.join(hex(&hash([output.as_os_str().as_encoded_bytes()])[..8]))
}

/// The index that is there, if it is whole and of this version.
fn index(directory: &Path) -> Option<Index> {
    let body = verified(&fs::read(directory.join("index")).ok()?)?;
    postcard::from_bytes::<Index>(&body).ok().filter(|index| index.version == VERSION)
}

/// A hash and what it is of.
fn verified(bytes: &[u8]) -> Option<Vec<u8>> {
    let (sum, body) = bytes.split_at_checked(32)?;
    (hash([body]) == *sum).then(|| body.to_vec())
}

/// Never leaves half a file behind, whenever the program is ended.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension(format!("new{}", std::process::id()));
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}

/// This program and the Erlang it compiles with, by version, size and time.
fn compiler(erl: &Path) -> Hash {
    let of = |path: &Path| fs::canonicalize(path).ok().and_then(|path| Stamp::of(&path).map(|stamp| (path, stamp)));
    let program = env::current_exe().ok();
    let seen = format!("{VERSION} {} {:?} {:?}", env!("CARGO_PKG_VERSION"), program.as_deref().and_then(of), of(erl));
    hash([seen.as_bytes()])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_texts_have_hashes_of_their_own() {
        assert_ne!(hash([b"ab".as_slice(), b"c"]), hash([b"a".as_slice(), b"bc"]));
        assert_eq!(hash([b"ab".as_slice()]), hash([b"ab".as_slice()]));
    }

    #[test]
    fn a_damaged_index_or_interface_is_as_none() {
        let place = tempfile::tempdir().unwrap();
        let open = || Cache::open(place.path(), Path::new("out"), Path::new("erl"));
        let entry = Entry {
            source: [1; 32],
            declared: None,
            imports: BTreeSet::new(),
            main: false,
            key: [2; 32],
            interface: hash([b"shape".as_slice()]),
            place: (0, 0),
            mentions: BTreeSet::new(),
            beam: None,
            tests: Vec::new(),
        };
        let mut cache = open();
        cache.keep("m.topos", "M", entry.clone(), Some(b"shape".to_vec()));
        cache.keep("a.topos", "A", Entry { interface: hash([b"a".as_slice()]), ..entry }, Some(b"a".to_vec()));
        assert!(cache.finish().unwrap().is_empty());

        let again = open();
        assert_eq!(again.entry("m.topos", &[1; 32]).unwrap().key, [2; 32]);
        assert!(again.entry("m.topos", &[9; 32]).is_none());
        let interface = |cache: &Cache, path| {
            let (_, entry) = &cache.old[path];
            cache.interface(entry).map(<[u8]>::to_vec)
        };
        assert_eq!(interface(&again, "m.topos").unwrap(), b"shape");
        // What the next build does not make again it keeps, wherever that stands then.
        let mut next = open();
        let (name, entry) = next.old["m.topos"].clone();
        next.keep("m.topos", &name, entry, None);
        assert_eq!(next.finish().unwrap(), [""; 0]);
        let again = open();
        assert_eq!((interface(&again, "m.topos").unwrap(), again.old.len()), (b"shape".to_vec(), 1));
        fs::write(again.directory.join(INTERFACES), b"shapf").unwrap();
        assert!(interface(&open(), "m.topos").is_none());
        fs::write(again.directory.join(INTERFACES), b"shap").unwrap();
        assert!(interface(&open(), "m.topos").is_none());

        let index = again.directory.join("index");
        let mut bytes = fs::read(&index).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&index, &bytes).unwrap();
        assert!(open().entry("m.topos", &[1; 32]).is_none());
        fs::write(&index, b"").unwrap();
        assert!(open().entry("m.topos", &[1; 32]).is_none());
    }
}
