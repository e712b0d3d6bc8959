//! What goes of a package, decided by what is known of it: a pure function, so that what a dry run says is what a run does.

use std::collections::{BTreeMap, HashMap, HashSet};

use entrepot_kit::{Format, Holding, Sha256Digest, Timestamp};

use crate::registry::retention::Retention;
use crate::store::facts::{LiveEntry, PackageFacts};

/// Bytes that nobody needs stay for so long at least: who pushed them may be about to say what for.
pub(super) const LEAST_AGE: i64 = 24 * 3600 * 1000;

/// Why something stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A pattern protects it.
    Protected,
    /// It is among the newest that are kept.
    Newest,
    /// It was published not long enough ago.
    Young,
    /// It was asked for not long enough ago.
    Pulled,
    /// The package's own document names it.
    Named,
    /// What it is about lives.
    Subject,
    /// No rule is about it.
    NoRule,
}

impl Reason {
    /// In words, for reports.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Newest => "among the newest",
            Self::Young => "published lately",
            Self::Pulled => "pulled lately",
            Self::Named => "named by the package",
            Self::Subject => "its subject lives",
            Self::NoRule => "no rule",
        }
    }
}

/// The rules, and the time that they are held against.
pub(super) struct Judge<'a> {
    pub(super) rules: &'a Retention,
    pub(super) format: &'a dyn Format,
    pub(super) now: Timestamp,
    /// Since when the use of files is known.
    pub(super) since: Timestamp,
}

/// What goes of a package, and what stays.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Versions that go.
    pub(super) versions: Vec<String>,
    /// Documents that go, each with all paths that go with it.
    pub(super) documents: Vec<Vec<String>>,
    /// Versions that stay.
    pub(super) stays: Vec<(String, Reason)>,
    /// Documents that stay, by one path of each: what they need must be found out before parts can go.
    pub(super) staying: Vec<usize>,
    /// Parts that are old enough to go, should no document need them.
    pub(super) candidates: Vec<usize>,
}

/// All that leads to the same bytes.
#[derive(Default)]
struct Group {
    documents: Vec<usize>,
    marks: Vec<usize>,
    versions: Vec<usize>,
    last: i64,
    held: bool,
}

impl Judge<'_> {
    fn recent(&self, time: i64, age: i64) -> bool {
        time > self.now.0.saturating_sub(age)
    }

    /// Whether rules about age and use let something go; else why it stays.
    pub(super) fn spared(&self, pushed: Timestamp, pulled: Option<Timestamp>) -> Option<Reason> {
        if self.rules.older_than.is_some_and(|age| self.recent(pushed.0, age)) {
            return Some(Reason::Young);
        }
        let used = pushed.max(pulled.unwrap_or_default()).max(self.since);
        self.rules.not_pulled.is_some_and(|age| self.recent(used.0, age)).then_some(Reason::Pulled)
    }

    /// Decides about a package.
    pub(super) fn plan(&self, facts: &PackageFacts) -> Plan {
        let mut plan = Plan::default();
        let mut groups: HashMap<Sha256Digest, Group> = HashMap::new();
        let mut places: HashMap<&str, Sha256Digest> = HashMap::new();
        let mut edges: Vec<(usize, Holding)> = Vec::new();
        for (number, entry) in facts.entries.iter().enumerate() {
            let group = groups.entry(entry.blob).or_default();
            let pulled = entry.pulls.map_or(0, |pulls| pulls.last.0);
            if entry.version.is_some() {
                group.versions.push(number);
                group.last = group.last.max(pulled).max(entry.created.0);
                continue;
            }
            match self.format.holding(&facts.package, &entry.path) {
                Holding::Itself => {}
                Holding::Part => {
                    if !self.recent(entry.created.0, LEAST_AGE) {
                        plan.candidates.push(number);
                    }
                }
                Holding::Document => {
                    places.insert(&entry.path, entry.blob);
                    group.documents.push(number);
                    group.last = group.last.max(pulled).max(entry.created.0);
                }
                mark => {
                    group.marks.push(number);
                    edges.push((number, mark));
                }
            }
        }
        for (blob, time) in &facts.released {
            if let Some(group) = groups.get_mut(blob) {
                group.last = group.last.max(time.0);
            }
        }
        let attached = self.judge_versions(facts, &groups, &mut plan);
        self.hold(facts, &mut groups, &places, &edges, &attached, &mut plan);
        plan.versions.sort_unstable();
        plan.stays.sort_unstable();
        if self.rules.unheld.is_none() {
            plan.candidates.clear();
        }
        let going: HashSet<&str> = plan.versions.iter().map(String::as_str).collect();
        let stays = |number: &&usize| entry_version(facts, **number).is_some_and(|version| !going.contains(version));
        for group in groups.values() {
            // Documents are read to learn what they need; a version's own path will do where there is no other.
            let named = || group.versions.iter().find(stays);
            match group.documents.first() {
                Some(_) if !group.held => {
                    let going = group.documents.iter().chain(&group.marks);
                    plan.documents.push(going.filter_map(|number| facts.entries.get(*number)).map(|entry| entry.path.clone()).collect());
                }
                Some(number) => plan.staying.push(*number),
                None => plan.staying.extend(named()),
            }
        }
        plan.documents.sort_unstable();
        plan.staying.sort_unstable();
        plan
    }

    /// Holds the rules against the versions; gives those that no rule counts, with the path of what they are about.
    fn judge_versions(&self, facts: &PackageFacts, groups: &HashMap<Sha256Digest, Group>, plan: &mut Plan) -> Vec<(String, String)> {
        let pinned = self.format.pinned_versions(&facts.document);
        // When each was pushed last, and used last: under whichever name of its bytes.
        let mut used: BTreeMap<&str, (i64, i64)> = facts.versions.iter().map(|version| (version.version.as_str(), (version.published.0, 0))).collect();
        for entry in &facts.entries {
            let Some(times) = entry.version.as_deref().and_then(|version| used.get_mut(version)) else { continue };
            times.0 = times.0.max(entry.created.0);
            times.1 = times.1.max(last_pull(facts, groups.get(&entry.blob)));
        }
        let mut counted: Vec<(&str, i64, i64)> = Vec::with_capacity(used.len());
        let mut attached = Vec::new();
        for (version, (pushed, pulled)) in &used {
            match self.format.attached_to(&facts.package, version).filter(|_| self.rules.protected_by(version).is_none()) {
                Some(subject) => attached.push(((*version).to_owned(), subject)),
                None => counted.push((version, *pushed, *pulled)),
            }
        }
        // The newest first; of those that came together the greater name, so that the order is always the same.
        counted.sort_unstable_by(|one, other| other.1.cmp(&one.1).then_with(|| self.format.version_order(other.0, one.0)).then_with(|| other.0.cmp(one.0)));
        let mut newest = self.rules.keep.unwrap_or(0);
        for (version, pushed, pulled) in counted {
            let is_protected = self.rules.protected_by(version).is_some();
            // What is protected stays besides.
            let is_newest = !is_protected && newest > 0;
            newest -= usize::from(is_newest);
            let reason = if !self.rules.has_rules() {
                Some(Reason::NoRule)
            } else if is_protected {
                Some(Reason::Protected)
            } else if is_newest {
                Some(Reason::Newest)
            } else if pinned.iter().any(|pinned| pinned == version) {
                Some(Reason::Named)
            } else {
                self.spared(Timestamp(pushed), Some(Timestamp(pulled)))
            };
            match reason {
                Some(reason) => plan.stays.push((version.to_owned(), reason)),
                None => plan.versions.push(version.to_owned()),
            }
        }
        attached
    }

    /// Finds out which documents are held: by versions that stay, by use, and by each other.
    fn hold(
        &self,
        facts: &PackageFacts,
        groups: &mut HashMap<Sha256Digest, Group>,
        places: &HashMap<&str, Sha256Digest>,
        edges: &[(usize, Holding)],
        attached: &[(String, String)],
        plan: &mut Plan,
    ) {
        let Some(age) = self.rules.unheld else {
            groups.values_mut().for_each(|group| group.held = true);
            plan.stays.extend(attached.iter().map(|(version, _)| (version.clone(), Reason::NoRule)));
            return;
        };
        let subjects: HashMap<&str, &str> = attached.iter().map(|(version, subject)| (version.as_str(), subject.as_str())).collect();
        let mut follows: HashMap<Sha256Digest, Vec<Sha256Digest>> = HashMap::new();
        let mut waiting = Vec::new();
        for (blob, group) in groups.iter_mut() {
            // A version that goes now was there until now: its document has its time before it. So has what nobody could note the use of.
            let named = group.versions.iter().any(|number| !subjects.contains_key(entry_version(facts, *number).unwrap_or_default()));
            if named || self.recent(group.last.max(self.since.0), age) {
                group.held = true;
                waiting.push(*blob);
            }
            for number in &group.versions {
                let subject = entry_version(facts, *number).and_then(|version| subjects.get(version)).and_then(|subject| places.get(subject));
                if let Some(subject) = subject {
                    follows.entry(*subject).or_default().push(*blob);
                }
            }
        }
        for (number, mark) in edges {
            let Some(own) = facts.entries.get(*number).map(|entry| entry.blob) else { continue };
            match mark {
                Holding::HeldBy(path) => {
                    if let Some(holder) = places.get(path.as_str()) {
                        follows.entry(*holder).or_default().push(own);
                    }
                }
                Holding::Holds(path) => {
                    if let Some(held) = places.get(path.as_str()) {
                        follows.entry(own).or_default().push(*held);
                    }
                }
                Holding::Itself | Holding::Document | Holding::Part => {}
            }
        }
        while let Some(blob) = waiting.pop() {
            for held in follows.get(&blob).into_iter().flatten() {
                if let Some(group) = groups.get_mut(held).filter(|group| !group.held) {
                    group.held = true;
                    waiting.push(*held);
                }
            }
        }
        // A version that is about something stays as long as that, or as its own bytes are held.
        let is_held = |entry: &LiveEntry| groups.get(&entry.blob).is_some_and(|group| group.held);
        let mut held: HashMap<&str, bool> = HashMap::new();
        for entry in &facts.entries {
            if let Some(version) = entry.version.as_deref().filter(|version| subjects.contains_key(version)) {
                *held.entry(version).or_default() |= is_held(entry);
            }
        }
        for (version, _) in attached {
            if held.get(version.as_str()).copied().unwrap_or(true) {
                plan.stays.push((version.clone(), Reason::Subject));
            } else {
                plan.versions.push(version.clone());
            }
        }
    }
}

fn entry_version(facts: &PackageFacts, number: usize) -> Option<&str> {
    facts.entries.get(number).and_then(|entry| entry.version.as_deref())
}

fn last_pull(facts: &PackageFacts, group: Option<&Group>) -> i64 {
    let numbers = group.into_iter().flat_map(|group| group.versions.iter().chain(&group.documents));
    let pulls = numbers.filter_map(|number| facts.entries.get(*number)).filter_map(|entry| entry.pulls);
    pulls.map(|pulls| pulls.last.0).max().unwrap_or(0)
}

/// Whether a file that stands for itself goes.
pub(super) fn judge_file(judge: &Judge<'_>, file: &LiveEntry) -> Option<Reason> {
    if !judge.rules.has_rules() || judge.rules.keep.is_some() {
        return Some(Reason::NoRule);
    }
    if judge.rules.protected_by(&file.path).is_some() {
        return Some(Reason::Protected);
    }
    judge.spared(file.created, file.pulls.map(|pulls| pulls.last))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
