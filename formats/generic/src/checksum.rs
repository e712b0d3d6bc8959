//! What a client says that its body hashes to, in any of the spellings in use.

use entrepot_kit::{Algorithm, Digests, Error, Result};
use http::HeaderMap;

/// One digest that a header claims.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Claim {
    header: String,
    algorithm: Algorithm,
    digest: Vec<u8>,
}

/// All that the headers claim.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Claims(Vec<Claim>);

/// Hexadecimal digests, a header per algorithm.
const HEX: [(&str, Algorithm); 4] = [
    ("x-checksum-md5", Algorithm::Md5),
    ("x-checksum-sha1", Algorithm::Sha1),
    ("x-checksum-sha256", Algorithm::Sha256),
    ("x-checksum-sha512", Algorithm::Sha512),
];

/// Lists of `algorithm=base64` (RFC 3230) or `algorithm=:base64:` (RFC 9530). The body is stored with whatever encoding it
/// has, so that content and representation are the same bytes.
const LISTS: [&str; 3] = ["digest", "repr-digest", "content-digest"];

/// Most claims that are read of one request.
const MOST: usize = 16;

impl Claims {
    /// Reads the headers. Algorithms that are not known here are passed over, as RFC 9530 has it.
    ///
    /// # Errors
    /// 400 for a digest that is malformed: the client meant to have something checked.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self> {
        let mut claims = Self::default();
        for (header, algorithm) in HEX {
            for value in texts(headers, header)? {
                let mut digests = Digests::new();
                digests.insert_hex(algorithm, value.trim());
                claims.add(header, algorithm, &digests)?;
            }
        }
        for value in texts(headers, "content-md5")? {
            claims.add_base64("content-md5", Algorithm::Md5, value.trim())?;
        }
        for header in LISTS {
            for item in texts(headers, header)?.iter().flat_map(|value| value.split(',')) {
                let Some((name, value)) = item.split_once('=') else {
                    return Err(Error::bad_request(format!("the header {header} is a list of ALGORITHM=DIGEST")));
                };
                let Some(algorithm) = Algorithm::parse(name.trim()) else { continue };
                let value = value.split(';').next().unwrap_or(value).trim();
                let value = value.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).unwrap_or(value);
                claims.add_base64(header, algorithm, value)?;
            }
        }
        Ok(claims)
    }

    fn add_base64(&mut self, header: &'static str, algorithm: Algorithm, value: &str) -> Result<()> {
        self.add(header, algorithm, &Digests::parse_integrity(&format!("{}-{value}", algorithm.name())))
    }

    fn add(&mut self, header: &'static str, algorithm: Algorithm, parsed: &Digests) -> Result<()> {
        let Some(digest) = parsed.get(algorithm) else {
            return Err(Error::bad_request(format!("the header {header} does not hold a {} digest", algorithm.name())));
        };
        if self.0.len() >= MOST {
            return Err(Error::bad_request("too many checksum headers"));
        }
        self.0.push(Claim { header: header.to_owned(), algorithm, digest: digest.to_vec() });
        Ok(())
    }

    /// The algorithms that are needed to check them, SHA-256 (which is always known) among them.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        Algorithm::ALL.into_iter().filter(|algorithm| *algorithm == Algorithm::Sha256 || self.0.iter().any(|claim| claim.algorithm == *algorithm)).collect()
    }

    /// Whether they say that the body is not the one with these digests.
    pub(crate) fn contradict(&self, actual: &Digests) -> bool {
        self.check(actual).is_err()
    }

    /// Compares them with what the body hashes to.
    ///
    /// # Errors
    /// 422 naming the header that is wrong.
    pub(crate) fn check(&self, actual: &Digests) -> Result<()> {
        match self.0.iter().find(|claim| actual.get(claim.algorithm).is_some_and(|digest| digest != claim.digest)) {
            None => Ok(()),
            Some(claim) => Err(Error::unprocessable(format!(
                "the body does not match the header {}: its {} is {}; nothing was stored",
                claim.header,
                claim.algorithm.name(),
                actual.hex(claim.algorithm).unwrap_or_default()
            ))),
        }
    }
}

fn texts<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Vec<&'a str>> {
    let text = |value: &'a http::HeaderValue| value.to_str().map_err(|_| Error::bad_request(format!("the header {name} is not text")));
    headers.get_all(name).iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::Claims;
    use entrepot_kit::{Algorithm, Hasher};
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    /// Digests of `abc` in every spelling.
    const RIGHT: [(&str, &str); 8] = [
        ("x-checksum-md5", "900150983CD24FB0D6963F7D28E17F72"),
        ("x-checksum-sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("x-checksum-sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("content-md5", "kAFQmDzST7DWlj99KOF/cg=="),
        ("digest", "SHA-256=ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=,adler32=03da0195"),
        ("repr-digest", "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:"),
        ("content-digest", "unixsum=:AAA=:, sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:"),
        ("digest", "md5=kAFQmDzST7DWlj99KOF/cg=="),
    ];

    fn check(pairs: &[(&'static str, &str)], body: &[u8]) -> Option<StatusCode> {
        let claims = match Claims::read(&headers(pairs)) {
            Ok(claims) => claims,
            Err(error) => return Some(error.status()),
        };
        let mut hasher = Hasher::new(&claims.algorithms());
        hasher.update(body);
        claims.check(&hasher.finish().1).err().map(|error| error.status())
    }

    #[test]
    fn every_spelling_is_checked() {
        for right in RIGHT {
            assert_eq!(check(&[right], b"abc"), None, "{right:?}");
            assert_eq!(check(&[right], b"abd"), Some(StatusCode::UNPROCESSABLE_ENTITY), "{right:?}");
        }
        assert_eq!(check(&RIGHT[..3], b"abc"), None);
    }

    #[test]
    fn one_wrong_claim_among_right_ones_counts() {
        let claims = [RIGHT[2], ("repr-digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:")];
        assert_eq!(check(&claims, b"abc"), Some(StatusCode::UNPROCESSABLE_ENTITY));
    }

    #[test]
    fn malformed_claims_are_refused_and_unknown_algorithms_passed_over() {
        for malformed in [("x-checksum-sha256", "abc"), ("x-checksum-md5", ""), ("content-md5", "!!"), ("digest", "sha-256"), ("repr-digest", "sha-256=:AAA=:")]
        {
            assert_eq!(check(&[malformed], b"abc"), Some(StatusCode::BAD_REQUEST), "{malformed:?}");
        }
        let unknown = Claims::read(&headers(&[("repr-digest", "blake3=:AAAA:")])).unwrap();
        assert_eq!(unknown.algorithms(), [Algorithm::Sha256]);
    }
}
