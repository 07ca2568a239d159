//! Asks a node for its statistics: one HTTP request, bounded in time and size.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use serde::Deserialize;

use crate::failure::Error;

const PATIENCE: Duration = Duration::from_secs(5);
/// A row is about a kilobyte: this is for ten thousand of them.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// What `/stats` answers; keys that are not shown are left out.
#[derive(Debug, Deserialize)]
pub(super) struct Stats {
    pub(super) node: String,
    pub(super) engine: String,
    pub(super) cluster: String,
    pub(super) members: Vec<Member>,
    pub(super) channels: Vec<Row>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) node: String,
    pub(super) status: String,
}

/// One peer and one channel.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) node: String,
    pub(super) channel: String,
    pub(super) status: String,
    pub(super) lanes: u64,
    pub(super) queue_messages: u64,
    pub(super) credit: u64,
    pub(super) retries: u64,
    pub(super) superseded: u64,
    pub(super) expired: u64,
    pub(super) lost: u64,
    pub(super) in_doubt: u64,
    pub(super) overloaded: u64,
    pub(super) undeliverable: u64,
    pub(super) rtt: Rtt,
    pub(super) rates: Rates,
}

/// Microseconds.
#[derive(Debug, Deserialize)]
pub(super) struct Rtt {
    pub(super) p50: u64,
    pub(super) p99: u64,
}

/// Per second; the latest of a history is its last.
#[derive(Debug, Deserialize)]
pub(super) struct Rates {
    pub(super) messages_out: f64,
    pub(super) messages_in: f64,
    pub(super) history_out: Vec<f64>,
    pub(super) history_in: Vec<f64>,
}

/// What the node answers on a path: `/stats` for its statistics.
pub(crate) fn get(address: &str, path: &str) -> Result<String, Error> {
    let mut answer = Vec::new();
    let read = request(address, path).and_then(|stream| stream.take(MAX_ANSWER).read_to_end(&mut answer));
    read.map_err(|why| {
        Error::new(
            "TP0815",
            format!("{address} does not answer: {why}"),
            "start the node with metrics = #{listen => \"127.0.0.1:9100\"} and name that address",
        )
    })?;
    body(&answer).ok_or_else(|| foreign(address, "what it answered is no HTTP response with status 200"))
}

/// The statistics in a text.
pub(super) fn parse(address: &str, text: &str) -> Result<Stats, Error> {
    serde_json::from_str(text).map_err(|why| foreign(address, &why.to_string()))
}

fn request(address: &str, path: &str) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for target in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&target, PATIENCE) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
                return Ok(stream);
            }
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// What follows the headers of a response with status 200.
fn body(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    (head.split(' ').nth(1) == Some("200") && head.starts_with("HTTP/1.")).then(|| body.to_owned())
}

pub(crate) fn foreign(address: &str, why: &str) -> Error {
    Error::new(
        "TP0816",
        format!("{address} does not serve the statistics of a node: {why}"),
        "name the address of a node's `metrics`; both sides must be of the same release",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_response_has_a_body() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}"), Some("{}".to_owned()));
        for bad in
            [&b"HTTP/1.1 503 Busy\r\n\r\n{}"[..], b"HTTP/1.1 200 OK\r\n", b"SSH-2.0 200\r\n\r\n", b"", b"\xff\r\n\r\n"]
        {
            assert_eq!(body(bad), None);
        }
    }
}
