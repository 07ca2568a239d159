//! The lines that a VM and its runner exchange; the Erlang side is `topos_runner`.

/// A line of a VM's standard output that begins with this byte is a request, every other one is output of the program.
pub(crate) const MARK: u8 = 0x1e;

/// What a VM tells or asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The node listens at these addresses, with commas.
    Listening {
        /// Full name, `seed@127.0.0.1`.
        node: String,
        /// As its peers shall be told.
        addresses: String,
    },
    /// Where does that node listen?
    Contact {
        /// For the answer.
        id: u64,
        /// Full name.
        node: String,
    },
    /// Which nodes does this run have?
    Nodes {
        /// For the answer.
        id: u64,
    },
    /// Kill a node.
    Kill {
        /// For the answer.
        id: u64,
        /// Short name.
        name: String,
    },
    /// Start a node again.
    Start {
        /// For the answer.
        id: u64,
        /// Short name.
        name: String,
    },
    /// A line of the user's input.
    Read {
        /// For the answer.
        id: u64,
    },
    /// Call a function on a node.
    Call {
        /// For the answer.
        id: u64,
        /// Short name.
        name: String,
        /// The function, as the VMs write it.
        word: String,
    },
    /// What came of a call that the runner passed on.
    Answered {
        /// The number that the runner gave it.
        key: u64,
        /// The outcome, as the VMs write it.
        word: String,
    },
    /// New VMs for the nodes that were used.
    Reset {
        /// For the answer.
        id: u64,
    },
}

/// What the runner answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done; perhaps with a text.
    Ok(String),
    /// Not done, and why.
    Error(String),
    /// No more input.
    Eof,
}

impl Request {
    /// Reads a line without its mark; `None` for what no VM of this release writes.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let id = |text: &str| text.parse().ok();
        Some(match words[..] {
            ["listening", node, addresses] => {
                Self::Listening { node: node.to_owned(), addresses: addresses.to_owned() }
            }
            ["contact", n, node] => Self::Contact { id: id(n)?, node: node.to_owned() },
            ["nodes", n] => Self::Nodes { id: id(n)? },
            ["kill", n, name] => Self::Kill { id: id(n)?, name: name.to_owned() },
            ["start", n, name] => Self::Start { id: id(n)?, name: name.to_owned() },
            ["read", n] => Self::Read { id: id(n)? },
            ["call", n, name, word] => Self::Call { id: id(n)?, name: name.to_owned(), word: word.to_owned() },
            ["answered", n, word] => Self::Answered { key: id(n)?, word: word.to_owned() },
            ["reset", n] => Self::Reset { id: id(n)? },
            _ => return None,
        })
    }
}

impl Answer {
    /// The line to write, with its newline.
    pub(crate) fn line(&self, id: u64) -> String {
        match self {
            Self::Ok(text) => format!("ok {id} {}\n", text.replace(['\n', '\r'], " ")),
            Self::Error(text) => format!("error {id} {}\n", text.replace(['\n', '\r'], " ")),
            Self::Eof => format!("eof {id}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        assert_eq!(Request::parse("nodes 7"), Some(Request::Nodes { id: 7 }));
        assert_eq!(
            Request::parse("call 9 node2 g2E="),
            Some(Request::Call { id: 9, name: "node2".into(), word: "g2E=".into() })
        );
        assert_eq!(Request::parse("answered 4 g2E="), Some(Request::Answered { key: 4, word: "g2E=".into() }));
        assert_eq!(Request::parse("kill 8 node3"), Some(Request::Kill { id: 8, name: "node3".into() }));
        assert_eq!(
            Request::parse("listening seed@127.0.0.1 127.0.0.1:4000,[::1]:4000"),
            Some(Request::Listening { node: "seed@127.0.0.1".into(), addresses: "127.0.0.1:4000,[::1]:4000".into() })
        );
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for line in [
            "",
            "kill",
            "kill x node3",
            "kill 8",
            "nodes 7 8",
            "nodes -1",
            "dance 1",
            "call 9 node2",
            "answered x g2E=",
        ] {
            assert_eq!(Request::parse(line), None, "{line}");
        }
    }

    #[test]
    fn an_answer_is_one_line() {
        assert_eq!(Answer::Ok(String::new()).line(3), "ok 3 \n");
        assert_eq!(Answer::Error("no\nsuch node".into()).line(3), "error 3 no such node\n");
        assert_eq!(Answer::Eof.line(3), "eof 3\n");
    }
}
