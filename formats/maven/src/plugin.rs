//! What a jar says of itself: that it is a plugin, with the prefix of its goals, or an archetype.

use std::io::Read as _;

use entrepot_kit::{LimitedReader, ReadSeek};
use quick_xml::Reader;
use quick_xml::events::Event;
use zip::ZipArchive;
use zip::read::Config;

use crate::metadata::Plugin;

/// The descriptor in a plugin's jar.
const DESCRIPTOR: &str = "META-INF/maven/plugin.xml";
/// What archetypes have, the old ones too.
const ARCHETYPE: [&str; 2] = ["META-INF/maven/archetype-metadata.xml", "META-INF/maven/archetype.xml"];
/// Most bytes that are read of one: those of large plugins have hundreds of kilobytes.
const LARGEST: u64 = 8 << 20;
/// Most bytes of a text that is kept.
const LONGEST: usize = 1024;

/// The plugin that a jar holds, and whether it is an archetype; nothing of either for what cannot be read.
#[must_use]
pub(crate) fn read(jar: Box<dyn ReadSeek>) -> (Option<Plugin>, bool) {
    let Ok(mut archive) = ZipArchive::with_config(Config::default(), jar) else { return (None, false) };
    let is_archetype = ARCHETYPE.iter().any(|name| archive.index_for_name(name).is_some());
    (plugin(&mut archive), is_archetype)
}

fn plugin(archive: &mut ZipArchive<Box<dyn ReadSeek>>) -> Option<Plugin> {
    let descriptor = archive.by_name(DESCRIPTOR).ok()?;
    if descriptor.size() > LARGEST {
        return None;
    }
    let mut text = String::new();
    LimitedReader::new(descriptor, LARGEST).read_to_string(&mut text).ok()?;
    parse(&text)
}

/// Reads name, prefix and artifact, which stand before the goals.
fn parse(text: &str) -> Option<Plugin> {
    let mut reader = Reader::from_str(text);
    let mut plugin = Plugin::default();
    let mut path: Vec<String> = Vec::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) if path.len() < 64 => path.push(start.local_name().as_ref().to_owned()),
            Event::Start(_) | Event::DocType(_) => return None,
            Event::End(_) => {
                path.pop();
            }
            Event::Text(part) => {
                let [root, field] = path.as_slice() else { continue };
                let place = match (root.as_str(), field.as_str()) {
                    ("plugin", "name") => &mut plugin.name,
                    ("plugin", "goalPrefix") => &mut plugin.prefix,
                    ("plugin", "artifactId") => &mut plugin.artifact,
                    _ => continue,
                };
                place.push_str(&part.xml10_content());
            }
            Event::Eof => break,
            _ => {}
        }
    }
    for field in [&mut plugin.name, &mut plugin.prefix, &mut plugin.artifact] {
        *field = field.trim().chars().filter(|character| !character.is_control()).collect();
    }
    let is_bounded = [&plugin.name, &plugin.prefix, &plugin.artifact].iter().all(|field| field.len() <= LONGEST);
    (is_bounded && !plugin.prefix.is_empty()).then_some(plugin)
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::metadata::Plugin;
    use crate::testing::jar;
    use std::io::Cursor;

    fn look(files: &[(&str, &[u8])]) -> Option<Plugin> {
        read(Box::new(Cursor::new(jar(files)))).0
    }

    #[test]
    fn prefixes_are_read() {
        let descriptor = b"<?xml version=\"1.0\"?>\n<plugin>\n<name>Acme Tool</name><groupId>com.acme</groupId><artifactId>tool-maven-plugin</artifactId><goalPrefix>tool</goalPrefix><mojos><mojo><goalPrefix>x</goalPrefix></mojo></mojos></plugin>";
        let wanted = Plugin { name: String::from("Acme Tool"), prefix: String::from("tool"), artifact: String::from("tool-maven-plugin") };
        assert_eq!(look(&[("META-INF/MANIFEST.MF", b"x"), ("META-INF/maven/plugin.xml", descriptor)]), Some(wanted));
    }

    #[test]
    fn other_jars_and_hostile_ones_are_none() {
        assert_eq!(look(&[("a.class", b"x")]), None);
        assert_eq!(look(&[("META-INF/maven/plugin.xml", b"<plugin><goalPrefix></goalPrefix></plugin>")]), None);
        assert_eq!(look(&[("META-INF/maven/plugin.xml", b"<plugin><goalPrefix>")]), None);
        assert_eq!(look(&[("META-INF/maven/plugin.xml", "<a>".repeat(100).as_bytes())]), None);
        assert_eq!(look(&[("META-INF/maven/plugin.xml", b"<!DOCTYPE a><plugin><goalPrefix>x</goalPrefix></plugin>")]), None);
        assert_eq!(read(Box::new(Cursor::new(b"no archive".to_vec()))), (None, false));
        assert_eq!(read(Box::new(Cursor::new(jar(&[("META-INF/maven/archetype-metadata.xml", b"<archetype-descriptor/>")])))), (None, true));
    }
}
