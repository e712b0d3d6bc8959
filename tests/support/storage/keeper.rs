//! Ends a server by its process id when the test process ends, however that ends.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers: the machine may be busy with everything else.
const PATIENCE: Duration = Duration::from_secs(60);
/// Another process may take the port that was found free.
const ATTEMPTS: usize = 3;

/// Runs `server` below a shell that waits for the end of its own input, which is when the test process closes it or is gone; then it
/// ends the server with a signal and removes the folder. What the server says goes to `log` in the folder.
fn keep(server: &Command, folder: &Path, signal: &str) -> Child {
    let script = r#"folder=$1; signal=$2; shift 2
"$@" >"$folder/log" 2>&1 </dev/null & server=$!
cat >/dev/null
kill -"$signal" "$server"; wait "$server"; rm -rf "$folder""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(folder).arg(signal).arg(server.get_program()).args(server.get_args());
    // Interrupting the tests at the keyboard must not end the shell before the server.
    shell.process_group(0).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().unwrap_or_else(|error| panic!("cannot run sh: {error}"))
}

/// A server on a port of its own.
pub(super) struct Kept {
    /// Its port on 127.0.0.1.
    pub(super) port: u16,
    /// Its standard input is the server's lifeline.
    _keeper: Child,
}

impl Kept {
    /// Starts the server that `command` makes for a free port, and waits until it is `ready`. `folder` makes its folder, which is
    /// removed at the end.
    pub(super) fn start(
        name: &str,
        signal: &str,
        folder: impl Fn() -> std::path::PathBuf,
        command: impl Fn(u16, &Path) -> Command,
        ready: impl Fn(u16) -> bool,
    ) -> (Self, std::path::PathBuf) {
        for attempt in 1.. {
            let folder = folder();
            let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
            let kept = Self { port, _keeper: keep(&command(port, &folder), &folder, signal) };
            let until = Instant::now() + PATIENCE;
            let said = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            let is_taken = || said().contains("in use");
            while !ready(port) {
                if is_taken() && attempt < ATTEMPTS {
                    break;
                }
                assert!(Instant::now() < until, "{name} did not start: {}", said());
                std::thread::sleep(Duration::from_millis(50));
            }
            if !is_taken() {
                return (kept, folder);
            }
        }
        unreachable!("the last attempt ends with a server or a panic")
    }
}
