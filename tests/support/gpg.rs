//! GnuPG with a keyring of its own: who verifies what is signed here is not who signed it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{self, Output, clean};

const PATIENCE: Duration = Duration::from_secs(120);

/// A keyring.
pub(crate) struct Gpg(TempDir);

impl Gpg {
    /// An empty one. Its agent listens at a socket, whose path must be short.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("gpg").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        Self(folder)
    }

    /// The home of the keyring.
    pub(crate) fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("gpg");
        clean(&mut command);
        command.arg("--homedir").arg(self.home()).args(["--batch", "--yes", "--status-fd", "1", "--no-autostart"]).args(arguments);
        process::run(command, PATIENCE)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    /// Takes public keys in.
    pub(crate) fn import(&self, keys: &[u8]) {
        let keys = self.file("keys", keys);
        let output = self.run(&["--import", &keys]);
        assert!(output.stdout.contains("IMPORT_OK"), "{}{}", output.stdout, output.stderr);
    }

    /// Whether a detached signature of a key of this ring is that of a document.
    pub(crate) fn verifies(&self, document: &[u8], signature: &[u8]) -> bool {
        let (document, signature) = (self.file("document", document), self.file("signature", signature));
        self.run(&["--verify", &signature, &document]).stdout.contains("VALIDSIG")
    }

    /// Makes a key, and gives its public part, armored.
    pub(crate) fn generate(&self, name: &str) -> PathBuf {
        let mut command = Command::new("gpg");
        clean(&mut command);
        command.arg("--homedir").arg(self.home()).args(["--batch", "--passphrase", "", "--quick-generate-key", name, "rsa2048", "sign", "never"]);
        process::run(command, PATIENCE).succeeded();
        let exported = self.run(&["--armor", "--export", name]).succeeded().stdout;
        let key = exported.find("-----BEGIN").and_then(|start| exported.get(start..)).unwrap();
        let path = self.0.path().join("public.asc");
        std::fs::write(&path, key).unwrap();
        path
    }

    /// Ends the agent that a private key was made with.
    pub(crate) fn end(&self) {
        let mut command = Command::new("gpgconf");
        clean(&mut command);
        command.env("GNUPGHOME", self.home()).args(["--kill", "all"]);
        process::run(command, PATIENCE);
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        if Path::new(&self.home()).join("S.gpg-agent").exists() {
            self.end();
        }
    }
}
