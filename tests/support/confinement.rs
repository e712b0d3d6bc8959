//! A process within so much memory: held to it by the kernel (a control group of its own), where that can be had.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// The two kinds of control groups: what its limit, its peak and its killings are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    First,
    Second,
}

impl Kind {
    fn limit(self) -> &'static str {
        if self == Self::First { "memory.limit_in_bytes" } else { "memory.max" }
    }

    fn peak(self) -> &'static str {
        if self == Self::First { "memory.max_usage_in_bytes" } else { "memory.peak" }
    }

    fn events(self) -> &'static str {
        if self == Self::First { "memory.oom_control" } else { "memory.events" }
    }
}

/// A control group, which goes when this value is dropped; or nothing, where none can be made.
pub(crate) struct Confinement {
    group: Option<(Kind, PathBuf)>,
}

impl Confinement {
    /// Makes one.
    pub(crate) fn new(bytes: u64) -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = |prefix: &str| own.lines().find_map(|line| line.split_once(prefix)).map(|(_, path)| path.trim_start_matches('/').to_owned());
        let first = Path::new("/sys/fs/cgroup/memory");
        let second = Path::new("/sys/fs/cgroup");
        let below = |root: &Path, path: Option<String>| [path.map(|path| root.join(path)), Some(root.to_owned())].into_iter().flatten().collect::<Vec<_>>();
        let parents = below(first, path(":memory:")).into_iter().map(|parent| (Kind::First, parent));
        let parents = parents.chain(below(second, path("0::")).into_iter().map(|parent| (Kind::Second, parent)));
        Self {
            group: parents
                .filter(|(_, parent)| parent.join("cgroup.procs").exists())
                .find_map(|(kind, parent)| make(kind, &parent, bytes).map(|group| (kind, group))),
        }
    }

    /// How the limit is held to, for whoever reads what was measured.
    pub(crate) fn how(&self) -> &'static str {
        match &self.group {
            Some((Kind::First, _)) => "a control group (v1) of the kernel",
            Some((Kind::Second, _)) => "a control group (v2) of the kernel",
            None => "nothing: no control group can be made here, so the processes are only watched",
        }
    }

    /// The file into which a process writes itself.
    pub(crate) fn entrance(&self) -> Option<PathBuf> {
        self.group.as_ref().map(|(_, group)| group.join("cgroup.procs"))
    }

    /// The most that was in use, pages of files included; nothing where nobody counted.
    pub(crate) fn peak(&self) -> Option<u64> {
        let (kind, group) = self.group.as_ref()?;
        std::fs::read_to_string(group.join(kind.peak())).ok()?.trim().parse().ok()
    }

    /// How many processes the kernel killed for want of memory.
    pub(crate) fn killed(&self) -> u64 {
        let Some((kind, group)) = &self.group else { return 0 };
        let text = std::fs::read_to_string(group.join(kind.events())).unwrap();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")).map_or(0, |count| count.trim().parse().unwrap())
    }
}

/// A group below another one, with its limit.
fn make(kind: Kind, parent: &Path, bytes: u64) -> Option<PathBuf> {
    let group = parent.join(format!("entrepot-test-{}-{}", std::process::id(), NUMBERS.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&group).ok()?;
    let limit = group.join(kind.limit());
    if kind == Kind::Second && !limit.exists() {
        // Groups have only what the one above gives them.
        let _ = std::fs::write(parent.join("cgroup.subtree_control"), "+memory");
    }
    let is_set = limit.exists() && std::fs::write(&limit, bytes.to_string()).is_ok();
    let is_held = is_set && std::fs::read_to_string(&limit).is_ok_and(|text| text.trim() == bytes.to_string());
    if kind == Kind::Second && is_held {
        // Not every kernel has swap.
        let _ = std::fs::write(group.join("memory.swap.max"), "0");
    }
    if is_held {
        return Some(group);
    }
    let _ = std::fs::remove_dir(&group);
    None
}

impl Drop for Confinement {
    fn drop(&mut self) {
        let Some((_, group)) = &self.group else { return };
        // Its process may need a moment to be gone.
        for _ in 0..100 {
            if std::fs::remove_dir(group).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
