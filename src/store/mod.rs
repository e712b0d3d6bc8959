//! The versioned blob store: the catalog, which knows what there is, and the blobs, which are the bytes.

pub mod blobs;
pub mod catalog;
pub mod facts;
pub mod model;
pub mod transfer;
pub mod uploads;
