//! The front of an RPM file: lead, signature header, header. Read within bounds, and nothing of the payload behind it.

use std::io::{ErrorKind, Read};

use entrepot_kit::{Error, Result};

/// Length of the lead.
const LEAD: u64 = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// Length of a header's beginning, and of each line of its index.
const LINE: usize = 16;
/// Most lines of a header's index: what rpm itself reads.
const MOST_TAGS: usize = 0xffff;
/// Most bytes of the values of a header. Those of packages with a hundred thousand files have about 20 MB.
const LARGEST: usize = 64 << 20;
/// Most bytes of the values of a signature header: signatures of every file may be among them.
const LARGEST_SIGNATURE: usize = 32 << 20;

/// The tags that are read.
pub(crate) mod tag {
    pub(crate) const NAME: u32 = 1000;
    pub(crate) const VERSION: u32 = 1001;
    pub(crate) const RELEASE: u32 = 1002;
    pub(crate) const EPOCH: u32 = 1003;
    pub(crate) const SUMMARY: u32 = 1004;
    pub(crate) const DESCRIPTION: u32 = 1005;
    pub(crate) const BUILD_TIME: u32 = 1006;
    pub(crate) const BUILD_HOST: u32 = 1007;
    pub(crate) const SIZE: u32 = 1009;
    pub(crate) const VENDOR: u32 = 1011;
    pub(crate) const LICENSE: u32 = 1014;
    pub(crate) const PACKAGER: u32 = 1015;
    pub(crate) const GROUP: u32 = 1016;
    pub(crate) const URL: u32 = 1020;
    pub(crate) const ARCH: u32 = 1022;
    pub(crate) const OLD_FILE_NAMES: u32 = 1027;
    pub(crate) const FILE_MODES: u32 = 1030;
    pub(crate) const FILE_FLAGS: u32 = 1037;
    pub(crate) const SOURCE_RPM: u32 = 1044;
    pub(crate) const ARCHIVE_SIZE: u32 = 1046;
    pub(crate) const CHANGELOG_TIME: u32 = 1080;
    pub(crate) const CHANGELOG_NAME: u32 = 1081;
    pub(crate) const CHANGELOG_TEXT: u32 = 1082;
    pub(crate) const SOURCE_PACKAGE: u32 = 1106;
    pub(crate) const DIR_INDEXES: u32 = 1116;
    pub(crate) const BASE_NAMES: u32 = 1117;
    pub(crate) const DIR_NAMES: u32 = 1118;
    pub(crate) const LONG_SIZE: u32 = 5009;
    pub(crate) const PAYLOAD_DIGEST: u32 = 5092;
    pub(crate) const PAYLOAD_DIGEST_ALGORITHM: u32 = 5093;
    /// Of the signature header.
    pub(crate) const SIGNATURE_SHA1: u32 = 269;
    /// Of the signature header: more than 4 GB.
    pub(crate) const SIGNATURE_LONG_ARCHIVE_SIZE: u32 = 271;
    /// Of the signature header.
    pub(crate) const SIGNATURE_SHA256: u32 = 273;
    /// Of the signature header.
    pub(crate) const SIGNATURE_ARCHIVE_SIZE: u32 = 1007;
}

/// A line of the index.
#[derive(Debug, Clone, Copy)]
struct Line {
    tag: u32,
    kind: u32,
    offset: usize,
    count: usize,
}

/// A header: an index of tags, and their values.
#[derive(Debug)]
pub(crate) struct Header {
    lines: Vec<Line>,
    /// All bytes, from the magic number on: what digests in the signature header are of.
    bytes: Vec<u8>,
    /// Where the values begin.
    values: usize,
}

/// The front of a package.
#[derive(Debug)]
pub(crate) struct Front {
    /// The signature header.
    pub(crate) signature: Header,
    /// The header.
    pub(crate) header: Header,
    /// Where the header begins.
    pub(crate) start: u64,
    /// Where it ends, and the payload begins.
    pub(crate) end: u64,
}

fn broken(why: &str) -> Error {
    Error::unprocessable(format!("this is not a valid RPM package: {why}"))
}

fn read(reader: &mut dyn Read, bytes: &mut [u8], what: &str) -> Result<()> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => broken(&format!("it ends within its {what}")),
        _ => Error::internal(error),
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

impl Front {
    /// Reads the front of a package.
    ///
    /// # Errors
    /// 422 for what is none, and for what is larger than any real one.
    pub(crate) fn read(reader: &mut dyn Read) -> Result<Self> {
        let mut lead = [0; LEAD as usize];
        read(reader, &mut lead, "first 96 bytes")?;
        if !lead.starts_with(&LEAD_MAGIC) {
            return Err(broken("it does not begin as one"));
        }
        let signature = Header::read(reader, "signature header", LARGEST_SIGNATURE)?;
        let padding = (8 - signature.bytes.len() % 8) % 8;
        read(reader, [0; 8].get_mut(..padding).unwrap_or_default(), "signature header")?;
        let header = Header::read(reader, "header", LARGEST)?;
        let start = LEAD + (signature.bytes.len() + padding) as u64;
        let end = start + header.bytes.len() as u64;
        Ok(Self { signature, header, start, end })
    }
}

impl Header {
    fn read(reader: &mut dyn Read, what: &str, largest: usize) -> Result<Self> {
        let mut intro = [0; LINE];
        read(reader, &mut intro, what)?;
        if !intro.starts_with(&HEADER_MAGIC) {
            return Err(broken(&format!("its {what} does not begin as one")));
        }
        let count = |at| number(&intro, at).and_then(|count| usize::try_from(count).ok());
        let tags = count(8).filter(|tags| (1..=MOST_TAGS).contains(tags)).ok_or_else(|| broken(&format!("its {what} has no tags, or too many")))?;
        let size = count(12).filter(|size| (1..=largest).contains(size)).ok_or_else(|| broken(&format!("its {what} is empty, or too large")))?;
        let values = LINE + tags * LINE;
        let mut bytes = intro.to_vec();
        // Grows with what really comes: what is only claimed takes no memory.
        let wanted = (tags * LINE + size) as u64;
        reader.take(wanted).read_to_end(&mut bytes).map_err(Error::internal)?;
        if bytes.len() != values + size {
            return Err(broken(&format!("it ends within its {what}")));
        }
        let mut lines = Vec::with_capacity(tags);
        for at in (LINE..values).step_by(LINE) {
            let field = |index: usize| number(&bytes, at + index * 4).ok_or_else(|| broken("its index is cut off"));
            let place = |index| field(index).and_then(|value| usize::try_from(value).map_err(Error::internal));
            let line = Line { tag: field(0)?, kind: field(1)?, offset: place(2)?, count: place(3)? };
            if line.offset > size || line.count > size {
                return Err(broken(&format!("tag {} of its {what} lies outside of it", line.tag)));
            }
            lines.push(line);
        }
        Ok(Self { lines, bytes, values })
    }

    /// All its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn line(&self, tag: u32) -> Option<(Line, &[u8])> {
        let line = *self.lines.iter().find(|line| line.tag == tag)?;
        Some((line, self.bytes.get(self.values.checked_add(line.offset)?..)?))
    }

    /// Whether there is such a tag.
    pub(crate) fn has(&self, tag: u32) -> bool {
        self.lines.iter().any(|line| line.tag == tag)
    }

    /// The texts of a tag; none where it is not there.
    ///
    /// # Errors
    /// 422 when they do not end within the header, or are no texts.
    pub(crate) fn texts(&self, tag: u32) -> Result<Vec<&[u8]>> {
        const TEXTS: [u32; 3] = [6, 8, 9];
        let Some((line, mut rest)) = self.line(tag) else { return Ok(Vec::new()) };
        if !TEXTS.contains(&line.kind) {
            return Err(broken(&format!("tag {tag} is no text")));
        }
        let mut texts = Vec::new();
        for _ in 0..line.count {
            let end = rest.iter().position(|byte| *byte == 0).ok_or_else(|| broken(&format!("tag {tag} does not end within its header")))?;
            let (text, behind) = rest.split_at(end);
            texts.push(text);
            rest = behind.get(1..).unwrap_or_default();
        }
        Ok(texts)
    }

    /// The first text of a tag; of texts in several languages that which is meant for all.
    ///
    /// # Errors
    /// Those of [`Self::texts`].
    pub(crate) fn text(&self, tag: u32) -> Result<String> {
        Ok(self.texts(tag)?.first().map(|text| readable(text)).unwrap_or_default())
    }

    /// The numbers of a tag; none where it is not there.
    ///
    /// # Errors
    /// 422 when they do not end within the header, or are no numbers.
    pub(crate) fn numbers(&self, tag: u32) -> Result<Vec<u64>> {
        let Some((line, values)) = self.line(tag) else { return Ok(Vec::new()) };
        let width = match line.kind {
            1 | 2 => 1,
            3 => 2,
            4 => 4,
            5 => 8,
            _ => return Err(broken(&format!("tag {tag} is no number"))),
        };
        let values = line.count.checked_mul(width).and_then(|length| values.get(..length));
        let values = values.ok_or_else(|| broken(&format!("tag {tag} does not end within its header")))?;
        Ok(values.chunks_exact(width).map(|bytes| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))).collect())
    }

    /// The first number of a tag.
    ///
    /// # Errors
    /// Those of [`Self::numbers`].
    pub(crate) fn number(&self, tag: u32) -> Result<Option<u64>> {
        Ok(self.numbers(tag)?.first().copied())
    }
}

/// A text of a header as XML can hold it: UTF-8, or what Latin-1 makes of the bytes; without control characters.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect::<String>(), str::to_owned);
    if text.chars().all(is_xml) { text } else { text.chars().filter(|character| is_xml(*character)).collect() }
}

/// The characters of XML 1.0.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
