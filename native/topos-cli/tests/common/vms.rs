//! The VMs that a command has started, and signals to it.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::root;

/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// A mark in the environment of a run, by which its VMs are found.
pub(crate) fn mark() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}-{next}", std::process::id())
}

/// The VMs that carry the mark.
pub(crate) fn vms(mark: &str) -> Vec<u32> {
    let wanted = format!("TOPOS_TEST_RUN={mark}");
    let processes = fs::read_dir("/proc").expect("this test needs /proc").filter_map(Result::ok);
    let mut found = Vec::new();
    for process in processes {
        let Ok(pid) = process.file_name().to_string_lossy().parse() else { continue };
        // A process may end while it is looked at: then it is none.
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        let marked = environment.split(|&byte| byte == 0).any(|entry| entry == wanted.as_bytes());
        if marked && name.trim().starts_with("beam") {
            found.push(pid);
        }
    }
    found
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends it a signal.
pub(crate) fn signal(child: &std::process::Child, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id")), signal)
        .expect("it runs");
}

/// A node of its own that serves statistics, until it is dropped or stopped.
pub(crate) struct Watched {
    /// Its name, which no other node of this host has.
    pub(crate) name: String,
    /// Where the statistics are.
    pub(crate) address: String,
    vm: Child,
}

impl Watched {
    /// Starts it, and waits until it serves.
    pub(crate) fn start() -> Self {
        let name = format!("top_{}@127.0.0.1", std::process::id());
        let script = format!(
            "{{ok, _}} = topos_partisan:start(#{{node => '{name}', engine => otp, metrics => #{{}}}}), \
             [{{_, Port}}] = topos_metrics_server:addresses(), io:format(\"~b~n\", [Port]), io:get_line(\"\"), halt()."
        );
        let mut vm = Command::new("erl")
            .args(["-noshell", "-pa"])
            .arg(root().join("_build/default/lib/topos_partisan/ebin"))
            .args(["-eval", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is an Erlang");
        let mut port = String::new();
        let output = vm.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut port).expect("it tells its port");
        Self { name, address: format!("127.0.0.1:{}", port.trim()), vm }
    }

    /// Ends it, in order.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        drop(self.vm.stdin.take());
        assert!(self.vm.wait().expect("it can be waited for").success());
    }
}
