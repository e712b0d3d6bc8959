//! The pieces of metadata that a package contributes, as text: one for each of the three documents. The byte [`HREF`] stands where the address
//! of the package belongs, which depends on the folder that the metadata is of. They are stored as one fragment, so that all three documents are made of
//! one walk over the packages.

use std::fmt::Write as _;

use entrepot_kit::Fragment;

use crate::package::{Dependency, FileKind, Package, is_primary};
use crate::repodata::Kind;

/// Stands for the address of the package. It cannot occur in XML.
pub(crate) const HREF: u8 = 0x01;
/// The kind of the fragments.
pub(crate) const FRAGMENT: &str = "metadata";
/// Separates the pieces in a fragment. It cannot occur in XML either.
const NEXT: u8 = 0x02;

/// Writes a text between tags.
fn text(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            other => out.push(other),
        }
    }
}

/// Writes the value of an attribute.
fn attribute(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, " {name}=\"");
    for character in value.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            other => out.push(other),
        }
    }
    out.push('"');
}

fn element(out: &mut String, indent: &str, name: &str, value: &str) {
    let _ = write!(out, "{indent}<{name}>");
    text(out, value);
    let _ = writeln!(out, "</{name}>");
}

/// An address as it stands in an attribute.
#[must_use]
pub(crate) fn escape_href(href: &str) -> String {
    let mut out = String::new();
    attribute(&mut out, "", href);
    out.trim_start_matches(" =\"").trim_end_matches('"').to_owned()
}

fn version(out: &mut String, package: &Package) {
    let (epoch, version, release) = &package.evr;
    out.push_str("  <version");
    attribute(out, "epoch", epoch);
    attribute(out, "ver", version);
    attribute(out, "rel", release);
    out.push_str("/>\n");
}

fn dependencies(out: &mut String, element: &str, dependencies: &[Dependency]) {
    if dependencies.is_empty() {
        return;
    }
    let _ = writeln!(out, "    <rpm:{element}>");
    for dependency in dependencies.iter().filter(|dependency| !dependency.name.is_empty()) {
        out.push_str("      <rpm:entry");
        attribute(out, "name", &dependency.name);
        if !dependency.flags.is_empty() {
            attribute(out, "flags", &dependency.flags);
            if let Some((epoch, version, release)) = &dependency.evr {
                for (name, value) in [("epoch", epoch), ("ver", version), ("rel", release)] {
                    if !value.is_empty() {
                        attribute(out, name, value);
                    }
                }
            }
        }
        if dependency.pre {
            attribute(out, "pre", "1");
        }
        out.push_str("/>\n");
    }
    let _ = writeln!(out, "    </rpm:{element}>");
}

fn file(out: &mut String, indent: &str, (path, kind): &(String, FileKind)) {
    let kind = match kind {
        FileKind::File => "",
        FileKind::Folder => " type=\"dir\"",
        FileKind::Ghost => " type=\"ghost\"",
    };
    let _ = write!(out, "{indent}<file{kind}>");
    text(out, path);
    out.push_str("</file>\n");
}

/// What most programs need to know of a package.
#[must_use]
pub fn primary(package: &Package) -> String {
    let mut out = String::from("<package type=\"rpm\">\n");
    element(&mut out, "  ", "name", &package.name);
    element(&mut out, "  ", "arch", &package.arch);
    version(&mut out, package);
    let _ = writeln!(out, "  <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>", package.sha256);
    for (name, value) in [("summary", &package.summary), ("description", &package.description), ("packager", &package.packager), ("url", &package.url)] {
        element(&mut out, "  ", name, value);
    }
    let _ = writeln!(out, "  <time file=\"{}\" build=\"{}\"/>", package.file_time, package.build_time);
    let _ = writeln!(out, "  <size package=\"{}\" installed=\"{}\" archive=\"{}\"/>", package.size, package.installed, package.archive);
    let _ = writeln!(out, "  <location href=\"{}\"/>", char::from(HREF));
    out.push_str("  <format>\n");
    for (name, value) in [
        ("rpm:license", &package.license),
        ("rpm:vendor", &package.vendor),
        ("rpm:group", &package.group),
        ("rpm:buildhost", &package.build_host),
        ("rpm:sourcerpm", &package.source),
    ] {
        element(&mut out, "    ", name, value);
    }
    let _ = writeln!(out, "    <rpm:header-range start=\"{}\" end=\"{}\"/>", package.header.0, package.header.1);
    for (relation, related) in package.related() {
        dependencies(&mut out, relation.element, related);
    }
    package.files.iter().filter(|(path, _)| is_primary(path)).for_each(|found| file(&mut out, "    ", found));
    out.push_str("  </format>\n</package>\n");
    out
}

fn begin(package: &Package) -> String {
    let mut out = String::from("<package");
    attribute(&mut out, "pkgid", &package.sha256);
    attribute(&mut out, "name", &package.name);
    attribute(&mut out, "arch", &package.arch);
    out.push_str(">\n");
    version(&mut out, package);
    out
}

/// All files of a package.
#[must_use]
pub fn filelists(package: &Package) -> String {
    let mut out = begin(package);
    package.files.iter().for_each(|found| file(&mut out, "  ", found));
    out.push_str("</package>\n");
    out
}

/// The change log of a package.
#[must_use]
pub fn other(package: &Package) -> String {
    let mut out = begin(package);
    for change in &package.changes {
        out.push_str("  <changelog");
        attribute(&mut out, "author", &change.author);
        attribute(&mut out, "date", &change.date.to_string());
        out.push('>');
        text(&mut out, &change.text);
        out.push_str("</changelog>\n");
    }
    out.push_str("</package>\n");
    out
}

/// The pieces that a package contributes, in the order of [`Kind::ALL`].
#[must_use]
pub(crate) fn fragment(package: &Package) -> Fragment {
    let mut bytes = primary(package).into_bytes();
    for piece in [filelists(package), other(package)] {
        bytes.push(NEXT);
        bytes.extend_from_slice(piece.as_bytes());
    }
    Fragment { kind: FRAGMENT, bytes: bytes.into() }
}

/// The piece of a fragment that belongs into a document.
pub(crate) fn piece(fragment: &[u8], kind: Kind) -> &[u8] {
    let split = |bytes: &[u8]| memchr::memchr(NEXT, bytes).unwrap_or(bytes.len());
    // No more is looked at than must be: fragments are long.
    let found = match kind {
        Kind::Primary => fragment.get(..split(fragment)),
        Kind::Filelists => fragment.get(split(fragment) + 1..).and_then(|behind| behind.get(..split(behind))),
        Kind::Other => memchr::memrchr(NEXT, fragment).and_then(|end| fragment.get(end + 1..)),
    };
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{filelists, fragment, other, piece, primary};
    use crate::package::Package;
    use crate::repodata::Kind;

    #[test]
    fn pieces_are_found_in_a_fragment() {
        let package = Package { name: String::from("tool"), sha256: String::from("0a"), ..Package::default() };
        let all = fragment(&package).bytes;
        for (kind, text) in [(Kind::Primary, primary(&package)), (Kind::Filelists, filelists(&package)), (Kind::Other, other(&package))] {
            assert_eq!(std::str::from_utf8(piece(&all, kind)), Ok(text.as_str()), "{kind:?}");
        }
        assert_eq!(piece(b"", Kind::Other), b"");
    }
}
