//! What is inside a package: its files are counted, and its own `package.json` must say what the published metadata says.
//!
//! Clients decide by the metadata and then run what the package contains. Where the two differ, a reviewer sees one
//! thing and installs another, so such a publish is refused.

use std::collections::BTreeMap;
use std::io::Read;

use entrepot_kit::{Error, LimitedReader, Result};
use serde_json::{Map, Value};

use crate::version::shorten;

/// Most bytes that a package may unpack to.
const MAX_UNPACKED: u64 = 4 << 30;
/// Bytes to which a package may unpack that is read between other requests.
const LITTLE_UNPACKED: u64 = 128 << 10;
/// Most files of a package.
const MAX_FILES: u64 = 500_000;
/// Largest `package.json`.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Largest header that says more about the file behind it.
const MAX_EXTENSION: u64 = 64 << 10;

/// What a package contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Its `package.json`.
    pub manifest: Vec<u8>,
    /// How many files.
    pub files: u64,
    /// Bytes in all of them.
    pub unpacked: u64,
}

fn refuse(reason: impl std::fmt::Display) -> Error {
    Error::unprocessable(format!("the package is not acceptable: {reason}"))
}

fn refuse_read(error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::FileTooLarge {
        refuse("it unpacks to more than 4 GiB")
    } else {
        refuse("it is not a valid gzip-compressed tar archive")
    }
}

/// Reads a package once, in constant memory, without unpacking it anywhere.
///
/// # Errors
/// 422 when it is not such an archive, contains links or devices, hides files from one reader or the other, has no
/// `package.json`, or is larger than any package.
pub fn inspect(package: impl Read) -> Result<Contents> {
    inspect_within(package, MAX_UNPACKED)
}

/// The same for a package that unpacks to little, soon enough to be done between other requests. What it refuses may only be larger.
///
/// # Errors
/// As [`inspect`], and for a package that unpacks to more than little.
pub fn inspect_small(package: impl Read) -> Result<Contents> {
    inspect_unpacked(LimitedReader::new(flate2::read::MultiGzDecoder::new(package), LITTLE_UNPACKED), LITTLE_UNPACKED)
}

fn inspect_within(package: impl Read, most: u64) -> Result<Contents> {
    // Enough for the headers of as many files as are allowed.
    inspect_unpacked(LimitedReader::new(flate2::read::MultiGzDecoder::new(package), most.saturating_add(MAX_FILES * 1024)), most)
}

fn inspect_unpacked(unpacked: impl Read, most: u64) -> Result<Contents> {
    let mut archive = tar::Archive::new(unpacked);
    // Clients go on behind an end mark: what follows it must be seen here too.
    archive.set_ignore_zeros(true);
    // Raw: the library would hold extension headers of any size in memory.
    let entries = archive.entries().map_err(|error| refuse_read(&error))?.raw(true);
    let mut contents = Contents { manifest: Vec::new(), files: 0, unpacked: 0 };
    let mut found = false;
    let mut long_path: Option<Vec<u8>> = None;
    for entry in entries {
        let mut entry = entry.map_err(|error| refuse_read(&error))?;
        let kind = entry.header().entry_type();
        match kind {
            tar::EntryType::GNULongName => {
                let mut path = read_bounded(&mut entry, MAX_EXTENSION, "a file's name")?;
                path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
                long_path = Some(path);
                continue;
            }
            tar::EntryType::XHeader | tar::EntryType::XGlobalHeader => {
                let extension = read_bounded(&mut entry, MAX_EXTENSION, "an extended header")?;
                let path = read_extension(&extension)?;
                if kind == tar::EntryType::XHeader {
                    long_path = path.or(long_path);
                } else if path.is_some() {
                    return Err(refuse("a global header renames its files"));
                }
                continue;
            }
            _ => {}
        }
        let path = long_path.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let components = components(&path)?;
        match kind {
            tar::EntryType::Directory => continue,
            tar::EntryType::Regular | tar::EntryType::Continuous => {}
            _ => return Err(refuse(format!("{:?} is a link, a device or something else that is no file", shorten(&String::from_utf8_lossy(&path))))),
        }
        contents.files += 1;
        contents.unpacked = contents.unpacked.saturating_add(entry.size());
        if contents.files > MAX_FILES || contents.unpacked > most {
            return Err(refuse("it has more than 500,000 files, or unpacks to more than 4 GiB"));
        }
        // Clients drop the first folder, whatever it is called; some file systems do not tell case.
        if matches!(components.as_slice(), [_, file] if file.eq_ignore_ascii_case(b"package.json")) {
            if std::mem::replace(&mut found, true) {
                return Err(refuse("it has two files package.json"));
            }
            contents.manifest = read_bounded(&mut entry, MAX_MANIFEST, "its package.json")?;
        }
    }
    if found { Ok(contents) } else { Err(refuse("it has no package.json in its top folder")) }
}

fn read_bounded(entry: &mut impl Read, limit: u64, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(limit + 1).read_to_end(&mut bytes).map_err(|error| refuse_read(&error))?;
    if bytes.len() as u64 > limit { Err(refuse(format!("{what} is larger than {limit} bytes"))) } else { Ok(bytes) }
}

/// The path that an extended header gives to the next file. What else could make two readers see two archives is refused.
fn read_extension(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut path = None;
    for extension in tar::PaxExtensions::new(bytes) {
        let extension = extension.map_err(|_| refuse("an extended header is malformed"))?;
        match extension.key_bytes() {
            b"path" => path = Some(extension.value_bytes().to_vec()),
            b"size" | b"linkpath" => return Err(refuse("an extended header overrides a size or a link")),
            key if key.starts_with(b"GNU.sparse") => return Err(refuse("it contains a sparse file")),
            _ => {}
        }
    }
    Ok(path)
}

fn components(path: &[u8]) -> Result<Vec<&[u8]>> {
    let shown = || shorten(&String::from_utf8_lossy(path));
    if path.starts_with(b"/") || path.contains(&0) || path.contains(&b'\\') {
        return Err(refuse(format!("the path {:?} is absolute or has odd characters", shown())));
    }
    let components: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if components.contains(&b"..".as_slice()) {
        return Err(refuse(format!("the path {:?} leads out of the package", shown())));
    }
    Ok(components)
}

/// Compares the published metadata with the `package.json` inside the package, allowing for what clients tidy up.
///
/// # Errors
/// 422 naming the member that differs.
pub fn check_agreement(published: &Map<String, Value>, inside: &[u8]) -> Result<()> {
    let text = inside.strip_prefix(b"\xef\xbb\xbf").unwrap_or(inside);
    let inside: Map<String, Value> = serde_json::from_slice(text).map_err(|_| refuse("its package.json is not a JSON object"))?;
    let differs = |member: &str| {
        Err(refuse(format!(
            "the {member} of the metadata and of the package.json inside differ; pack and publish again with nothing in between that edits one of them"
        )))
    };
    let text = |manifest: &Map<String, Value>, key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    if text(published, "name") != text(&inside, "name") {
        return differs("name");
    }
    if tidy_version(&text(published, "version")) != tidy_version(&text(&inside, "version")) {
        return differs("version");
    }
    let (ours, theirs) = (dependencies(published, &["dependencies", "optionalDependencies"]), dependencies(&inside, &["dependencies", "optionalDependencies"]));
    if !same_dependencies(&ours, &theirs) {
        return differs("dependencies");
    }
    if !same_dependencies(&dependencies(published, &["peerDependencies"]), &dependencies(&inside, &["peerDependencies"])) {
        return differs("peerDependencies");
    }
    if !same_scripts(&scripts(published), &scripts(&inside)) {
        return differs("scripts");
    }
    // Clients make `bin` of the files in the folder that `directories.bin` names.
    let lists_folder = inside.get("directories").and_then(|directories| directories.get("bin")).is_some();
    if !lists_folder && commands(published) != commands(&inside) {
        return differs("bin");
    }
    Ok(())
}

/// Without the `v` or `=` in front, and the build metadata behind, that clients drop.
fn tidy_version(version: &str) -> &str {
    let version = version.trim_start_matches(['=', 'v', ' ']);
    version.split('+').next().unwrap_or(version)
}

/// Dependencies under several names together: clients move optional ones from one to the other.
fn dependencies(manifest: &Map<String, Value>, keys: &[&str]) -> BTreeMap<String, String> {
    let maps = keys.iter().filter_map(|key| manifest.get(*key).and_then(Value::as_object));
    maps.flatten().filter_map(|(name, range)| Some((name.trim().to_owned(), range.as_str()?.trim().to_owned()))).collect()
}

fn same_dependencies(published: &BTreeMap<String, String>, inside: &BTreeMap<String, String>) -> bool {
    published.len() == inside.len()
        && inside.iter().all(|(name, range)| published.get(name).is_some_and(|other| other == range || is_spelled_out(range, other)))
}

/// Clients write `user/project` as the full address of a repository.
fn is_spelled_out(short: &str, long: &str) -> bool {
    let (project, branch) = short.split_once('#').unwrap_or((short, ""));
    let (long_project, long_branch) = long.split_once('#').unwrap_or((long, ""));
    let tail = |text: &str| text.trim_end_matches(".git").rsplit(['/', ':']).take(2).map(str::to_owned).collect::<Vec<_>>();
    project.contains('/') && branch == long_branch && tail(project).len() == 2 && tail(project) == tail(long_project)
}

fn scripts(manifest: &Map<String, Value>) -> BTreeMap<String, String> {
    let scripts = manifest.get("scripts").and_then(Value::as_object).into_iter().flatten();
    scripts.filter_map(|(name, command)| Some((name.clone(), tidy_command(command.as_str()?).to_owned()))).collect()
}

/// Clients drop the folder of installed commands in front.
fn tidy_command(command: &str) -> &str {
    let relative = command.strip_prefix("./").or_else(|| command.strip_prefix(".\\")).unwrap_or(command);
    ["node_modules/.bin/", "node_modules\\.bin\\"].iter().find_map(|folder| relative.strip_prefix(folder)).unwrap_or(command)
}

/// Clients add two commands for what they find in the package.
fn same_scripts(published: &BTreeMap<String, String>, inside: &BTreeMap<String, String>) -> bool {
    let is_added = |name: &str, command: &str| matches!((name, command), ("install", "node-gyp rebuild") | ("start", "node server.js"));
    inside.iter().all(|(name, command)| published.get(name) == Some(command))
        && published.iter().all(|(name, command)| inside.contains_key(name) || is_added(name, command))
}

fn commands(manifest: &Map<String, Value>) -> BTreeMap<String, String> {
    let tidy = |path: &str| path.replace('\\', "/").split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect::<Vec<_>>().join("/");
    let base = |name: &str| name.rsplit(['/', '\\', ':']).next().unwrap_or(name).to_owned();
    match manifest.get("bin") {
        Some(Value::String(path)) => {
            let name = manifest.get("name").and_then(Value::as_str).unwrap_or_default();
            BTreeMap::from([(base(name), tidy(path))])
        }
        Some(Value::Object(map)) => {
            map.iter().filter_map(|(name, path)| Some((base(name), tidy(path.as_str()?)))).filter(|(_, path)| !path.is_empty()).collect()
        }
        Some(Value::Array(paths)) => paths.iter().filter_map(Value::as_str).map(|path| (base(path), tidy(path))).collect(),
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{check_agreement, inspect};
    use crate::testing::{Archive, tarball};
    use serde_json::{Value, json};

    fn agrees(published: &Value, inside: &Value) -> bool {
        check_agreement(published.as_object().unwrap(), inside.to_string().as_bytes()).is_ok()
    }

    #[test]
    fn a_package_is_counted() {
        let package = tarball(&json!({"name": "a", "version": "1.0.0"}));
        let contents = inspect(&*package).unwrap();
        assert_eq!(super::inspect_small(&*package).unwrap(), contents);
        assert_eq!(contents.files, 2);
        assert!(contents.unpacked > contents.manifest.len() as u64);
        assert_eq!(serde_json::from_slice::<Value>(&contents.manifest).unwrap()["name"], "a");
    }

    #[test]
    fn hostile_archives_are_refused() {
        let manifest = br#"{"name":"a","version":"1.0.0"}"#;
        let good = || Archive::new().file("package/package.json", manifest);
        assert!(inspect(&*good().finish()).is_ok());
        assert!(inspect(&*Archive::new().file("odd-folder/./package.json", manifest).finish()).is_ok());
        let long = format!("package/{}", "x".repeat(300));
        assert!(inspect(&*good().file(&long, b"x").finish()).is_ok());
        for (what, archive) in [
            ("no manifest", Archive::new().file("package/index.js", b"").finish()),
            ("only deeper", Archive::new().file("package/a/package.json", manifest).finish()),
            ("twice", good().file("package/package.json", manifest).finish()),
            ("twice by another folder", good().file("other/package.json", manifest).finish()),
            ("twice by case", good().file("package/Package.json", manifest).finish()),
            ("twice by dots", good().file("package/./package.json", manifest).finish()),
            ("behind the end", good().end_mark().file("package/package.json", manifest).finish()),
            ("out of it", good().file("package/../../x", b"").finish()),
            ("absolute", good().file("/etc/passwd", b"").finish()),
            ("link", good().link("package/link", "/etc/passwd").finish()),
            ("endless name", good().extension(b'L', &vec![b'a'; 100_000]).finish()),
            ("endless header", good().extension(b'x', &vec![b'a'; 100_000]).finish()),
            ("other size", good().extension(b'x', b"10 size=1\n").file("package/x", b"abc").finish()),
            ("renamed by a header", good().extension(b'x', b"29 path=package/package.json\n").file("package/x", manifest).finish()),
            ("renamed by a global header", good().extension(b'g', b"29 path=package/package.json\n").finish()),
            ("manifest too large", Archive::new().file("package/package.json", &vec![b' '; (4 << 20) + 1]).finish()),
            ("not gzip", b"hello".to_vec()),
            ("cut off", {
                let mut archive = good().finish();
                archive.truncate(archive.len() / 2);
                archive
            }),
        ] {
            assert_eq!(inspect(&*archive).map(|_| ()).map_err(|error| error.status().as_u16()), Err(422), "{what}");
        }
    }

    #[test]
    fn bombs_are_refused_before_they_are_unpacked() {
        let manifest = br#"{"name":"a","version":"1.0.0"}"#;
        let zeros = vec![0; 8 << 20];
        let large = Archive::new().file("package/package.json", manifest).file("package/zeros", &zeros).finish();
        assert!(large.len() < 256 << 10, "it is small until it is unpacked");
        assert!(super::inspect_within(&*large, 9 << 20).is_ok());
        assert!(super::inspect_small(&*large).is_err(), "that is for others to unpack");
        let error = super::inspect_within(&*large, 1 << 20).unwrap_err();
        assert!(error.message().contains("4 GiB"), "{error}");
        // Zeros behind the end, which no entry counts.
        let mut tail = Archive::new().file("package/package.json", manifest);
        for _ in 0..600 {
            tail = tail.end_mark();
        }
        assert!(super::inspect_within(&*tail.finish(), u64::MAX).is_ok());
    }

    #[test]
    fn differences_are_found() {
        let base = json!({"name": "@acme/a", "version": "1.0.0", "dependencies": {"b": "^1"}, "scripts": {"postinstall": "node x.js"}, "bin": {"a": "cli.js"}, "peerDependencies": {"c": "*"}});
        assert!(agrees(&base, &base));
        for (key, value) in [
            ("name", json!("@acme/b")),
            ("version", json!("1.0.1")),
            ("dependencies", json!({"b": "^2"})),
            ("dependencies", json!({})),
            ("dependencies", json!({"b": "^1", "evil": "1"})),
            ("optionalDependencies", json!({"evil": "1"})),
            ("peerDependencies", json!({})),
            ("scripts", json!({})),
            ("scripts", json!({"postinstall": "node evil.js"})),
            ("scripts", json!({"postinstall": "node x.js", "preinstall": "node evil.js"})),
            ("bin", json!({"a": "evil.js"})),
            ("bin", json!({"a": "cli.js", "ls": "evil.js"})),
        ] {
            let mut other = base.clone();
            other[key] = value;
            assert!(!agrees(&base, &other), "{key}");
            assert!(!agrees(&other, &base), "{key}");
        }
        assert!(check_agreement(base.as_object().unwrap(), b"[]").is_err());
    }

    #[test]
    fn what_clients_tidy_up_is_no_difference() {
        for (published, inside) in [
            (json!({"version": "1.0.0"}), json!({"version": "v1.0.0+build"})),
            (json!({"name": "@acme/a", "bin": {"a": "cli.js"}}), json!({"name": "@acme/a", "bin": "./cli.js"})),
            (json!({"scripts": {"install": "node-gyp rebuild", "start": "node server.js"}}), json!({})),
            (json!({"scripts": {"test": "mocha"}}), json!({"scripts": {"test": "./node_modules/.bin/mocha"}})),
            (json!({"dependencies": {}, "optionalDependencies": {"b": "1"}}), json!({"dependencies": {"b": "1"}, "optionalDependencies": {"b": "1"}})),
            (json!({"dependencies": {"b": "git+ssh://git@git.example/user/b.git#v1"}}), json!({"dependencies": {"b": "user/b#v1"}})),
            (json!({"bin": {"x": "bin/x"}}), json!({"directories": {"bin": "bin"}})),
        ] {
            assert!(agrees(&published, &inside), "{published} {inside}");
        }
        assert!(!agrees(&json!({"dependencies": {"b": "git+ssh://git@git.example/user/evil.git"}}), &json!({"dependencies": {"b": "user/b"}})));
        assert!(!agrees(&json!({"scripts": {"install": "node evil.js"}}), &json!({})));
    }
}
