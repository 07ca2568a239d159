//! A port mapper of the run's own, for the engine on Distributed Erlang.
//!
//! epmd keeps the names of all nodes of a host, so two runs at once would fight for `seed`. Each run has its own, on a free
//! port, which `ERL_EPMD_PORT` tells its VMs. It ends with the run: the shell that started it waits on its standard input,
//! which closes even when the runner is killed.

use std::{
    env, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// How long epmd may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether it listens: epmd tells nobody.
const PAUSE: Duration = Duration::from_millis(5);
/// The variable that names epmd's port to Erlang.
pub(crate) const PORT: &str = "ERL_EPMD_PORT";

/// A running port mapper; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Epmd {
    /// Where it listens.
    pub(crate) port: u16,
    _shell: Child,
}

impl Epmd {
    /// Starts one that listens on loopback and on `address`. `None` if the user chose a port mapper, or if there is no epmd
    /// where `erl` is: then the VMs use the host's.
    pub(crate) async fn start(erl: &Path, address: IpAddr) -> io::Result<Option<Self>> {
        let program = match program(erl) {
            Some(program) if env::var_os(PORT).is_none() => program,
            _ => return Ok(None),
        };
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let shell = Command::new("sh")
            .args(["-c", "\"$0\" -port \"$1\" -address \"$2\" & read -r _; kill $!"])
            .arg(program)
            .args([port.to_string(), address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C on the terminal is for the runner: the nodes need their names until they ended.
            .process_group(0)
            .spawn()?;
        let started = Self { port, _shell: shell };
        timeout(PATIENCE, listens(port)).await.map_err(|_| io::Error::other("epmd did not start"))?;
        Ok(Some(started))
    }
}

async fn listens(port: u16) {
    while TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.is_err() {
        sleep(PAUSE).await;
    }
}

/// epmd stands beside `erl`, also where that is a link into an installation.
fn program(erl: &Path) -> Option<PathBuf> {
    let beside = |erl: &Path| Some(erl.with_file_name("epmd")).filter(|epmd| epmd.is_file());
    beside(erl).or_else(|| beside(&erl.canonicalize().ok()?))
}
