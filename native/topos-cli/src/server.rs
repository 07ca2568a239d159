//! The compile server: a VM that turns Erlang forms into beams.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use topos_lang::emit::server::{Reply, Request, MAX_FRAME, VERSION};

use crate::{failure::Error, home::Home};

/// A running server. It ends when this is dropped, and by itself when this program ends.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// What it writes to standard error: a file, so that it never waits for a reader.
    log: File,
    number: u32,
}

impl Server {
    /// Starts the server of that home and waits until it is ready.
    pub(crate) fn start(home: &Home) -> Result<Self, Error> {
        let mut command = home.vm();
        command.args(["-boot", "start_clean", "-s", "topos_effect", "compile_server"]);
        command.arg("-pa").args(&home.ebins);
        // A group of its own: a Ctrl-C on the terminal reaches this program, which then closes the pipe.
        let log = tempfile::tempfile().map_err(|why| broken(&format!("there is no room for its log: {why}")))?;
        let log_of_child = log.try_clone().map_err(|why| broken(&why.to_string()))?;
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log_of_child);
        let mut child = command.spawn().map_err(|why| broken(&format!("it does not start: {why}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(broken("it has no pipes"));
        };
        let mut server = Self { child, input: Some(input), output, log, number: 0 };
        match server.reply() {
            Ok((0, Reply::Ready { version: VERSION })) => Ok(server),
            Ok((_, Reply::Ready { version })) => Err(Error::new(
                "TP0805",
                format!(
                    "the built topos_partisan speaks version {version} of the compile protocol, this program {VERSION}"
                ),
                "build both from the same sources: `make build`",
            )),
            Ok((_, other)) => Err(broken(&format!("it said {other:?} first"))),
            Err(error) => Err(server.died(error)),
        }
    }

    /// Turns forms into a beam: the module's name and the bytes.
    pub(crate) fn compile(&mut self, forms: Vec<u8>) -> Result<(String, Vec<u8>), Error> {
        match self.ask(Request::Compile(forms))? {
            Reply::Compiled { module, beam } => Ok((module, beam)),
            Reply::Refused(why) => Err(broken(&format!("Erlang refuses the generated code: {}", why.join("; ")))),
            other => Err(broken(&format!("it answered {other:?}"))),
        }
    }

    /// Calls a function of the application without arguments; the value as Topos shows it.
    pub(crate) fn call(&mut self, module: &str, function: &str) -> Result<String, Error> {
        let request = Request::Run { module: module.into(), function: function.into(), args: Vec::new() };
        match self.ask(request)? {
            Reply::Finished(value) => Ok(value),
            other => Err(broken(&format!("{module}:{function} answered {other:?}"))),
        }
    }

    fn ask(&mut self, request: Request) -> Result<Reply, Error> {
        self.number += 1;
        let frame = request.encode(self.number);
        if let Err(error) = self.send(&frame) {
            return Err(self.died(error));
        }
        loop {
            match self.reply() {
                Ok((_, Reply::Output(_))) => {}
                Ok((number, reply)) if number == self.number => return Ok(reply),
                Ok((number, _)) => return Err(broken(&format!("it answered request {number}, not {}", self.number))),
                Err(error) => return Err(self.died(error)),
            }
        }
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let size = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        input.write_all(&size.to_be_bytes())?;
        input.write_all(frame)?;
        input.flush()
    }

    fn reply(&mut self) -> io::Result<(u32, Reply)> {
        let mut size = [0; 4];
        self.output.read_exact(&mut size)?;
        let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
        if size > MAX_FRAME {
            return Err(io::Error::other(format!("a frame of {size} bytes")));
        }
        let mut frame = vec![0; size];
        self.output.read_exact(&mut frame)?;
        Reply::decode(&frame).map_err(io::Error::other)
    }

    /// The error of a server that does not answer, with what it said last.
    fn died(&mut self, error: io::Error) -> Error {
        self.stop();
        let mut said = String::new();
        if let Err(why) = self.log.rewind().and_then(|()| self.log.read_to_string(&mut said)) {
            said = why.to_string();
        }
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        broken(&last.map_or_else(|| error.to_string(), str::to_owned))
    }

    /// It ends at the end of its input; the kill is for one that hangs.
    fn stop(&mut self) {
        self.input = None;
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            // It was reaped before.
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn broken(why: &str) -> Error {
    Error::new(
        "TP0804",
        format!("the Erlang compile server failed: {why}"),
        "run `make build` again; if that does not help, please report this with the program that caused it",
    )
}
