//! What an upstream says that it has: names read from its indexes and listings. Pure functions; whoever calls bounds the bytes.

use std::io::{BufRead as _, BufReader, Read};

use entrepot_kit::{Error, LimitedReader, Result};
use regex::Regex;

/// Most bytes of an index once it is unpacked.
const MOST_UNPACKED: u64 = 2 << 30;
/// Most memory that zstd may ask for, as a power of two: what its own tools allow.
const MOST_WINDOW: u32 = 27;
/// Longest tag of a document, and longest line of an index.
const MOST_TAG: u64 = 64 << 10;

/// Names that fit, as many as are wanted, and whether there were more.
pub(super) struct Found {
    pub(super) paths: Vec<String>,
    pub(super) more: bool,
    most: usize,
}

impl Found {
    pub(super) fn at_most(most: usize) -> Self {
        Self { paths: Vec::new(), more: false, most }
    }

    fn take(&mut self, path: String) {
        if self.paths.len() < self.most {
            self.paths.push(path);
        } else {
            self.more = true;
        }
    }
}

fn unreadable(what: &str) -> impl Fn(std::io::Error) -> Error {
    move |cause| Error::unprocessable(format!("{what} cannot be read")).with_source(cause)
}

/// The packages that an `APKINDEX.tar.gz` lists, which lie beside it.
pub(super) fn of_apkindex(index: impl Read, folder: &str, pattern: &Regex, mut found: Found) -> Result<Found> {
    let unreadable = unreadable("its APKINDEX.tar.gz");
    let unpacked = LimitedReader::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(index)), MOST_UNPACKED);
    let mut archive = tar::Archive::new(unpacked);
    // A signed index is two archives, one after the other.
    archive.set_ignore_zeros(true);
    for entry in archive.entries().map_err(&unreadable)? {
        let entry = entry.map_err(&unreadable)?;
        if entry.path_bytes().as_ref() != b"APKINDEX" {
            continue;
        }
        let mut lines = BufReader::new(entry);
        let (mut name, mut version, mut line) = (String::new(), String::new(), String::new());
        loop {
            line.clear();
            let read = (&mut lines).take(MOST_TAG).read_line(&mut line).map_err(&unreadable)?;
            match line.trim_end().split_once(':') {
                Some(("P", value)) => value.clone_into(&mut name),
                Some(("V", value)) => value.clone_into(&mut version),
                None if !name.is_empty() && !version.is_empty() => {
                    let path = format!("{folder}{name}-{version}.apk");
                    if is_path(&path) && pattern.is_match(&path) {
                        found.take(path);
                    }
                    (name, version) = Default::default();
                }
                _ => {}
            }
            if read == 0 {
                break;
            }
        }
    }
    Ok(found)
}

/// The files that a `repomd.xml` names, each with what it is.
pub(super) fn of_repomd(document: impl Read) -> Result<Vec<(String, String)>> {
    let mut kind = String::new();
    let mut files = Vec::new();
    tags(document, "its repomd.xml", |tag| {
        if let Some(value) = attribute(tag, "data", "type") {
            kind = value;
        } else if let Some(href) = attribute(tag, "location", "href").filter(|_| files.len() < 100) {
            files.push((std::mem::take(&mut kind), href));
        }
    })?;
    Ok(files)
}

/// Whether a `primary.xml` of that name can be read.
pub(super) fn is_readable(primary: &str) -> bool {
    [".xml", ".gz", ".zst"].iter().any(|ending| primary.ends_with(ending))
}

/// The packages that a `primary.xml` lists, below the repository's folder: plain, or compressed as the first bytes say.
pub(super) fn of_primary<'a>(document: impl Read + 'a, folder: &str, pattern: &Regex, mut found: Found) -> Result<Found> {
    let mut document = BufReader::new(document);
    let plain: Box<dyn Read + 'a> = match document.fill_buf().map_err(unreadable("its primary.xml"))? {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(document)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::Decoder::with_buffer(document).map_err(unreadable("its primary.xml"))?;
            decoder.window_log_max(MOST_WINDOW).map_err(unreadable("its primary.xml"))?;
            Box::new(decoder)
        }
        _ => Box::new(document),
    };
    tags(LimitedReader::new(plain, MOST_UNPACKED), "its primary.xml", |tag| {
        if let Some(href) = attribute(tag, "location", "href") {
            let path = format!("{folder}{href}");
            if is_path(&path) && pattern.is_match(&path) {
                found.take(path);
            }
        }
    })?;
    Ok(found)
}

/// Goes over the tags of a document, in constant memory.
fn tags(document: impl Read, what: &str, mut each: impl FnMut(&str)) -> Result<()> {
    let unreadable = unreadable(what);
    let mut reader = BufReader::new(document);
    let mut piece = Vec::new();
    loop {
        piece.clear();
        let read = (&mut reader).take(MOST_TAG).read_until(b'>', &mut piece).map_err(&unreadable)?;
        if read == 0 {
            return Ok(());
        }
        if let Some(tag) = std::str::from_utf8(&piece).ok().and_then(|piece| piece.rsplit_once('<')) {
            each(tag.1);
        }
    }
}

/// The value of an attribute of a tag of that name.
fn attribute(tag: &str, name: &str, attribute: &str) -> Option<String> {
    let rest = tag.strip_prefix(name).filter(|rest| rest.starts_with(char::is_whitespace))?;
    let mut from = rest;
    loop {
        let (before, after) = from.split_once(attribute)?;
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        match value.filter(|_| before.ends_with(char::is_whitespace)) {
            Some(value) => {
                let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
                let (value, _) = value.strip_prefix(quote)?.split_once(quote)?;
                return Some(unescape(value));
            }
            None => from = after,
        }
    }
}

fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&apos;", "'").replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// What a page with links lists: files and folders directly below `folder`, which is at `base`.
pub(super) fn of_listing(page: &str, base: &url::Url, folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    let lower = page.to_ascii_lowercase();
    for (at, _) in lower.match_indices("href") {
        let rest = page.get(at + 4..).unwrap_or_default().trim_start().strip_prefix('=').unwrap_or_default().trim_start();
        let Some(quote) = rest.chars().next().filter(|quote| matches!(quote, '"' | '\'')) else { continue };
        let Some((href, _)) = rest.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) else { continue };
        let Ok(target) = base.join(&unescape(href)) else { continue };
        if target.query().is_some() || target.origin() != base.origin() {
            continue;
        }
        let Some(name) = target.path().strip_prefix(base.path()) else { continue };
        let Ok(name) = percent_encoding::percent_decode_str(name).decode_utf8() else { continue };
        let path = format!("{folder}{name}");
        let inner = name.strip_suffix('/').unwrap_or(&name);
        if !inner.is_empty() && !inner.contains('/') && is_path(path.trim_end_matches('/')) && !names.contains(&path) {
            names.push(path);
        }
    }
    names
}

/// Whether it is a path that a client could ask for.
fn is_path(path: &str) -> bool {
    path.split('/').all(|segment| !matches!(segment, "" | "." | "..")) && !path.contains(['\\', '\0']) && !path.contains("://") && path.len() <= 2048
}

/// What paths that a pattern matches are likely to begin with, and whether that may be a whole path: a guess, which the upstream confirms.
pub(super) fn beginning(pattern: &str) -> (String, bool) {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = pattern.strip_suffix('$').filter(|rest| !rest.ends_with('\\')).unwrap_or(pattern);
    if has_choices(pattern) {
        return (String::new(), false);
    }
    let mut beginning = String::new();
    let mut letters = pattern.chars().peekable();
    let mut is_whole = true;
    while let Some(letter) = letters.next() {
        let literal = match letter {
            '\\' => letters.next().filter(|next| !next.is_ascii_alphanumeric()),
            // A dot that nobody escaped is one, most of the time.
            '.' => Some('.'),
            '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => None,
            plain => Some(plain),
        };
        let is_counted = letters.peek().is_some_and(|next| matches!(next, '*' | '+' | '?' | '{'));
        match literal.filter(|_| !is_counted) {
            Some(literal) => beginning.push(literal),
            None => {
                is_whole = false;
                break;
            }
        }
    }
    (beginning, is_whole)
}

/// Whether a pattern is several, of which each may begin with something else.
fn has_choices(pattern: &str) -> bool {
    let (mut depth, mut is_escaped) = (0_usize, false);
    for letter in pattern.chars() {
        match letter {
            _ if std::mem::take(&mut is_escaped) => {}
            '\\' => is_escaped = true,
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Found, beginning, of_listing, of_primary, of_repomd};
    use regex::Regex;
    use std::io::Write as _;

    #[test]
    fn patterns_begin_with_what_they_say() {
        for (pattern, expected) in [
            (r"^v3\.20/main/x86_64/.*\.apk$", ("v3.20/main/x86_64/", false)),
            ("acme/tool/v1.0/tool.tar.gz", ("acme/tool/v1.0/tool.tar.gz", true)),
            (r"acme/tool/v1\.0/tool\.tar\.gz$", ("acme/tool/v1.0/tool.tar.gz", true)),
            ("a/b+", ("a/", false)),
            ("a|b", ("", false)),
            (r"^a/(b|c)\|d", ("a/", false)),
            (r"\d+", ("", false)),
            ("", ("", true)),
        ] {
            assert_eq!(beginning(pattern), (expected.0.to_owned(), expected.1), "{pattern}");
        }
    }

    #[test]
    fn listings_name_what_lies_directly_below() {
        let page = r#"<a href="../">up</a> <A HREF='a%20b.apk'>x</A> <a href="sub/">s</a> <a href="?C=M;O=A">sort</a> <a href="/root/pool/c.apk">c</a>
            <a href="https://elsewhere.example/d">d</a> <a href="sub/deep">e</a> <a href="./f">f</a> <a href="a%2e%2e%2f..%2fg">g</a>"#;
        let base = url::Url::parse("https://a.example/root/pool/").unwrap();
        assert_eq!(of_listing(page, &base, "pool/"), ["pool/a b.apk", "pool/sub/", "pool/c.apk", "pool/f"]);
    }

    #[test]
    fn rpm_documents_are_read_tag_by_tag() {
        let repomd = br#"<repomd><data type="primary"><checksum type="sha256">x</checksum><location href="repodata/p.xml.gz"/></data></repomd>"#;
        assert_eq!(of_repomd(&repomd[..]).unwrap(), [(String::from("primary"), String::from("repodata/p.xml.gz"))]);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(br#"<metadata><package><location href="a-1.rpm"/></package><package><location xml:base="x" href='b&amp;c.rpm'/></package><location href="../e.rpm"/></metadata>"#).unwrap();
        let found = of_primary(&packed.finish().unwrap()[..], "os/", &Regex::new("rpm$").unwrap(), Found::at_most(1)).unwrap();
        assert_eq!((found.paths, found.more), (vec![String::from("os/a-1.rpm")], true));
        let (plain, rpms) = (&br#"<package><location href="a.rpm"/></package>"#[..], Regex::new("rpm$").unwrap());
        for document in [plain.to_vec(), zstd::encode_all(plain, 1).unwrap()] {
            let found = of_primary(&document[..], "", &rpms, Found::at_most(9)).unwrap();
            assert_eq!((found.paths, found.more), (vec![String::from("a.rpm")], false));
        }
    }
}
