//! What is inside of a distribution: looked at before it is stored, on a thread that may block.
//!
//! Archives are hostile until read: every count, length and unpacked size is bounded, names that are no plain relative paths condemn the
//! whole file, and what two installers could read in two ways is refused. Nothing is ever unpacked to anywhere.

mod record;
mod tarball;
mod zipfile;

use std::io;

use entrepot_kit::path::check_segments;
use entrepot_kit::{Error, ReadSeek, Result};

use crate::filename::{Distribution, Filename};
use crate::metadata::LARGEST;
use crate::name::normalise;
use crate::version::same;

/// Most members of an archive.
const MOST_MEMBERS: usize = 100_000;
/// An archive may unpack to so many bytes whatever its size, and beyond that to so many times its size.
const ALWAYS_ALLOWED: u64 = 64 << 20;
const BEST_FACTOR: u64 = 50;
/// Largest `WHEEL`.
const LARGEST_WHEEL: u64 = 256 << 10;

/// Reads the core metadata of a distribution, and holds the archive against the rules of its kind.
///
/// # Errors
/// 400 saying what is wrong with the file.
pub fn inspect(reader: Box<dyn ReadSeek>, size: u64, filename: &Filename) -> Result<Vec<u8>> {
    match filename.distribution {
        Distribution::Wheel => wheel(reader, size, filename),
        Distribution::SourceTar => source_tar(reader, size, filename),
        Distribution::SourceZip => source_zip(reader, size, filename),
    }
}

fn wheel(reader: Box<dyn ReadSeek>, size: u64, filename: &Filename) -> Result<Vec<u8>> {
    let mut zip = zipfile::Zip::open(reader)?;
    check_ratio(zip.unpacked(), size)?;
    let mut folders: Vec<&str> = zip.members.iter().filter_map(|member| member.name.split_once('/').map(|(first, _)| first)).collect();
    folders.sort_unstable();
    folders.dedup();
    let mut information = folders.into_iter().filter(|folder| folder.ends_with(".dist-info"));
    let (Some(folder), None) = (information.next(), information.next()) else {
        return Err(refused("a wheel has exactly one folder that ends in .dist-info"));
    };
    let named = folder.strip_suffix(".dist-info").and_then(|stem| stem.rsplit_once('-'));
    if !named.is_some_and(|(name, version)| normalise(name) == filename.project && same(version, &filename.version)) {
        return Err(refused(format!("its folder {folder:?} is not that of {} {}", filename.project, filename.version)));
    }
    let folder = folder.to_owned();
    let file = |zip: &zipfile::Zip, name: &str| {
        let path = format!("{folder}/{name}");
        zip.members.iter().find(|member| member.name == path).cloned().ok_or_else(|| refused(format!("it has no {path:?}")))
    };
    let (metadata, description, record) = (file(&zip, "METADATA")?, file(&zip, "WHEEL")?, file(&zip, "RECORD")?);
    let metadata_bytes = zip.read(&metadata, LARGEST)?;
    let description_bytes = zip.read(&description, LARGEST_WHEEL)?;
    if !String::from_utf8_lossy(&description_bytes).lines().any(|line| line.starts_with("Wheel-Version: 1.")) {
        return Err(refused("its WHEEL does not say \"Wheel-Version: 1.…\", the only version that installers read"));
    }
    record::check(&mut zip, &record)?;
    Ok(metadata_bytes)
}

fn source_zip(reader: Box<dyn ReadSeek>, size: u64, filename: &Filename) -> Result<Vec<u8>> {
    let mut zip = zipfile::Zip::open(reader)?;
    check_ratio(zip.unpacked(), size)?;
    let found = zip.members.iter().find(|member| is_package_information(&member.name, filename)).cloned();
    let found = found.ok_or_else(|| missing(filename))?;
    zip.read(&found, LARGEST)
}

fn source_tar(reader: Box<dyn ReadSeek>, size: u64, filename: &Filename) -> Result<Vec<u8>> {
    let mut found = None;
    tarball::walk(reader, size, &mut |name, length, body| {
        if !is_package_information(name, filename) {
            return Ok(());
        }
        if length > LARGEST {
            return Err(refused(format!("{name:?} has {length} bytes, more than the {LARGEST} that are read of such a file")));
        }
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        // Unpackers disagree on which of two counts.
        if found.replace(bytes).is_some() { Err(refused(format!("it has {name:?} twice"))) } else { Ok(()) }
    })?;
    found.ok_or_else(|| missing(filename))
}

/// Whether a member is the `PKG-INFO` in the archive's one folder, which has the name and version of the project.
fn is_package_information(member: &str, filename: &Filename) -> bool {
    let folder = member.strip_suffix("/PKG-INFO").filter(|folder| !folder.contains('/'));
    folder.and_then(|folder| folder.rsplit_once('-')).is_some_and(|(name, version)| normalise(name) == filename.project && same(version, &filename.version))
}

fn missing(filename: &Filename) -> Error {
    refused(format!(
        "a source distribution has its metadata at \"{}-{}/PKG-INFO\", and this one does not",
        filename.project.replace('-', "_"),
        filename.version
    ))
}

/// How much an archive of that size may unpack to.
fn allowed_unpacked(size: u64) -> u64 {
    size.saturating_mul(BEST_FACTOR).max(ALWAYS_ALLOWED)
}

fn check_ratio(unpacked: u64, size: u64) -> Result<()> {
    if unpacked > allowed_unpacked(size) {
        return Err(too_much());
    }
    Ok(())
}

fn too_much() -> Error {
    refused(format!("it unpacks to more than {} MiB and more than {BEST_FACTOR} times its size", ALWAYS_ALLOWED >> 20))
}

fn check_name(name: &str) -> Result<()> {
    let is_drive = name.split('/').next().is_some_and(|first| first.contains(':'));
    if is_drive || check_segments(name).is_err() {
        return Err(refused(format!("the name {name:?} in it is no plain relative path")));
    }
    Ok(())
}

/// A file that is not what it should be: upload tools print this.
fn refused(why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid distribution file: {why}"))
}

/// What reading an archive failed of, for the caller.
fn broken(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => too_much(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other | io::ErrorKind::Unsupported => {
            refused("the archive is damaged or not of the kind that its name says")
        }
        _ => Error::internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
