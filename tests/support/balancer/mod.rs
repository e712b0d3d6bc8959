//! A balancer in front of replicas: each request goes to the next of them.
//!
//! It asks the replica to close the connection after its answer (`Connection: close`, as balancers do), so that the next
//! request comes on a connection of its own and reaches the other replica; else it changes and adds nothing. What it does not
//! take for one plain request (TLS, half a head, two lengths) is handed through as it is.
#![cfg(test)]

pub(crate) mod head;
mod relay;
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

/// Where requests go.
#[derive(Default)]
struct Targets {
    addresses: Mutex<Vec<SocketAddr>>,
    turn: AtomicUsize,
}

impl Targets {
    /// A connection to the next replica, or to one after it while that is away.
    async fn connect(&self) -> std::io::Result<TcpStream> {
        let addresses = self.addresses.lock().unwrap().clone();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut failure = std::io::Error::other("there are no replicas");
        for offset in 0..addresses.len() {
            match TcpStream::connect(addresses[first.wrapping_add(offset) % addresses.len()]).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// The balancer. Dropping it breaks its connections.
pub(crate) struct Balancer {
    address: SocketAddr,
    targets: Arc<Targets>,
    accepting: JoinHandle<()>,
}

/// Threads of its own: a test may block its runtime while it waits for a client.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().thread_name("balancer").build().unwrap())
}

impl Balancer {
    /// Listens on a free port.
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, targets) = (listener.local_addr().unwrap(), Arc::new(Targets::default()));
        let forward = Arc::clone(&targets);
        let accepting = runtime().spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(relay::relay(client, Arc::clone(&forward)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, targets, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The replicas, from the next request on.
    pub(crate) fn send_to(&self, replicas: Vec<SocketAddr>) {
        *self.targets.addresses.lock().unwrap() = replicas;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
