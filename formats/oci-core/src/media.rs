//! Media types of the specification and of its predecessor.

/// An OCI image (or artifact) manifest.
pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A Docker manifest, schema 2.
pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A Docker manifest, schema 1: served when an upstream has it, never taken.
pub const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// The signed form of schema 1.
pub const SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// The artifact manifest that was dropped before version 1.1: older clients still have data in it.
pub const ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// What is asked for where any manifest will do.
pub const ANY_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json, application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.5, \
     application/vnd.docker.distribution.manifest.v1+json;q=0.5";

/// Whether layers of this type may be missing: they must not be distributed.
#[must_use]
pub fn is_foreign(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.image.rootfs.foreign.") || media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
}

/// A media type without its parameters.
#[must_use]
pub fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}
