//! A network between us and a server that can be made to fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Everything passes.
    Open,
    /// Nothing passes, and nobody is told.
    Stalled,
    /// Connections end, and new ones are refused.
    Cut,
    /// COMMIT reaches the server; its answer is lost, and the connection with it.
    CommitsUnanswered,
}

/// A relay in front of a server.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    state: watch::Sender<State>,
    /// Answers to a COMMIT that were lost.
    lost: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Link {
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (state, watched) = watch::channel(State::Open);
        let address = listener.local_addr().expect("an address");
        let lost = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lost);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, port, watched.clone(), Arc::clone(&counted)));
            }
        });
        Self { address, state, lost, accepting }
    }

    pub(super) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// How many answers to a COMMIT were lost.
    pub(super) fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

async fn forward(client: TcpStream, port: u16, mut state: watch::Receiver<State>, counted: Arc<AtomicUsize>) {
    // The sender goes with the test; then the connections may go as well.
    let Ok(now) = state.wait_for(|state| *state != State::Stalled).await.map(|state| *state) else { return };
    if now == State::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let mut ended = state.clone();
    let lost = AtomicBool::new(false);
    tokio::select! {
        _ = ended.wait_for(|state| *state == State::Cut) => {}
        () = pump(client_reads, server_writes, state.clone(), &lost, true) => {}
        () = pump(server_reads, client_writes, state, &lost, false) => {}
    }
    counted.fetch_add(usize::from(lost.into_inner()), Ordering::SeqCst);
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut state: watch::Receiver<State>, lost: &AtomicBool, requests: bool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let Ok(now) = state.wait_for(|state| *state != State::Stalled).await.map(|state| *state) else { return };
        if requests {
            let commits = bytes[..read].windows(6).any(|window| window == b"COMMIT");
            lost.fetch_or(now == State::CommitsUnanswered && commits, Ordering::SeqCst);
        } else if lost.load(Ordering::SeqCst) {
            return;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
