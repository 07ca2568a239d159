//! `topos-router`: two network namespaces with a link between them that takes its time. For benchmarks; needs Linux, root
//! and `/dev/net/tun`.
//!
//! It makes the namespaces, prints `ready NAMESPACE ADDRESS NAMESPACE ADDRESS` and passes packets, each after `--delay-ms`,
//! until its standard input ends or it gets SIGINT, SIGTERM or SIGHUP; then it removes the namespaces. Whoever started it
//! need not clean up: when that process dies, however it does, standard input ends. Namespaces that a killed router left
//! behind are removed by the next one.

#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod namespace;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

/// Two network namespaces with a slow link between them.
#[derive(Debug, Parser)]
#[command(name = "topos-router", version)]
struct Args {
    /// Milliseconds a packet takes in each direction; the round trip is twice that.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    delay_ms: u64,
    /// Bytes that a TCP socket in a namespace may keep unacknowledged: `net.ipv4.tcp_wmem`'s maximum.
    #[arg(long, default_value_t = 262_144, value_parser = clap::value_parser!(u64).range(4_096..=1_073_741_824))]
    socket_buffer: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where even standard error is closed, the exit status alone must tell.
            drop(writeln!(io::stderr(), "topos-router: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let signals = link::Signals::catch()?;
        let ends = namespace::Pair::create(args.socket_buffer)?;
        let (a, b) = ends.devices()?;
        {
            let mut out = io::stdout().lock();
            let [left, right] = ends.places();
            writeln!(out, "ready {} {} {} {}", left.0, left.1, right.0, right.1)?;
            out.flush()?;
        }
        link::run(a, b, std::time::Duration::from_millis(args.delay_ms), signals).await?;
        Ok(())
    });
    // The thread that reads standard input may still wait for it.
    runtime.shutdown_background();
    done
}

#[cfg(not(target_os = "linux"))]
fn run(_args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    Err("network namespaces exist on Linux alone".into())
}
