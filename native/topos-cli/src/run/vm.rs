//! One BEAM VM: its process, its streams, and the certainty that it ends.
//!
//! A VM gets a process group of its own, so that a Ctrl-C on the terminal reaches the runner alone and a kill reaches
//! what the VM started. It ends with the runner in three ways: [`Vm`] kills it when dropped, tokio kills it when the
//! runtime goes, and the VM halts by itself when its standard input ends, which even a SIGKILL of the runner brings
//! about.

use std::{io, process::Stdio, time::Duration};

use nix::{
    sys::signal::{killpg, Signal},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, Command},
    sync::{mpsc, watch},
    time::{sleep, Instant},
};

use super::{
    lines::{Lines, Piece},
    output::Stream,
};

/// How long the pipes of an ended VM are waited for, all in all, while they say nothing.
const DRAIN: Duration = Duration::from_secs(1);

/// Something a VM did.
#[derive(Debug)]
pub(crate) struct Event {
    /// Index of the node.
    pub(crate) node: usize,
    /// Which of the node's VMs: counts starts.
    pub(crate) life: u32,
    /// What it did.
    pub(crate) what: What,
}

/// What a VM did.
#[derive(Debug)]
pub(crate) enum What {
    /// It wrote something.
    Wrote(Stream, Piece),
    /// Its process is gone and all it wrote has been reported.
    Exited(io::Result<std::process::ExitStatus>),
}

/// A running VM.
#[derive(Debug)]
pub(crate) struct Vm {
    group: Pid,
    answers: mpsc::UnboundedSender<String>,
    exited: bool,
}

impl Vm {
    /// Starts the command as the `life`th VM of a node; what it does comes through `events`.
    pub(crate) fn start(
        mut command: Command,
        (node, life): (usize, u32),
        eager: bool,
        events: &mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).ok_or(io::ErrorKind::NotFound)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (answers, to_write) = mpsc::unbounded_channel();
        let mut writer = tokio::spawn(write(stdin, to_write));
        let report = Report { node, life, events: events.clone() };
        let (end, ended) = watch::channel(false);
        let readers = [
            tokio::spawn(read(Pipe::new(stdout, &ended), Stream::Out, Lines::new(eager), report.clone())),
            tokio::spawn(read(Pipe::new(stderr, &ended), Stream::Err, Lines::new(eager), report.clone())),
        ];
        tokio::spawn(async move {
            let status = child.wait().await;
            writer.abort();
            // The writer is gone or being cancelled; either way nothing is read from that pipe any more.
            let _cancelled = (&mut writer).await;
            end.send_replace(true);
            for reader in readers {
                // One that panicked has said so, and read what it could.
                let _joined = reader.await;
            }
            report.send(What::Exited(status)).await;
        });
        Ok(Self { group: Pid::from_raw(id), answers, exited: false })
    }

    /// Writes a line to its standard input. A VM that has just ended does not read it.
    pub(crate) fn answer(&self, line: String) {
        if self.answers.send(line).is_err() {
            // Its exit is on the way as an event.
        }
    }

    /// Asks it to stop: OTP stops its applications in order and exits with status 0.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Ends it now, and what it started.
    pub(crate) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// To be called when its exit was reported: its process id may belong to another one from now on.
    pub(crate) fn mark_exited(&mut self) {
        self.exited = true;
    }

    fn signal(&self, signal: Signal) {
        if !self.exited && killpg(self.group, signal).is_err() {
            // It ended by itself a moment ago: its exit is on the way as an event.
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Clone)]
struct Report {
    node: usize,
    life: u32,
    events: mpsc::Sender<Event>,
}

impl Report {
    /// Whether anybody still wants to know.
    async fn send(&self, what: What) -> bool {
        self.events.send(Event { node: self.node, life: self.life, what }).await.is_ok()
    }
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::UnboundedReceiver<String>) {
    while let Some(line) = lines.recv().await {
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(mut from: Pipe<impl AsyncRead + Unpin>, stream: Stream, mut lines: Lines, report: Report) {
    let mut buffer = vec![0; 16 * 1024];
    while let count @ 1.. = from.read(&mut buffer).await {
        for piece in lines.push(&buffer[..count]) {
            if !report.send(What::Wrote(stream, piece)).await {
                return;
            }
        }
    }
    if let Some(piece) = lines.finish() {
        report.send(What::Wrote(stream, piece)).await;
    }
}

/// The output of a VM. What the VM wrote is read to its end, whenever there is somebody to take it. A process that the VM
/// started may hold the pipe open for ever, though: once the VM has ended, only so long is waited for more.
struct Pipe<R> {
    from: R,
    ended: watch::Receiver<bool>,
    patience: Duration,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    fn new(from: R, ended: &watch::Receiver<bool>) -> Self {
        Self { from, ended: ended.clone(), patience: DRAIN }
    }

    /// How many bytes came; none at the end. A pipe that fails has nothing more to say, like one that ended.
    async fn read(&mut self, buffer: &mut [u8]) -> usize {
        let Self { from, ended, patience } = self;
        let had_ended = *ended.borrow();
        let begun = Instant::now();
        let silence = async {
            // Nobody is left to tell of the end when it is there.
            drop(ended.wait_for(|&ended| ended).await);
            sleep(*patience).await;
        };
        let count = tokio::select! {
            biased;
            read = from.read(buffer) => read.unwrap_or(0),
            () = silence => 0,
        };
        if had_ended {
            *patience = patience.saturating_sub(begun.elapsed());
        }
        count
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may fail")]
mod tests {
    use super::*;

    /// What a command writes whose runner takes no event for a while.
    async fn written(script: &str, pause: Duration) -> Vec<String> {
        let (events, mut inbox) = mpsc::channel(1);
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let vm = Vm::start(command, (0, 0), false, &events).unwrap();
        tokio::time::sleep(pause).await;
        let mut lines = Vec::new();
        loop {
            match inbox.recv().await.unwrap().what {
                What::Wrote(Stream::Out, Piece::Line(line)) => lines.push(line),
                What::Exited(status) => {
                    assert!(status.unwrap().success());
                    drop(vm);
                    return lines;
                }
                _ => {}
            }
        }
    }

    /// A terminal that is slow loses nothing of a VM that ended long ago.
    #[tokio::test]
    async fn what_an_ended_vm_wrote_is_read_however_slowly() {
        let lines = written("seq 2000; printf end", DRAIN + Duration::from_millis(500)).await;
        assert_eq!(lines.len(), 2001);
        assert_eq!(lines.last().map(String::as_str), Some("end"));
    }

    /// A process that it left behind has its output still, and says something now and then.
    #[tokio::test]
    async fn what_a_vm_left_behind_is_not_waited_for() {
        let lines = written("echo first; (while sleep 0.1; do echo more; done) & exit 0", Duration::ZERO).await;
        assert_eq!(lines.first().map(String::as_str), Some("first"));
    }
}
