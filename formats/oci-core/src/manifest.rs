//! Manifests: what is in one, and whether it can be taken. The bytes themselves are kept as they came.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrepot_kit::{Error, Result, Sha256Digest};

use crate::digest::{Digest, is_well_formed};
use crate::error::MANIFEST_INVALID;
use crate::json::Node;
use crate::media;

/// Largest manifest, in bytes.
pub const MAX_MANIFEST: usize = 4 << 20;
/// Most descriptors of one manifest.
const MOST_DESCRIPTORS: usize = 10_000;
/// Most annotations of one manifest or descriptor.
const MOST_ANNOTATIONS: usize = 1000;
/// Longest media type.
const LONGEST_MEDIA_TYPE: usize = 255;

/// What a manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// An image or artifact: a configuration and layers.
    Image,
    /// A list of manifests.
    Index,
    /// The artifact manifest that was dropped before version 1.1: a list of blobs.
    Artifact,
    /// A Docker manifest, schema 1.
    Schema1,
    /// A type that the operator allows, kept without being understood.
    Opaque,
}

/// What a manifest says of something else.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// Its media type.
    pub media_type: String,
    /// Its digest, by an algorithm that we may not know.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it is elsewhere: it has URLs, or must not be distributed. We never fetch those.
    pub foreign: bool,
    /// `platform.os` and `platform.architecture`, joined by a slash.
    pub platform: Option<String>,
    /// Its own annotations.
    pub annotations: Vec<(String, String)>,
}

impl Descriptor {
    /// The digest, if it is by an algorithm that we know.
    #[must_use]
    pub fn known_digest(&self) -> Option<Digest> {
        Digest::parse(&self.digest)
    }
}

/// A manifest as far as a registry must understand it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// What it is.
    pub kind: ManifestKind,
    /// The configuration of an image.
    pub config: Option<Descriptor>,
    /// The layers of an image, or the blobs of an artifact.
    pub layers: Vec<Descriptor>,
    /// The manifests of an index.
    pub manifests: Vec<Descriptor>,
    /// What it refers to.
    pub subject: Option<Descriptor>,
    /// What kind of artifact it says to be.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: Vec<(String, String)>,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::bad_request(message).with_code(MANIFEST_INVALID)
}

impl Manifest {
    /// Reads a manifest. `content_type` is what the client (or upstream) says of it; without one it says it itself. `opaque` are further
    /// media types that are kept without being understood.
    ///
    /// # Errors
    /// 400 `MANIFEST_INVALID` with what is wrong; 413 when it is larger than [`MAX_MANIFEST`].
    pub fn parse(bytes: &[u8], content_type: Option<&str>, opaque: &[String]) -> Result<Self> {
        if bytes.len() > MAX_MANIFEST {
            return Err(Error::too_large(format!("a manifest has at most {MAX_MANIFEST} bytes")).with_code(MANIFEST_INVALID));
        }
        let root = Node::parse(bytes).map_err(|error| invalid(format!("the manifest is not JSON that everybody reads alike: {error}")))?;
        if root.fields().is_none() {
            return Err(invalid("the manifest is not a JSON object"));
        }
        let said = text(&root, "mediaType")?;
        let outer = content_type.map(media::essence).filter(|outer| !outer.is_empty() && *outer != "application/json" && *outer != "application/octet-stream");
        if let (Some(outer), Some(said)) = (outer, &said)
            && outer != said
        {
            return Err(invalid(format!("the Content-Type is {outer}, and the manifest says that it is {said}")));
        }
        let media_type = outer.map(str::to_owned).or(said).unwrap_or_else(|| guess(&root).to_owned());
        if media_type.len() > LONGEST_MEDIA_TYPE || !media_type.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("the media type of the manifest is no media type"));
        }
        let kind = match media_type.as_str() {
            media::IMAGE | media::DOCKER_IMAGE => ManifestKind::Image,
            media::INDEX | media::DOCKER_LIST => ManifestKind::Index,
            media::ARTIFACT => ManifestKind::Artifact,
            media::SCHEMA1 | media::SCHEMA1_SIGNED => ManifestKind::Schema1,
            other if opaque.iter().any(|allowed| allowed == other) => ManifestKind::Opaque,
            other => return Err(invalid(format!("{other} is no type of manifest that is taken here (the repository's setting media_types can allow it)"))),
        };
        let mut manifest =
            Self { media_type, kind, config: None, layers: Vec::new(), manifests: Vec::new(), subject: None, artifact_type: None, annotations: Vec::new() };
        manifest.read(&root)?;
        Ok(manifest)
    }

    fn read(&mut self, root: &Node) -> Result<()> {
        let has = |key: &str| root.get(key).is_some_and(|node| *node != Node::Null);
        match self.kind {
            ManifestKind::Image => {
                version_two(root)?;
                if has("manifests") || has("fsLayers") {
                    return Err(invalid("the manifest is an image and something else at once: it must not have \"manifests\" or \"fsLayers\""));
                }
                let config = root.get("config").ok_or_else(|| invalid("an image manifest needs a \"config\""))?;
                self.config = Some(descriptor(config, "config")?);
                self.layers = descriptors(root, "layers")?;
            }
            ManifestKind::Index => {
                version_two(root)?;
                if has("config") || has("layers") || has("fsLayers") {
                    return Err(invalid("the manifest is an index and something else at once: it must not have \"config\" or \"layers\""));
                }
                self.manifests = descriptors(root, "manifests")?;
            }
            ManifestKind::Artifact => {
                if root.get("blobs").is_some() {
                    self.layers = descriptors(root, "blobs")?;
                }
            }
            ManifestKind::Schema1 => return schema1(root),
            ManifestKind::Opaque => return Ok(()),
        }
        self.subject = match root.get("subject") {
            None | Some(Node::Null) => None,
            Some(node) => Some(descriptor(node, "subject")?),
        };
        self.artifact_type = text(root, "artifactType")?.filter(|text| !text.is_empty());
        if self.artifact_type.as_ref().is_some_and(|text| text.len() > LONGEST_MEDIA_TYPE) {
            return Err(invalid(format!("\"artifactType\" is longer than {LONGEST_MEDIA_TYPE} bytes")));
        }
        self.annotations = annotations(root, "the manifest")?;
        Ok(())
    }

    /// What a referrer of this kind is called in lists: the artifact type it says, or that of its configuration.
    #[must_use]
    pub fn referrer_type(&self) -> Option<&str> {
        let of_config = || self.config.as_ref().filter(|_| self.kind == ManifestKind::Image).map(|config| config.media_type.as_str());
        self.artifact_type.as_deref().or_else(of_config)
    }

    /// What must be in the repository: configuration and layers, except those that are elsewhere.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers).filter(|descriptor| !descriptor.foreign)
    }
}

/// The type of a manifest that nobody names: an index has manifests, an image has a configuration.
fn guess(root: &Node) -> &'static str {
    match (root.get("manifests"), root.get("schemaVersion").and_then(Node::unsigned)) {
        (Some(_), _) => media::INDEX,
        (None, Some(1)) if root.get("signatures").is_some() => media::SCHEMA1_SIGNED,
        (None, Some(1)) => media::SCHEMA1,
        _ => media::IMAGE,
    }
}

fn version_two(root: &Node) -> Result<()> {
    match root.get("schemaVersion").and_then(Node::unsigned) {
        Some(2) => Ok(()),
        _ => Err(invalid("\"schemaVersion\" must be 2")),
    }
}

fn schema1(root: &Node) -> Result<()> {
    let is_first = root.get("schemaVersion").and_then(Node::unsigned) == Some(1);
    let has_layers = root.get("fsLayers").and_then(Node::list).is_some_and(|layers| layers.len() <= MOST_DESCRIPTORS);
    if is_first && has_layers { Ok(()) } else { Err(invalid("this is no manifest of schema 1")) }
}

fn text(node: &Node, key: &str) -> Result<Option<String>> {
    match node.get(key) {
        None | Some(Node::Null) => Ok(None),
        Some(Node::Text(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(format!("{key:?} must be a text"))),
    }
}

fn descriptors(root: &Node, key: &str) -> Result<Vec<Descriptor>> {
    let list = match root.get(key) {
        Some(Node::List(list)) => list,
        // Some tools write an empty list so.
        Some(Node::Null) => return Ok(Vec::new()),
        _ => return Err(invalid(format!("{key:?} must be a list"))),
    };
    if list.len() > MOST_DESCRIPTORS {
        return Err(invalid(format!("{key:?} has more than {MOST_DESCRIPTORS} items")));
    }
    list.iter().enumerate().map(|(position, node)| descriptor(node, &format!("{key}[{position}]"))).collect()
}

fn descriptor(node: &Node, place: &str) -> Result<Descriptor> {
    let wrong = |what: &str| invalid(format!("{place}: {what}"));
    let digest = node.get("digest").and_then(Node::text).filter(|digest| is_well_formed(digest)).ok_or_else(|| wrong("\"digest\" must be a digest"))?;
    let size = node.get("size").and_then(Node::unsigned).filter(|size| i64::try_from(*size).is_ok());
    let size = size.ok_or_else(|| wrong("\"size\" must be a number of bytes"))?;
    let media_type = node.get("mediaType").and_then(Node::text).ok_or_else(|| wrong("\"mediaType\" must be a media type"))?;
    if media_type.len() > LONGEST_MEDIA_TYPE {
        return Err(wrong("\"mediaType\" is too long"));
    }
    let urls = match node.get("urls") {
        None | Some(Node::Null) => false,
        Some(Node::List(urls)) => !urls.is_empty(),
        Some(_) => return Err(wrong("\"urls\" must be a list")),
    };
    if let Some(data) = node.get("data").filter(|data| **data != Node::Null) {
        check_data(data, digest, size).map_err(|what| wrong(&what))?;
    }
    let platform = node.get("platform").and_then(|platform| {
        let part = |key: &str| platform.get(key).and_then(Node::text);
        Some(format!("{}/{}", part("os")?, part("architecture")?))
    });
    Ok(Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_owned(),
        size,
        foreign: urls || media::is_foreign(media_type),
        platform,
        annotations: annotations(node, place)?,
    })
}

/// Content that stands in the descriptor itself must be what the descriptor says.
fn check_data(data: &Node, digest: &str, size: u64) -> Result<(), String> {
    let bytes = data.text().and_then(|text| STANDARD.decode(text).ok()).ok_or("\"data\" must be base64")?;
    if bytes.len() as u64 != size {
        return Err(format!("\"data\" has {} bytes, and \"size\" says {size}", bytes.len()));
    }
    let fits = match Digest::parse(digest) {
        Some(digest) if digest.as_sha256().is_some() => digest.as_sha256() == Some(Sha256Digest::of(&bytes)),
        Some(digest) => {
            let mut hasher = entrepot_kit::Hasher::new(&[digest.algorithm()]);
            hasher.update(&bytes);
            let (_, digests) = hasher.finish();
            Digest::among(&digests, digest.algorithm()) == Some(digest)
        }
        None => true,
    };
    if fits { Ok(()) } else { Err(String::from("\"data\" does not have the digest that the descriptor names")) }
}

fn annotations(node: &Node, place: &str) -> Result<Vec<(String, String)>> {
    let fields = match node.get("annotations") {
        None | Some(Node::Null) => return Ok(Vec::new()),
        Some(Node::Object(fields)) => fields,
        Some(_) => return Err(invalid(format!("{place}: \"annotations\" must be an object"))),
    };
    if fields.len() > MOST_ANNOTATIONS {
        return Err(invalid(format!("{place}: more than {MOST_ANNOTATIONS} annotations")));
    }
    let pair = |(key, value): &(String, Node)| value.text().map(|value| (key.clone(), value.to_owned()));
    fields.iter().map(pair).collect::<Option<_>>().ok_or_else(|| invalid(format!("{place}: the value of an annotation must be a text")))
}

#[cfg(test)]
mod tests;
