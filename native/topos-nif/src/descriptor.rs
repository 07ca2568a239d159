//! Descriptors as Erlang terms.

use crate::vm::Vm;
use rustler::types::tuple::get_tuple;
use rustler::{Atom, Binary, Term};
use topos_term::{Descriptor, Inspect, MAX_NESTING, MAX_NODES};

rustler::atoms! {
    any, int, float, text, bool, unit, atom, pid, function, list, tuple, map, record, variant, reference, recursive,
}

/// Reads a descriptor, or says which part is none.
pub(crate) struct Parser<'v, 'a> {
    pub(crate) vm: &'v Vm<'a>,
    /// Parts seen so far, so that a term whose parts are shared cannot grow without end.
    seen: usize,
}

impl<'v, 'a> Parser<'v, 'a> {
    pub(crate) fn new(vm: &'v Vm<'a>) -> Self {
        Self { vm, seen: 0 }
    }

    pub(crate) fn parse(&mut self, term: Term<'a>, depth: usize) -> Result<Descriptor, String> {
        self.seen += 1;
        if self.seen > MAX_NODES {
            return Err(format!("it has more than {MAX_NODES} nodes"));
        }
        if depth > MAX_NESTING {
            return Err(format!("it is nested deeper than {MAX_NESTING} levels"));
        }
        if let Ok(name) = term.decode::<Atom>() {
            return simple(name).ok_or_else(|| unknown(term));
        }
        let parts = get_tuple(term).map_err(|_| unknown(term))?;
        let Some(Ok(kind)) = parts.first().map(|kind| kind.decode::<Atom>()) else { return Err(unknown(term)) };
        let depth = depth + 1;
        match parts.as_slice() {
            [_, element] if kind == list() => Ok(Descriptor::List(Box::new(self.parse(*element, depth)?))),
            [_, elements] if kind == tuple() => Ok(Descriptor::Tuple(self.all(*elements, depth)?)),
            [_, key, value] if kind == map() => {
                Ok(Descriptor::Map(Box::new(self.parse(*key, depth)?), Box::new(self.parse(*value, depth)?)))
            }
            [_, fields] if kind == record() => {
                let mut parsed = Vec::new();
                for field in elements(*fields)? {
                    let (name, descriptor) = field.decode::<(Term, Term)>().map_err(|_| unknown(field))?;
                    parsed.push((self.atom(name)?, self.parse(descriptor, depth)?));
                }
                Ok(Descriptor::Record(parsed))
            }
            [_, constructors] if kind == variant() => {
                let mut parsed = Vec::new();
                for constructor in elements(*constructors)? {
                    let (name, fields) = constructor.decode::<(Term, Term)>().map_err(|_| unknown(constructor))?;
                    parsed.push((self.atom(name)?, self.all(fields, depth)?));
                }
                Ok(Descriptor::Variant(parsed))
            }
            [_, name] if kind == reference() => Ok(Descriptor::Reference(self.name(*name)?)),
            [_, name, inner] if kind == recursive() => {
                Ok(Descriptor::Recursive(self.name(*name)?, Box::new(self.parse(*inner, depth)?)))
            }
            _ => Err(unknown(term)),
        }
    }

    fn all(&mut self, list: Term<'a>, depth: usize) -> Result<Vec<Descriptor>, String> {
        elements(list)?.into_iter().map(|element| self.parse(element, depth)).collect()
    }

    fn atom(&self, term: Term<'a>) -> Result<String, String> {
        let atom = self.vm.atom(self.vm.raw(term)).ok_or_else(|| unknown(term))?;
        let mut name = Vec::new();
        self.vm.atom_name(atom, &mut name);
        String::from_utf8(name).map_err(|_| unknown(term))
    }

    /// What a recursive type is called: an atom or a text.
    fn name(&self, term: Term<'a>) -> Result<String, String> {
        match term.decode::<Binary>() {
            Ok(name) => String::from_utf8(name.to_vec()).map_err(|_| unknown(term)),
            Err(_) => self.atom(term),
        }
    }
}

fn elements(list: Term) -> Result<Vec<Term>, String> {
    // rustler's decoder takes a list for a proper one, and panics at the end of another.
    list.list_length().and_then(|_| list.decode::<Vec<Term>>()).map_err(|_| unknown(list))
}

fn simple(name: Atom) -> Option<Descriptor> {
    [
        (any(), Descriptor::Any),
        (int(), Descriptor::Int),
        (float(), Descriptor::Float),
        (text(), Descriptor::Text),
        (bool(), Descriptor::Bool),
        (unit(), Descriptor::Unit),
        (atom(), Descriptor::Atom),
        (pid(), Descriptor::Pid),
        (function(), Descriptor::Function),
    ]
    .into_iter()
    .find_map(|(known, descriptor)| (known == name).then_some(descriptor))
}

fn unknown(term: Term) -> String {
    let mut shown = format!("{term:?}");
    if shown.chars().count() > 80 {
        shown = shown.chars().take(80).collect();
        shown.push_str("..");
    }
    format!("no descriptor is written {shown}")
}
