//! What is inside of a chart: looked at in one pass before it is stored, on a thread that may block.
//!
//! Archives are hostile until read: size, count, depth and names are bounded, and what two readers could read in two ways is refused. Nothing
//! is ever unpacked to anywhere.

use std::io::{self, Read};

use entrepot_kit::path::check_segments;
use entrepot_kit::{Error, LimitedReader, ReadSeek, Result};
use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType, PaxExtensions};

use crate::chart::{Chart, LARGEST};

/// Most bytes that a chart unpacks to: clients load no larger ones.
const MOST_UNPACKED: u64 = 100 << 20;
/// A chart may unpack to so many bytes whatever its size, and beyond that to so many times its size.
const ALWAYS_ALLOWED: u64 = 10 << 20;
const BEST_FACTOR: u64 = 100;
/// Most members.
const MOST_MEMBERS: usize = 20_000;
/// Most folders, one in the other: charts bring their dependencies, and those theirs.
const DEEPEST: usize = 64;
/// Longest record of extended headers.
const LONGEST_RECORD: u64 = 64 << 10;
/// The member that says what the chart is.
const CHART_YAML: &str = "Chart.yaml";

/// Reads what a chart says of itself, and holds its archive against the rules.
///
/// # Errors
/// 400 saying what is wrong with it.
pub fn inspect(reader: Box<dyn ReadSeek>, size: u64) -> Result<Chart> {
    let allowed = size.saturating_mul(BEST_FACTOR).clamp(ALWAYS_ALLOWED, MOST_UNPACKED);
    let unpacked = MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, reader));
    let mut archive = Archive::new(LimitedReader::new(unpacked, allowed));
    let mut long_name: Option<String> = None;
    let mut found: Option<Chart> = None;
    let mut root: Option<String> = None;
    for (count, entry) in archive.entries().map_err(|error| broken(&error))?.raw(true).enumerate() {
        let mut entry = entry.map_err(|error| broken(&error))?;
        if count >= MOST_MEMBERS {
            return Err(refused(format!("it has more than {MOST_MEMBERS} members")));
        }
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => {
                let record = record(&mut entry)?;
                long_name = Some(text(record.split(|byte| *byte == 0).next().unwrap_or_default())?);
                continue;
            }
            EntryType::XHeader => {
                long_name = extended(&record(&mut entry)?)?.or(long_name);
                continue;
            }
            EntryType::XGlobalHeader => continue,
            EntryType::Regular | EntryType::Continuous | EntryType::Directory => {}
            EntryType::Symlink | EntryType::Link | EntryType::GNULongLink => {
                return Err(refused("it has links, which Helm does not follow: package the chart with \"helm package\""));
            }
            _ => return Err(refused("it has devices or other special files")),
        }
        let path = long_name.take().map_or_else(|| text(&entry.path_bytes()), Ok)?;
        let is_folder = kind == EntryType::Directory || path.ends_with('/');
        let name = path.strip_prefix("./").unwrap_or(&path).trim_end_matches('/');
        if is_folder && (name.is_empty() || name == ".") {
            continue;
        }
        check_name(name)?;
        if is_folder {
            continue;
        }
        let Some((folder, inner)) = name.split_once('/') else {
            return Err(refused(format!("{name:?} lies outside of the chart's folder")));
        };
        if root.get_or_insert_with(|| folder.to_owned()) != folder {
            return Err(refused("it has more than one folder at its top"));
        }
        if inner != CHART_YAML {
            continue;
        }
        if entry.size() > LARGEST {
            return Err(refused(format!("its {CHART_YAML} has more than the {LARGEST} bytes that are read of one")));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        let chart = Chart::parse(&bytes).map_err(|why| refused(format!("its {CHART_YAML}: {why}")))?;
        // Readers disagree on which of two counts.
        if found.replace(chart).is_some() {
            return Err(refused(format!("it has {CHART_YAML} twice")));
        }
    }
    // To the end, where the checksum is.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| broken(&error))?;
    found.ok_or_else(|| refused(format!("it has no {CHART_YAML} in the folder at its top")))
}

fn check_name(name: &str) -> Result<()> {
    let is_drive = name.split('/').next().is_some_and(|first| first.contains(':'));
    if is_drive || check_segments(name).is_err() {
        return Err(refused(format!("the name {:?} in it is no plain relative path", name.chars().take(200).collect::<String>())));
    }
    if name.split('/').count() > DEEPEST {
        return Err(refused(format!("it has more than {DEEPEST} folders, one in the other")));
    }
    Ok(())
}

/// The whole of a header that extends the next one.
fn record(entry: &mut impl Read) -> Result<Vec<u8>> {
    let mut record = Vec::new();
    LimitedReader::new(entry, LONGEST_RECORD).read_to_end(&mut record).map_err(|error| broken(&error))?;
    Ok(record)
}

/// The name that an extended header gives to the next entry. One that gives it another size is not read: readers disagree on it.
fn extended(record: &[u8]) -> Result<Option<String>> {
    let mut name = None;
    for extension in PaxExtensions::new(record) {
        let extension = extension.map_err(|error| broken(&error))?;
        match extension.key_bytes() {
            b"path" => name = Some(text(extension.value_bytes())?),
            b"size" => return Err(refused("it has members with sizes in extended headers, which are not read here")),
            key if key.starts_with(b"GNU.sparse") => return Err(refused("it has sparse files, which are not read here")),
            _ => {}
        }
    }
    Ok(name)
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| refused("it has a name that is not UTF-8"))
}

/// A file that is no chart that can be taken.
pub(crate) fn refused(why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("this is no chart: {why}"))
}

/// What reading an archive failed of, for the caller.
fn broken(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => refused(format!(
            "it unpacks to more than {} MiB, or to more than {} MiB and {BEST_FACTOR} times its size",
            MOST_UNPACKED >> 20,
            ALWAYS_ALLOWED >> 20
        )),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other | io::ErrorKind::Unsupported => {
            refused("the archive is damaged, or not tar in gzip")
        }
        _ => Error::internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::inspect;
    use crate::testing::{Tgz, chart, chart_yaml};
    use std::io::Cursor;

    fn look(bytes: Vec<u8>) -> Result<(String, String), (u16, String)> {
        let size = bytes.len() as u64;
        match inspect(Box::new(Cursor::new(bytes)), size) {
            Ok(chart) => Ok((chart.name, chart.version)),
            Err(error) => Err((error.status().as_u16(), error.message().to_owned())),
        }
    }

    #[test]
    fn name_and_version_are_those_of_chart_yaml() {
        assert_eq!(look(chart("web", "1.2.3", "x")), Ok((String::from("web"), String::from("1.2.3"))));
        let other = Tgz::new().folder("./").file("./anything/Chart.yaml", chart_yaml("a-1", "1.0.0-rc1").as_bytes()).finish();
        assert_eq!(look(other), Ok((String::from("a-1"), String::from("1.0.0-rc1"))), "the folder may be called anything");
        let long = format!("web/templates/{}/a.yaml", "d".repeat(200));
        let deep = format!("web/charts/{}Chart.yaml", "a/charts/".repeat(20));
        let with = Tgz::new().file("web/Chart.yaml", chart_yaml("web", "1.0.0").as_bytes()).file(&long, b"").file(&deep, b"name: b").finish();
        assert!(look(with).is_ok());
    }

    #[test]
    fn what_is_no_chart_is_refused() {
        let yaml = chart_yaml("web", "1.0.0");
        let good = || Tgz::new().file("web/Chart.yaml", yaml.as_bytes());
        let whole = chart("web", "1.0.0", "some text that does not pack away to nothing at all");
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        for (what, bytes) in [
            ("nothing", Vec::new()),
            ("text", b"hello".to_vec()),
            ("no Chart.yaml", Tgz::new().file("web/values.yaml", b"").finish()),
            ("Chart.yaml at the top", Tgz::new().file("Chart.yaml", yaml.as_bytes()).finish()),
            ("Chart.yaml of a dependency", Tgz::new().file("web/charts/db/Chart.yaml", yaml.as_bytes()).finish()),
            ("two of them", good().file("web/Chart.yaml", yaml.as_bytes()).finish()),
            ("two folders", good().file("db/Chart.yaml", yaml.as_bytes()).finish()),
            ("a file beside the folder", good().file("README", b"").finish()),
            ("a way out", good().raw("web/../../etc/passwd", b"").finish()),
            ("a root", good().raw("/etc/passwd", b"").finish()),
            ("a backslash", good().raw("web\\..\\x", b"").finish()),
            ("a link", good().link("web/templates/a", "/etc/passwd").finish()),
            ("a device", good().device("web/null").finish()),
            ("depth", good().file(&format!("web/{}x", "a/".repeat(100)), b"").finish()),
            ("not YAML", Tgz::new().file("web/Chart.yaml", b"\t:").finish()),
            ("too large a Chart.yaml", Tgz::new().file("web/Chart.yaml", &vec![b'#'; (1 << 20) + 1]).finish()),
            ("a bomb", good().file("web/x", &vec![0; 11 << 20]).finish()),
            ("cut", whole[..whole.len() - 9].to_vec()),
            ("damaged", damaged),
        ] {
            let outcome = look(bytes);
            assert!(matches!(outcome, Err((400, _))), "{what}: {outcome:?}");
        }
        let many = (0..20_001).fold(good(), |tgz, at| tgz.file(&format!("web/{at}"), b""));
        assert!(matches!(look(many.finish()), Err((400, why)) if why.contains("members")));
    }
}
