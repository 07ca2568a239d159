//! The link: packets of each device reach the other a fixed time later, in order.

use std::{
    io::{self, Read},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    signal::unix::{signal, Signal, SignalKind},
    sync::{mpsc, oneshot},
    time::{sleep_until, Instant},
};
use tokio_tun::Tun;

use crate::namespace::MTU;

/// Packets on their way in one direction; like any router, this one drops what comes when it is full. 4,096 of the largest
/// are 256 MB, far above what the sockets of a benchmark may have unacknowledged.
const CAPACITY: usize = 4_096;

/// The signals that end the router in good order: from the moment this exists, they no longer kill it.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Passes packets until standard input ends, a signal comes, or a device fails.
pub(crate) async fn run(a: Tun, b: Tun, delay: Duration, signals: Signals) -> io::Result<()> {
    let (a, b) = (Arc::new(a), Arc::new(b));
    let Signals { mut interrupt, mut terminate, mut hangup } = signals;
    tokio::select! {
        failed = one_way(Arc::clone(&a), Arc::clone(&b), delay) => failed,
        failed = one_way(b, a, delay) => failed,
        _ = end_of_input() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}

async fn one_way(from: Arc<Tun>, to: Arc<Tun>, delay: Duration) -> io::Result<()> {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(CAPACITY);
    let receive = async {
        let mut packet = vec![0; usize::from(MTU)];
        loop {
            let size = from.recv(&mut packet).await?;
            drop(queue.try_send((Instant::now() + delay, packet[..size].to_vec())));
        }
    };
    let send = async {
        while let Some((at, packet)) = due.recv().await {
            sleep_until(at).await;
            to.send_all(&packet).await?;
        }
        Ok(())
    };
    tokio::select! { failed = receive => failed, failed = send => failed }
}

/// A thread of its own: reading standard input cannot be cancelled.
async fn end_of_input() {
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while matches!(io::stdin().lock().read(&mut buffer), Ok(size) if size > 0) {}
        // The receiver is gone when a signal came first.
        let _: Result<(), ()> = ended.send(());
    });
    drop(end.await);
}
