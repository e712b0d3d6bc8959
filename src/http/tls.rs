//! TLS from two files, read again when they change: a renewed certificate is shown without a restart.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys, ServerConfig};
use tokio::sync::Notify;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Largest file: a chain has a few kilobytes.
const MOST_BYTES: u64 = 1 << 20;

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead to its authority, in PEM form, its own first.
    pub certificate: PathBuf,
    /// Its private key in PEM form.
    pub key: PathBuf,
}

/// What tells that files changed: their lengths and times.
type Look = [Option<(u64, SystemTime)>; 2];

impl TlsFiles {
    /// Reads both files and holds them against each other.
    ///
    /// # Errors
    /// What is wrong with which file, with nothing of what is in it.
    pub fn check(&self) -> Result<(), String> {
        self.load(&aws_lc_rs::default_provider()).map(drop)
    }

    fn load(&self, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let pem = read(&self.certificate).map_err(|cause| format!("tls.certificate: cannot read {certificate}: {cause}"))?;
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|cause| format!("tls.certificate: {certificate} is no good PEM: {}", pem_problem(&cause)))?;
        let Some(own) = chain.first() else {
            return Err(format!("tls.certificate: {certificate} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"));
        };
        ParsedCertificate::try_from(own)
            .map_err(|cause| format!("tls.certificate: the first certificate of {certificate} cannot be used for a server: {cause}"))?;
        let pem = read(&self.key).map_err(|cause| format!("tls.key: cannot read {key}: {cause}"))?;
        let secret = match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(secret) => secret,
            Err(PemError::NoItemsFound) => {
                return Err(format!("tls.key: {key} holds no private key in PEM form without a password (-----BEGIN PRIVATE KEY-----)"));
            }
            Err(cause) => return Err(format!("tls.key: {key} is no good PEM: {}", pem_problem(&cause))),
        };
        CertifiedKey::from_der(chain, secret, provider).map_err(|cause| match cause {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("tls.key: {key} is not the key of the first certificate of {certificate} (the server's own comes first, then those that lead to its authority)")
            }
            cause => format!("tls.key: the key in {key} cannot be used: {cause}"),
        })
    }

    fn look(&self) -> Look {
        [&self.certificate, &self.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.len(), found.modified().ok()?))
        })
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    entrepot_kit::LimitedReader::new(std::fs::File::open(path)?, MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The library's own words repeat lines of the file.
fn pem_problem(cause: &PemError) -> &'static str {
    match cause {
        PemError::MissingSectionEnd { .. } => "it ends before its -----END line",
        PemError::Base64Decode(_) => "what stands between its -----BEGIN and -----END lines is not base64",
        _ => "a line that begins with ----- is malformed",
    }
}

/// The certificate that clients are shown, and its key.
pub struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// How the files looked when they were read last.
    seen: RwLock<Look>,
    asked: Notify,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        // Looked at before they are read: what changes meanwhile is read once more.
        let seen = files.look();
        let current = files.load(&provider)?;
        Ok(Arc::new(Self { files, provider, current: RwLock::new(Arc::new(current)), seen: RwLock::new(seen), asked: Notify::new() }))
    }

    /// The settings of a listener that shows this certificate: TLS 1.2 and 1.3. HTTP/2 is offered by the web framework.
    ///
    /// # Errors
    /// When the cryptographic provider lacks something; it does not.
    pub fn config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions()?;
        Ok(builder.with_no_client_auth().with_cert_resolver(Arc::new(Shown(Arc::clone(self)))))
    }

    /// Has the files read again, changed or not.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// Looks at the files every two seconds. Runs until the process ends.
    pub async fn watch(self: Arc<Self>) {
        loop {
            let asked = tokio::time::timeout(LOOK, self.asked.notified()).await.is_ok();
            let certificate = Arc::clone(&self);
            let read = tokio::task::spawn_blocking(move || certificate.read_again(asked)).await;
            if let Err(cause) = read {
                tracing::error!(%cause, "the certificate could not be looked at");
            }
        }
    }

    fn read_again(&self, asked: bool) {
        let look = self.files.look();
        if !asked && look == *self.seen.read() {
            return;
        }
        *self.seen.write() = look;
        match self.files.load(&self.provider) {
            Ok(new) => {
                *self.current.write() = Arc::new(new);
                tracing::info!(file = %self.files.certificate.display(), "the certificate was read again and is shown from now on");
            }
            Err(problem) => tracing::error!(problem, "the certificate was changed and cannot be used: the one before is kept"),
        }
    }
}

/// What rustls asks at each handshake.
#[derive(Debug)]
struct Shown(Arc<Certificate>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.current.read()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Certificate, TlsFiles};

    fn pair(folder: &Path) -> (TlsFiles, String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        (files, made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn each_mistake_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (files, certificate, key) = pair(folder.path());
        let (_, _, other_key) = pair(folder.path());
        assert!(files.check().unwrap_err().starts_with("tls.certificate: cannot read"));
        let cases = [
            ("", key.as_str(), "holds no certificate"),
            (key.as_str(), key.as_str(), "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", key.as_str(), "ends before its -----END line"),
            ("-----BEGIN CERTIFICATE-----\n!secret!\n-----END CERTIFICATE-----\n", key.as_str(), "is not base64"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key.as_str(), "cannot be used for a server"),
            (certificate.as_str(), "", "tls.key: "),
            (certificate.as_str(), certificate.as_str(), "holds no private key"),
            (certificate.as_str(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be used"),
            (certificate.as_str(), other_key.as_str(), "is not the key of the first certificate"),
        ];
        for (certificate, key, expected) in cases {
            std::fs::write(&files.certificate, certificate).unwrap();
            std::fs::write(&files.key, key).unwrap();
            let problem = files.check().unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("secret"), "{problem} is not {expected}");
        }
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        files.check().unwrap();
    }

    #[test]
    fn a_new_pair_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (files, certificate, key) = pair(folder.path());
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        let shown = Certificate::open(files.clone()).unwrap();
        let first = shown.current.read().cert.clone();
        shown.read_again(true);
        assert_eq!(shown.current.read().cert, first);
        std::fs::write(&files.key, "x").unwrap();
        shown.read_again(false);
        assert_eq!(shown.current.read().cert, first, "a broken pair is not taken");
        let (_, certificate, key) = pair(folder.path());
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        shown.read_again(true);
        assert_ne!(shown.current.read().cert, first, "a good one is");
    }
}
