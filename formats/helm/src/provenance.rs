//! Provenance files: a `Chart.yaml` and the digest of its archive, signed as text by OpenPGP. They are kept and served byte for byte; who signed
//! them is for clients to judge.

use entrepot_kit::Sha256Digest;
use serde_json::Value;

use crate::chart::Chart;
use crate::yaml;

/// Largest provenance file.
pub const LARGEST: usize = 2 << 20;
const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// What a provenance file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Provenance {
    /// The chart.
    pub chart: Chart,
    /// What its archive hashes to.
    pub digest: Sha256Digest,
}

impl Provenance {
    /// Reads a provenance file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| String::from("it is not UTF-8"))?.replace("\r\n", "\n");
        let missing = || format!("it is no text that {BEGIN:?} and {SIGNATURE:?} enclose");
        let (_, signed) = text.split_once(BEGIN).ok_or_else(missing)?;
        // Headers of the message end with an empty line.
        let (_, signed) = signed.split_once("\n\n").ok_or_else(missing)?;
        let (signed, _) = signed.split_once(SIGNATURE).ok_or_else(missing)?;
        let plain: Vec<&str> = signed.lines().map(|line| line.strip_prefix("- ").filter(|rest| rest.starts_with('-')).unwrap_or(line)).collect();
        let plain = plain.join("\n");
        let (chart, files) = plain.split_once("\n...\n").ok_or("it has no list of files behind the metadata")?;
        let chart = Chart::parse(chart.as_bytes())?;
        let files = yaml::read(files.as_bytes(), &yaml::CHART, true)?;
        let files = files.get("files").and_then(Value::as_object).ok_or("it names no files")?;
        let mut named = files.iter().filter(|(file, _)| *file == &crate::name::file(&chart.name, &chart.version));
        let (_, digest) = named.next().or_else(|| files.iter().next().filter(|_| files.len() == 1)).ok_or("it does not name the chart's archive")?;
        let digest = digest.as_str().and_then(|digest| digest.strip_prefix("sha256:")).and_then(Sha256Digest::parse_hex);
        Ok(Self { chart, digest: digest.ok_or("the digest in it is not \"sha256:\" and 64 hexadecimal digits")? })
    }
}

#[cfg(test)]
mod tests {
    use super::Provenance;
    use crate::testing::{chart, prov};
    use entrepot_kit::Sha256Digest;

    #[test]
    fn chart_and_digest_are_read() {
        let chart = chart("web", "1.0.0+x", "filling");
        let text = prov("web", "1.0.0+x", &chart);
        for text in [text.clone(), text.replace('\n', "\r\n")] {
            let read = Provenance::parse(text.as_bytes()).unwrap();
            assert_eq!((read.chart.name.as_str(), read.chart.version.as_str()), ("web", "1.0.0+x"));
            assert_eq!(read.digest, Sha256Digest::of(&chart));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let good = prov("web", "1.0.0", b"x");
        for bad in [
            String::new(),
            String::from("hello"),
            good.replace("-----BEGIN PGP SIGNATURE-----", ""),
            good.replace("\n...\n", "\n"),
            good.replace("sha256:", "md5:"),
            good.replace("name: web", "name: ../web"),
            good.replace("files:", "other:"),
        ] {
            assert!(Provenance::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
