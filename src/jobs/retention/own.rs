//! What goes by the format's own rules: what waits in vain, and what its settings let go of a package.

use entrepot_kit::{Death, Held, HeldFile, Outdated, Result, Waiting};

use super::plan::Plan;
use super::{End, FILES, Report, SLICE, What, Work};
use crate::jobs::pace::Pace;
use crate::store::facts::{LiveEntry, PackageFacts};
use crate::store::model::NewRow;

/// Most files of a group that goes together; of a larger one parts do.
const MOST_TOGETHER: usize = 20_000;
/// A day in milliseconds.
const DAY: i64 = 24 * 3600 * 1000;

impl Work<'_> {
    /// What goes by the format's own settings: whole versions, which the plan takes up, and files.
    pub(super) async fn outdated(&self, facts: &PackageFacts, plan: &mut Plan) -> Result<Vec<End>> {
        if !self.format.tidies(&self.row.settings) {
            return Ok(Vec::new());
        }
        let held = Held {
            package: &facts.package,
            versions: facts.versions.iter().map(|version| (version.version.as_str(), version.published)).collect(),
            files: facts.entries.iter().map(held).collect(),
        };
        let Outdated { mut versions, files } = self.format.outdated(&self.row.settings, &held, self.judge.now)?;
        versions.retain(|version| self.judge.rules.protected_by(version).is_none() && !plan.versions.contains(version));
        plan.stays.retain(|(version, _)| !versions.contains(version));
        plan.versions.extend(versions);
        plan.versions.sort_unstable();
        let mut ends = Vec::new();
        for (version, files) in files {
            if self.judge.rules.protected_by(&version).is_none() && !plan.versions.contains(&version) {
                self.end_version_files(facts, &version, &files, &mut ends).await?;
            }
        }
        Ok(ends)
    }

    /// Ends files of a version that stays, in steps, each with what is said of the version after it.
    async fn end_version_files(&self, facts: &PackageFacts, version: &str, files: &[String], ends: &mut Vec<End>) -> Result<()> {
        let package = &facts.package;
        let found = self.run.catalog.version(self.row.id, package, version).await?.filter(|found| found.live);
        let Some(mut document) = found.map(|found| found.document) else { return Ok(()) };
        for files in files.chunks(SLICE) {
            let deaths = files.iter().cloned().map(Death::Entry).collect();
            let mut end = End::new(What::File, version.to_owned(), deaths);
            if let Some(changed) = self.format.version_without(&document, files)? {
                let fragments = self.format.fragments(package, version, &changed)?;
                end.births.push(NewRow::Version { package: package.clone(), version: version.to_owned(), document: changed.clone(), fragments });
                document = changed;
            }
            ends.push(end);
        }
        Ok(())
    }

    /// What waits for something that did not come in its time.
    pub(super) async fn waiting(&self, report: &mut Report, pace: &mut Pace<'_>) -> Result<()> {
        for waiting in self.format.waiting() {
            let latest = self.run.now.0.saturating_sub(i64::from(waiting.days) * DAY);
            let (mut after, mut looked_at) = (waiting.folder.to_owned(), 0_usize);
            // What goes together, and how much of that is too young for it; what goes alone is of a group of its own.
            let mut group: Vec<LiveEntry> = Vec::new();
            let mut going: Vec<LiveEntry> = Vec::new();
            let mut is_young = false;
            loop {
                let page = self.run.catalog.file_facts(self.row.id, &after, FILES).await?;
                let inside: Vec<LiveEntry> = page.into_iter().take_while(|file| file.path.starts_with(waiting.folder)).collect();
                let is_end = inside.is_empty();
                looked_at += inside.len();
                if let Some(last) = inside.last() {
                    after.clone_from(&last.path);
                }
                for file in inside {
                    if group.first().is_some_and(|first| together(waiting, &first.path) != together(waiting, &file.path)) || group.len() >= MOST_TOGETHER {
                        if std::mem::take(&mut is_young) { group.clear() } else { going.append(&mut group) }
                    }
                    is_young |= file.created.0 > latest;
                    group.push(file);
                }
                if is_end && !is_young {
                    going.append(&mut group);
                }
                for slice in going.chunks(SLICE) {
                    self.end_files(slice, report).await?;
                }
                going.clear();
                pace.step(|| format!("{}: looked at {looked_at} files that wait", self.row.address)).await?;
                if is_end {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// A file as formats see it.
fn held(entry: &LiveEntry) -> HeldFile<'_> {
    HeldFile { path: &entry.path, version: entry.version.as_deref(), created: entry.created }
}

/// What goes together with a path that waits.
fn together<'a>(waiting: &Waiting, path: &'a str) -> &'a str {
    let rest = path.strip_prefix(waiting.folder).unwrap_or(path);
    match rest.split_once('/') {
        Some((folder, _)) if waiting.together => folder,
        _ => rest,
    }
}
