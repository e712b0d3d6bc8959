//! Media types: what the uploader said, or what a file's name says, from a list of types that are worth telling apart.

/// The type of whatever is not known better.
pub(crate) const OCTETS: &str = "application/octet-stream";

const LONGEST: usize = 255;

/// The media type that a file's name says.
pub(crate) fn by_name(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "txt" | "log" | "md" | "rst" | "asc" | "sha1" | "sha256" | "sha512" | "md5" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "xml" | "xsd" | "pom" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "toml" => "application/toml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "ico" => "image/vnd.microsoft.icon",
        "mp4" => "video/mp4",
        "mp3" => "audio/mpeg",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "zip" | "whl" => "application/zip",
        "jar" | "war" | "ear" => "application/java-archive",
        "gz" | "tgz" | "crate" => "application/gzip",
        "bz2" => "application/x-bzip2",
        "xz" => "application/x-xz",
        "zst" => "application/zstd",
        "7z" => "application/x-7z-compressed",
        "tar" => "application/x-tar",
        "deb" => "application/vnd.debian.binary-package",
        "rpm" => "application/x-rpm",
        _ => OCTETS,
    }
}

/// What an uploader said, if it is a media type and says anything: `curl` calls every body a form.
pub(crate) fn said(header: Option<&str>) -> Option<String> {
    let text = header?.trim();
    let essence = text.split(';').next().unwrap_or(text).trim_end();
    let (kind, subtype) = essence.split_once('/')?;
    let is_token = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte));
    let means_something = !matches!(essence.to_ascii_lowercase().as_str(), "application/x-www-form-urlencoded" | OCTETS);
    (text.len() <= LONGEST && is_token(kind) && is_token(subtype) && means_something).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{by_name, said};

    #[test]
    fn names_tell_types() {
        for (path, wanted) in
            [("a/b.JSON", "application/json"), ("a.tar.gz", "application/gzip"), ("a.zip/b", super::OCTETS), ("png", super::OCTETS), ("", super::OCTETS)]
        {
            assert_eq!(by_name(path), wanted, "{path}");
        }
    }

    #[test]
    fn only_media_types_are_believed() {
        assert_eq!(said(Some("text/plain; charset=utf-8")).as_deref(), Some("text/plain; charset=utf-8"));
        for nothing in
            [None, Some("application/x-www-form-urlencoded"), Some("application/octet-stream"), Some("text"), Some("/"), Some("a b/c"), Some("te<xt/html")]
        {
            assert_eq!(said(nothing), None, "{nothing:?}");
        }
    }
}
