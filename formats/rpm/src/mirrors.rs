//! Lists of mirrors: lines of addresses (`mirrorlist=` of clients), or a metalink document.

use entrepot_kit::{Error, Result};
use quick_xml::Reader;
use quick_xml::events::Event;

/// Most mirrors of a list.
const MOST: usize = 8;
/// Longest address.
const LONGEST: usize = 1000;
/// What the addresses of a metalink lead to.
const REPOMD: &str = "repodata/repomd.xml";

/// The mirrors that a list names, each an address that ends with a slash, in their order.
///
/// # Errors
/// 502 when it names none.
pub(crate) fn read(list: &[u8]) -> Result<Vec<String>> {
    let text = std::str::from_utf8(list).map_err(|_| Error::bad_gateway("the upstream's list of mirrors is not UTF-8"))?;
    let addresses = if text.contains("<metalink") { metalink(text)? } else { text.lines().map(str::to_owned).collect() };
    let mut mirrors = Vec::new();
    for address in &addresses {
        let address = address.trim();
        let is_http = ["http://", "https://"].iter().any(|scheme| address.starts_with(scheme));
        if is_http && address.len() < LONGEST && address.bytes().all(|byte| byte.is_ascii_graphic()) && !address.contains(['?', '#', '$']) {
            let mirror = format!("{}/", address.trim_end_matches('/'));
            if !mirrors.contains(&mirror) {
                mirrors.push(mirror);
            }
        }
        if mirrors.len() == MOST {
            break;
        }
    }
    if mirrors.is_empty() { Err(Error::bad_gateway("the upstream's list of mirrors names none")) } else { Ok(mirrors) }
}

/// The addresses of a metalink, those that it prefers first.
fn metalink(text: &str) -> Result<Vec<String>> {
    let broken = |error: quick_xml::Error| Error::bad_gateway(format!("the upstream's metalink is no XML: {error}"));
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut found: Vec<(u32, String)> = Vec::new();
    let mut preference = None;
    loop {
        match reader.read_event().map_err(broken)? {
            Event::Start(start) if start.local_name().as_ref() == "url" => {
                let value = start.try_get_attribute("preference").ok().flatten();
                preference = Some(value.and_then(|value| value.value.parse().ok()).unwrap_or(0));
            }
            Event::Text(more) => {
                let text = more.xml10_content();
                if let (Some(preference), Some(root)) = (preference, text.trim().strip_suffix(REPOMD)) {
                    found.push((preference, root.to_owned()));
                }
            }
            Event::End(_) => preference = None,
            Event::Eof => break,
            _ => {}
        }
    }
    found.sort_by_key(|(preference, _)| std::cmp::Reverse(*preference));
    Ok(found.into_iter().map(|(_, root)| root).collect())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn lists_are_read_in_their_order() {
        let lines = "# a comment\nhttps://one.example/el9/\nftp://two.example/el9\n\nhttp://three.example/el9\nhttps://one.example/el9\nhttps://x/$basearch/\n";
        assert_eq!(read(lines.as_bytes()).unwrap(), ["https://one.example/el9/", "http://three.example/el9/"]);
        let metalink = r#"<?xml version="1.0"?><metalink xmlns="http://www.metalinker.org/"><files><file name="repomd.xml"><size>3</size><resources>
            <url protocol="rsync" preference="100">rsync://a.example/el9/repodata/repomd.xml</url>
            <url protocol="https" preference="90">https://b.example/el9/repodata/repomd.xml</url>
            <url protocol="http" preference="95">http://c.example/el9/repodata/repomd.xml</url>
            <url preference="99">https://d.example/el9/other.xml</url></resources></file></files></metalink>"#;
        assert_eq!(read(metalink.as_bytes()).unwrap(), ["http://c.example/el9/", "https://b.example/el9/"]);
        for none in ["", "<html><p>sign in</p></html>", "<metalink></metalink>", "<metalink><url></metalink>", "\u{0}"] {
            assert!(read(none.as_bytes()).is_err(), "{none}");
        }
    }
}
