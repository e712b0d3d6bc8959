//! Things to publish. Their bytes follow from their numbers, so that nothing has to be kept for holding the server's against them.
#![cfg(test)]

use entrepot_format_npm::testing::{Archive, manifest, publish_body};
use entrepot_kit::Sha256Digest;
use http::{Method, StatusCode};

use crate::support::api::Api;

/// Packages of one round: fewer than versions, and with another period than publishers, so that publishers meet in them.
pub(crate) const PACKAGES: usize = 12;
/// How often a publish is tried that others overtook.
const ATTEMPTS: usize = 20;

/// A version of a package, or a plain file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Item {
    pub(crate) round: usize,
    pub(crate) number: usize,
}

/// What became of a publish.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The server said that it has it.
    Acknowledged,
    /// The server said that it had it before.
    Taken,
    /// The connection ended without an answer.
    Unanswered,
}

/// A number that looks random and is always the same for a seed.
pub(crate) fn mixed(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Bytes that no compression makes smaller.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length.div_ceil(8) as u64).flat_map(|at| mixed(seed ^ at.wrapping_mul(0xff51_afd7_ed55_8ccd)).to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

impl Item {
    fn seed(self) -> u64 {
        mixed((self.round as u64) << 32 | self.number as u64)
    }

    pub(crate) fn is_package(self) -> bool {
        self.number.is_multiple_of(2)
    }

    /// Most are small enough to live in the catalog (64 KiB), some are files of their own, a few have several MiB.
    fn size(self) -> usize {
        let more = self.seed() as usize;
        match self.number % 32 {
            2 | 7 | 14 | 19 | 26 => 65_000 + more % 250_000,
            11 => (2 << 20) + more % (2 << 20),
            _ => more % 20_000,
        }
    }

    /// The package of a version.
    pub(crate) fn package(self) -> String {
        format!("crash-{}-{}", self.round, self.number % PACKAGES)
    }

    pub(crate) fn version(self) -> String {
        format!("1.0.{}", self.number)
    }

    /// The version of a package of a round.
    pub(crate) fn of_version(round: usize, version: &str) -> Self {
        Self { round, number: version.strip_prefix("1.0.").unwrap().parse().unwrap() }
    }

    /// The file at a path.
    pub(crate) fn of_path(path: &str) -> Self {
        let mut parts = path.strip_prefix("crash/").and_then(|rest| rest.strip_suffix(".bin")).unwrap().split('/').map(|part| part.parse().unwrap());
        Self { round: parts.next().unwrap(), number: parts.next().unwrap() }
    }

    /// Where its bytes are.
    pub(crate) fn url(self) -> String {
        if self.is_package() {
            let package = self.package();
            format!("/main/npm/{package}/-/{package}-{}.tgz", self.version())
        } else {
            format!("/main/generic/crash/{}/{}.bin", self.round, self.number)
        }
    }

    /// Its bytes.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let filling = noise(self.seed(), self.size());
        if !self.is_package() {
            return filling;
        }
        let manifest = manifest(&self.package(), &self.version());
        Archive::new().file("package/package.json", manifest.to_string().as_bytes()).file("package/filling.bin", &filling).finish()
    }

    /// Sends it once.
    pub(crate) async fn send(self, api: &Api) -> reqwest::Result<reqwest::Response> {
        let bytes = self.bytes();
        let (path, content_type, body) = if self.is_package() {
            let manifest = manifest(&self.package(), &self.version());
            (format!("/main/npm/{}", self.package()), "application/json", publish_body(&manifest, &bytes, "latest").to_string().into_bytes())
        } else {
            (self.url(), "application/octet-stream", bytes)
        };
        api.request(Method::PUT, &path).header("content-type", content_type).body(body).send().await
    }

    /// Publishes it, again when somebody else published another version of its package in between. Panics when the server refuses it.
    pub(crate) async fn publish(self, api: &Api) -> Outcome {
        for _ in 0..ATTEMPTS {
            // Only a status that arrived counts as an answer; the rest of it does not matter.
            let Ok(answer) = self.send(api).await else { return Outcome::Unanswered };
            let status = answer.status();
            if status.is_success() {
                return Outcome::Acknowledged;
            }
            let text = answer.text().await.unwrap_or_default();
            match (status, self.is_package()) {
                (StatusCode::FORBIDDEN, true) if text.contains("previously published") => return Outcome::Taken,
                (StatusCode::CONFLICT, false) => return Outcome::Taken,
                (StatusCode::CONFLICT, true) => {}
                _ => panic!("{self:?}: {status} {text}"),
            }
        }
        panic!("{self:?}: others overtook it {ATTEMPTS} times")
    }

    /// Whether it can be read, and then what is wrong with it.
    pub(crate) async fn read(self, api: &Api) -> Result<bool, String> {
        let reply = api.get(&self.url()).await;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let (wanted, found) = (Sha256Digest::of(&self.bytes()), Sha256Digest::of(&reply.body));
        if reply.status != StatusCode::OK || wanted != found {
            return Err(format!("{}: {} with {} bytes of digest {found} instead of {wanted}", self.url(), reply.status, reply.body.len()));
        }
        Ok(true)
    }
}
