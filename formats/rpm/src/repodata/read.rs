//! Metadata of others: taken apart package by package, whatever its size, so that memory is not a matter of it.

use std::io::{BufReader, Read};

use entrepot_kit::{Error, LimitedReader, Result};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Most bytes of a document, in its plain form.
pub const LARGEST: u64 = 4 << 30;
/// Most bytes of what it says of one package.
const LARGEST_PIECE: usize = 64 << 20;
/// Bytes among which the root of a document is.
const ROOT: usize = 512;
/// Bytes that are read at once.
const STEP: usize = 64 << 10;
/// Most memory that zstd may ask for, as a power of two: what its own tools allow.
const WINDOW: u32 = 27;
/// Most memory that xz may take: what its strongest preset needs (64 MB), and some.
const XZ_MEMORY: u64 = 80 << 20;
/// Longest value of an attribute, or text, that is looked at.
const LONGEST: usize = 4096;

fn broken(why: impl std::fmt::Display) -> Error {
    Error::bad_gateway(format!("this is no repository metadata: {why}"))
}

/// What a document says of where a package is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// Epoch, version and release.
    pub evr: (String, String, String),
    /// The algorithm of its checksum: `sha256`.
    pub algorithm: String,
    /// Its checksum.
    pub checksum: String,
    /// Bytes of the file.
    pub size: u64,
    /// Where it is, relative to the folder.
    pub href: String,
    /// What that is relative to instead.
    pub base: Option<String>,
}

/// A document in its plain form: gzip, zstd, xz, bzip2 or plain already, by what it begins with.
///
/// # Errors
/// 502 for what cannot be read.
pub fn open<'a>(mut reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut magic = [0; 6];
    let mut length = 0;
    while let Some(rest) = magic.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest).map_err(broken)? {
            0 => break,
            read => length += read,
        }
    }
    let magic = magic.get(..length).unwrap_or_default().to_vec();
    let whole = std::io::Cursor::new(magic.clone()).chain(reader);
    let open: Box<dyn Read + 'a> = match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::stream::read::Decoder::new(whole).map_err(broken)?;
            decoder.window_log_max(WINDOW).map_err(broken)?;
            Box::new(decoder)
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED).map_err(broken)?;
            Box::new(liblzma::read::XzDecoder::new_stream(whole, stream))
        }
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::read::MultiBzDecoder::new(whole)),
        _ => Box::new(whole),
    };
    Ok(Box::new(LimitedReader::new(open, LARGEST)))
}

/// Gives every `<package>` of a document to `each`, as text.
///
/// # Errors
/// 502 for what is no such document, and those of `each`.
pub fn packages(reader: &mut dyn Read, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    const BEGIN: &[u8] = b"<package";
    const END: &[u8] = b"</package>";
    let mut held: Vec<u8> = Vec::new();
    let mut step = vec![0; STEP];
    let mut is_known = false;
    // Bytes that were searched for an end already.
    let mut searched = 0;
    loop {
        let read = reader.read(&mut step).map_err(|error| broken(format!("it cannot be read to its end ({error})")))?;
        held.extend_from_slice(step.get(..read).unwrap_or_default());
        if !is_known {
            if held.len() < ROOT && read > 0 {
                continue;
            }
            check_root(&held)?;
            is_known = true;
        }
        let mut done = 0;
        loop {
            let rest = held.get(done..).unwrap_or_default();
            let Some(begin) = begin_of(rest, BEGIN) else {
                // What may be the beginning of a beginning stays.
                done += rest.len().saturating_sub(BEGIN.len() + 1);
                searched = 0;
                break;
            };
            let from = begin.max(searched);
            let Some(end) = memchr::memmem::find(rest.get(from..).unwrap_or_default(), END).map(|at| from + at + END.len()) else {
                done += begin;
                searched = (rest.len() - begin).saturating_sub(END.len());
                break;
            };
            let piece = std::str::from_utf8(rest.get(begin..end).unwrap_or_default()).map_err(|_| broken("it is not UTF-8"))?;
            each(piece)?;
            done += end;
            searched = 0;
        }
        held.drain(..done);
        if held.len() > LARGEST_PIECE {
            return Err(broken("what it says of one package has more than 64 MB"));
        }
        if read == 0 {
            break;
        }
    }
    if begin_of(&held, BEGIN).is_some() {
        return Err(broken("it ends within a package"));
    }
    Ok(())
}

/// `<package` and not `<packager>`.
fn begin_of(text: &[u8], begin: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(text, begin).find(|at| matches!(text.get(at + begin.len()), Some(b' ' | b'\t' | b'\n' | b'\r' | b'>')))
}

fn check_root(beginning: &[u8]) -> Result<()> {
    let is_known = [b"<metadata".as_slice(), b"<filelists", b"<otherdata"].iter().any(|root| memchr::memmem::find(beginning, root).is_some());
    if is_known { Ok(()) } else { Err(broken("it has another root")) }
}

/// The value of an attribute.
///
/// # Errors
/// 502 for a malformed one.
pub(crate) fn attribute(start: &BytesStart<'_>, name: &str) -> Result<Option<String>> {
    match start.try_get_attribute(name).map_err(broken)? {
        Some(found) if found.value.len() > LONGEST => Err(broken("an attribute is too long")),
        Some(found) => Ok(Some(found.normalized_value(XmlVersion::Implicit1_0).map_err(broken)?.into_owned())),
        None => Ok(None),
    }
}

/// What the first of the documents says of a package.
///
/// # Errors
/// 502 when it does not say enough.
pub fn listed(piece: &str) -> Result<Listed> {
    let mut reader = Reader::from_str(piece);
    let mut found = Listed::default();
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    loop {
        match reader.read_event().map_err(broken)? {
            Event::Start(start) => {
                if path.len() > 8 {
                    return Err(broken("its elements are too deep in each other"));
                }
                found.take(&path, &start)?;
                path.push(start.name().as_ref().to_owned());
                text.clear();
            }
            Event::Empty(start) => {
                found.take(&path, &start)?;
                // Nothing of interest comes behind it.
                if start.name().as_ref() == "location" {
                    break;
                }
            }
            Event::Text(more) if text.len() < LONGEST => text.push_str(&more.xml10_content()),
            Event::GeneralRef(reference) => {
                if let Some(character) = reference.resolve_char_ref().map_err(broken)? {
                    text.push(character);
                }
            }
            Event::End(_) => {
                match path.as_slice() {
                    [_, field] if field == "name" => text.trim().clone_into(&mut found.name),
                    [_, field] if field == "arch" => text.trim().clone_into(&mut found.arch),
                    [_, field] if field == "checksum" => text.trim().clone_into(&mut found.checksum),
                    _ => {}
                }
                path.pop();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if found.name.is_empty() || found.href.is_empty() || found.checksum.is_empty() {
        return Err(broken("a package has no name, no address or no checksum"));
    }
    Ok(found)
}

impl Listed {
    fn take(&mut self, path: &[String], start: &BytesStart<'_>) -> Result<()> {
        if path.len() != 1 {
            return Ok(());
        }
        let value = |name: &str| Ok::<_, Error>(attribute(start, name)?.unwrap_or_default());
        match start.name().as_ref() {
            "version" => self.evr = (value("epoch")?, value("ver")?, value("rel")?),
            "checksum" => self.algorithm = value("type")?,
            "size" => self.size = value("package")?.parse().unwrap_or_default(),
            "location" => {
                self.href = value("href")?;
                self.base = attribute(start, "xml:base")?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Epoch, version, release and architecture as one text.
    #[must_use]
    pub fn nevra(&self) -> String {
        let (epoch, version, release) = &self.evr;
        let epoch = if epoch.is_empty() { "0" } else { epoch };
        format!("{}-{epoch}:{version}-{release}.{}", self.name, self.arch)
    }
}

/// The checksum by which the other documents call a package.
///
/// # Errors
/// 502 when there is none.
pub fn pkgid(piece: &str) -> Result<String> {
    let mut reader = Reader::from_str(piece);
    match reader.read_event().map_err(broken)? {
        Event::Start(start) | Event::Empty(start) => attribute(&start, "pkgid")?.ok_or_else(|| broken("a package is called by no checksum")),
        _ => Err(broken("a package does not begin as one")),
    }
}

/// The same piece with a mark in place of the package's address: see [`crate::xml`].
#[must_use]
pub fn without_href(piece: &str) -> Option<Vec<u8>> {
    let start = piece.find("<location")?;
    let (before, rest) = piece.split_at_checked(start)?;
    let end = rest.find('>')?;
    let behind = rest.get(end + 1..)?.trim_start();
    let behind = behind.strip_prefix("</location>").unwrap_or(behind);
    let clean = |text: &str| text.bytes().filter(|byte| *byte != crate::xml::HREF).collect::<Vec<_>>();
    let mut out = clean(before);
    out.extend_from_slice(b"<location href=\"");
    out.push(crate::xml::HREF);
    out.extend_from_slice(b"\"/>\n  ");
    out.extend(clean(behind));
    out.push(b'\n');
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{listed, open, packages, pkgid, without_href};
    use crate::repodata::Kind;

    const PIECE: &str = "<package type=\"rpm\">\n  <name>a&amp;b</name><arch>noarch</arch><version epoch=\"1\" ver=\"2\" rel=\"3\"/>\n<checksum type=\"sha256\" pkgid=\"YES\">0a</checksum><packager>p</packager><size package=\"5\" installed=\"6\" archive=\"7\"/><location xml:base=\"http://x/\" href=\"P/a+b.rpm\"/>\n  <format/>\n</package>";

    #[test]
    fn pieces_are_taken_apart() {
        let found = listed(PIECE).unwrap();
        assert_eq!((found.name.as_str(), found.checksum.as_str(), found.href.as_str(), found.size), ("ab", "0a", "P/a+b.rpm", 5));
        assert_eq!((found.base.as_deref(), found.nevra().as_str()), (Some("http://x/"), "ab-1:2-3.noarch"));
        let marked = String::from_utf8(without_href(PIECE).unwrap()).unwrap();
        assert!(marked.contains("<location href=\"\u{1}\"/>\n  <format/>") && !marked.contains("xml:base"), "{marked}");
        assert_eq!(pkgid("<package pkgid=\"0b\" name=\"x\"></package>").unwrap(), "0b");
        assert!(pkgid("<package name=\"x\"></package>").is_err() && listed("<package></package>").is_err());
    }

    #[test]
    fn every_compression_is_opened() {
        let text = "a document\n".repeat(10_000);
        let gzip = flate2::read::GzEncoder::new(text.as_bytes(), flate2::Compression::fast());
        let xz = liblzma::read::XzEncoder::new(text.as_bytes(), 6);
        let bzip2 = bzip2::read::BzEncoder::new(text.as_bytes(), bzip2::Compression::fast());
        let zstd = zstd::stream::read::Encoder::new(text.as_bytes(), 1).unwrap();
        let forms: [Box<dyn Read>; 5] = [Box::new(text.as_bytes()), Box::new(gzip), Box::new(xz), Box::new(bzip2), Box::new(zstd)];
        for mut form in forms {
            let mut bytes = Vec::new();
            form.read_to_end(&mut bytes).unwrap();
            for joined in [bytes.clone(), [bytes.clone(), bytes.clone()].concat()] {
                let mut plain = String::new();
                open(&*joined).unwrap().read_to_string(&mut plain).unwrap();
                assert_eq!(plain, text.repeat(joined.len() / bytes.len()));
            }
            // What is cut off has no end.
            if !text.as_bytes().starts_with(&bytes) {
                assert!(open(&bytes[..bytes.len() - 9]).unwrap().read_to_end(&mut Vec::new()).is_err());
            }
        }
    }

    #[test]
    fn xz_may_not_take_all_memory() {
        let mut filters = liblzma::stream::Filters::new();
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        filters.lzma2(options.dict_size(512 << 20));
        let stream = liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32).unwrap();
        let mut bytes = Vec::new();
        liblzma::read::XzEncoder::new_stream(&b"small"[..], stream).read_to_end(&mut bytes).unwrap();
        assert!(open(&*bytes).unwrap().read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn documents_are_split_at_any_border() {
        struct Slowly<'a>(&'a [u8], usize);
        impl std::io::Read for Slowly<'_> {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                let length = self.1.min(out.len()).min(self.0.len());
                out[..length].copy_from_slice(&self.0[..length]);
                self.0 = &self.0[length..];
                Ok(length)
            }
        }
        let mut document = Kind::Primary.beginning(3);
        (0..3).for_each(|_| document.push_str(PIECE));
        document.push_str("</metadata>");
        for step in [1, 7, 100, 10_000] {
            let mut seen = 0;
            packages(&mut open(Slowly(document.as_bytes(), step)).unwrap(), &mut |piece| {
                assert_eq!(piece, PIECE);
                seen += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, 3, "{step}");
        }
        for bad in ["", "<html></html>", "<metadata><package >"] {
            assert!(packages(&mut bad.as_bytes(), &mut |_| Ok(())).is_err(), "{bad}");
        }
    }
}
