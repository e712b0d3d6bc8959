//! Media types by names: what clients do with a file depends on its name alone.

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
