//! What the operating system says about a server: processor time, memory, and who else was on its core.

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Result;

/// The core that servers are held on.
pub(crate) const SERVER_CORE: usize = 0;

/// The core that the load is made on.
pub(crate) const LOAD_CORE: usize = 1;

/// Ticks of the kernel's clock for processor time in a second, as on every Linux that we run on.
const TICKS: f64 = 100.0;

/// Programs that are needed, and how to get them.
const TOOLS: [(&str, &str); 4] = [
    ("taskset", "apt-get install util-linux"),
    ("wrk", "apt-get install wrk"),
    ("nginx", "apt-get install nginx-light"),
    ("npm", "apt-get install npm, or Node.js from elsewhere"),
];

/// Makes sure that all tools are there.
pub(crate) fn check_tools() -> Result<()> {
    for (tool, remedy) in TOOLS {
        let found = Command::new("which").arg(tool).stdout(Stdio::null()).status()?.success();
        if !found {
            return Err(format!("{tool} is missing: {remedy}").into());
        }
    }
    Ok(())
}

/// Holds this process, and all that it starts, on the core for the load.
pub(crate) fn take_core() -> Result<()> {
    let held = Command::new("taskset").args(["-acp", &LOAD_CORE.to_string(), &std::process::id().to_string()]).stdout(Stdio::null()).status()?;
    if held.success() { Ok(()) } else { Err("two cores are needed: one for the servers, one for the load".into()) }
}

/// A command that runs on the servers' core.
pub(crate) fn on_server_core(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &SERVER_CORE.to_string(), program]);
    command
}

/// The fields of `/proc/PID/stat` after the name.
fn fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

/// A process and all that descend from it.
fn family(root: u32) -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = fields(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut next) = (Vec::new(), vec![root]);
    while let Some(pid) = next.pop() {
        found.push(pid);
        next.extend(children.remove(&pid).unwrap_or_default());
    }
    Ok(found)
}

/// Seconds of processor time, in user code and in the kernel, of a process and of those that it started.
pub(crate) fn cpu(root: u32) -> Result<f64> {
    let mut ticks = 0.0;
    for pid in family(root)? {
        // Of children that ended the root knows; a process may end while it is looked at.
        let until = if pid == root { 15 } else { 13 };
        let fields = fields(pid).unwrap_or_default();
        ticks += fields.get(11..until).unwrap_or_default().iter().filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(ticks / TICKS)
}

/// MiB that are a process's own (`RssAnon`), without mapped files.
pub(crate) fn own_memory(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("the kernel does not tell RssAnon")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

/// Seconds for which the servers' core was busy so far.
pub(crate) fn busy() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{SERVER_CORE} "))).ok_or("no such core")?;
    let times: Vec<f64> = line.split(' ').filter_map(|field| field.parse().ok()).collect();
    let idle: f64 = times.get(3..5).unwrap_or_default().iter().sum();
    Ok((times.iter().take(8).sum::<f64>() - idle) / TICKS)
}

/// Watches how much memory a process uses at most, until it is asked.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<f64>,
}

impl MemoryWatch {
    pub(crate) fn begin(pid: u32) -> Self {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut most = 0.0_f64;
            loop {
                most = most.max(own_memory(pid).unwrap_or_default());
                if tokio::time::timeout(Duration::from_millis(20), &mut stopped).await.is_ok() {
                    return most;
                }
            }
        });
        Self { stop, task }
    }

    /// The most that was seen, in MiB.
    pub(crate) async fn most(self) -> Result<f64> {
        let _ = self.stop.send(());
        Ok(self.task.await?)
    }
}
