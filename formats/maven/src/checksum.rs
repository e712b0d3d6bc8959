//! Files of checksums: what they are named after, and the forms that they come in.

use entrepot_kit::Algorithm;

/// The endings of checksum files.
pub(crate) const ENDINGS: [(&str, Algorithm); 4] =
    [(".md5", Algorithm::Md5), (".sha1", Algorithm::Sha1), (".sha256", Algorithm::Sha256), (".sha512", Algorithm::Sha512)];

/// Most bytes of a checksum file.
pub(crate) const LARGEST: usize = 4096;

/// The file that a checksum file is about, and by which algorithm.
#[must_use]
pub fn split(path: &str) -> Option<(&str, Algorithm)> {
    ENDINGS.into_iter().find_map(|(ending, algorithm)| path.strip_suffix(ending).filter(|rest| !rest.is_empty()).map(|rest| (rest, algorithm)))
}

/// How many bytes a digest has.
fn length(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Md5 => 16,
        Algorithm::Sha1 => 20,
        Algorithm::Sha256 => 32,
        Algorithm::Sha512 => 64,
    }
}

/// Reads a checksum in any of the forms in use: alone, before the file's name, behind `SHA1(file)=` or `file:`, and in groups of digits.
#[must_use]
pub fn parse(text: &str, algorithm: Algorithm) -> Option<String> {
    let digits = length(algorithm) * 2;
    let is_digest = |word: &str| word.len() == digits && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let word = text.split(|c: char| c.is_whitespace() || c == '=').map(|word| word.trim_matches(['*', '\u{feff}'])).find(|word| is_digest(word));
    if let Some(word) = word {
        return Some(word.to_ascii_lowercase());
    }
    // As `gpg --print-md` writes it: `file: D41D 8CD9 …`.
    let joined: String = text.rsplit(':').next().unwrap_or(text).split_whitespace().collect();
    is_digest(&joined).then(|| joined.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::{parse, split};
    use entrepot_kit::Algorithm;
    use proptest::prelude::*;

    const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

    #[test]
    fn every_form_is_read() {
        for text in [
            SHA1.to_owned(),
            format!("{SHA1}\n"),
            SHA1.to_ascii_uppercase(),
            format!("{SHA1}  lib-1.0.jar\n"),
            format!("{SHA1} *lib-1.0.jar"),
            format!("SHA1(lib-1.0.jar)= {SHA1}"),
            format!("SHA1 (lib-1.0.jar) = {SHA1}\r\n"),
            format!("lib-1.0.jar: {SHA1}"),
            String::from("lib-1.0.jar: A999 3E36 4706 816A BA3E\n             2571 7850 C26C 9CD0 D89D\n"),
        ] {
            assert_eq!(parse(&text, Algorithm::Sha1).as_deref(), Some(SHA1), "{text:?}");
            assert_eq!(parse(&text, Algorithm::Sha256), None, "{text:?}");
        }
        for text in ["", "<html></html>", "a9993e36"] {
            assert_eq!(parse(text, Algorithm::Sha1), None, "{text:?}");
        }
    }

    #[test]
    fn names_are_split_once() {
        assert_eq!(split("a/b.jar.sha1"), Some(("a/b.jar", Algorithm::Sha1)));
        assert_eq!(split("a/b.jar.asc.md5"), Some(("a/b.jar.asc", Algorithm::Md5)));
        assert_eq!(split("a/b.jar"), None);
        assert_eq!(split(".md5"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_looked_at(text in ".{0,200}") {
            let _ = parse(&text, Algorithm::Md5);
        }
    }
}
