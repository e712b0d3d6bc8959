//! Holds the catalog against the bytes: what is missing or wrong, who needs it, and whether it can come back.

use std::fmt;
use std::sync::Arc;

use entrepot_kit::{Hasher, Kind, Result, Timestamp};
use futures::StreamExt as _;

use crate::jobs::gc::{Amount, unnamed};
use crate::jobs::pace::Pace;
use crate::store::blobs::{BlobStore, inline};
use crate::store::catalog::Catalog;
use crate::store::model::{BlobPlace, BlobRow, Need};

/// Rows that are read at once.
const PAGE: usize = 100;
/// Blobs that are read at the same time.
const AT_ONCE: usize = 4;
/// Places that are looked up in one question.
const PLACES: usize = 500;
/// Entries that are named for one blob.
const MOST_NEEDS: usize = 20;
/// Looks at a blob whose row changes meanwhile.
const LOOKS: usize = 3;

/// What a run does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The time of the run.
    pub now: Timestamp,
    /// Mark in the catalog what is damaged, and unmark what is sound again.
    pub repair: bool,
    /// Only look whether the bytes are there and how many they are.
    pub quick: bool,
}

/// What a run found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Blobs that were looked at.
    pub blobs: Amount,
    /// Blobs without bytes.
    pub missing: u64,
    /// Blobs with wrong bytes, or marked as damaged.
    pub damaged: u64,
    /// Blobs that could not be read.
    pub unreadable: u64,
    /// Marks that were set.
    pub marked: u64,
    /// Marks that were lifted.
    pub unmarked: u64,
    /// Bytes without a row.
    pub orphans: Amount,
}

impl Outcome {
    /// Whether nothing is missing or damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.missing + self.damaged + self.unreadable == 0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blobs, missing, damaged, unreadable, .. } = self;
        write!(f, "verified: {} blobs, {} bytes: {missing} missing, {damaged} damaged, {unreadable} unreadable", blobs.count, blobs.bytes)?;
        if self.marked + self.unmarked > 0 {
            write!(f, "\nrepaired: {} blobs marked as damaged, {} unmarked", self.marked, self.unmarked)?;
        }
        if self.orphans.count > 0 {
            write!(f, "\nnot needed: {} files that no blob names, {} bytes; entrepot gc removes them", self.orphans.count, self.orphans.bytes)?;
        }
        Ok(())
    }
}

/// How a blob was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Sound,
    /// Marked as damaged, and its bytes are right.
    SoundAgain,
    Missing,
    Wrong(String),
    Unreadable(String),
}

/// Looks at every blob, then at every stored file. What is found goes to `report`, a line at a time.
///
/// # Errors
/// Failures of the catalog, and of the storage as a whole.
pub async fn verify(catalog: &Catalog, blobs: &Arc<dyn BlobStore>, plan: &Plan, report: &(dyn Fn(&str) + Send + Sync), pace: &mut Pace<'_>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut last = None;
    loop {
        let page = catalog.blob_page(last, PAGE).await?;
        let Some(end) = page.last() else { break };
        last = Some(end.facts.digest);
        let mut looks = futures::stream::iter(page).map(|row| settle(catalog, blobs, plan, row)).buffer_unordered(AT_ONCE);
        while let Some(found) = looks.next().await {
            let (row, state) = found?;
            outcome.blobs.count += 1;
            outcome.blobs.bytes += row.facts.size;
            if state != State::Sound {
                tell(catalog, plan, &row, &state, &mut outcome, report).await?;
            }
            pace.step(|| format!("{} blobs, {} bytes: {} wrong", outcome.blobs.count, outcome.blobs.bytes, outcome.missing + outcome.damaged)).await?;
        }
    }
    let mut chunks = blobs.list().chunks(PLACES);
    let mut listed = 0_usize;
    while let Some(chunk) = chunks.next().await {
        let objects = chunk.into_iter().collect::<Result<Vec<_>>>()?;
        listed += objects.len();
        for object in unnamed(catalog, objects).await? {
            outcome.orphans.count += 1;
            outcome.orphans.bytes += object.size;
            report(&format!("not needed {} ({} bytes): no blob names it", object.location, object.size));
        }
        pace.step(|| format!("{listed} files held against the catalog")).await?;
    }
    Ok(outcome)
}

/// Looks at a blob until its row and the look belong together: beside a server blobs come, go and move.
async fn settle(catalog: &Catalog, blobs: &Arc<dyn BlobStore>, plan: &Plan, mut row: BlobRow) -> Result<(BlobRow, State)> {
    let mut state = look(blobs, plan, &row).await;
    for _ in 0..LOOKS {
        if state == State::Sound {
            break;
        }
        match catalog.blob_row(row.facts.digest).await? {
            // Removed by gc, bytes and all.
            None => return Ok((row, State::Sound)),
            Some(now) if now == row => break,
            Some(now) => row = now,
        }
        state = look(blobs, plan, &row).await;
    }
    Ok((row, state))
}

async fn look(blobs: &Arc<dyn BlobStore>, plan: &Plan, row: &BlobRow) -> State {
    let state = match bytes_of(blobs, plan, row).await {
        Ok(state) => state,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            State::Unreadable(format!("{}{cause}", error.message()))
        }
    };
    match (state, row.damaged) {
        (State::Sound, Some(_)) if plan.quick => State::Wrong(String::from("it is marked as damaged; a run without --quick looks at its bytes")),
        (State::Sound, Some(_)) => State::SoundAgain,
        (state, _) => state,
    }
}

async fn bytes_of(blobs: &Arc<dyn BlobStore>, plan: &Plan, row: &BlobRow) -> Result<State> {
    let facts = &row.facts;
    let other_size = |size: u64| State::Wrong(format!("it has {size} bytes instead of {}", facts.size));
    let content = match &facts.inline {
        Some(bytes) => inline(bytes.clone()),
        None => {
            let place = BlobPlace { digest: facts.digest, size: facts.size, location: facts.location.clone() };
            match blobs.look(&place).await? {
                None => return Ok(State::Missing),
                Some(size) if size != facts.size => return Ok(other_size(size)),
                Some(_) if plan.quick => return Ok(State::Sound),
                Some(_) => blobs.open(&place).await?,
            }
        }
    };
    let algorithms: Vec<_> = facts.digests.algorithms().collect();
    let mut hasher = Hasher::new(&algorithms);
    let mut bytes = content.stream(None).await?;
    while let Some(chunk) = bytes.next().await.transpose()? {
        hasher = entrepot_kit::blocking(move || {
            hasher.update(&chunk);
            Ok(hasher)
        })
        .await?;
    }
    let size = hasher.size();
    let (digest, digests) = hasher.finish();
    Ok(match facts.digests.mismatch(&digests) {
        _ if size != facts.size => other_size(size),
        _ if digest != facts.digest => State::Wrong(format!("its bytes have the SHA-256 {digest}")),
        Some(algorithm) => State::Wrong(format!("its bytes have another {} than was written down", algorithm.name())),
        None => State::Sound,
    })
}

/// Reports a blob that is not as it should be, and marks or unmarks it.
async fn tell(catalog: &Catalog, plan: &Plan, row: &BlobRow, state: &State, outcome: &mut Outcome, report: &(dyn Fn(&str) + Send + Sync)) -> Result<()> {
    let facts = &row.facts;
    let line = |word: &str, why: &str| report(&format!("{word} {} ({} bytes){why}", facts.digest, facts.size));
    let mark = match state {
        State::Sound => return Ok(()),
        State::SoundAgain if plan.repair => {
            outcome.unmarked += u64::from(catalog.mark_damaged(facts.digest, facts.location.clone(), None).await?);
            line("sound again", ": it is not marked as damaged any more");
            return Ok(());
        }
        State::SoundAgain => {
            outcome.damaged += 1;
            line("marked", ": it is marked as damaged, but its bytes are right; verify --repair unmarks it");
            return Ok(());
        }
        State::Missing => {
            outcome.missing += 1;
            line("missing", "");
            true
        }
        State::Wrong(why) => {
            outcome.damaged += 1;
            line("damaged", &format!(": {why}"));
            true
        }
        // The storage may be away for a moment: that is no reason to give the bytes up.
        State::Unreadable(why) => {
            outcome.unreadable += 1;
            line("unreadable", &format!(": {why}"));
            false
        }
    };
    let needs = catalog.needs(facts.digest, MOST_NEEDS + 1).await?;
    for need in needs.iter().take(MOST_NEEDS) {
        report(&format!("    needed by {}:{}{}", need.address, need.path, if mark { remedy(need, plan.repair) } else { "" }));
    }
    match needs.len() {
        0 => report("    needed by nothing that can be read; whoever publishes the same bytes brings it back"),
        1..=MOST_NEEDS => {}
        _ => report("    and by more"),
    }
    if mark && plan.repair && row.damaged.is_none() {
        outcome.marked += u64::from(catalog.mark_damaged(facts.digest, facts.location.clone(), Some(plan.now)).await?);
    }
    Ok(())
}

/// How the bytes of an entry can come back.
fn remedy(need: &Need, repaired: bool) -> &'static str {
    match (need.kind, need.live, repaired) {
        (Kind::Hosted, _, true) => " (hosted: publish the same bytes again, to any repository of this server)",
        (Kind::Hosted, _, false) => " (hosted: after verify --repair publish the same bytes again, to any repository of this server)",
        (_, true, true) => " (proxy: fetched again when it is asked for next)",
        (_, true, false) => " (proxy: after verify --repair it is fetched again when it is asked for next)",
        (_, false, _) => " (proxy, in the past: only an upstream that still has these bytes brings them back)",
    }
}
