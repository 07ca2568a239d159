//! Runs the nodes of a program: starts their VMs, shows what they write, answers what they ask, and ends them.

use std::{collections::HashMap, io, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use tokio::{
    process::Command,
    signal::unix::{signal, Signal, SignalKind},
    sync::mpsc,
    time::{sleep_until, Instant},
};

use super::{
    input::Input,
    lines::Piece,
    output::{Output, Stream},
    protocol::{Answer, Request},
    vm::{Event, Vm, What},
};

/// How long a VM that was asked to stop may take before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// Events that wait; a VM that writes faster than the terminal reads waits too.
const EVENTS: usize = 1024;

/// Makes the command that starts a node's VM.
pub(crate) trait Launch {
    /// For a node's place among the others and its full name, `node2@127.0.0.1`.
    fn command(&self, index: usize, node: &str) -> Command;
}

/// The nodes of one `topos run`.
pub(crate) struct Cluster<L> {
    launch: L,
    output: Output,
    nodes: Vec<Node>,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    input: Input<Asker>,
    /// Whether the first node runs tests, and the others do what it calls.
    tests: bool,
    /// Calls that are under way, by the number that the runner gave them.
    calls: HashMap<u64, Call>,
    next_call: u64,
    /// The exit status of the run, once something decided it.
    status: Option<i32>,
    /// When VMs that were asked to stop are killed.
    deadline: Option<Instant>,
}

struct Node {
    name: String,
    full_name: String,
    life: u32,
    vm: Option<Vm>,
    /// Where it listens, once it said so.
    addresses: Option<String>,
    /// Whether its end was asked for, so that its exit status does not count.
    killed: bool,
    /// Whether a test has called, killed or started it.
    used: bool,
    /// Who waits for its end.
    killers: Vec<Asker>,
    /// Who wants to know where it listens.
    callers: Vec<Asker>,
}

/// A VM that asked something, and under which number.
#[derive(Clone, Copy)]
struct Asker {
    node: usize,
    life: u32,
    id: u64,
}

/// A call that a VM shall answer.
struct Call {
    asker: Asker,
    node: usize,
    life: u32,
}

impl<L: Launch> Cluster<L> {
    /// A cluster whose nodes have these short names, the first of them the seed; `tests` says that it runs tests.
    pub(crate) fn new(names: &[String], host: &str, launch: L, output: Output, tests: bool) -> Self {
        let (events, inbox) = mpsc::channel(EVENTS);
        let nodes = names.iter().map(|name| Node {
            name: name.clone(),
            full_name: format!("{name}@{host}"),
            life: 0,
            vm: None,
            addresses: None,
            killed: false,
            used: false,
            killers: Vec::new(),
            callers: Vec::new(),
        });
        Self {
            launch,
            output,
            nodes: nodes.collect(),
            events,
            inbox,
            input: Input::new(),
            tests,
            calls: HashMap::new(),
            next_call: 0,
            status: None,
            deadline: None,
        }
    }

    /// Runs all nodes to their end. Answers the exit status: the first that was not 0, or 128 and the signal that ended
    /// the run. No VM is left when it returns, with an error or without.
    pub(crate) async fn run(mut self) -> io::Result<i32> {
        let mut interrupts = Interrupts::new()?;
        for node in 0..self.nodes.len() {
            self.start(node)?;
        }
        while self.nodes.iter().any(|node| node.vm.is_some()) {
            let deadline = self.deadline;
            tokio::select! {
                Some(event) = self.inbox.recv() => self.handle(event)?,
                Some((asker, line)) = self.input.next() => {
                    self.answer(asker, &line.map_or(Answer::Eof, Answer::Ok));
                }
                number = interrupts.next() => self.interrupt(number)?,
                () = until(deadline) => self.kill_all(),
            }
        }
        Ok(self.status.unwrap_or(0))
    }

    fn start(&mut self, index: usize) -> io::Result<()> {
        let eager = self.nodes.len() == 1;
        let node = &mut self.nodes[index];
        let command = self.launch.command(index, &node.full_name);
        node.life += 1;
        node.killed = false;
        node.addresses = None;
        node.vm = Some(Vm::start(command, (index, node.life), eager, &self.events)?);
        Ok(())
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        if self.nodes[event.node].life != event.life {
            return Ok(());
        }
        match event.what {
            // A node that is being stopped complains of that; the reason of the stop has been told.
            What::Wrote(Stream::Err, _) if self.deadline.is_some() => Ok(()),
            What::Wrote(stream, Piece::Line(text)) => self.output.line(event.node, stream, &text),
            What::Wrote(stream, Piece::Part(text)) => Output::part(stream, &text),
            What::Wrote(_, Piece::Request(request)) => self.request(event.node, request),
            What::Exited(status) => self.exited(event.node, status?),
        }
    }

    fn exited(&mut self, index: usize, status: ExitStatus) -> io::Result<()> {
        let node = &mut self.nodes[index];
        if let Some(mut vm) = node.vm.take() {
            vm.mark_exited();
        }
        let (killers, callers) = (std::mem::take(&mut node.killers), std::mem::take(&mut node.callers));
        let (name, killed, life) = (node.name.clone(), node.killed, node.life);
        for asker in killers {
            self.answer(asker, &Answer::Ok(String::new()));
        }
        for asker in callers {
            self.answer(asker, &Answer::Error("ended".into()));
        }
        self.fail_calls(index, life);
        let code = exit_code(status);
        if self.tests {
            // The others only serve: without the first there is nothing left to do.
            if index == 0 {
                self.status.get_or_insert(code);
                self.kill_all();
            }
            return Ok(());
        }
        if killed || code == 0 || self.status.is_some() {
            return Ok(());
        }
        self.status = Some(code);
        if self.nodes.len() > 1 {
            let others = if self.nodes.iter().any(|node| node.vm.is_some()) { "; stopping the others" } else { "" };
            self.output.remark(&format!("{name} ended with {}{others}", describe(status)))?;
        }
        self.terminate_all();
        Ok(())
    }

    fn request(&mut self, index: usize, request: Request) -> io::Result<()> {
        let life = self.nodes[index].life;
        let asker = |id| Asker { node: index, life, id };
        match request {
            Request::Listening { node, addresses } => {
                let Some(found) = self.nodes.iter().position(|known| known.full_name == node) else { return Ok(()) };
                for asker in std::mem::take(&mut self.nodes[found].callers) {
                    self.answer(asker, &Answer::Ok(addresses.clone()));
                }
                self.nodes[found].addresses = Some(addresses);
            }
            Request::Contact { id, node } => {
                let asker = asker(id);
                match self.nodes.iter_mut().find(|known| known.full_name == node) {
                    None => self.answer(asker, &Answer::Error(format!("unknown {}", self.full_names()))),
                    Some(Node { vm: None, .. }) => self.answer(asker, &Answer::Error("ended".into())),
                    Some(Node { addresses: Some(addresses), .. }) => {
                        let answer = Answer::Ok(addresses.clone());
                        self.answer(asker, &answer);
                    }
                    Some(node) => node.callers.push(asker),
                }
            }
            Request::Nodes { id } => {
                let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                self.answer(asker(id), &Answer::Ok(names.join(",")));
            }
            Request::Kill { id, name } => {
                let asker = asker(id);
                match self.find(&name) {
                    Err(why) => self.answer(asker, &Answer::Error(why)),
                    Ok(0) if self.tests => self.answer(asker, &Answer::Error(format!("{name} runs the tests"))),
                    Ok(node) if self.nodes[node].vm.is_none() => {
                        self.answer(asker, &Answer::Error(format!("{name} does not run")));
                    }
                    Ok(node) => {
                        self.remark(&format!("killing {name} (SIGKILL)"))?;
                        let node = &mut self.nodes[node];
                        (node.killed, node.used) = (true, true);
                        node.killers.push(asker);
                        if let Some(vm) = &node.vm {
                            vm.kill();
                        }
                    }
                }
            }
            Request::Start { id, name } => {
                let asker = asker(id);
                match self.find(&name) {
                    Err(why) => self.answer(asker, &Answer::Error(why)),
                    Ok(node) if self.nodes[node].vm.is_some() => {
                        self.answer(asker, &Answer::Error(format!("{name} runs already")));
                    }
                    Ok(_) if self.deadline.is_some() => {
                        self.answer(asker, &Answer::Error("the run is being stopped".into()));
                    }
                    Ok(node) => {
                        self.remark(&format!("starting {name} again"))?;
                        self.start(node)?;
                        self.nodes[node].used = true;
                        self.answer(asker, &Answer::Ok(String::new()));
                    }
                }
            }
            Request::Read { id } => self.read(asker(id)),
            Request::Call { id, name, word } => self.call(asker(id), &name, &word),
            Request::Answered { key, word } => {
                if let Some(call) = self.calls.remove(&key) {
                    self.answer(call.asker, &Answer::Ok(word));
                }
            }
            Request::Reset { id } => {
                self.reset()?;
                self.answer(asker(id), &Answer::Ok(String::new()));
            }
        }
        Ok(())
    }

    /// Passes a call on to its node.
    fn call(&mut self, asker: Asker, name: &str, word: &str) {
        let found = self.nodes.iter().position(|node| node.name == name);
        match found {
            _ if !self.tests => self.answer(asker, &Answer::Error("busy".into())),
            None => {
                let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                self.answer(asker, &Answer::Error(format!("unknown {}", names.join(","))));
            }
            Some(index) => {
                let node = &mut self.nodes[index];
                match &node.vm {
                    None => self.answer(asker, &Answer::Error("ended".into())),
                    Some(vm) => {
                        node.used = true;
                        vm.answer(format!("call {} {word}\n", self.next_call));
                        self.calls.insert(self.next_call, Call { asker, node: index, life: node.life });
                        self.next_call += 1;
                    }
                }
            }
        }
    }

    /// Who called a VM that has ended learns it.
    fn fail_calls(&mut self, node: usize, life: u32) {
        let ended: Vec<u64> =
            self.calls.iter().filter(|(_, call)| (call.node, call.life) == (node, life)).map(|(&key, _)| key).collect();
        for call in ended.iter().filter_map(|key| self.calls.remove(key)).collect::<Vec<_>>() {
            self.answer(call.asker, &Answer::Error("ended".into()));
        }
    }

    /// New VMs for the nodes that a test has used, and nothing known of where it listened: the next one begins as the first.
    fn reset(&mut self) -> io::Result<()> {
        self.nodes[0].addresses = None;
        for index in 1..self.nodes.len() {
            if std::mem::take(&mut self.nodes[index].used) && self.deadline.is_none() {
                self.fail_calls(index, self.nodes[index].life);
                // The earlier VM is killed when its place is taken; what it still says is of an earlier life.
                self.start(index)?;
            }
        }
        Ok(())
    }

    /// What is told of a run; what tests do to their nodes is their own matter.
    fn remark(&self, text: &str) -> io::Result<()> {
        if self.tests {
            Ok(())
        } else {
            self.output.remark(text)
        }
    }

    fn full_names(&self) -> String {
        self.nodes.iter().map(|node| node.full_name.as_str()).collect::<Vec<_>>().join(",")
    }

    fn find(&self, name: &str) -> Result<usize, String> {
        self.nodes.iter().position(|node| node.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            format!("there is no node called {name}; this run has {}", names.join(", "))
        })
    }

    fn answer(&self, asker: Asker, answer: &Answer) {
        let node = &self.nodes[asker.node];
        if let (Some(vm), true) = (&node.vm, node.life == asker.life) {
            vm.answer(answer.line(asker.id));
        }
    }

    /// The user's input belongs to a single node; with several, nobody could say which. Tests have none.
    fn read(&mut self, asker: Asker) {
        if self.nodes.len() > 1 || self.tests {
            self.answer(asker, &Answer::Eof);
        } else {
            self.input.request(asker);
        }
    }

    fn interrupt(&mut self, number: i32) -> io::Result<()> {
        if self.deadline.is_some() {
            self.kill_all();
        } else if self.nodes.len() > 1 {
            self.remark("stopping the nodes")?;
        }
        self.status.get_or_insert(128 + number);
        self.terminate_all();
        Ok(())
    }

    fn terminate_all(&mut self) {
        self.deadline.get_or_insert_with(|| Instant::now() + GRACE);
        self.nodes.iter().filter_map(|node| node.vm.as_ref()).for_each(Vm::terminate);
    }

    fn kill_all(&mut self) {
        // The exits come as events; there is nothing more to wait for.
        self.deadline = Some(Instant::now() + GRACE);
        self.nodes.iter().filter_map(|node| node.vm.as_ref()).for_each(Vm::kill);
    }
}

/// The signals that end a run.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        }
        .as_raw_value()
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit status {}", exit_code(status)),
    }
}
