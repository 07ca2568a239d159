//! What the command line and the compile server (`topos_compile_server`, an Erlang VM) say to each other.
//!
//! Both directions carry frames over the server's standard input and output: four bytes of length, most significant first, and
//! that many bytes of one term in the external term format. This module makes and reads the frames' contents; the
//! pipes are the command line's.
//!
//! The server first says [`Reply::Ready`]. Each request carries a number that its replies repeat; a request is answered
//! by any number of [`Reply::Output`] and then exactly one other reply. Requests are carried out one at a time. The server
//! ends when its standard input is closed.

use eetf::{Atom, BigInteger, Binary, FixInteger, List, Term, Tuple};
use thiserror::Error;

/// The largest frame that either side accepts, in bytes.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;

/// What the server is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Compile [`super::Emitted::to_etf`]: answered by [`Reply::Compiled`] or [`Reply::Refused`].
    Compile(Vec<u8>),
    /// Load a beam into the server: [`Reply::Loaded`] or [`Reply::Refused`].
    Load {
        /// The module's name.
        module: String,
        /// What [`Reply::Compiled`] brought.
        beam: Vec<u8>,
    },
    /// Call an exported function with texts as arguments, in a process of its own: [`Reply::Finished`] or
    /// [`Reply::Crashed`].
    Run {
        /// The module, loaded before or on the code path.
        module: String,
        /// The function.
        function: String,
        /// Its arguments, each a Text.
        args: Vec<String>,
    },
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The server takes requests; `version` is the version of this protocol, [`VERSION`] or it is another release's.
    Ready {
        /// Counted up with every change.
        version: u64,
    },
    /// A module was compiled.
    Compiled {
        /// Its name.
        module: String,
        /// The contents of its `.beam` file.
        beam: Vec<u8>,
    },
    /// A module was loaded.
    Loaded,
    /// The program wrote this.
    Output(Vec<u8>),
    /// The program returned; the value as `topos_rt:show/1` shows it.
    Finished(String),
    /// The program ended with an error, rendered for people, with the places in the `.topos` files.
    Crashed(String),
    /// The request could not be carried out: one text a mistake.
    Refused(Vec<String>),
}

/// The version of the protocol that this module speaks.
pub const VERSION: u64 = 1;

/// A frame that is not one of this protocol.
#[derive(Debug, Error)]
pub enum Malformed {
    /// Not a term at all.
    #[error("the compile server sent bytes that are not a term: {0}")]
    Term(#[from] eetf::DecodeError),
    /// A term this version does not know.
    #[error("the compile server sent a term of another shape: {0}")]
    Shape(String),
}

impl Request {
    /// The contents of the request's frame.
    pub fn encode(self, number: u32) -> Vec<u8> {
        let request = match self {
            Request::Compile(forms) => vec![atom("compile"), binary(forms)],
            Request::Load { module, beam } => vec![atom("load"), text(module), binary(beam)],
            Request::Run { module, function, args } => {
                let args = List { elements: args.into_iter().map(text).collect() };
                vec![atom("run"), text(module), text(function), Term::List(args)]
            }
        };
        let number = Term::BigInteger(BigInteger::from(number));
        let mut out = Vec::new();
        // Writing to a vector does not fail, and the only atoms are the short ones above.
        let written = Term::Tuple(Tuple { elements: vec![number, tuple(request)] }).encode(&mut out);
        debug_assert!(written.is_ok());
        out
    }
}

impl Reply {
    /// Reads the contents of a frame: the number of the request (0 for [`Reply::Ready`] and for an answer to a frame that
    /// could not be read) and the reply.
    ///
    /// # Errors
    /// [`Malformed`]: the other side is not a compile server of this version.
    pub fn decode(frame: &[u8]) -> Result<(u32, Reply), Malformed> {
        let term = Term::decode(frame)?;
        read(&term).ok_or_else(|| Malformed::Shape(term.to_string().chars().take(200).collect()))
    }
}

fn read(term: &Term) -> Option<(u32, Reply)> {
    let Term::Tuple(Tuple { elements }) = term else { return None };
    let [number, Term::Tuple(Tuple { elements: reply })] = elements.as_slice() else { return None };
    let (Term::Atom(tag), fields) = reply.split_first()? else { return None };
    let reply = match (tag.name.as_str(), fields) {
        ("ready", [version]) => Reply::Ready { version: natural(version)? },
        ("compiled", [module, beam]) => Reply::Compiled { module: as_text(module)?, beam: as_bytes(beam)?.to_vec() },
        ("loaded", []) => Reply::Loaded,
        ("output", [bytes]) => Reply::Output(as_bytes(bytes)?.to_vec()),
        ("finished", [shown]) => Reply::Finished(as_text(shown)?),
        ("crashed", [why]) => Reply::Crashed(as_text(why)?),
        ("refused", [Term::List(mistakes)]) => {
            Reply::Refused(mistakes.elements.iter().map(as_text).collect::<Option<_>>()?)
        }
        _ => return None,
    };
    Some((u32::try_from(natural(number)?).ok()?, reply))
}

fn natural(term: &Term) -> Option<u64> {
    match term {
        Term::FixInteger(FixInteger { value }) => u64::try_from(*value).ok(),
        Term::BigInteger(BigInteger { value }) => u64::try_from(value).ok(),
        _ => None,
    }
}

fn as_bytes(term: &Term) -> Option<&[u8]> {
    match term {
        Term::Binary(Binary { bytes }) => Some(bytes),
        _ => None,
    }
}

fn as_text(term: &Term) -> Option<String> {
    as_bytes(term).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn atom(name: &str) -> Term {
    Term::Atom(Atom { name: name.to_string() })
}

fn binary(bytes: Vec<u8>) -> Term {
    Term::Binary(Binary { bytes })
}

fn text(text: String) -> Term {
    binary(text.into_bytes())
}

fn tuple(elements: Vec<Term>) -> Term {
    Term::Tuple(Tuple { elements })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(reply: Vec<Term>) -> Vec<u8> {
        let mut out = Vec::new();
        tuple(vec![Term::FixInteger(FixInteger { value: 7 }), tuple(reply)]).encode(&mut out).unwrap();
        out
    }

    #[test]
    fn replies_are_read() {
        let refused = List { elements: vec![text("a".into()), text("b".into())] };
        for (terms, reply) in [
            (vec![atom("loaded")], Reply::Loaded),
            (vec![atom("output"), binary(vec![195, 164])], Reply::Output(vec![195, 164])),
            (vec![atom("refused"), Term::List(refused)], Reply::Refused(vec!["a".into(), "b".into()])),
        ] {
            assert_eq!(Reply::decode(&encode(terms)).unwrap(), (7, reply));
        }
    }

    #[test]
    fn another_shape_is_an_error() {
        for terms in [vec![atom("unheard_of")], vec![atom("loaded"), atom("x")], vec![text("loaded".into())], vec![]] {
            assert!(matches!(Reply::decode(&encode(terms)), Err(Malformed::Shape(_))));
        }
        assert!(matches!(Reply::decode(&[131]), Err(Malformed::Term(_))));
        assert!(matches!(Reply::decode(&[]), Err(Malformed::Term(_))));
    }
}
