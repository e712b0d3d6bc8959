//! The push of a manifest: one change that brings the manifest, its tags, and what it says about others.

use std::collections::BTreeSet;

use bytes::Bytes;
use entrepot_kit::{
    Algorithm, Birth, BlobSource, Change, Error, Overwrite, Precondition, Publish, Repository, Resource, Result, Sha256Digest, StageSpec, Staged,
};
use entrepot_oci_core::error::DENIED;
use entrepot_oci_core::manifest::MAX_MANIFEST;
use entrepot_oci_core::serve::{parts, upload::check_digest};
use entrepot_oci_core::{Digest, Manifest, ManifestKind, layout, referrer};
use http::StatusCode;
use std::sync::Arc;

use super::manifest::{Named, digest_of};
use crate::settings;
use crate::signatures::gate::{self, Vouching};

/// Attempts before a push gives up that meets another one of the same tag each time.
const ATTEMPTS: usize = 16;

/// What must hold of the tag that is written, as the client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// It is there.
    Exists,
    /// It is not there.
    Absent,
    /// It is one of these digests.
    Is(Vec<String>),
}

/// A manifest on its way in.
pub(super) struct Publication {
    pub(super) image: String,
    pub(super) manifest: Manifest,
    /// The digest that the client names.
    pub(super) named: Option<Digest>,
    pub(super) tags: Vec<String>,
    pub(super) condition: Option<Condition>,
}

/// What a change must do, found out by looking at what is there.
struct Plan {
    change: Change,
    is_needed: bool,
}

impl Publication {
    /// Stores the manifest, and says under which digest.
    pub(super) async fn store(self, repository: &Repository<Publish>, body: Bytes) -> Result<Digest> {
        let algorithm = self.named.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
        let size = body.len() as u64;
        let algorithms = if algorithm == Algorithm::Sha256 { Vec::new() } else { vec![algorithm] };
        let mut staging = repository.stage(StageSpec { algorithms, limit: Some(MAX_MANIFEST as u64) }).await?;
        staging.write(body).await?;
        let staged = staging.finish().await?;
        if let Some(named) = &self.named {
            check_digest(&staged, named).await?;
        }
        let digest = self.named.clone().unwrap_or_else(|| Digest::sha256(staged.digest()));
        let mut digests = vec![Digest::sha256(staged.digest())];
        digests.extend(self.named.clone().filter(|named| named.algorithm() != Algorithm::Sha256));
        gate::check_tags(repository, &self.image, &self.manifest, &digests, &self.tags).await?;
        let vouching = gate::judge(repository, &self.image, (&self.manifest, staged.digest()), &self.tags).await?;
        for _ in 0..ATTEMPTS {
            let mut plan = self.plan(repository, &staged, &digest, size).await?;
            for Vouching { path, data } in &vouching {
                plan.is_needed = true;
                plan.change.births.push(self.entry(&staged, path.clone(), None, data.clone()));
            }
            if !plan.is_needed {
                parts::demand(repository, &self.image, &self.manifest).await?;
                repository.touch(&layout::manifest(&self.image, &digest.to_string()));
                return Ok(digest);
            }
            match repository.commit(plan.change).await {
                Ok(_) => return Ok(digest),
                // Either a part is missing, which is said, or somebody else was faster, and the look begins again.
                Err(error) if error.status() == StatusCode::CONFLICT => parts::demand(repository, &self.image, &self.manifest).await?,
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable(format!("the tags of {} are being moved by many at once; try again", self.image), 1))
    }

    async fn plan(&self, repository: &Repository<Publish>, staged: &Arc<dyn Staged>, digest: &Digest, size: u64) -> Result<Plan> {
        let image = &self.image;
        let subject = if self.tags.is_empty() { format!("{image} {digest}") } else { format!("{image} {}", self.tags.join(" ")) };
        let package = Birth::Package { package: image.clone(), document: String::from("{}"), terms: terms(image) };
        let mut plan = Plan { change: Change::new("publish", subject).begin(package), is_needed: false };
        for path in parts::paths(image, &self.manifest) {
            // What the client saw here may have been tidied away since.
            plan.change = plan.change.begin(Birth::Again(path));
        }
        let path = layout::manifest(image, &digest.to_string());
        let known = repository.stored(&path).await?;
        self.check(&path, known.as_ref().and_then(digest_of).as_ref(), self.tags.is_empty())?;
        match known.and_then(|entry| entry.digest) {
            Some(same) => plan.change = plan.change.only_if(Precondition::EntryIs { path, digest: same }),
            None => self.begin_manifest(&mut plan, staged, digest, size),
        }
        for tag in &self.tags {
            self.move_tag(repository, &mut plan, staged, digest, tag).await?;
        }
        Ok(plan)
    }

    /// The manifest itself, and what it says about others.
    fn begin_manifest(&self, plan: &mut Plan, staged: &Arc<dyn Staged>, digest: &Digest, size: u64) {
        plan.is_needed = true;
        let mut begin = |path: String, data: String| plan.change.births.push(self.entry(staged, path, None, data));
        begin(layout::manifest(&self.image, &digest.to_string()), String::new());
        if digest.algorithm() != Algorithm::Sha256 {
            // Found under both: who knows the bytes may ask by either.
            begin(layout::manifest(&self.image, &Digest::sha256(staged.digest()).to_string()), String::new());
        }
        if let Some(subject) = &self.manifest.subject {
            let descriptor = referrer::descriptor(&self.manifest, digest, size);
            begin(format!("{}{digest}", layout::referrers(&self.image, &subject.digest)), descriptor.to_string());
        }
        if self.manifest.kind == ManifestKind::Index {
            let children: BTreeSet<_> = self.manifest.manifests.iter().filter_map(|child| child.known_digest()).collect();
            for child in children {
                begin(layout::parent(&self.image, &child.to_string(), digest), String::new());
            }
        }
    }

    async fn move_tag(&self, repository: &Repository<Publish>, plan: &mut Plan, staged: &Arc<dyn Staged>, digest: &Digest, tag: &str) -> Result<()> {
        let path = layout::manifest(&self.image, tag);
        let known = repository.stored(&path).await?;
        self.check(&path, known.as_ref().and_then(digest_of).as_ref(), true)?;
        let data = match digest.algorithm() {
            Algorithm::Sha256 => String::new(),
            _ => serde_json::to_string(&Named { digest: Some(digest.to_string()) }).map_err(Error::internal)?,
        };
        match known.and_then(|entry| entry.digest) {
            Some(before) if before == staged.digest() => {
                plan.change.preconditions.push(Precondition::EntryIs { path, digest: before });
                return Ok(());
            }
            Some(before) => {
                self.check_movable(repository, tag, before)?;
                repository.grant::<Overwrite>(&Resource::Package(self.image.clone())).await?;
                plan.change.preconditions.push(Precondition::EntryIs { path: path.clone(), digest: before });
            }
            None => {
                plan.change.preconditions.push(Precondition::EntryAbsent(path.clone()));
                plan.change.births.push(Birth::Version { package: self.image.clone(), version: tag.to_owned(), document: String::from("{}") });
            }
        }
        plan.is_needed = true;
        plan.change.births.push(self.entry(staged, path, Some(tag.to_owned()), data));
        Ok(())
    }

    fn entry(&self, staged: &Arc<dyn Staged>, path: String, version: Option<String>, data: String) -> Birth {
        Birth::Entry {
            path,
            package: Some(self.image.clone()),
            version,
            blob: BlobSource::Staged(Arc::clone(staged)),
            content_type: Some(self.manifest.media_type.clone()),
            data,
        }
    }

    fn check_movable(&self, repository: &Repository<Publish>, tag: &str, before: Sha256Digest) -> Result<()> {
        let Some(pattern) = settings::immutable_by(repository, tag) else { return Ok(()) };
        let message = format!("the tag {tag} is sha256:{before} and never moves here (immutable_tags: {pattern:?}): push under another tag");
        Err(Error::conflict(message).with_code(DENIED))
    }

    /// Whether what the client saw still holds.
    fn check(&self, path: &str, is: Option<&Digest>, applies: bool) -> Result<()> {
        let holds = match (&self.condition, is) {
            (None, _) | (Some(Condition::Exists), Some(_)) | (Some(Condition::Absent), None) => true,
            (Some(Condition::Is(seen)), Some(is)) => seen.contains(&is.to_string()),
            _ => false,
        };
        if holds || !applies {
            return Ok(());
        }
        let stands = is.map_or_else(|| String::from("is not there"), |is| format!("is {is}"));
        Err(Error::new(StatusCode::PRECONDITION_FAILED, format!("{path} {stands}: that is not what If-Match or If-None-Match says")))
    }
}

/// The words under which an image is found.
fn terms(image: &str) -> Vec<String> {
    let mut terms = vec![image.to_owned()];
    terms.extend(image.split(['/', '-', '_', '.']).filter(|word| !word.is_empty()).map(str::to_owned));
    terms
}
