//! What holds what in an image: tags hold manifests, indexes their children, subjects what refers to them; blobs are needed by manifests.

use bytes::Bytes;
use entrepot_kit::{Error, Holding, Result};

use crate::layout;
use crate::{Digest, Manifest, ManifestKind};

/// The days after which manifests go that have no tag and are in no index.
pub const UNHELD_DAYS: u32 = 30;
/// What clients of registries without a referrers API put behind the digest of a subject in the tags of what refers to it.
const TAG_ENDINGS: [&str; 3] = ["sig", "att", "sbom"];

/// How a path of an image is held.
#[must_use]
pub fn holding(image: &str, path: &str) -> Holding {
    let Some(rest) = path.strip_prefix(image).and_then(|rest| rest.strip_prefix('/')) else { return Holding::Itself };
    let parts: Vec<&str> = rest.split('/').collect();
    match *parts.as_slice() {
        ["blobs", _] => Holding::Part,
        ["manifests", reference] if Digest::parse(reference).is_some() => Holding::Document,
        ["referrers" | "signed", subject, _] => Holding::HeldBy(layout::manifest(image, subject)),
        ["parents", child, _] => Holding::Holds(layout::manifest(image, child)),
        _ => Holding::Itself,
    }
}

/// The manifest that a tag is about, as `sha256-<hex>.sig` is about `sha256:<hex>`.
#[must_use]
pub fn attached_to(image: &str, tag: &str) -> Option<String> {
    let (algorithm, rest) = tag.split_once('-')?;
    let (hex, ending) = rest.split_once('.').map_or((rest, None), |(hex, ending)| (hex, Some(ending)));
    let digest = Digest::parse(&format!("{algorithm}:{hex}")).filter(|digest| digest.as_sha256().is_some())?;
    ending.is_none_or(|ending| TAG_ENDINGS.contains(&ending)).then(|| layout::manifest(image, &digest.to_string()))
}

/// The blobs that a manifest needs.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub fn parts(path: &str, content_type: Option<&str>, document: &Bytes) -> Result<Vec<String>> {
    let image = layout::image_of(path).ok_or_else(|| Error::internal(format!("{path:?} is not the path of a manifest")))?;
    let manifest = Manifest::parse(document, content_type, &[])?;
    if manifest.kind == ManifestKind::Schema1 {
        return Err(Error::unprocessable("blobs of manifests of schema 1 are not looked for"));
    }
    // Whatever it names, foreign or not: a blob that was pushed for it is not taken from under it.
    let named = manifest.config.iter().chain(&manifest.layers);
    Ok(named.filter_map(|descriptor| descriptor.known_digest()).map(|digest| layout::blob(image, &digest)).collect())
}

#[cfg(test)]
mod tests {
    use super::{attached_to, holding, parts};
    use bytes::Bytes;
    use entrepot_kit::Holding;

    const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn paths_say_what_holds_them() {
        let digest = format!("sha256:{HEX}");
        let manifest = format!("a/b/manifests/{digest}");
        for (path, expected) in [
            (manifest.clone(), Holding::Document),
            (String::from("a/b/manifests/latest"), Holding::Itself),
            (format!("a/b/blobs/{digest}"), Holding::Part),
            (format!("a/b/referrers/{digest}/sha256:x"), Holding::HeldBy(manifest.clone())),
            (format!("a/b/signed/{digest}/00ff"), Holding::HeldBy(manifest.clone())),
            (format!("a/b/parents/{digest}/sha256:x"), Holding::Holds(manifest.clone())),
            (format!("a/b/c/manifests/{digest}"), Holding::Itself),
        ] {
            assert_eq!(holding("a/b", &path), expected, "{path}");
        }
    }

    #[test]
    fn tags_of_signatures_are_about_what_they_sign() {
        let subject = Some(format!("a/manifests/sha256:{HEX}"));
        for tag in [format!("sha256-{HEX}"), format!("sha256-{HEX}.sig"), format!("sha256-{HEX}.att"), format!("sha256-{HEX}.sbom")] {
            assert_eq!(attached_to("a", &tag), subject, "{tag}");
        }
        for tag in ["latest", "sha256-aaaa", "sha256-aaaa.sig", &format!("sha256-{HEX}.zip"), &format!("sha512-{HEX}")] {
            assert_eq!(attached_to("a", tag), None, "{tag}");
        }
    }

    #[test]
    fn a_manifest_needs_its_configuration_and_layers() {
        let descriptor = |kind: &str| format!("{{\"mediaType\":\"{kind}\",\"digest\":\"sha256:{HEX}\",\"size\":1}}");
        let image = format!("{{\"schemaVersion\":2,\"config\":{},\"layers\":[{}]}}", descriptor("a/b"), descriptor("c/d"));
        let needed = parts("a/manifests/x", Some("application/vnd.oci.image.manifest.v1+json"), &Bytes::from(image)).unwrap();
        assert_eq!(needed, vec![format!("a/blobs/sha256:{HEX}"); 2]);
        let index = format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", descriptor("a/b"));
        assert!(parts("a/manifests/x", Some("application/vnd.oci.image.index.v1+json"), &Bytes::from(index)).unwrap().is_empty());
        assert!(parts("a/manifests/x", Some("application/vnd.example.unknown"), &Bytes::from_static(b"{}")).is_err());
    }
}
