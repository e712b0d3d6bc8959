//! A Redis server for one test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::keeper::Kept;

/// What its clients must say.
const PASSWORD: &str = "the password of the tests";

/// It ends when this value is dropped.
pub(crate) struct Redis {
    server: Kept,
}

impl Redis {
    /// Starts it. Blocks.
    pub(crate) fn start() -> Self {
        let folder = || tempfile::Builder::new().prefix("entrepot-redis-").tempdir().unwrap().keep();
        let command = |port: u16, folder: &Path| {
            let mut command = Command::new("redis-server");
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--requirepass", PASSWORD, "--save", "", "--appendonly", "no"]);
            command.arg("--dir").arg(folder);
            command
        };
        let found = Command::new("redis-server").arg("--version").output();
        assert!(found.is_ok_and(|output| output.status.success()), "redis-server is missing: apt-get install redis-server, or run tests/run");
        Self { server: Kept::start("Redis", "TERM", folder, command, |port| ask(port, &["PING"]).is_ok_and(|answer| answer == "+PONG")).0 }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.server.port))
    }

    /// Its URL, by way of an address that leads to it.
    pub(crate) fn url_through(&self, address: SocketAddr) -> String {
        format!("redis://:{}@{address}/0", PASSWORD.replace(' ', "%20"))
    }

    /// The first line of its answer to a command.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        ask(self.server.port, words).unwrap()
    }

    /// The channels that somebody listens to.
    pub(crate) fn channels(&self) -> Vec<String> {
        let mut connection = connect(self.server.port).unwrap();
        let count = say(&mut connection, &["PUBSUB", "CHANNELS", "entrepot:*"]).unwrap();
        let count: usize = count.strip_prefix('*').unwrap().parse().unwrap();
        (0..count).map(|_| (line(&mut connection).unwrap(), line(&mut connection).unwrap()).1).collect()
    }
}

fn line(connection: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut text = String::new();
    connection.read_line(&mut text)?;
    Ok(text.trim_end().to_owned())
}

fn say(connection: &mut BufReader<TcpStream>, words: &[&str]) -> std::io::Result<String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    connection.get_mut().write_all(request.as_bytes())?;
    line(connection)
}

fn connect(port: u16) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut connection = BufReader::new(stream);
    say(&mut connection, &["AUTH", PASSWORD])?;
    Ok(connection)
}

fn ask(port: u16, words: &[&str]) -> std::io::Result<String> {
    say(&mut connect(port)?, words)
}
