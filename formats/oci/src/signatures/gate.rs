//! Where signatures count: the one place that decides whether a manifest is given, or gets a tag.
//!
//! That a key vouches for an image is an entry of the repository, `{image}/signed/{digest}/{key}`, which leads to the signature's manifest
//! and dies with it. It is made with the push of the signature, or when an image is asked for that has signatures and no such entry: in a
//! proxy, and for keys that were trusted later. So a pull costs one look-up, and a key that is taken out of the setting is looked up no more.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use entrepot_kit::{Action, Body, Conclusion, Error, File, Kind, Listing, ListingItem, Publish, Read, Repository, Resource, Result, Sha256Digest, Timestamp};
use entrepot_oci_core::error::DENIED;
use entrepot_oci_core::manifest::MAX_MANIFEST;
use entrepot_oci_core::name::Reference;
use entrepot_oci_core::serve::referrers;
use entrepot_oci_core::{Digest, Manifest, ManifestKind, layout};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rule::{Mode, Rule, SIGNATURES};
use super::{LARGEST_BUNDLE, MOST_SIGNATURES, Outcome, Signature, Verdict, needs_subject, recognise, tag_of_subject, verify};

/// Most referrers that are looked at in search of signatures.
const MOST_REFERRERS: usize = 1000;
/// Most signatures that are verified for one image that is asked for.
const MOST_LOOKED_AT: usize = 128;
/// Most looks in vain that are remembered.
const MOST_IN_VAIN: usize = 1024;
/// Most indexes that are looked at for one child, and how deep they may stand in each other.
const MOST_PARENTS: usize = 32;
const DEEPEST: usize = 3;
/// Most children of an index that a proxy remembers.
const MOST_CHILDREN: usize = 1000;

/// What the entry of a verdict says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// The last moment at which it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// Whether the signature belongs to the image by cosign's tag alone: then it holds while that tag leads to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_tag: bool,
}

/// A verdict for the change that brings its signature: the path of its entry, and what that says.
pub(crate) struct Vouching {
    pub(crate) path: String,
    pub(crate) data: String,
}

/// How a manifest passed.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    /// What the answer must warn of.
    pub(crate) warning: Option<String>,
    /// Whether a rule was asked: its answer may be another one the next time.
    pub(crate) is_ruled: bool,
}

/// Decides whether a manifest is given. `asked` is the repository of the request, `member` the one that has the file.
///
/// # Errors
/// 403 `DENIED` saying whose signature is missing.
pub(crate) async fn check_pull(
    asked: &Repository<Read>,
    member: &Repository<Read>,
    image: &str,
    reference: &Reference,
    (file, is_head): (&File, bool),
) -> Result<Passage> {
    let mut rules = vec![Rule::of(member)?];
    if asked.kind() == Kind::Group {
        rules.push(Rule::of(asked)?);
    }
    let mut passage = Passage::default();
    for rule in rules.into_iter().flatten().filter(|rule| rule.mode != Mode::Tag) {
        passage.is_ruled = true;
        if !rule.covers(reference) {
            continue;
        }
        // A proxy may call an image by a longer name than the client does.
        let image = layout::image_of(&file.entry.path).unwrap_or(image);
        let look = Look { repository: member, image, rule: &rule };
        let Some(missing) = look.missing(reference, file, is_head).await? else { continue };
        match rule.mode {
            Mode::Pull => return Err(refusal(missing)),
            Mode::Warn => passage.warning = Some(missing),
            Mode::Audit => member.report(&missing),
            Mode::Tag => {}
        }
    }
    Ok(passage)
}

/// Decides whether a manifest may get these tags.
///
/// # Errors
/// 403 `DENIED` saying whose signature is missing.
pub(crate) async fn check_tags(repository: &Repository<Publish>, image: &str, manifest: &Manifest, digests: &[Digest], tags: &[String]) -> Result<()> {
    let Some(rule) = Rule::of(repository)?.filter(|rule| rule.mode == Mode::Tag) else { return Ok(()) };
    let Some(tag) = tags.iter().find(|tag| rule.covers_tag(tag)) else { return Ok(()) };
    if is_attachment(manifest) {
        return Ok(());
    }
    let repository = repository.grant::<Read>(&Resource::Package(image.to_owned())).await?;
    let look = Look { repository: &repository, image, rule: &rule };
    if look.is_known(digests).await? {
        return Ok(());
    }
    match look.search(digests, None).await? {
        None => Ok(()),
        Some(reasons) => Err(refusal(look.words(&format!("{image}:{tag}"), digests, &reasons))),
    }
}

fn refusal(message: String) -> Error {
    Error::forbidden(message).with_code(DENIED).with_policy(SIGNATURES)
}

/// Whom a pushed manifest vouches for by the keys of the repository. None where the caller may not read what it signs with: then the
/// first pull finds out.
///
/// # Errors
/// Failures of the store.
pub(crate) async fn judge(
    repository: &Repository<Publish>,
    image: &str,
    (manifest, digest): (&Manifest, Sha256Digest),
    tags: &[String],
) -> Result<Vec<Vouching>> {
    let Some(rule) = Rule::of(repository)? else { return Ok(Vec::new()) };
    let Ok(Some(signature)) = recognise(manifest, tags.iter().map(String::as_str)) else { return Ok(Vec::new()) };
    let resource = Resource::Package(image.to_owned());
    if !repository.allows(Action::Read, &resource).await? {
        return Ok(Vec::new());
    }
    // A client may have asked for a token that is good for pushing alone.
    let Ok(repository) = repository.grant::<Read>(&resource).await else { return Ok(Vec::new()) };
    let look = Look { repository: &repository, image, rule: &rule };
    let outcome = look.verify(signature).await?;
    let mut found = Vec::new();
    for verdict in &outcome.verdicts {
        let (path, kept) = look.kept(verdict, manifest);
        let data = serde_json::to_string(&kept).map_err(Error::internal)?;
        // The same again changes nothing, and one that holds longer stays.
        let suffices = |before: &File| {
            let is_same = before.entry.digest == Some(digest) && before.entry.data == data;
            let outlasts = |before: Kept| !before.by_tag && (before.until.is_none() || (kept.until.is_some() && before.until >= kept.until));
            is_same || serde_json::from_str(&before.entry.data).is_ok_and(outlasts)
        };
        if !repository.entry(&path).await?.as_ref().is_some_and(suffices) {
            found.push(Vouching { path, data });
        }
    }
    Ok(found)
}

/// Types of layers that are signatures, attestations or bills of materials: there is nothing in them to run.
const ATTACHED: [&str; 13] = [
    super::SIMPLE_SIGNING,
    super::BUNDLES[0],
    super::BUNDLES[1],
    super::JWS,
    super::COSE,
    "application/vnd.dsse.envelope.v1+json",
    "application/vnd.in-toto+json",
    "application/spdx+json",
    "text/spdx",
    "text/spdx+json",
    "application/vnd.cyclonedx+json",
    "application/vnd.cyclonedx+xml",
    "application/vnd.syft+json",
];

/// Whether a manifest is only ever attached to images. Such need no signature of their own, or none could be read.
fn is_attachment(manifest: &Manifest) -> bool {
    manifest.kind == ManifestKind::Image && !manifest.layers.is_empty() && manifest.layers.iter().all(|layer| ATTACHED.contains(&layer.media_type.as_str()))
}

/// The whole of a small file.
async fn content(file: &File, limit: usize) -> Result<Bytes> {
    Body::new(file.content.stream(None).await?, file.content.size()).collect(limit).await
}

/// A look at one image by one rule.
struct Look<'a> {
    repository: &'a Repository<Read>,
    image: &'a str,
    rule: &'a Arc<Rule>,
}

impl Look<'_> {
    /// What is missing for this manifest to be given, for people; `None` when nothing is.
    async fn missing(&self, reference: &Reference, file: &File, is_head: bool) -> Result<Option<String>> {
        let mut digests: Vec<Digest> = file.entry.digest.map(Digest::sha256).into_iter().collect();
        if let Reference::Digest(digest) = reference
            && !digests.contains(digest)
        {
            digests.push(digest.clone());
        }
        if self.is_known(&digests).await? {
            return Ok(None);
        }
        // Whoever publishes here must see what there is to sign, and clients that push a tag ask first what it leads to.
        if self.rule.mode == Mode::Pull
            && (is_head || matches!(reference, Reference::Digest(_)))
            && self.repository.allows(Action::Publish, &Resource::Package(self.image.to_owned())).await?
        {
            return Ok(None);
        }
        let bytes = content(file, MAX_MANIFEST).await?;
        let manifest = Manifest::parse(&bytes, file.entry.content_type.as_deref(), &[]).ok();
        if manifest.as_ref().is_some_and(is_attachment) {
            return Ok(None);
        }
        let Some(reasons) = self.search(&digests, manifest.as_ref()).await? else { return Ok(None) };
        let name = match reference {
            Reference::Tag(tag) => format!("{}:{tag}", self.image),
            Reference::Digest(_) => self.image.to_owned(),
        };
        Ok(Some(self.words(&name, &digests, &reasons)))
    }

    fn words(&self, name: &str, digests: &[Digest], reasons: &[String]) -> String {
        let digest = digests.first().map(ToString::to_string).unwrap_or_default();
        let found = reasons.first().map_or_else(|| String::from("it has no signature"), |reason| format!("of its signatures, {reason}"));
        format!("{name} ({digest}) needs a signature here by {}: {found}", self.rule.expected())
    }

    /// Whether a verdict says that a key vouches for the manifest of these digests, or for an index that names it.
    async fn is_known(&self, digests: &[Digest]) -> Result<bool> {
        let mut level = digests.to_vec();
        let mut looked_at = 0;
        for _ in 0..=DEEPEST {
            for digest in &level {
                if self.has_verdict(digest).await? {
                    return Ok(true);
                }
            }
            level = self.parents(&level).await?;
            looked_at += level.len();
            if level.is_empty() || looked_at > MOST_PARENTS {
                break;
            }
        }
        Ok(false)
    }

    async fn has_verdict(&self, digest: &Digest) -> Result<bool> {
        for id in &self.rule.ids {
            let path = layout::verdict(self.image, &digest.to_string(), id);
            if let Some(file) = self.repository.entry(&path).await?
                && self.holds(digest, &file).await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn holds(&self, digest: &Digest, verdict: &File) -> Result<bool> {
        let Ok(kept) = serde_json::from_str::<Kept>(&verdict.entry.data) else { return Ok(false) };
        if kept.until.is_some_and(|until| until < self.repository.now()) {
            return Ok(false);
        }
        // What a proxy keeps stays good: its upstream may be gone.
        if !kept.by_tag || self.repository.kind() != Kind::Hosted {
            return Ok(true);
        }
        let tag = self.repository.entry(&layout::manifest(self.image, &tag_of_subject(digest))).await?;
        Ok(tag.is_some_and(|tag| tag.entry.digest == verdict.entry.digest))
    }

    /// The indexes that name one of these manifests.
    async fn parents(&self, children: &[Digest]) -> Result<Vec<Digest>> {
        let mut found = Vec::new();
        for child in children {
            let folder = layout::parents(self.image, &child.to_string());
            let listing = Listing { prefix: folder.clone(), after: None, limit: MOST_PARENTS, recursive: true };
            for item in self.repository.entries(&listing).await?.items {
                found.extend(item.path().strip_prefix(&folder).and_then(Digest::parse));
            }
        }
        found.truncate(MOST_PARENTS);
        Ok(found)
    }

    /// Looks for signatures as [`Self::look_for`] does, unless that was done in vain since the image was changed: whoever asks for what is
    /// not signed must not be able to keep the server busy.
    async fn search(&self, digests: &[Digest], manifest: Option<&Manifest>) -> Result<Option<Vec<String>>> {
        static IN_VAIN: LazyLock<Mutex<HashMap<String, Vec<String>>>> = LazyLock::new(Mutex::default);
        if self.repository.kind() != Kind::Hosted {
            return self.look_for(digests, manifest).await;
        }
        // Once a minute again: certificates begin to be valid.
        let (changed, minute) = (self.repository.package(self.image).await?.map_or(0, |package| package.changed), self.repository.now().seconds() / 60);
        let names: Vec<String> = digests.iter().map(ToString::to_string).chain(self.rule.ids.iter().cloned()).collect();
        let key = format!("{}/{}@{changed}/{minute} {}", self.repository.address(), self.image, names.join(" "));
        if let Some(reasons) = IN_VAIN.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Some(reasons.clone()));
        }
        let found = self.look_for(digests, manifest).await?;
        if let Some(reasons) = &found {
            let mut in_vain = IN_VAIN.lock().unwrap_or_else(PoisonError::into_inner);
            if in_vain.len() >= MOST_IN_VAIN {
                in_vain.clear();
            }
            in_vain.insert(key, reasons.iter().take(1).cloned().collect());
        }
        Ok(found)
    }

    /// Looks for signatures of the manifest or of an index that names it, verifies them, and keeps what comes out. `None` when a key
    /// vouches; else why none does.
    async fn look_for(&self, digests: &[Digest], manifest: Option<&Manifest>) -> Result<Option<Vec<String>>> {
        let mut reasons = Vec::new();
        let mut left = MOST_LOOKED_AT;
        let indexes = self.parents(digests).await?;
        for digest in digests.iter().chain(&indexes) {
            for candidate in self.candidates(digest).await? {
                let found = self.verify_candidate(digest, &candidate, &mut left).await?;
                if found.verdicts.is_empty() {
                    reasons.extend(found.refusals);
                    continue;
                }
                if let Some(index) = manifest.filter(|manifest| manifest.kind == ManifestKind::Index) {
                    self.keep_children(digest, index).await?;
                }
                return Ok(None);
            }
        }
        Ok(Some(reasons))
    }

    /// The manifests that may hold signatures of a digest.
    async fn candidates(&self, subject: &Digest) -> Result<Vec<String>> {
        let folder = layout::referrers(self.image, &subject.to_string());
        let listing = Listing { prefix: folder, after: None, limit: MOST_REFERRERS, recursive: true };
        let mut descriptors: Vec<Value> = Vec::new();
        for item in self.repository.entries(&listing).await?.items {
            if let ListingItem::File(entry) = item {
                descriptors.extend(serde_json::from_str::<Value>(&entry.data));
            }
        }
        if self.repository.kind() != Kind::Hosted {
            descriptors.extend(referrers::elsewhere(self.repository, self.image, &subject.to_string()).await?.into_iter().take(MOST_REFERRERS));
        }
        let mut found: Vec<String> = vec![tag_of_subject(subject)];
        let digests = descriptors.iter().filter(|descriptor| may_sign(descriptor)).filter_map(|descriptor| descriptor.get("digest"));
        let digests = digests.filter_map(Value::as_str).filter(|digest| Digest::parse(digest).is_some());
        found.extend(digests.take(MOST_SIGNATURES).map(str::to_owned));
        Ok(found)
    }

    async fn verify_candidate(&self, subject: &Digest, reference: &str, left: &mut usize) -> Result<Outcome> {
        let path = layout::manifest(self.image, reference);
        let Some(mut file) = self.repository.entry(&path).await? else { return Ok(Outcome::default()) };
        let refused = |refusal: String| Outcome { refusals: vec![refusal], ..Outcome::default() };
        let bytes = content(&file, MAX_MANIFEST).await?;
        if file.entry.digest.is_none() {
            let Some(here) = self.repository.entry(&path).await? else { return Ok(Outcome::default()) };
            file = here;
        }
        let Ok(manifest) = Manifest::parse(&bytes, file.entry.content_type.as_deref(), &[]) else {
            return Ok(refused(String::from("one is no manifest")));
        };
        let signature = match recognise(&manifest, [reference]) {
            Ok(Some(signature)) if signature.subjects.contains(subject) => signature,
            Ok(_) => return Ok(Outcome::default()),
            Err(refusal) => return Ok(refused(refusal)),
        };
        match left.checked_sub(signature.parts.len()) {
            Some(rest) => *left = rest,
            None => return Ok(refused(format!("there are more than the {MOST_LOOKED_AT} that are looked at"))),
        }
        let mut outcome = self.verify(signature).await?;
        outcome.verdicts.retain(|verdict| verdict.subject == *subject);
        for verdict in &outcome.verdicts {
            let (path, kept) = self.kept(verdict, &manifest);
            let from = file.entry.path.clone();
            let data = serde_json::to_string(&kept).map_err(Error::internal)?;
            self.keep(Conclusion { path, package: self.image.to_owned(), from, data }).await?;
        }
        Ok(outcome)
    }

    /// The entry of a verdict.
    fn kept(&self, verdict: &Verdict, manifest: &Manifest) -> (String, Kept) {
        let id = self.rule.ids.get(verdict.key).map(String::as_str).unwrap_or_default();
        let named = manifest.subject.as_ref().and_then(|subject| subject.known_digest());
        let kept = Kept { until: verdict.until, by_tag: named.as_ref() != Some(&verdict.subject) };
        (layout::verdict(self.image, &verdict.subject.to_string(), id), kept)
    }

    /// Reads what a signature is made of, and verifies it where blocking is allowed.
    async fn verify(&self, signature: Signature) -> Result<Outcome> {
        let mut contents = Vec::with_capacity(signature.parts.len());
        let mut subject = None;
        for part in &signature.parts {
            let layer = self.repository.entry(&layout::blob(self.image, &part.digest)).await?;
            let limit = usize::try_from(LARGEST_BUNDLE).unwrap_or(usize::MAX);
            let bytes = match layer.filter(|layer| layer.content.size().is_none_or(|size| size <= LARGEST_BUNDLE)) {
                Some(layer) => content(&layer, limit).await?,
                None => Bytes::new(),
            };
            if subject.is_none() && needs_subject(&bytes) {
                subject = self.manifest_of(&signature).await?;
            }
            contents.push(bytes);
        }
        let (rule, now) = (Arc::clone(self.rule), self.repository.now());
        entrepot_kit::blocking(move || Ok(verify(&signature, &contents, subject.as_deref(), &rule.keys, now))).await
    }

    /// The manifest that a signature is about.
    async fn manifest_of(&self, signature: &Signature) -> Result<Option<Bytes>> {
        let Some(digest) = signature.subjects.first() else { return Ok(None) };
        match self.repository.entry(&layout::manifest(self.image, &digest.to_string())).await? {
            Some(file) => content(&file, MAX_MANIFEST).await.map(Some),
            None => Ok(None),
        }
    }

    /// A proxy learns from a signed index which manifests it covers; where indexes are pushed, the push says so.
    async fn keep_children(&self, digest: &Digest, index: &Manifest) -> Result<()> {
        if self.repository.kind() != Kind::Proxy {
            return Ok(());
        }
        for child in index.manifests.iter().take(MOST_CHILDREN).filter_map(|child| child.known_digest()) {
            let path = layout::parent(self.image, &child.to_string(), digest);
            let from = layout::manifest(self.image, &digest.to_string());
            self.keep(Conclusion { path, package: self.image.to_owned(), from, data: String::new() }).await?;
        }
        Ok(())
    }

    /// Keeps a conclusion. Whether that works does not change what it says: what it rests on may be on its way out.
    async fn keep(&self, conclusion: Conclusion) -> Result<()> {
        match self.repository.conclude(conclusion).await {
            Err(error) if error.status().is_server_error() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether a referrer may be a signature, by what its descriptor says. Bundles say what is in them: those with something else than a
/// signature need not be read.
fn may_sign(descriptor: &Value) -> bool {
    let artifact_type = descriptor.get("artifactType").and_then(Value::as_str).unwrap_or_default();
    let predicate = descriptor.pointer("/annotations/dev.sigstore.bundle.predicateType").and_then(Value::as_str);
    match artifact_type {
        super::NOTATION | super::COSIGN => true,
        bundle => super::BUNDLES.contains(&bundle) && predicate.is_none_or(|predicate| predicate == super::bundle::SIGNED),
    }
}
