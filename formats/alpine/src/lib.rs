//! Alpine's packages.

pub mod index;
pub mod info;
mod member;
pub mod package;
pub mod place;
mod tarball;
pub mod testing;
pub mod version;
