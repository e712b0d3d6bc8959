//! Media types by names: what clients do with a file depends on its name alone.

/// The media type that the name of a file in a jar says: those of pages besides.
pub(crate) fn inside(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "png" => "image/png",
        "gif" => "image/gif",
        "jpg" | "jpeg" => "image/jpeg",
        "svg" => "image/svg+xml",
        "java" | "kt" | "scala" | "groovy" | "properties" | "mf" | "md" => "text/plain; charset=utf-8",
        "" if matches!(name.as_str(), "license" | "notice" | "readme") => "text/plain; charset=utf-8",
        _ => by_name(path),
    }
}

/// The media type that a file's name says.
pub(crate) fn by_name(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "pom" | "xml" => "application/xml",
        "jar" | "war" | "ear" | "aar" => "application/java-archive",
        "module" | "json" => "application/json",
        "asc" | "txt" | "md5" | "sha1" | "sha256" | "sha512" => "text/plain; charset=utf-8",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        _ => "application/octet-stream",
    }
}
