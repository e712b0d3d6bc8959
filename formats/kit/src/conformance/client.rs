//! What the cases share: making repositories, asking, and saying what came instead.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Ask, NewRepository, Reply, Specimen, Subject, Variant};
use crate::records::Kind;

/// Fails with a message unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(super) use ensure;

/// A specimen on a subject, for one case: names its repositories after the case.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub(super) subject: &'a dyn Subject,
    pub(super) specimen: &'a dyn Specimen,
    case: &'static str,
}

/// The three faces of one content: a hosted repository, a proxy of it, and a group over that proxy.
pub(super) struct Trio {
    pub(super) hosted: String,
    pub(super) proxy: String,
    pub(super) group: String,
}

impl Trio {
    pub(super) fn all(&self) -> [&str; 3] {
        [&self.hosted, &self.proxy, &self.group]
    }
}

impl<'a> Client<'a> {
    pub(super) fn new(subject: &'a dyn Subject, specimen: &'a dyn Specimen, case: &'static str) -> Self {
        Self { subject, specimen, case }
    }

    async fn create(&self, role: &str, kind: Kind, public: bool, settings: Value) -> Result<String, String> {
        let name = format!("{}-{}-{role}", self.specimen.format(), self.case);
        let repository = NewRepository { name: name.clone(), format: self.specimen.format(), kind, public, settings };
        self.subject.create(repository).await.map_err(|error| format!("the {kind:?} repository {name} could not be made: {error}"))?;
        Ok(name)
    }

    pub(super) async fn hosted(&self, role: &str, public: bool) -> Result<String, String> {
        self.create(role, Kind::Hosted, public, self.specimen.settings()).await
    }

    /// A proxy that asks its upstream about everything mutable each time.
    pub(super) async fn proxy(&self, role: &str, of: &str) -> Result<String, String> {
        let url = self.subject.upstream(of).await?;
        let upstream = json!({ "url": url, "allow_private": true, "mutable_ttl": 0, "negative_ttl": 0 });
        self.create(role, Kind::Proxy, true, json!({ "upstream": upstream })).await
    }

    pub(super) async fn group(&self, role: &str, members: &[&str]) -> Result<String, String> {
        let members: Vec<String> = members.iter().map(|member| format!("{}/{member}", self.subject.system())).collect();
        self.create(role, Kind::Group, true, json!({ "members": members })).await
    }

    pub(super) async fn trio(&self) -> Result<Trio, String> {
        let hosted = self.hosted("hosted", true).await?;
        let proxy = self.proxy("proxy", &hosted).await?;
        let group = self.group("group", &[&proxy]).await?;
        Ok(Trio { hosted, proxy, group })
    }

    pub(super) async fn send(&self, repository: &str, ask: Ask) -> Result<Reply, String> {
        let asked = said(repository, &ask);
        self.subject.send(repository, ask).await.map_err(|error| format!("{asked}: no answer: {error}"))
    }

    /// Sends a request and fails unless the answer has that status.
    pub(super) async fn expect(&self, repository: &str, ask: Ask, status: StatusCode) -> Result<Reply, String> {
        let asked = said(repository, &ask);
        let reply = self.send(repository, ask).await?;
        ensure!(reply.status == status, "{asked}: expected {status}, came {}", reply.describe());
        Ok(reply)
    }

    pub(super) async fn get(&self, repository: &str, path: &str) -> Result<Reply, String> {
        self.expect(repository, Ask::get(path), StatusCode::OK).await
    }

    pub(super) async fn index(&self, repository: &str, variant: &Variant) -> Result<Reply, String> {
        self.expect(repository, ask_for(variant), StatusCode::OK).await
    }

    /// The index as it can be compared between repositories: without links to the one that gave it.
    pub(super) async fn comparable_index(&self, repository: &str, variant: &Variant) -> Result<Vec<u8>, String> {
        let reply = self.index(repository, variant).await?;
        // What is compressed as a whole has no links that could be seen.
        match std::str::from_utf8(&reply.body) {
            Ok(text) => Ok(self.specimen.comparable(text.replace(&self.subject.url(repository), "").as_bytes())),
            Err(_) => Ok(self.specimen.comparable(&reply.body)),
        }
    }

    /// Publishes, and fails unless every request succeeds.
    pub(super) async fn publish(&self, repository: &str, name: &str, version: &str, filling: &str) -> Result<(), String> {
        for ask in self.specimen.publish(name, version, filling) {
            let asked = said(repository, &ask);
            let reply = self.send(repository, ask).await?;
            ensure!(reply.status.is_success(), "{asked}: a publish of {name} {version} must succeed, came {}", reply.describe());
        }
        Ok(())
    }

    /// Fails unless the file of a version is there with exactly its bytes.
    pub(super) async fn file_is(&self, repository: &str, name: &str, version: &str, filling: &str) -> Result<Reply, String> {
        let path = self.specimen.file_path(name, version);
        let reply = self.get(repository, &path).await?;
        let wanted: Bytes = self.specimen.file(name, version, filling);
        ensure!(reply.body == wanted, "GET {repository}/{path}: expected the {} bytes that were published, came {}", wanted.len(), reply.describe());
        Ok(reply)
    }

    pub(super) async fn revision(&self, repository: &str) -> Result<u64, String> {
        self.subject.revision(repository).await.map_err(|error| format!("the newest revision of {repository} is not known: {error}"))
    }

    pub(super) fn error_is_well_put(&self, asked: &str, reply: &Reply) -> Result<(), String> {
        self.specimen.check_error(reply).map_err(|wrong| format!("{asked}: the error {} is not in the format's words: {wrong}", reply.describe()))
    }
}

pub(super) fn ask_for(variant: &Variant) -> Ask {
    let ask = Ask::get(variant.path.clone());
    match variant.accept {
        Some(accept) => ask.with("accept", accept),
        None => ask,
    }
}

/// A request in words.
pub(super) fn said(repository: &str, ask: &Ask) -> String {
    let headers: Vec<String> = ask.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let path: String = ask.path.chars().take(200).collect();
    format!("{} {repository}/{path} [{}] by {:?}", ask.method, headers.join(", "), ask.who)
}
