//! The namespaces: made with the `ip` command, removed when the value goes.

use std::{net::Ipv4Addr, path::Path, process::Command};

use tokio_tun::Tun;

/// Largest packets the devices take: a burst is then few packets, and the link costs little processor time.
pub(crate) const MTU: u16 = 65_000;
const PREFIX: &str = "topos-router";
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 203, 0, 1), Ipv4Addr::new(10, 203, 0, 2)];

/// What can fail before the link stands, one sentence each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no /dev/net/tun here")]
    NoTun,
    #[error("cannot run {program}: {why}")]
    Program { program: &'static str, why: std::io::Error },
    #[error("network namespaces need root here: `ip {args}` failed: {why}")]
    Ip { args: String, why: String },
    #[error("cannot make a TUN device: {0}")]
    Device(#[from] tokio_tun::Error),
}

/// Two namespaces, each with an address.
#[derive(Debug)]
pub(crate) struct Pair {
    names: [String; 2],
    socket_buffer: u64,
}

impl Pair {
    /// Makes the namespaces, after removing those of routers that are no more.
    pub(crate) fn create(socket_buffer: u64) -> Result<Self, Error> {
        if !Path::new("/dev/net/tun").exists() {
            return Err(Error::NoTun);
        }
        remove_stale()?;
        let id = std::process::id();
        let pair = Self { names: [format!("{PREFIX}-{id}-a"), format!("{PREFIX}-{id}-b")], socket_buffer };
        for name in &pair.names {
            ip(&["netns", "add", name])?;
        }
        Ok(pair)
    }

    /// The names of the namespaces and their addresses.
    pub(crate) fn places(&self) -> [(&str, Ipv4Addr); 2] {
        [(self.names[0].as_str(), ADDRESSES[0]), (self.names[1].as_str(), ADDRESSES[1])]
    }

    /// The devices that the packets of each namespace go through.
    pub(crate) fn devices(&self) -> Result<(Tun, Tun), Error> {
        Ok((self.device(0)?, self.device(1)?))
    }

    fn device(&self, side: usize) -> Result<Tun, Error> {
        let mut made = Tun::builder().mtu(i32::from(MTU)).build()?;
        let tun = made.remove(0);
        let (space, device) = (self.names[side].as_str(), tun.name().to_owned());
        let (own, peer) = (ADDRESSES[side].to_string(), ADDRESSES[1 - side].to_string());
        ip(&["link", "set", &device, "netns", space])?;
        for args in [
            &["addr", "add", &own, "peer", &peer, "dev", &device][..],
            &["link", "set", &device, "mtu", &MTU.to_string(), "txqueuelen", "10000", "up"],
            &["link", "set", "lo", "up"],
        ] {
            ip(&[&["-n", space], args].concat())?;
        }
        let wmem = format!("net.ipv4.tcp_wmem=4096 65536 {}", self.socket_buffer);
        ip(&["netns", "exec", space, "sysctl", "-q", "-w", &wmem])?;
        Ok(tun)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in &self.names {
            // What is left is removed by the next router.
            drop(ip(&["netns", "del", name]));
        }
    }
}

/// Namespaces carry the process id of their router.
fn remove_stale() -> Result<(), Error> {
    for line in ip(&["netns", "list"])?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.trim_matches(['-', 'a', 'b']).parse::<u32>().ok());
        if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            ip(&["netns", "del", name])?;
        }
    }
    Ok(())
}

fn ip(args: &[&str]) -> Result<String, Error> {
    let output = Command::new("ip").args(args).output().map_err(|why| Error::Program { program: "ip", why })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Ip { args: args.join(" "), why })
    }
}
