//! Where things lie in a repository. The paths of blobs and manifests are those of the protocol, so that a proxy's are its upstream's.

use crate::Digest;

/// The folder of an image's manifests and tags.
#[must_use]
pub fn manifests(image: &str) -> String {
    format!("{image}/manifests/")
}

/// A manifest, by digest or tag.
#[must_use]
pub fn manifest(image: &str, reference: &str) -> String {
    format!("{image}/manifests/{reference}")
}

/// A blob.
#[must_use]
pub fn blob(image: &str, digest: &Digest) -> String {
    format!("{image}/blobs/{digest}")
}

/// The folder of what refers to a manifest.
#[must_use]
pub fn referrers(image: &str, subject: &str) -> String {
    format!("{image}/referrers/{subject}/")
}

/// What leads from a subject, a child or a signed manifest to the manifests that say so: each dies with these.
pub const BACK_REFERENCES: [&str; 3] = ["referrers", "parents", "signed"];

/// The mark of an index that names `child`.
#[must_use]
pub fn parent(image: &str, child: &str, index: &Digest) -> String {
    format!("{image}/parents/{child}/{index}")
}

/// The folder of the indexes that name `child`.
#[must_use]
pub fn parents(image: &str, child: &str) -> String {
    format!("{image}/parents/{child}/")
}

/// The mark of a key that vouches for `subject`.
#[must_use]
pub fn verdict(image: &str, subject: &str, key: &str) -> String {
    format!("{image}/signed/{subject}/{key}")
}

/// The image that a path belongs to. Names may hold the words of the protocol, so paths are read from the right.
#[must_use]
pub fn image_of(path: &str) -> Option<&str> {
    let (before, last) = path.rsplit_once('/')?;
    let (image, folder) = before.rsplit_once('/')?;
    if matches!(folder, "manifests" | "blobs") || (folder == "referrers" && last.contains(':')) || (folder == "tags" && last == "list") {
        return Some(image);
    }
    let (image, folder) = image.rsplit_once('/')?;
    BACK_REFERENCES.contains(&folder).then_some(image)
}

#[cfg(test)]
mod tests {
    use super::image_of;

    #[test]
    fn paths_are_read_from_the_right() {
        for (path, image) in [
            ("a/manifests/latest", Some("a")),
            ("a/b/blobs/sha256:1", Some("a/b")),
            ("a/blobs/manifests/x", Some("a/blobs")),
            ("a/referrers/sha256:1", Some("a")),
            ("a/referrers/sha256:1/sha256:2", Some("a")),
            ("a/parents/sha256:1/sha256:2", Some("a")),
            ("a/signed/sha256:1/00ff", Some("a")),
            ("a/tags/list", Some("a")),
            ("manifests/latest", None),
            ("a/b", None),
            ("a", None),
        ] {
            assert_eq!(image_of(path), image, "{path}");
        }
    }
}
