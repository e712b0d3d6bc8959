//! One connection through the balancer.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::{Targets, head};

/// How long the first byte may take: clients open connections in advance.
const IDLE: Duration = Duration::from_secs(120);
/// How long the rest of a head may take until what is there is handed through: the replica has its own patience.
const REST: Duration = Duration::from_millis(300);
/// How long a client may go on to send a body that the replica no longer wants.
const LINGER: Duration = Duration::from_secs(30);
const CHUNK: usize = 64 << 10;

pub(super) async fn relay(mut client: TcpStream, targets: Arc<Targets>) {
    let mut bytes = Vec::new();
    if !matches!(timeout(IDLE, client.read_buf(&mut bytes)).await, Ok(Ok(1..))) {
        return;
    }
    // Whatever stops it: what is there so far is handed through.
    let _ = timeout(REST, rest_of_head(&mut client, &mut bytes)).await;
    if let Some(end) = head::end(&bytes)
        && let Some(closing) = head::for_one_request(&bytes[..end])
    {
        bytes.splice(..end, closing);
    }
    let Ok(mut replica) = targets.connect().await else { return };
    // Small packets that wait for each other would make every test slower.
    let _ = (client.set_nodelay(true), replica.set_nodelay(true));
    if converse(bytes, &mut client, &mut replica).await.is_err() {
        // Broken off here means broken off there.
        let _ = client.set_zero_linger();
    }
}

async fn rest_of_head(client: &mut TcpStream, bytes: &mut Vec<u8>) {
    while head::may_begin(bytes) && head::end(bytes).is_none() && matches!(client.read_buf(bytes).await, Ok(1..)) {}
}

/// Forwards in both directions until the replica has answered and closed, or one side is gone.
async fn converse(first: Vec<u8>, client: &mut TcpStream, replica: &mut TcpStream) -> std::io::Result<()> {
    let (from_client, to_client) = client.split();
    let (from_replica, to_replica) = replica.split();
    let up = request(first, from_client, to_replica);
    let down = answer(from_replica, to_client);
    tokio::pin!(up, down);
    tokio::select! {
        sent = &mut up => {
            sent?;
            down.await
        }
        answered = &mut down => {
            answered?;
            // Closing on a client that still sends would take the answer away from it.
            timeout(LINGER, up).await.unwrap_or(Ok(()))
        }
    }
}

/// From the client to the replica, until the client has said all; what the replica no longer takes is dropped. An error: the client is gone.
async fn request(first: Vec<u8>, mut client: ReadHalf<'_>, mut replica: WriteHalf<'_>) -> std::io::Result<()> {
    let mut is_taken = replica.write_all(&first).await.is_ok();
    drop(first);
    let mut chunk = vec![0; CHUNK];
    loop {
        match client.read(&mut chunk).await? {
            0 => break,
            read if is_taken => is_taken = replica.write_all(&chunk[..read]).await.is_ok(),
            _ => {}
        }
    }
    // A replica that has closed already does not mind.
    let _ = replica.shutdown().await;
    Ok(())
}

/// From the replica to the client, until the replica closes.
async fn answer(mut replica: ReadHalf<'_>, mut client: WriteHalf<'_>) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match replica.read(&mut chunk).await? {
            0 => return client.shutdown().await,
            read => client.write_all(&chunk[..read]).await?,
        }
    }
}
