//! As much of HTML as pages of indexes need: tags with their attributes, and comments. Anything can be read; what is broken says nothing.

/// Most attributes of a tag that are looked at.
const MOST_ATTRIBUTES: usize = 64;
/// Elements whose content is text, whatever it looks like.
const TEXT_ELEMENTS: [&str; 7] = ["script", "style", "textarea", "title", "xmp", "iframe", "noembed"];

/// A piece of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// The begin of an element.
    Tag(Tag),
    /// What a comment says.
    Comment(&'a str),
}

/// The begin of an element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tag {
    /// Its name in lower case.
    pub(super) name: String,
    /// Names in lower case, and decoded values. Of two attributes of one name the first counts.
    attributes: Vec<(String, String)>,
}

impl Tag {
    /// The value of an attribute.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The pieces of a page, one after the other.
pub(super) struct Pieces<'a> {
    rest: &'a str,
}

impl<'a> Pieces<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { rest: text }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Goes behind a text, or to the end; what was before it.
    fn until(&mut self, end: &str) -> &'a str {
        let before = self.rest.split_once(end).map_or(self.rest, |(before, _)| before);
        self.skip(before.len() + end.len());
        before
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
    }

    fn word(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let word = self.rest.get(..end).unwrap_or_default();
        self.skip(end);
        word
    }

    /// Behind the name of a tag: its attributes, and `>`.
    fn attributes(&mut self) -> Vec<(String, String)> {
        let mut attributes: Vec<(String, String)> = Vec::new();
        loop {
            self.skip_space();
            match self.rest.chars().next() {
                None => break,
                Some('>') => {
                    self.skip(1);
                    break;
                }
                Some(c @ ('/' | '=' | '"' | '\'')) => {
                    self.skip(c.len_utf8());
                    continue;
                }
                Some(_) => {}
            }
            let name = self.word(|c| c.is_ascii_whitespace() || matches!(c, '>' | '/' | '=')).to_ascii_lowercase();
            self.skip_space();
            let value = if self.rest.starts_with('=') {
                self.skip(1);
                self.skip_space();
                match self.rest.chars().next() {
                    Some(quote @ ('"' | '\'')) => {
                        self.skip(1);
                        self.until(if quote == '"' { "\"" } else { "'" })
                    }
                    _ => self.word(|c| c.is_ascii_whitespace() || c == '>'),
                }
            } else {
                ""
            };
            if attributes.len() < MOST_ATTRIBUTES && !attributes.iter().any(|(known, _)| *known == name) {
                attributes.push((name, decode(value)));
            }
        }
        attributes
    }

    /// Goes to the end of an element that holds text.
    fn skip_text(&mut self, name: &str) {
        for (at, _) in self.rest.match_indices("</") {
            let found = self.rest.get(at + 2..at + 2 + name.len());
            if found.is_some_and(|found| found.eq_ignore_ascii_case(name)) {
                self.skip(at);
                return;
            }
        }
        self.rest = "";
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        loop {
            let at = memchr::memchr(b'<', self.rest.as_bytes())?;
            self.skip(at + 1);
            if self.rest.starts_with("!--") {
                self.skip(3);
                return Some(Piece::Comment(self.until("-->")));
            }
            if self.rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
                let name = self.word(|c| c.is_ascii_whitespace() || matches!(c, '>' | '/')).to_ascii_lowercase();
                let attributes = self.attributes();
                if TEXT_ELEMENTS.contains(&name.as_str()) {
                    self.skip_text(&name);
                }
                return Some(Piece::Tag(Tag { name, attributes }));
            }
            if self.rest.starts_with(['/', '!', '?']) {
                self.until(">");
            }
        }
    }
}

/// Resolves the references to characters that pages of indexes have: all numbers, and the names that HTML shares with XML.
pub(super) fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        // The longest is a number of seven digits.
        let end = behind.bytes().take(10).position(|byte| byte == b';');
        let decoded = end.and_then(|end| Some((character(behind.get(..end)?)?, behind.get(end + 1..)?)));
        if let Some((c, behind)) = decoded {
            out.push(c);
            rest = behind;
        } else {
            out.push('&');
            rest = behind;
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16),
            None if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse(),
            _ => return None,
        };
        return code.ok().and_then(char::from_u32);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "plus" => '+',
        "excl" => '!',
        "num" => '#',
        "equals" => '=',
        "comma" => ',',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Piece, Pieces, decode};
    use proptest::prelude::*;

    fn tags(text: &str) -> Vec<String> {
        Pieces::of(text)
            .map(|piece| match piece {
                Piece::Tag(tag) => format!("{} {:?}", tag.name, tag.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()),
                Piece::Comment(text) => format!("comment {text:?}"),
            })
            .collect()
    }

    #[test]
    fn tags_are_found_however_they_are_written() {
        assert_eq!(
            tags(
                "<!DOCTYPE html><A HREF='x' href=y data-yanked data-a = \"1 &gt; 2\" b=c/>t</a><br/><!-- <a href=no> --><script>\"<a href=no>\"</scripty></SCRIPT\
                 ><a/href=\"z\"id=i><?x <a>?><a title=<b>"
            ),
            [
                "a [\"href=x\", \"data-yanked=\", \"data-a=1 > 2\", \"b=c/\"]",
                "br []",
                "comment \" <a href=no> \"",
                "script []",
                "a [\"href=z\", \"id=i\"]",
                "a [\"title=<b\"]"
            ]
        );
    }

    #[test]
    fn what_never_ends_is_read_to_the_end() {
        for text in ["<", "<a", "<a ", "<a href", "<a href=", "<a href='x", "<!--", "<!", "</", "<script><a>", "<a =>", "< a>", "<é>", "<a é=ü>"] {
            assert!(tags(text).len() <= 1, "{text}");
        }
    }

    #[test]
    fn references_are_resolved_once() {
        for (text, decoded) in [
            ("&gt;=3.8", ">=3.8"),
            ("&#62;&#x3e;&#X3E;", ">>>"),
            ("&amp;gt;", "&gt;"),
            ("a&b", "a&b"),
            ("&;&#;&#x;&#-1;&#xD800;&#99999999;&nope;&", "&;&#;&#x;&#-1;&#xD800;&#99999999;&nope;&"),
            ("&é;", "&é;"),
        ] {
            assert_eq!(decode(text), decoded, "{text}");
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_read(text in ".{0,200}", dirt in "[<>a/!\\-='\"& script]{0,200}") {
            let _ = Pieces::of(&text).count();
            prop_assert!(Pieces::of(&dirt).count() <= dirt.len());
        }
    }
}
