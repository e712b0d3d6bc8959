//! Groups: what several members say beside their packages, joined. Of what two call by the same name the first one's counts.

use std::collections::HashSet;
use std::io::Read as _;
use std::sync::Arc;

use entrepot_kit::{Document, Error, LimitedReader, Moment, Result, Sha256Digest, Timestamp, blocking};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

use super::extras::{EXTRAS, Extra, LARGEST};
use super::generation::Generation;
use super::group::Member;
use crate::repodata::{self, Data, is_hex, read};

/// The name of a joined document: `<sha256>-t<time>-comps.xml.gz`.
pub(super) struct Name<'a> {
    sha256: &'a str,
    pub(super) moment: Moment,
    extra: &'static Extra,
    zipped: bool,
}

impl<'a> Name<'a> {
    /// Reads a name; `None` for any other file.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (sha256, rest) = name.split_at_checked(64).filter(|(digits, _)| is_hex(digits))?;
        let (time, rest) = rest.strip_prefix("-t")?.split_once('-')?;
        let time = time.parse().ok().filter(|_| !time.starts_with(['+', '-']))?;
        let plain = rest.strip_suffix(".gz");
        let extra = EXTRAS.iter().find(|extra| extra.name == plain.unwrap_or(rest))?;
        Some(Self { sha256, moment: Moment::Time(Timestamp(time)), extra, zipped: plain.is_some() })
    }
}

/// The lines of `repomd.xml` for what is said beside packages: of one member as they are, of several joined.
pub(super) async fn lines(generation: &Generation, members: &[Member]) -> Result<Vec<Data>> {
    let mut lines = Vec::new();
    for extra in &EXTRAS {
        match having(members, extra).as_slice() {
            [] => {}
            [only] => {
                let own = only.extras.iter().filter(|data| extra.kinds().any(|kind| kind == data.kind));
                lines.extend(own.map(|data| Data { base: None, href: format!("{}/{}", repodata::FOLDER, data.name()), ..data.clone() }));
            }
            _ => {
                let plain = document(generation, members, extra, false).await?;
                let zipped = document(generation, members, extra, true).await?;
                let open = (Sha256Digest::of(&plain.body).hex(), plain.body.len() as u64);
                let (first, second) = extra.kinds;
                if let Some(second) = second {
                    lines.push(line(generation, extra, first, &plain, None));
                    lines.push(line(generation, extra, second, &zipped, Some(open)));
                } else {
                    lines.push(line(generation, extra, first, &zipped, Some(open)));
                }
            }
        }
    }
    Ok(lines)
}

fn line(generation: &Generation, extra: &Extra, kind: &str, document: &Document, open: Option<(String, u64)>) -> Data {
    let (sha256, ending) = (Sha256Digest::of(&document.body).hex(), if open.is_some() { ".gz" } else { "" });
    Data {
        kind: kind.to_owned(),
        algorithm: String::from("sha256"),
        href: format!("{}/{sha256}-t{}-{}{ending}", repodata::FOLDER, generation.time.0, extra.name),
        checksum: sha256,
        open,
        base: None,
        timestamp: generation.time.seconds(),
        size: document.body.len() as u64,
    }
}

fn having<'a>(members: &'a [Member], extra: &Extra) -> Vec<&'a Member> {
    members.iter().filter(|member| member.extras.iter().any(|data| extra.kinds().any(|kind| kind == data.kind))).collect()
}

/// A joined document by its name, as the members had it then.
pub(super) async fn named(generation: &Generation, members: &[Member], name: &Name<'_>) -> Result<Option<Arc<Document>>> {
    if having(members, name.extra).len() < 2 {
        return Ok(None);
    }
    let found = document(generation, members, name.extra, name.zipped).await?;
    Ok((Sha256Digest::of(&found.body).hex() == name.sha256).then_some(found))
}

/// What members say, joined; zipped too.
async fn document(generation: &Generation, members: &[Member], extra: &'static Extra, zipped: bool) -> Result<Arc<Document>> {
    let plain = plain(generation, members, extra).await?;
    if !zipped {
        return Ok(plain);
    }
    let time = generation.time;
    let make = async move { blocking(move || Ok(Document::new(repodata::whole(&plain.body)?, "application/gzip", Some(time)))).await };
    generation.repository.derived(&generation.key(&format!("{}.gz", extra.name)), Box::pin(make)).await
}

async fn plain(generation: &Generation, members: &[Member], extra: &'static Extra) -> Result<Arc<Document>> {
    let (making, members) = (generation.clone(), members.to_vec());
    let make = async move {
        let mut texts = Vec::new();
        for member in having(&members, extra) {
            let Some(file) = member.beside(&making.folder, extra).await? else { continue };
            let reader = file.content.reader().await?;
            let text = move || {
                let mut text = String::new();
                let read = LimitedReader::new(read::open(reader)?, LARGEST as u64).read_to_string(&mut text);
                read.map(|_| text).map_err(|error| Error::bad_gateway(format!("the {} of a member cannot be read: {error}", extra.name)))
            };
            texts.push(blocking(text).await?);
        }
        blocking(move || Ok(Document::new(joined(extra, &texts)?.into_bytes(), extra.media_type, Some(making.time)))).await
    };
    generation.repository.derived(&generation.key(extra.name), Box::pin(make)).await
}

fn joined(extra: &Extra, texts: &[String]) -> Result<String> {
    let mut seen = HashSet::new();
    let mut out = String::new();
    let Some(root) = extra.root else {
        for module in texts.iter().flat_map(|text| documents(text)) {
            if seen.insert(module_name(&module)) {
                out.push_str("---\n");
                out.push_str(module.trim_matches('\n'));
                out.push_str("\n...\n");
            }
        }
        return Ok(out);
    };
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    if root == "comps" {
        out.push_str("<!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \"comps.dtd\">\n");
    }
    out.push_str(&format!("<{root}>\n"));
    for text in texts {
        for (name, element) in elements(text)? {
            if seen.insert(name) {
                out.push_str(element);
                out.push('\n');
            }
        }
    }
    out.push_str(&format!("</{root}>\n"));
    Ok(out)
}

/// What is in the root of a document, each with what it is and its `<id>`.
fn elements(text: &str) -> Result<Vec<(String, &str)>> {
    let broken = |error: quick_xml::Error| Error::bad_gateway(format!("what a member says beside its packages is no XML: {error}"));
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader::from_str(text);
    let (mut found, mut path) = (Vec::new(), Vec::<String>::new());
    let (mut begin, mut id) = (0, String::new());
    let place = |reader: &Reader<&[u8]>| usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
    loop {
        let before = place(&reader);
        match reader.read_event().map_err(broken)? {
            Event::Start(start) => {
                if path.len() == 1 {
                    begin = before;
                    id.clear();
                }
                path.push(start.local_name().as_ref().to_owned());
            }
            Event::Empty(start) if path.len() == 1 => {
                let element = text.get(before..place(&reader)).unwrap_or_default();
                found.push((format!("{} {element}", start.local_name().as_ref()), element));
            }
            Event::Text(more) if path.len() == 3 && path.last().is_some_and(|name| name == "id") => id.push_str(&more.xml10_content()),
            Event::End(_) => {
                let name = path.pop();
                if path.len() == 1 {
                    let element = text.get(begin..place(&reader)).unwrap_or_default();
                    found.push((format!("{} {}", name.unwrap_or_default(), id.trim()), element));
                }
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

/// The documents of a YAML stream.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if matches!(line.trim_end(), "---" | "...") {
            documents.push(String::new());
        } else if let Some(last) = documents.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    documents.retain(|document| document.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    documents
}

/// What a document of modules is about: the module, stream and build, or that of which it says what is usual.
fn module_name(document: &str) -> String {
    let Ok(value) = serde_saphyr::from_str::<Value>(document) else { return document.to_owned() };
    let fields = ["name", "module", "stream", "version", "context", "arch", "modified"];
    let said: Vec<String> = fields.iter().filter_map(|field| value.get("data")?.get(field)).map(Value::to_string).collect();
    if said.is_empty() { document.to_owned() } else { format!("{:?} {}", value.get("document"), said.join(" ")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{EXTRAS, Name, joined};

    proptest! {
        #[test]
        fn any_text_is_joined_or_refused(text in "(</?(comps|updates|group|update|id)>|<id/>|---\n|data:\n|  name: [a-z&*]{0,3}\n|[a-z&;<\u{0}é]{0,6}){0,20}") {
            for extra in &EXTRAS {
                let inside = extra.root.map_or_else(|| text.clone(), |root| format!("<{root}>{text}</{root}>"));
                drop(joined(extra, &[text.clone(), inside]));
            }
        }
    }

    fn texts(of: &[&str]) -> Vec<String> {
        of.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn of_what_two_say_the_first_counts() {
        let [comps, updates, modules] = &EXTRAS;
        let one = "<?xml version=\"1.0\"?>\n<comps><group><id>a</id><name>One &amp; A</name></group><category><id>a</id></category></comps>";
        let other = "<comps>\n <group><id>a</id><name>Other A</name></group>\n <group>\n<id>b</id></group>\n<langpacks/></comps>";
        let all = joined(comps, &texts(&[one, other])).unwrap();
        for part in ["<group><id>a</id><name>One &amp; A</name></group>", "<category><id>a</id></category>", "<group>\n<id>b</id></group>", "<langpacks/>"] {
            assert_eq!(all.matches(part).count(), 1, "{part}: {all}");
        }
        assert!(!all.contains("Other A") && all.ends_with("</comps>\n"), "{all}");
        let all = joined(
            updates,
            &texts(&["<updates><update><id>A</id><pkglist><id>x</id></pkglist></update></updates>", "<updates><update><id>B</id></update></updates>"]),
        );
        assert_eq!(all.unwrap().matches("<update>").count(), 2);
        let module = |name: &str, version: u64, text: &str| {
            format!("---\ndocument: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: \"1\"\n  version: {version}\n  summary: {text}\n...\n")
        };
        let all = joined(modules, &[module("a", 1, "first") + &module("a", 2, "newer"), module("a", 1, "second") + &module("b", 1, "third")]).unwrap();
        assert!(["first", "newer", "third"].iter().all(|text| all.contains(text)) && !all.contains("second"), "{all}");
        assert_eq!(all.matches("---\n").count(), 3);
        assert!(joined(comps, &texts(&["<comps><group></comps>"])).is_err());
    }

    #[test]
    fn names_of_joined_documents_are_read() {
        let name = format!("{}-t12-comps.xml.gz", "0a".repeat(32));
        assert!(Name::parse(&name).is_some_and(|name| name.zipped && name.extra.name == "comps.xml"));
        for other in [name.replace("-t", "-r"), name.replace("comps", "primary"), name.replace("-t12", "-t+1"), String::from("comps.xml")] {
            assert!(Name::parse(&other).is_none(), "{other}");
        }
    }
}
