//! What every format that container clients speak to needs of the OCI distribution specification: names, digests, manifests and errors,
//! as pure functions over text and bytes.

pub mod digest;
pub mod error;
pub mod json;
pub mod manifest;
pub mod media;
pub mod name;
pub mod referrer;
pub mod schema1;

pub use digest::Digest;
pub use error::render_error;
pub use manifest::{Descriptor, Manifest, ManifestKind};
pub use name::{Reference, check_name, check_tag};
