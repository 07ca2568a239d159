//! Splits what a VM writes into lines, and requests from output.
//!
//! A request may follow the beginning of a line: a program that writes a prompt and then asks for input writes both
//! without a newline between. So requests are taken out wherever they stand, from their mark to the next newline.

use super::protocol::{Request, MARK};

/// A longer line is cut into several: no program makes the runner hold more.
const MAX_LINE: usize = 64 * 1024;
/// As long as the lines that a VM reads: a request may hold a function that another VM is to call.
const MAX_REQUEST: usize = 1024 * 1024;

/// A piece of output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A line without its newline.
    Line(String),
    /// The beginning of a line that goes on; only where lines need not be whole.
    Part(String),
    /// A request.
    Request(Request),
}

/// Collects bytes until a line is whole.
#[derive(Debug)]
pub(crate) struct Lines {
    /// The line so far, without what has gone out of it.
    line: Vec<u8>,
    /// Whether some of the line has gone out.
    continues: bool,
    /// A request so far, without its mark.
    request: Option<Vec<u8>>,
    /// Whether the beginning of a line may go out before its end has come: a prompt should be seen.
    eager: bool,
}

impl Lines {
    /// A splitter; `eager` where no prefix has to be put before lines.
    pub(crate) fn new(eager: bool) -> Self {
        Self { line: Vec::new(), continues: false, request: None, eager }
    }

    /// Takes what was read and answers what can go out.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while let Some(at) = bytes.iter().position(|&byte| byte == b'\n' || byte == MARK) {
            let (before, rest) = bytes.split_at(at);
            bytes = &rest[1..];
            self.extend(before, &mut pieces);
            if rest[0] == MARK {
                self.give_up_request();
                self.flush(&mut pieces);
                self.request = Some(Vec::new());
            } else if let Some(request) = self.request.take() {
                match Request::parse(&text(&request)) {
                    Some(request) => pieces.push(Piece::Request(request)),
                    None => {
                        self.request = Some(request);
                        self.give_up_request();
                        pieces.push(self.take_line());
                    }
                }
            } else {
                pieces.push(self.take_line());
            }
        }
        self.extend(bytes, &mut pieces);
        self.flush(&mut pieces);
        pieces
    }

    /// What is left when the stream has ended.
    pub(crate) fn finish(&mut self) -> Option<Piece> {
        self.give_up_request();
        (self.continues || !self.line.is_empty()).then(|| self.take_line())
    }

    fn extend(&mut self, bytes: &[u8], pieces: &mut Vec<Piece>) {
        if let Some(request) = &mut self.request {
            request.extend_from_slice(bytes);
            if request.len() <= MAX_REQUEST {
                return;
            }
            self.give_up_request();
        } else {
            self.line.extend_from_slice(bytes);
        }
        while self.line.len() > MAX_LINE {
            let rest = self.line.split_off(boundary(&self.line, MAX_LINE));
            pieces.push(self.take_line());
            self.line = rest;
        }
    }

    /// What began like a request but is none was output of the program.
    fn give_up_request(&mut self) {
        if let Some(request) = self.request.take() {
            self.line.push(MARK);
            self.line.extend(request);
        }
    }

    /// Lets the beginning of a line go out, if it may. A character whose last bytes have not come yet waits for them.
    fn flush(&mut self, pieces: &mut Vec<Piece>) {
        if !self.eager {
            return;
        }
        let rest = self.line.split_off(boundary(&self.line, self.line.len()));
        if !self.line.is_empty() {
            pieces.push(Piece::Part(text(&self.line)));
            self.continues = true;
        }
        self.line = rest;
    }

    fn take_line(&mut self) -> Piece {
        let mut line = std::mem::take(&mut self.line);
        self.continues = false;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Piece::Line(text(&line))
    }
}

/// The largest index up to `at` that does not split a character; `at` itself in what is no UTF-8.
fn boundary(bytes: &[u8], at: usize) -> usize {
    let window = at.saturating_sub(4);
    match std::str::from_utf8(&bytes[window..at]) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => window + error.valid_up_to(),
        Err(error) if error.error_len().is_none() && at <= 3 => error.valid_up_to(),
        _ => at,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Piece {
        Piece::Line(text.into())
    }

    #[test]
    fn lines_are_put_together_from_chunks() {
        let mut lines = Lines::new(false);
        assert_eq!(lines.push(b"one\ntw"), [line("one")]);
        assert_eq!(lines.push(b"o\r\n\nthree"), [line("two"), line("")]);
        assert_eq!(lines.finish(), Some(line("three")));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn requests_are_taken_out_of_the_output() {
        let mut lines = Lines::new(false);
        assert_eq!(
            lines.push(b"\x1enodes 1\nbefore \x1ekill 2 node3\nand after\n"),
            [
                Piece::Request(Request::Nodes { id: 1 }),
                Piece::Request(Request::Kill { id: 2, name: "node3".into() }),
                line("before and after")
            ]
        );
    }

    #[test]
    fn what_is_no_request_is_output() {
        let mut lines = Lines::new(false);
        assert_eq!(
            lines.push(b"\x1ebells\n\x1e\x1enodes 3\nx\n"),
            [line("\u{1e}bells"), Piece::Request(Request::Nodes { id: 3 }), line("\u{1e}x")]
        );
        assert_eq!(lines.push(b"\x1ekill 1"), []);
        assert_eq!(lines.finish(), Some(line("\u{1e}kill 1")));
    }

    #[test]
    fn an_eager_splitter_shows_a_prompt() {
        let mut lines = Lines::new(true);
        assert_eq!(
            lines.push(b"name? \x1eread 1\n"),
            [Piece::Part("name? ".into()), Piece::Request(Request::Read { id: 1 })]
        );
        assert_eq!(lines.push(b"Ada\n"), [line("Ada")]);
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn a_character_cut_between_chunks_stays_whole() {
        let mut lines = Lines::new(true);
        assert_eq!(lines.push(b"\xc3"), []);
        assert_eq!(lines.push(b"\xa9 and \xe6\x97"), [Piece::Part("é and ".into())]);
        assert_eq!(lines.push(b"\xa5\n"), [line("日")]);
    }

    #[test]
    fn a_long_line_is_cut() {
        let mut lines = Lines::new(false);
        let pieces = lines.push("é".repeat(MAX_LINE).as_bytes());
        assert_eq!(pieces.len(), 1);
        assert!(matches!(&pieces[0], Piece::Line(text) if text.len() <= MAX_LINE && text.chars().all(|c| c == 'é')));
    }
}
