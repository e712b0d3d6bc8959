//! Child processes: a clean environment, a sure end, and what the kernel says about them.
#![expect(clippy::string_slice, reason = "a test may cut texts that it made itself")]

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a program may take to say what is waited for.
const DIALOG_PATIENCE: Duration = Duration::from_secs(60);

/// Variables that a child may see. All others are the machine's own settings, which no test may depend on.
const KEPT: [&str; 6] = ["PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"];

/// A variable of the test's own environment.
#[expect(clippy::disallowed_methods, reason = "tests are told by variables where clients are installed")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Takes everything but [`KEPT`] from the child's environment.
pub(crate) fn clean(command: &mut Command) {
    command.env_clear();
    for name in KEPT {
        if let Some(value) = variable(name) {
            command.env(name, value);
        }
    }
}

/// A process that is ended when this value is dropped, by its id.
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Takes charge of a child.
    pub(crate) fn new(child: Child) -> Self {
        Self(Some(child))
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.kill_now();
    }

    /// The same for a value that lives on.
    pub(crate) fn kill_now(&mut self) {
        if let Some(mut child) = self.0.take() {
            // A process that has ended already cannot be killed, only waited for.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// Waits for its own end.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            match self.0.as_mut().unwrap().try_wait().unwrap() {
                Some(status) => return Some(status),
                None if Instant::now() > until => return None,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// `kill -TERM`.
    #[track_caller]
    pub(crate) fn ask_to_end(&self) {
        let pid = self.pid();
        let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap();
        assert!(sent.success(), "cannot send a signal to process {pid}");
    }

    /// Waits until it has ended by itself, and well.
    #[track_caller]
    pub(crate) fn has_ended(mut self, patience: Duration) {
        let pid = self.pid();
        let status = self.wait(patience);
        assert!(status.is_some_and(|status| status.success()), "process {pid} did not end well within {patience:?}: {status:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_now();
    }
}

/// Bytes of memory that are a process's own, without mapped files.
pub(crate) fn own_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// What a program that ran to its end said.
#[derive(Debug)]
pub(crate) struct Output {
    /// The command line, for messages.
    pub(crate) command: String,
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Itself, after making sure that the program succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// Itself, after making sure that the program failed.
    #[track_caller]
    pub(crate) fn failed(self) -> Self {
        assert!(!self.status.success(), "this should have failed: {self}");
        self
    }

    /// Both streams.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ended with {}\n--- stdout\n{}\n--- stderr\n{}", self.command, self.status, self.stdout, self.stderr)
    }
}

/// A program that is talked to while it runs.
pub(crate) struct Dialog {
    line: String,
    running: Running,
    input: ChildStdin,
    lines: mpsc::Receiver<Vec<u8>>,
    said: String,
    /// Up to where what it said was waited for.
    heard: usize,
}

impl Dialog {
    /// Starts it.
    pub(crate) fn begin(mut command: Command) -> Self {
        let line = format!("{command:?}");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
        let (send, lines) = mpsc::channel();
        fn forward(mut stream: impl std::io::Read + Send + 'static, send: mpsc::Sender<Vec<u8>>) {
            std::thread::spawn(move || {
                let mut part = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut part) {
                    // Nobody listens once the test is over.
                    let _ = send.send(part[..read].to_vec());
                }
            });
        }
        forward(child.stdout.take().unwrap(), send.clone());
        forward(child.stderr.take().unwrap(), send);
        let input = child.stdin.take().unwrap();
        Self { line, running: Running::new(child), input, lines, said: String::new(), heard: 0 }
    }

    /// Waits until it says this, after what was waited for before.
    #[track_caller]
    pub(crate) fn hear(&mut self, text: &str) {
        let until = Instant::now() + DIALOG_PATIENCE;
        loop {
            if let Some(at) = self.said[self.heard..].find(text) {
                self.heard += at + text.len();
                return;
            }
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(part) => self.said.push_str(&String::from_utf8_lossy(&part)),
                Err(reason) => panic!("{} did not say {text:?} ({reason}) but:\n{}", self.line, self.said),
            }
        }
    }

    /// The rest of the line that it says now.
    #[track_caller]
    pub(crate) fn rest_of_line(&mut self) -> String {
        let from = self.heard;
        self.hear("\n");
        self.said[from..self.heard].trim().to_owned()
    }

    /// Types a line.
    pub(crate) fn say(&mut self, text: &str) {
        writeln!(self.input, "{text}").unwrap();
    }

    /// Waits for its end and gives all that it said.
    #[track_caller]
    pub(crate) fn succeeded(mut self) -> String {
        let until = Instant::now() + DIALOG_PATIENCE;
        while let Ok(part) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.said.push_str(&String::from_utf8_lossy(&part));
        }
        let status = self.running.wait(until.saturating_duration_since(Instant::now()));
        assert!(status.is_some_and(|status| status.success()), "{} ended with {status:?}:\n{}", self.line, self.said);
        self.said
    }
}

/// Runs a program to its end, without input; a program that hangs is killed.
pub(crate) fn run(mut command: Command, patience: Duration) -> Output {
    let line = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
    fn drain(mut stream: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let (stdout, stderr) = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
    let until = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{line} did not end within {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Output { command: line, status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}
