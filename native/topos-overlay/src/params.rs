//! Checking parameters: every one that is out of its range is named, not only the first.

use crate::OverlayError;
use std::fmt;

/// A parameter that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which parameter.
    pub name: &'static str,
    /// The accepted range.
    pub expected: String,
    /// What came.
    pub got: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}, not {}", self.name, self.expected, self.got)
    }
}

/// The violations found so far.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<Violation>);

impl Checks {
    /// `low` and `high` are accepted.
    pub(crate) fn range(&mut self, name: &'static str, got: u64, low: u64, high: u64) {
        if !(low..=high).contains(&got) {
            self.0.push(Violation { name, expected: format!("{low}..{high}"), got });
        }
    }

    pub(crate) fn at_least_one(&mut self, name: &'static str, got: u32) {
        self.holds(got > 0, name, "at least 1", got.into());
    }

    pub(crate) fn holds(&mut self, valid: bool, name: &'static str, expected: &str, got: u64) {
        if !valid {
            self.0.push(Violation { name, expected: expected.to_owned(), got });
        }
    }

    pub(crate) fn done(self) -> Result<(), OverlayError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(OverlayError::InvalidParameters(self.0))
        }
    }
}
