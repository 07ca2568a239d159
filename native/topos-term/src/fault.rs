//! Why a conversion failed.

/// Why a conversion failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The value is not of the type.
    #[error("at {path}: expected {expected}, got {got}")]
    Mismatch {
        /// Where in the value: `.users[3].age`, `value` for the value itself.
        path: String,
        /// The type at that place, shortened.
        expected: String,
        /// What stands there, shortened.
        got: String,
    },
    /// The bytes are no term in the external format, or one in a form that is not accepted.
    #[error("{why} at byte {offset}")]
    Malformed {
        /// What is wrong.
        why: &'static str,
        /// Where it was noticed.
        offset: usize,
    },
    /// The bytes hold more atoms that the VM does not know than the budget allows.
    #[error("more than {limit} new atoms")]
    TooManyAtoms {
        /// The budget.
        limit: usize,
    },
    /// The work exceeds what the caller allowed; nothing is wrong with the value as far as it was seen.
    #[error("the work exceeds {limit} units")]
    TooMuchWork {
        /// What was allowed.
        limit: u64,
    },
}

/// Bytes as people read them: a text in quotes, shortened, or how many there are.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("the text {:?}", excerpt::text(text)),
        Err(_) => format!("a binary of {} bytes that is no UTF-8", bytes.len()),
    }
}

/// What keeps messages short, whatever they speak about.
pub(crate) mod excerpt {
    const CHARACTERS: usize = 40;
    const PARTS: usize = 16;

    /// The beginning of a text.
    pub(crate) fn text(text: &str) -> String {
        let mut short: String = text.chars().take(CHARACTERS).collect();
        if short.len() < text.len() {
            short.push_str("..");
        }
        short
    }

    /// A path: where it is long, its beginning and its end.
    pub(crate) fn path(parts: impl ExactSizeIterator<Item = String>) -> String {
        let length = parts.len();
        if length == 0 {
            return "value".to_owned();
        }
        let mut path = String::new();
        for (i, part) in parts.enumerate() {
            if length <= PARTS || i < PARTS / 2 || i >= length - PARTS / 2 {
                path.push_str(&part);
            } else if i == PARTS / 2 {
                path.push_str("...");
            }
        }
        path
    }
}
