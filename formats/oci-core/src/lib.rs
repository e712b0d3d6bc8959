//! What every format that container clients speak to needs of the OCI distribution specification: names, digests, manifests and errors,
//! as pure functions over text and bytes; where things lie, what holds what, what answers requests for blobs, uploads and lists, and what an
//! upstream registry's paths and answers are.

pub mod digest;
pub mod error;
pub mod housekeeping;
pub mod json;
pub mod layout;
pub mod manifest;
pub mod media;
pub mod name;
pub mod referrer;
pub mod schema1;
pub mod serve;
pub mod upstream;

pub use digest::Digest;
pub use error::render_error;
pub use manifest::{Descriptor, Manifest, ManifestKind};
pub use name::{Reference, check_name, check_tag};
