//! Parts of files that an upstream does not give by themselves: taken out by the format, which reads the file where it is. Only the ranges
//! that it reads are fetched, unless the upstream knows no ranges.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{Digests, Error, ReadSeek, Result, Whole};
use http::header::{CONTENT_RANGE, HeaderValue, RANGE};
use http::{HeaderMap, StatusCode};
use url::Url;

use super::fetch::fetch_of;
use super::job::{INDEXES, Job, What};
use super::{PATIENCE, settled};
use crate::registry::fill::{Progress, again};
use crate::registry::{Engine, Repo};
use crate::store::model::StoredEntry;
use crate::upstream::Fetch;

/// Bytes that are fetched first, from the end of the file, where archives say what is in them.
const FIRST: u64 = 64 << 10;
/// Most bytes of a further range. They grow to this, as a reader that goes on will go on.
const LARGEST: u64 = 1 << 20;
/// Most ranges, and most bytes of all of them: what needs more is fetched whole.
const MOST_RANGES: usize = 24;
const MOST_BYTES: u64 = 16 << 20;

impl Engine {
    /// The address that an index means by `url`: relative ones begin where the index came from.
    pub(super) async fn absolute(&self, repo: &Repo, index: &str, url: &str) -> Result<String> {
        if Url::parse(url).is_ok() {
            return Ok(url.to_owned());
        }
        let broken = |_| Error::bad_gateway("a link in the upstream's index is not a URL");
        let state = self.upstream_state(repo, index).await?;
        let from = match state.filter(|state| !state.url.is_empty()) {
            Some(state) => state.url.clone(),
            // What is known of fetches did not come along with what was kept.
            None => {
                let below = match index.strip_prefix(INDEXES) {
                    Some(package) => repo.format.upstream_index(package).map(|index| index.path).unwrap_or_default(),
                    None => entrepot_kit::path::encode_path(index),
                };
                format!("{}/{below}", repo.upstream()?.settings().url.trim_end_matches('/'))
            }
        };
        Ok(Url::parse(&from).and_then(|from| from.join(url)).map_err(broken)?.into())
    }

    /// Makes a part, and keeps it.
    pub(super) async fn keep_part(self: &Arc<Self>, repo: &Arc<Repo>, job: &Job, whole: &Whole, expected: &Digests) -> Result<Progress> {
        let _permit = self.parts.acquire().await.map_err(Error::internal)?;
        let kept = self.stored(repo, &whole.path, None).await?.filter(|stored| !stored.damaged);
        let bytes = match kept {
            Some(kept) => self.part_of_kept(repo, job, &kept).await?,
            None => match self.part_by_ranges(repo, job).await? {
                Looked::Found(bytes) => bytes,
                Looked::Missing => return self.missing(repo, job).await,
                Looked::InVain => {
                    let what = What::File { expected: whole.expected.clone(), changes: false };
                    let file = Job { path: whole.path.clone(), what, ..job.clone() };
                    let mut progress = self.start(repo, file, None, None);
                    match settled(&mut progress, true).await? {
                        Progress::Done(kept, _) => self.part_of_kept(repo, job, &kept).await?,
                        Progress::Failed(error) => return Err(again(&error)),
                        _ => return self.missing(repo, job).await,
                    }
                }
            },
        };
        self.keep_bytes(repo, job, expected, bytes).await
    }

    async fn missing(&self, repo: &Repo, job: &Job) -> Result<Progress> {
        self.note_missing(repo, job).await?;
        Ok(Progress::Missing)
    }

    async fn part_of_kept(&self, repo: &Arc<Repo>, job: &Job, kept: &StoredEntry) -> Result<Bytes> {
        let reader = self.content(kept).await?.reader().await?;
        extract(repo, job, reader).await
    }

    /// Looks into the file where it is.
    async fn part_by_ranges(self: &Arc<Self>, repo: &Arc<Repo>, job: &Job) -> Result<Looked> {
        let (status, range) = self.range(repo, job, &format!("bytes=-{FIRST}"), FIRST).await?;
        let Some(first) = range else {
            return Ok(if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) { Looked::Missing } else { Looked::InVain });
        };
        let size = first.size;
        if first.start + first.bytes.len() as u64 != size {
            return Ok(Looked::InVain);
        }
        let reader = FarReader {
            engine: Arc::clone(self),
            repo: Arc::clone(repo),
            job: job.clone(),
            size,
            position: 0,
            fetched: first.bytes.len() as u64,
            step: FIRST,
            ranges: vec![first],
        };
        match extract(repo, job, Box::new(reader)).await {
            Ok(bytes) => Ok(Looked::Found(bytes)),
            Err(error) => {
                tracing::debug!(repository = %repo.address(), path = %job.path, %error, "looking into the upstream's file failed: it is fetched whole");
                Ok(Looked::InVain)
            }
        }
    }

    /// One range of the file; `None` when the answer is no range.
    async fn range(&self, repo: &Repo, job: &Job, range: &str, most: u64) -> Result<(StatusCode, Option<FarRange>)> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(range).map_err(Error::internal)?);
        let fetch = Fetch { headers, named_by: Some("content-range"), patience: PATIENCE, ..fetch_of(job) };
        debug_assert_eq!(CONTENT_RANGE.as_str(), "content-range");
        let fetched = self.ask(repo, &fetch).await?;
        let status = fetched.status;
        let Some((start, end, size)) = fetched.name.as_deref().and_then(content_range).filter(|_| status == StatusCode::PARTIAL_CONTENT) else {
            return Ok((status, None));
        };
        let length = end.saturating_sub(start).saturating_add(1);
        if length > most || fetched.content_encoding.is_some() {
            return Ok((status, None));
        }
        let bytes = fetched.document(usize::try_from(most).unwrap_or(usize::MAX)).await?;
        Ok((status, (bytes.len() as u64 == length).then_some(FarRange { start, size, bytes })))
    }
}

/// What came of looking into a file.
enum Looked {
    Found(Bytes),
    Missing,
    /// It has to be fetched whole.
    InVain,
}

async fn extract(repo: &Arc<Repo>, job: &Job, mut reader: Box<dyn ReadSeek>) -> Result<Bytes> {
    let (format, path) = (Arc::clone(&repo.format), job.path.clone());
    entrepot_kit::blocking(move || format.extract(&path, &mut *reader)).await
}

/// Reads `bytes 100-199/1000`.
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end, size): (u64, u64, u64) = (start.trim().parse().ok()?, end.trim().parse().ok()?, size.trim().parse().ok()?);
    (start <= end && end < size).then_some((start, end, size))
}

/// A piece of a file, and the length of all of it.
struct FarRange {
    start: u64,
    size: u64,
    bytes: Bytes,
}

/// A file of an upstream that is read where it is, by code that may block.
struct FarReader {
    engine: Arc<Engine>,
    repo: Arc<Repo>,
    job: Job,
    size: u64,
    position: u64,
    fetched: u64,
    step: u64,
    ranges: Vec<FarRange>,
}

impl FarReader {
    /// What is known from the position on.
    fn known(&self) -> Option<&[u8]> {
        self.ranges.iter().find_map(|range| {
            let at = usize::try_from(self.position.checked_sub(range.start)?).ok()?;
            range.bytes.get(at..).filter(|rest| !rest.is_empty())
        })
    }

    /// Fetches what follows the position, up to what is known.
    fn fetch(&mut self) -> io::Result<()> {
        let next = self.ranges.iter().map(|range| range.start).filter(|start| *start > self.position).min().unwrap_or(self.size);
        let end = (self.position + self.step).min(next).min(self.size);
        let length = end - self.position;
        if self.ranges.len() >= MOST_RANGES || self.fetched + length > MOST_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too much of the file would have to be fetched"));
        }
        let wanted = format!("bytes={}-{}", self.position, end - 1);
        let (_, range) = self.engine.runtime.block_on(self.engine.range(&self.repo, &self.job, &wanted, length)).map_err(io::Error::other)?;
        let fits = |range: &FarRange| range.start == self.position && range.size == self.size && !range.bytes.is_empty();
        let range = range.filter(fits).ok_or_else(|| io::Error::other("the upstream gave another range than it was asked for"))?;
        self.fetched += range.bytes.len() as u64;
        self.step = (self.step * 2).min(LARGEST);
        self.ranges.push(range);
        Ok(())
    }
}

impl Read for FarReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || out.is_empty() {
            return Ok(0);
        }
        if self.known().is_none() {
            self.fetch()?;
        }
        let known = self.known().unwrap_or_default();
        let length = known.len().min(out.len());
        for (to, from) in out.iter_mut().zip(known) {
            *to = *from;
        }
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for FarReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(distance) => self.size.checked_add_signed(distance),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn ranges_are_read_strictly() {
        assert_eq!(content_range("bytes 100-199/1000"), Some((100, 199, 1000)));
        for bad in ["", "bytes", "bytes 0-1/*", "bytes */10", "bytes 2-1/10", "bytes 0-10/10", "items 0-1/10", "bytes 0-1", "bytes x-1/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
