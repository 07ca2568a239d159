//! Splits what a VM writes into lines, and requests from output.

use super::protocol::MARK;

/// A longer line is cut into several: no program makes the runner hold more.
const MAX_LINE: usize = 64 * 1024;

/// A piece of output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A line without its newline.
    Line(String),
    /// The beginning of a line that goes on; only where lines need not be whole.
    Part(String),
    /// A request without its mark and newline.
    Request(String),
}

/// Collects bytes until a line is whole.
#[derive(Debug)]
pub(crate) struct Lines {
    pending: Vec<u8>,
    /// Whether the beginning of a line may go out before its end has come: a prompt should be seen.
    eager: bool,
    /// Whether `pending` continues a line whose beginning went out.
    continues: bool,
}

impl Lines {
    /// A splitter; `eager` where no prefix has to be put before lines.
    pub(crate) fn new(eager: bool) -> Self {
        Self { pending: Vec::new(), eager, continues: false }
    }

    /// Takes what was read and answers what can go out.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while let Some(newline) = bytes.iter().position(|&byte| byte == b'\n') {
            self.pending.extend_from_slice(&bytes[..newline]);
            bytes = &bytes[newline + 1..];
            pieces.push(self.take_line());
        }
        self.pending.extend_from_slice(bytes);
        while self.pending.len() > MAX_LINE {
            let rest = self.pending.split_off(boundary(&self.pending, MAX_LINE));
            pieces.push(self.take_line());
            self.pending = rest;
        }
        if self.eager && !self.pending.is_empty() && (self.continues || self.pending[0] != MARK) {
            // A character whose last bytes have not come yet waits for them.
            let rest = self.pending.split_off(boundary(&self.pending, self.pending.len()));
            if !self.pending.is_empty() {
                pieces.push(Piece::Part(text(&self.pending)));
                self.continues = true;
            }
            self.pending = rest;
        }
        pieces
    }

    /// What is left when the stream has ended.
    pub(crate) fn finish(&mut self) -> Option<Piece> {
        (self.continues || !self.pending.is_empty()).then(|| self.take_line())
    }

    fn take_line(&mut self) -> Piece {
        let mut line = std::mem::take(&mut self.pending);
        let begins = !std::mem::take(&mut self.continues);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        match line.split_first() {
            Some((&MARK, request)) if begins => Piece::Request(text(request)),
            _ => Piece::Line(text(&line)),
        }
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
    fn requests_are_told_from_output() {
        let mut lines = Lines::new(false);
        assert_eq!(lines.push(b"\x1enodes 1\nnot \x1ea request\n"), [
            Piece::Request("nodes 1".into()),
            line("not \u{1e}a request")
        ]);
    }

    #[test]
    fn an_eager_splitter_shows_a_prompt() {
        let mut lines = Lines::new(true);
        assert_eq!(lines.push(b"name? "), [Piece::Part("name? ".into())]);
        assert_eq!(lines.push(b"\x1e\n\x1eread"), [line("\u{1e}")]);
        assert_eq!(lines.push(b" 1\n"), [Piece::Request("read 1".into())]);
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
