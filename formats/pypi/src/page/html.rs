//! The HTML form of one file.

use entrepot_kit::html::escape_into;

use super::{BASE, CoreMetadata, PageFile};

fn attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape_into(out, value);
    out.push('"');
}

/// The one hash that the form has room for, the best that there is: `sha256=…`.
pub(super) fn one_hash(hashes: &std::collections::BTreeMap<String, String>) -> Option<(&str, &str)> {
    ["sha256", "sha512", "sha384", "sha224", "sha1", "md5"]
        .into_iter()
        .find_map(|name| hashes.get_key_value(name))
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

/// The line of a file.
pub(super) fn write_file(out: &mut String, file: &PageFile, base: &str) {
    out.push_str("<a href=\"");
    escape_into(out, &file.url);
    if let Some((algorithm, digest)) = one_hash(&file.hashes) {
        out.push('#');
        escape_into(out, algorithm);
        out.push('=');
        escape_into(out, digest);
    }
    out.push('"');
    if let Some(python) = &file.requires_python {
        attribute(out, "data-requires-python", python);
    }
    let metadata = match &file.core_metadata {
        CoreMetadata::None => None,
        CoreMetadata::Unhashed => Some(String::from("true")),
        CoreMetadata::Hashed(hashes) => Some(one_hash(hashes).map_or_else(|| String::from("true"), |(algorithm, digest)| format!("{algorithm}={digest}"))),
    };
    if let Some(metadata) = &metadata {
        // The older name is what older clients know.
        attribute(out, "data-dist-info-metadata", metadata);
        attribute(out, "data-core-metadata", metadata);
    }
    if let Some(reason) = &file.yanked {
        attribute(out, "data-yanked", reason);
    }
    if let Some(signed) = file.gpg_sig {
        attribute(out, "data-gpg-sig", if signed { "true" } else { "false" });
    }
    if let Some(url) = &file.provenance {
        attribute(out, "data-provenance", &url.replace(BASE, base));
    }
    out.push('>');
    escape_into(out, &file.filename);
    out.push_str("</a><br />\n");
}
