//! The variables by which other programs too are told where PostgreSQL and an S3 server are: `DBHOST` … and `MINIO_ENDPOINT` ….
//!
//! Each family describes its service as a whole: what is missing of it is an error, and so is a variable of our own that says the same.

use std::ffi::OsString;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};

use super::reader::{Origin, Reader};

/// The family that describes PostgreSQL, all of which must be there.
const DATABASE: [&str; 5] = ["DBHOST", "DBPORT", "DBUSER", "DBPASS", "DBNAME"];
/// The family that describes the S3 server, all of which must be there.
const OBJECTS: [&str; 4] = ["MINIO_ENDPOINT", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_BUCKET"];
/// Whether the S3 server is spoken to with TLS; without it not.
const SECURE: &str = "MINIO_SECURE";

/// What they say. All of it is kept as secrets, so that no message and no log can show any of it by mistake.
#[derive(Debug, Clone, Default)]
pub struct Services {
    database: Vec<(&'static str, SecretString)>,
    objects: Vec<(&'static str, SecretString)>,
    secure: Option<String>,
}

/// The S3 server, as the settings of `[blobs]`.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) endpoint: String,
    pub(super) bucket: String,
    pub(super) access_key: String,
    pub(super) secret_key: SecretString,
}

impl Services {
    pub(super) fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| lookup(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned());
        let family = |names: &[&'static str]| names.iter().filter_map(|name| Some((*name, SecretString::from(text(name)?)))).collect();
        Self { database: family(&DATABASE), objects: family(&OBJECTS), secure: text(SECURE) }
    }

    /// The URL of the database that the family describes; `own` is set when a variable of our own names one too.
    pub(super) fn database_url(&self, reader: &mut Reader<'_>, own: bool) -> Option<SecretString> {
        let first = self.database.first()?.0;
        let [host, port, user, password, name] = family(reader, &DATABASE, &self.database)?;
        if own {
            reader.problem_at(&Origin::Environment(first), format!("{first} and ENTREPOT_DATABASE_URL both say where PostgreSQL is: leave one of them out"));
            return None;
        }
        let Ok(port) = port.parse::<u16>() else {
            reader.problem_at(&Origin::Environment("DBPORT"), String::from("DBPORT: expected the number of a port, such as 5432"));
            return None;
        };
        let url = url(host, port, user, password, name);
        if url.is_none() {
            reader.problem_at(&Origin::Environment("DBHOST"), String::from("DBHOST: expected the name or address of a machine, such as db.example.com"));
        }
        url
    }

    /// The S3 server that the family describes; `own` names a variable of our own that speaks of it too.
    pub(super) fn objects(&self, reader: &mut Reader<'_>, own: Option<&'static str>) -> Option<Objects> {
        let first = self.objects.first().map(|(name, _)| *name).or(self.secure.as_ref().map(|_| SECURE))?;
        let [endpoint, access_key, secret_key, bucket] = family(reader, &OBJECTS, &self.objects)?;
        if let Some(own) = own {
            reader.problem_at(&Origin::Environment(first), format!("{first} and {own} both speak of the S3 server: leave one of them out"));
            return None;
        }
        let secure = match self.secure.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "0" | "no" | "off") => "http",
            Some("true" | "1" | "yes" | "on") => "https",
            Some(_) => {
                reader.problem_at(&Origin::Environment(SECURE), format!("{SECURE}: expected true or false"));
                return None;
            }
        };
        if endpoint.contains(['/', '@', '?', '#']) {
            let message = format!("MINIO_ENDPOINT: expected a host and a port, such as s3.example.com:9000; whether TLS is spoken there {SECURE} says");
            reader.problem_at(&Origin::Environment("MINIO_ENDPOINT"), message);
            return None;
        }
        Some(Objects {
            endpoint: format!("{secure}://{endpoint}"),
            bucket: bucket.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.into(),
        })
    }
}

/// The values of a family in its order; nothing of it, or not all of it, is `None`, and the latter a problem.
fn family<'s, const N: usize>(reader: &mut Reader<'_>, names: &[&'static str; N], set: &'s [(&'static str, SecretString)]) -> Option<[&'s str; N]> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| set.iter().all(|(known, _)| known != name)).collect();
    if let Ok(values) = <[_; N]>::try_from(set.iter().map(|(_, value)| value.expose_secret()).collect::<Vec<_>>()) {
        return Some(values);
    }
    let place = set.first().map_or(Origin::Environment(SECURE), |(name, _)| Origin::Environment(name));
    let (verb, they) = if missing.len() == 1 { ("is", "it") } else { ("are", "them") };
    reader.problem_at(&place, format!("{} {verb} not set: {} belong together; set {they} too, or none", missing.join(", "), names.join(", ")));
    None
}

/// All but the characters that stand for themselves everywhere.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Every character of a password may stand in a URL, once it is encoded.
fn url(host: &str, port: u16, user: &str, password: &str, name: &str) -> Option<SecretString> {
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if !host.bytes().all(plain) {
        return None;
    }
    // Whatever it is, a percent sign too.
    let [user, password, name] = [user, password, name].map(|text| utf8_percent_encode(text, &ENCODED));
    let url = format!("postgres://{user}:{password}@{host}:{port}/{name}");
    url::Url::parse(&url).is_ok_and(|url| url.has_host()).then(|| url.into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::url;

    #[test]
    fn every_password_gets_through_a_url() {
        let made = url("db.example.com", 5433, "us/er", "p@:/?#%s wört", "na me").unwrap();
        assert_eq!(made.expose_secret(), "postgres://us%2Fer:p%40%3A%2F%3F%23%25s%20w%C3%B6rt@db.example.com:5433/na%20me");
        assert_eq!(url("::1", 1, "u", "p%20", "d").unwrap().expose_secret(), "postgres://u:p%2520@[::1]:1/d");
        assert!(url("a/b", 1, "u", "p", "d").is_none() && url("a@b", 1, "u", "p", "d").is_none());
    }
}
