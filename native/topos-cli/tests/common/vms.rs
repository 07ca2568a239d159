//! The VMs that a command has started, and signals to it.

use std::{
    fs,
    time::{Duration, Instant},
};

/// How long a condition is waited for before the test fails: on a busy machine the front end alone takes minutes for a large build.
const PATIENCE: Duration = Duration::from_secs(300);

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
