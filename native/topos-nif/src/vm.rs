//! The VM's terms for `topos-term`: the one module that calls the NIF interface itself.
//!
//! rustler's own types would do, but allocate for every tuple and list; here a term costs what the VM takes for it.
//!
//! # Why this is safe
//! A [`Vm`] holds an [`Env`] and so lives no longer than the call, in which terms do not move: the VM collects no garbage of a
//! process while a NIF runs for it. Every [`Raw`] comes from an argument of the call, from a part of one, or from a function of
//! this module, so it belongs to the call's environment; an atom belongs to all. Nothing outside this module makes a `Raw` of
//! anything but a [`Term`], and only atoms are kept longer than a call. The comments at the blocks say "this call's terms" for
//! that.

use rustler::sys::{self, ErlNifBinary, ErlNifCharEncoding, ErlNifMapIterator, ErlNifMapIteratorEntry, ErlNifTermType};
use rustler::sys::{ErlNifTerm, ERL_NIF_BIN2TERM_SAFE};
use rustler::{Binary, Env, Term};
use std::ffi::c_uint;
use std::mem::MaybeUninit;
use std::{ptr, slice};
use topos_term::{AtomName, Build, Inspect, Kind};

const VERSION: u8 = 131;
/// Smaller parts of a binary are copied.
const SHARED_BYTES: usize = 4_096;
const ATOM_UTF8: u8 = 118;
const SMALL_ATOM_UTF8: u8 = 119;

/// Zero, which no term is.
// SAFETY: a word, of which every pattern of bits is valid; it is compared and never given to the VM.
const NO_TERM: ErlNifTerm = unsafe { std::mem::zeroed() };

/// A term of this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Raw(ErlNifTerm);

/// The environment of this call.
pub(crate) struct Vm<'a> {
    env: Env<'a>,
    /// Bytes that the VM is to read, for the version byte that goes before them.
    scratch: Vec<u8>,
    /// The binary that is being decoded, and its bytes.
    source: Option<(Raw, &'a [u8])>,
}

impl<'a> Vm<'a> {
    pub(crate) fn new(env: Env<'a>) -> Self {
        Self { env, scratch: Vec::new(), source: None }
    }

    /// To decode a binary: what is made of it may share its bytes.
    pub(crate) fn reading(env: Env<'a>, binary: &Binary<'a>) -> Self {
        // SAFETY: the VM keeps the bytes of a binary where they are until the call ends, and so for 'a.
        let bytes = unsafe { slice::from_raw_parts(binary.as_slice().as_ptr(), binary.len()) };
        Self { env, scratch: Vec::new(), source: Some((Raw(binary.to_term(env).as_c_arg()), bytes)) }
    }

    pub(crate) fn source(&self) -> &'a [u8] {
        self.source.map_or(&[], |(_, bytes)| bytes)
    }

    /// A view of the source, for a part of it that is large and the most of it: then it keeps little alive that would not
    /// be kept anyway.
    fn shared(&self, part: &[u8]) -> Option<Raw> {
        let (source, bytes) = self.source?;
        if part.len() < SHARED_BYTES || part.len() < bytes.len() / 2 {
            return None;
        }
        let offset = (part.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
        if offset.checked_add(part.len())? > bytes.len() {
            return None;
        }
        // SAFETY: the source is a binary of this call, and the part lies within its bytes.
        Some(Raw(unsafe { sys::enif_make_sub_binary(self.env.as_c_arg(), source.0, offset, part.len()) }))
    }

    /// The term must be of this call: the lifetime says so.
    pub(crate) fn raw(&self, term: Term<'a>) -> Raw {
        Raw(term.as_c_arg())
    }

    pub(crate) fn term(&self, raw: Raw) -> Term<'a> {
        // SAFETY: this call's terms.
        unsafe { Term::new(self.env, raw.0) }
    }

    /// Reads one term in external format, version byte first; `safe` makes no atoms.
    fn read(&self, bytes: &[u8], safe: bool) -> Option<Raw> {
        let mut term = MaybeUninit::uninit();
        let options = if safe { ERL_NIF_BIN2TERM_SAFE } else { 0 };
        // SAFETY: the pointer and the length are those of a slice; `term` is written when all is well.
        unsafe {
            let read =
                sys::enif_binary_to_term(self.env.as_c_arg(), bytes.as_ptr(), bytes.len(), term.as_mut_ptr(), options);
            (read == bytes.len()).then(|| Raw(term.assume_init()))
        }
    }

    /// An atom whose name is not within Latin-1, which this version of the NIF interface knows in external format alone.
    fn wide_atom(&self, name: &[u8], safe: bool) -> Option<Raw> {
        let mut bytes = Vec::with_capacity(name.len() + 4);
        bytes.push(VERSION);
        match u8::try_from(name.len()) {
            Ok(length) => bytes.extend_from_slice(&[SMALL_ATOM_UTF8, length]),
            Err(_) => {
                bytes.push(ATOM_UTF8);
                bytes.extend_from_slice(&u16::try_from(name.len()).ok()?.to_be_bytes());
            }
        }
        bytes.extend_from_slice(name);
        self.read(&bytes, safe)
    }

    fn existing_latin1(&self, name: &[u8]) -> Option<Raw> {
        let mut atom = MaybeUninit::uninit();
        // SAFETY: the pointer and the length are those of a slice; `atom` is written when the answer is not 0.
        unsafe {
            let found = sys::enif_make_existing_atom_len(
                self.env.as_c_arg(),
                name.as_ptr().cast(),
                name.len(),
                atom.as_mut_ptr(),
                ErlNifCharEncoding::ERL_NIF_LATIN1,
            );
            (found != 0).then(|| Raw(atom.assume_init()))
        }
    }

    /// Appends the VM's external format of a term, as a whole message.
    fn write(&self, term: Raw, use_bytes: impl FnOnce(&[u8])) -> bool {
        let mut binary = MaybeUninit::<ErlNifBinary>::uninit();
        // SAFETY: this call's terms; `binary` is written when the answer is not 0, and released once.
        unsafe {
            if sys::enif_term_to_binary(self.env.as_c_arg(), term.0, binary.as_mut_ptr()) == 0 {
                return false;
            }
            let mut binary = binary.assume_init();
            use_bytes(slice::from_raw_parts(binary.data, binary.size));
            sys::enif_release_binary(&mut binary);
        }
        true
    }
}

/// The pairs of a map that have not been seen.
pub(crate) struct Pairs<'a> {
    env: Env<'a>,
    iterator: ErlNifMapIterator,
}

impl Drop for Pairs<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `enif_map_iterator_create` in this call, and destroyed here alone.
        unsafe { sys::enif_map_iterator_destroy(self.env.as_c_arg(), &mut self.iterator) }
    }
}

impl<'a> Inspect for Vm<'a> {
    type Term = Raw;
    type Atom = Raw;
    type Tuple = &'a [Raw];
    type Pairs = Pairs<'a>;

    #[inline]
    fn kind(&self, term: Raw) -> Kind {
        // SAFETY: this call's terms. The VM answers with one of the kinds of this version of the interface.
        match unsafe { sys::enif_term_type(self.env.as_c_arg(), term.0) } {
            ErlNifTermType::ERL_NIF_TERM_TYPE_ATOM => Kind::Atom,
            ErlNifTermType::ERL_NIF_TERM_TYPE_BITSTRING => Kind::Bitstring,
            ErlNifTermType::ERL_NIF_TERM_TYPE_FLOAT => Kind::Float,
            ErlNifTermType::ERL_NIF_TERM_TYPE_FUN => Kind::Function,
            ErlNifTermType::ERL_NIF_TERM_TYPE_INTEGER => Kind::Integer,
            ErlNifTermType::ERL_NIF_TERM_TYPE_LIST => Kind::List,
            ErlNifTermType::ERL_NIF_TERM_TYPE_MAP => Kind::Map,
            ErlNifTermType::ERL_NIF_TERM_TYPE_PID => Kind::Pid,
            ErlNifTermType::ERL_NIF_TERM_TYPE_TUPLE => Kind::Tuple,
            _ => Kind::Other,
        }
    }

    #[inline]
    fn is_atom(&self, term: Raw, atom: Raw) -> bool {
        // An atom is one word, the same in every environment.
        term == atom
    }

    #[inline]
    fn atom(&self, term: Raw) -> Option<Raw> {
        (self.kind(term) == Kind::Atom).then_some(term)
    }

    fn atom_name(&self, atom: Raw, out: &mut Vec<u8>) {
        // An atom within Latin-1 has at most 255 bytes, and a zero.
        let mut name = [0u8; 256];
        // SAFETY: the pointer and the length are those of the array.
        let length = unsafe {
            sys::enif_get_atom(
                self.env.as_c_arg(),
                atom.0,
                name.as_mut_ptr().cast(),
                name.len() as c_uint,
                ErlNifCharEncoding::ERL_NIF_LATIN1,
            )
        };
        if let Some(name) = usize::try_from(length).ok().filter(|length| *length > 0).map(|length| &name[..length - 1])
        {
            if name.is_ascii() {
                out.extend_from_slice(name);
            } else {
                out.extend(name.iter().map(|byte| char::from(*byte)).collect::<String>().bytes());
            }
            return;
        }
        self.write(atom, |bytes| match bytes {
            [VERSION, SMALL_ATOM_UTF8, _, name @ ..] | [VERSION, ATOM_UTF8, _, _, name @ ..] => {
                out.extend_from_slice(name);
            }
            _ => {}
        });
    }

    #[inline]
    fn int(&self, term: Raw) -> Option<i64> {
        let mut value = 0;
        // SAFETY: this call's terms.
        (unsafe { sys::enif_get_int64(self.env.as_c_arg(), term.0, &mut value) } != 0).then_some(value)
    }

    #[inline]
    fn float(&self, term: Raw) -> Option<f64> {
        let mut value = 0.0;
        // SAFETY: this call's terms.
        (unsafe { sys::enif_get_double(self.env.as_c_arg(), term.0, &mut value) } != 0).then_some(value)
    }

    #[inline]
    fn binary(&self, term: Raw) -> Option<&[u8]> {
        let mut binary = MaybeUninit::<ErlNifBinary>::uninit();
        // SAFETY: this call's terms; `binary` is written when the answer is not 0, and its bytes stay until the call ends.
        unsafe {
            if sys::enif_inspect_binary(self.env.as_c_arg(), term.0, binary.as_mut_ptr()) == 0 {
                return None;
            }
            let binary = binary.assume_init();
            Some(if binary.size == 0 { &[] } else { slice::from_raw_parts(binary.data, binary.size) })
        }
    }

    #[inline]
    fn cell(&self, term: Raw) -> Option<(Raw, Raw)> {
        let mut head = MaybeUninit::uninit();
        let mut tail = MaybeUninit::uninit();
        // SAFETY: this call's terms; both are written when the answer is not 0.
        unsafe {
            let found = sys::enif_get_list_cell(self.env.as_c_arg(), term.0, head.as_mut_ptr(), tail.as_mut_ptr()) != 0;
            found.then(|| (Raw(head.assume_init()), Raw(tail.assume_init())))
        }
    }

    #[inline]
    fn is_nil(&self, term: Raw) -> bool {
        // SAFETY: this call's terms.
        unsafe { sys::enif_is_empty_list(self.env.as_c_arg(), term.0) != 0 }
    }

    #[inline]
    fn tuple(&self, term: Raw) -> Option<&'a [Raw]> {
        let mut arity = 0;
        let mut elements = ptr::null();
        // SAFETY: this call's terms; both are written when the answer is not 0, the elements stay until the call ends, and
        // `Raw` has the layout of what it wraps.
        unsafe {
            if sys::enif_get_tuple(self.env.as_c_arg(), term.0, &mut arity, &mut elements) == 0 {
                return None;
            }
            let arity = usize::try_from(arity).ok()?;
            Some(if arity == 0 { &[] } else { slice::from_raw_parts(elements.cast(), arity) })
        }
    }

    #[inline]
    fn arity(&self, tuple: &'a [Raw]) -> usize {
        tuple.len()
    }

    #[inline]
    fn element(&self, tuple: &'a [Raw], index: usize) -> Raw {
        tuple[index]
    }

    #[inline]
    fn map_size(&self, term: Raw) -> Option<usize> {
        let mut size = 0;
        // SAFETY: this call's terms.
        (unsafe { sys::enif_get_map_size(self.env.as_c_arg(), term.0, &mut size) } != 0).then_some(size)
    }

    #[inline]
    fn map_get(&self, term: Raw, key: Raw) -> Option<Raw> {
        let mut value = MaybeUninit::uninit();
        // SAFETY: this call's terms; `value` is written when the answer is not 0.
        unsafe {
            let found = sys::enif_get_map_value(self.env.as_c_arg(), term.0, key.0, value.as_mut_ptr()) != 0;
            found.then(|| Raw(value.assume_init()))
        }
    }

    fn pairs(&self, term: Raw) -> Option<Pairs<'a>> {
        let mut iterator = MaybeUninit::uninit();
        let first = ErlNifMapIteratorEntry::ERL_NIF_MAP_ITERATOR_HEAD;
        // SAFETY: this call's terms; `iterator` is written when the answer is not 0.
        unsafe {
            let found = sys::enif_map_iterator_create(self.env.as_c_arg(), term.0, iterator.as_mut_ptr(), first) != 0;
            found.then(|| Pairs { env: self.env, iterator: iterator.assume_init() })
        }
    }

    #[inline]
    fn next_pair(&self, pairs: &mut Pairs<'a>) -> Option<(Raw, Raw)> {
        let mut key = MaybeUninit::uninit();
        let mut value = MaybeUninit::uninit();
        // SAFETY: the iterator is of this call; both are written when the answer is not 0.
        unsafe {
            let env = self.env.as_c_arg();
            let iterator = &mut pairs.iterator;
            if sys::enif_map_iterator_get_pair(env, iterator, key.as_mut_ptr(), value.as_mut_ptr()) == 0 {
                return None;
            }
            sys::enif_map_iterator_next(env, iterator);
            Some((Raw(key.assume_init()), Raw(value.assume_init())))
        }
    }

    fn external(&self, term: Raw, out: &mut Vec<u8>) -> bool {
        let mut written = false;
        let done = self.write(term, |bytes| {
            if let [VERSION, rest @ ..] = bytes {
                out.extend_from_slice(rest);
                written = true;
            }
        });
        done && written
    }
}

impl Build for Vm<'_> {
    type Term = Raw;
    type Atom = Raw;

    const HOLE: Raw = Raw(NO_TERM);

    #[inline]
    fn atom(&mut self, atom: Raw) -> Raw {
        atom
    }

    fn existing_atom(&mut self, name: AtomName) -> Option<Raw> {
        match name {
            AtomName::Latin1(bytes) => self.existing_latin1(bytes),
            AtomName::Utf8(bytes) if bytes.is_ascii() => self.existing_latin1(bytes),
            AtomName::Utf8(bytes) => self.wide_atom(bytes, true),
        }
    }

    fn new_atom(&mut self, name: AtomName) -> Option<Raw> {
        if !name.is_valid() {
            return None;
        }
        self.wide_atom(name.to_text().as_bytes(), false)
    }

    #[inline]
    fn int(&mut self, value: i64) -> Raw {
        // SAFETY: the environment is this call's.
        Raw(unsafe { sys::enif_make_int64(self.env.as_c_arg(), value) })
    }

    #[inline]
    fn float(&mut self, value: f64) -> Raw {
        // SAFETY: the environment is this call's, and the value finite, as `Build` asks for.
        Raw(unsafe { sys::enif_make_double(self.env.as_c_arg(), value) })
    }

    #[inline]
    fn binary(&mut self, bytes: &[u8]) -> Raw {
        if let Some(shared) = self.shared(bytes) {
            return shared;
        }
        let mut term = MaybeUninit::uninit();
        // SAFETY: the VM gives as many bytes as are asked for and writes `term`; it ends the VM where memory is exhausted.
        unsafe {
            let data = sys::enif_make_new_binary(self.env.as_c_arg(), bytes.len(), term.as_mut_ptr());
            ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
            Raw(term.assume_init())
        }
    }

    #[inline]
    fn list(&mut self, elements: &[Raw]) -> Raw {
        // SAFETY: this call's terms, as many as the slice has; `Raw` has the layout of what it wraps.
        Raw(unsafe {
            sys::enif_make_list_from_array(self.env.as_c_arg(), elements.as_ptr().cast(), elements.len() as c_uint)
        })
    }

    #[inline]
    fn tuple(&mut self, elements: &[Raw]) -> Raw {
        // SAFETY: as in `list`.
        Raw(unsafe {
            sys::enif_make_tuple_from_array(self.env.as_c_arg(), elements.as_ptr().cast(), elements.len() as c_uint)
        })
    }

    fn map(&mut self, keys: &[Raw], values: &[Raw]) -> Option<Raw> {
        debug_assert_eq!(keys.len(), values.len());
        let size = keys.len().min(values.len());
        let mut map = MaybeUninit::uninit();
        // SAFETY: this call's terms, as many as both slices have; `map` is written when the answer is not 0.
        unsafe {
            let (keys, values) = (keys.as_ptr().cast(), values.as_ptr().cast());
            let made = sys::enif_make_map_from_arrays(self.env.as_c_arg(), keys, values, size, map.as_mut_ptr()) != 0;
            made.then(|| Raw(map.assume_init()))
        }
    }

    #[inline]
    fn record(&mut self, keys: &[Raw], values: &[Raw]) -> Option<Raw> {
        self.map(keys, values)
    }

    fn external(&mut self, bytes: &[u8]) -> Option<Raw> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.push(VERSION);
        scratch.extend_from_slice(bytes);
        let term = self.read(&scratch, true);
        self.scratch = scratch;
        term
    }

    fn flat(&mut self, bytes: &[u8]) -> Option<Raw> {
        match self.source {
            // The version byte is there already.
            Some((_, [VERSION, rest @ ..])) if ptr::eq(rest, bytes) => self.read(self.source(), true),
            _ => self.external(bytes),
        }
    }
}
