//! Manifests of schema 1, which old upstreams still have: they carry signatures in themselves, and their digest is that of the rest.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

#[derive(Deserialize)]
struct Signed {
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protected {
    format_length: usize,
    format_tail: String,
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// The bytes that were signed, and that the manifest's digest is of; `None` when it is not signed. The signatures themselves are not
/// checked: nobody has their keys any more.
#[must_use]
pub fn payload(manifest: &[u8]) -> Option<Vec<u8>> {
    let signed: Signed = serde_json::from_slice(manifest).ok()?;
    let protected = decode(&signed.signatures.first()?.protected)?;
    let Protected { format_length, format_tail } = serde_json::from_slice(&protected).ok()?;
    let mut payload = manifest.get(..format_length)?.to_vec();
    payload.extend_from_slice(&decode(&format_tail)?);
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::payload;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    #[test]
    fn the_signed_bytes_are_found() {
        let unsigned = "{\n   \"schemaVersion\": 1,\n   \"fsLayers\": []\n}";
        let length = unsigned.len() - 2;
        let protected = format!(r#"{{"formatLength":{length},"formatTail":"{}","time":"2016-01-01T00:00:00Z"}}"#, URL_SAFE_NO_PAD.encode("\n}"));
        let signed = format!(
            "{},\n   \"signatures\": [{{\"protected\": \"{}\", \"signature\": \"x\"}}]\n}}",
            unsigned.strip_suffix("\n}").unwrap(),
            URL_SAFE_NO_PAD.encode(protected)
        );
        assert_eq!(payload(signed.as_bytes()).as_deref(), Some(unsigned.as_bytes()));
        for other in ["", "{}", unsigned, "{\"signatures\":[]}", "{\"signatures\":[{\"protected\":\"e30\"}]}"] {
            assert_eq!(payload(other.as_bytes()), None, "{other}");
        }
        let too_long = URL_SAFE_NO_PAD.encode(r#"{"formatLength":99999,"formatTail":""}"#);
        assert_eq!(payload(format!("{{\"signatures\":[{{\"protected\":\"{too_long}\"}}]}}").as_bytes()), None);
    }
}
