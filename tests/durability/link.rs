//! A network between the servers and what they work on, which can be made to fail.
#![cfg(test)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Everything passes.
    Open,
    /// Nothing passes, and nobody is told.
    Stalled,
    /// Connections are broken off, and so are new ones.
    Cut,
    /// Every HTTP request that writes is done, its answer is lost, and the connection with it.
    AnswersLost,
    /// Each so-manieth HTTP request is answered with 500 or 503 and not done.
    Failing(usize),
    /// Each answer comes some seconds late.
    Slow(u64),
    /// Answers break off after so many bytes.
    BrokenOff(usize),
}

/// A relay in front of a server.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
    shared: Arc<Counters>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Counters {
    requests: AtomicUsize,
    harmed: AtomicUsize,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Link {
    /// Listens on a free port. Within a runtime.
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(State::Open);
        let shared = Arc::<Counters>::default();
        let counters = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target, watched.clone(), Arc::clone(&counters)));
            }
        });
        Self { address, state, shared, accepting }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// How many answers were lost, late, cut or made up so far.
    pub(crate) fn harmed(&self) -> usize {
        self.shared.harmed.load(Ordering::SeqCst)
    }
}

async fn forward(mut client: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>, counters: Arc<Counters>) {
    // The sender goes with the test; then the connections may go as well.
    let Ok(now) = state.wait_for(|state| *state != State::Stalled).await.map(|state| *state) else { return };
    let mut refused = None;
    if now != State::Cut
        && let Ok(mut server) = TcpStream::connect(target).await
    {
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let (mut ended, writes) = (state.clone(), AtomicBool::new(false));
        tokio::select! {
            _ = ended.wait_for(|state| *state == State::Cut) => {}
            number = requests(from_client, to_server, state.clone(), &counters, &writes) => refused = number,
            () = answers(from_server, to_client, state, &counters, &writes) => {}
        }
    }
    let Some(number) = refused else {
        let _ = client.set_zero_linger();
        return;
    };
    counters.harmed.fetch_add(1, Ordering::SeqCst);
    let status = if number % 2 == 0 { "500 Internal Server Error" } else { "503 Slow Down" };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let (mut reads, mut writes) = client.split();
    if writes.write_all(answer.as_bytes()).await.is_ok() && writes.shutdown().await.is_ok() {
        // Closing on what was not read would take the answer away.
        let _ = tokio::time::timeout(Duration::from_secs(10), tokio::io::copy(&mut reads, &mut tokio::io::sink())).await;
    }
}

/// Gives the number of the request that is to be refused; nothing when the connection ended.
async fn requests(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut state: watch::Receiver<State>, counters: &Counters, writes: &AtomicBool) -> Option<usize> {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let now = state.wait_for(|state| *state != State::Stalled).await.map(|state| *state).ok()?;
        // A client sends no request before the one before it was answered: each begins what is read.
        if ["GET /", "PUT /", "POST /", "HEAD /", "DELETE /"].iter().any(|method| bytes.starts_with(method.as_bytes())) {
            let number = counters.requests.fetch_add(1, Ordering::SeqCst);
            writes.store(bytes.starts_with(b"P"), Ordering::SeqCst);
            if let State::Failing(each) = now
                && number.is_multiple_of(each)
            {
                return Some(number / each);
            }
        }
        to.write_all(&bytes[..read]).await.ok()?;
    }
    None
}

async fn answers(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut state: watch::Receiver<State>, counters: &Counters, writes: &AtomicBool) {
    let (mut bytes, mut passed) = (vec![0; 64 << 10], 0);
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let Ok(now) = state.wait_for(|state| *state != State::Stalled).await.map(|state| *state) else { return };
        passed = if bytes.starts_with(b"HTTP/1.1 ") { read } else { passed + read };
        match now {
            State::AnswersLost if writes.load(Ordering::SeqCst) && !bytes.starts_with(b"HTTP/1.1 100") => {
                counters.harmed.fetch_add(1, Ordering::SeqCst);
                return;
            }
            State::Slow(seconds) if passed == read => {
                counters.harmed.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            State::BrokenOff(after) if passed > after => {
                counters.harmed.fetch_add(1, Ordering::SeqCst);
                let _ = to.write_all(&bytes[..read / 2]).await;
                return;
            }
            _ => {}
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
