//! Lines of the user's standard input, read only when a program asks for one.
//!
//! A thread of its own reads them: a read of a terminal cannot be cancelled, and must not hold the end of the run.

use std::{io, sync::mpsc as blocking, thread};

use tokio::sync::mpsc;

/// Standard input; each line goes to the `T` that asked for it. `None` is the end.
#[derive(Debug)]
pub(crate) struct Input<T> {
    requests: Option<blocking::Sender<T>>,
    sender: mpsc::UnboundedSender<(T, Option<String>)>,
    lines: mpsc::UnboundedReceiver<(T, Option<String>)>,
}

impl<T: Send + 'static> Input<T> {
    /// Reads nothing yet.
    pub(crate) fn new() -> Self {
        let (sender, lines) = mpsc::unbounded_channel();
        Self { requests: None, sender, lines }
    }

    /// Reads one line for `asker`.
    pub(crate) fn request(&mut self, asker: T) {
        let sender = self.sender.clone();
        let requests = self.requests.get_or_insert_with(|| {
            let (requests, asked) = blocking::channel();
            thread::spawn(move || serve(&asked, &sender));
            requests
        });
        if let Err(blocking::SendError(asker)) = requests.send(asker) {
            // The thread ends only with this object.
            drop(self.sender.send((asker, None)));
        }
    }

    /// The next line that was read. Never `None`: waits for ever if none is asked for.
    pub(crate) async fn next(&mut self) -> Option<(T, Option<String>)> {
        self.lines.recv().await
    }
}

fn serve<T>(asked: &blocking::Receiver<T>, lines: &mpsc::UnboundedSender<(T, Option<String>)>) {
    for asker in asked {
        let mut line = String::new();
        // Input that cannot be read (not UTF-8, closed) has ended for the program.
        let read = io::stdin().read_line(&mut line).unwrap_or(0);
        let line = (read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned());
        if lines.send((asker, line)).is_err() {
            return;
        }
    }
}
