//! Attestations (PEP 740): what a publisher says, signed, of a file. Their form and what they are about are checked; the signatures are for
//! whoever installs the file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrepot_kit::{Error, Result};
use serde_json::{Value, json};

/// Largest list of attestations.
pub(crate) const LARGEST: usize = 2 << 20;
/// Most attestations of a file.
const MOST: usize = 16;
/// The only type of statement that there is.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// Checks the attestations that came with a file, and makes the document that is served of them.
///
/// # Errors
/// 400 saying what is wrong with them.
pub(crate) fn provenance(text: &str, filename: &str, sha256: &str, publisher: &str) -> Result<String> {
    let attestations: Value = serde_json::from_str(text).map_err(|_| refused("they are not JSON"))?;
    let list = attestations.as_array().filter(|list| (1..=MOST).contains(&list.len())).ok_or_else(|| refused(format!("they are no list of 1 to {MOST}")))?;
    let mut types = Vec::new();
    for attestation in list {
        let kind = check(attestation, filename, sha256)?;
        if types.contains(&kind) {
            return Err(refused(format!("there are two of the type {kind:?}")));
        }
        types.push(kind);
    }
    let document = json!({
        "version": 1,
        "attestation_bundles": [{"publisher": {"kind": "entrepot", "claims": null, "name": publisher}, "attestations": attestations}],
    });
    Ok(document.to_string())
}

/// Checks one, and tells its type.
fn check(attestation: &Value, filename: &str, sha256: &str) -> Result<String> {
    if attestation.get("version").and_then(Value::as_u64) != Some(1) {
        return Err(refused("one has another version than 1"));
    }
    let text = |pointer: &str| attestation.pointer(pointer).and_then(Value::as_str);
    let bytes = |pointer: &str| text(pointer).and_then(|text| STANDARD.decode(text).ok()).filter(|bytes| !bytes.is_empty());
    if bytes("/verification_material/certificate").is_none() {
        return Err(refused("one has no certificate in base64"));
    }
    let entries = attestation.pointer("/verification_material/transparency_entries").and_then(Value::as_array);
    if !entries.is_some_and(|entries| !entries.is_empty() && entries.iter().all(Value::is_object)) {
        return Err(refused("one has no transparency_entries"));
    }
    if bytes("/envelope/signature").is_none() {
        return Err(refused("one has no signature in base64"));
    }
    let statement = bytes("/envelope/statement").ok_or_else(|| refused("one has no statement in base64"))?;
    let statement: Value = serde_json::from_slice(&statement).map_err(|_| refused("a statement is not JSON"))?;
    if statement.get("_type").and_then(Value::as_str) != Some(STATEMENT) {
        return Err(refused(format!("a statement is not of the type {STATEMENT:?}")));
    }
    let subjects = statement.get("subject").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let [subject] = subjects else { return Err(refused("a statement has not exactly one subject")) };
    let named = subject.get("name").and_then(Value::as_str);
    let digest = subject.pointer("/digest/sha256").and_then(Value::as_str);
    // Tools may write the name of a file in its normal form.
    let same_file = named.is_some_and(|named| named == filename || same_name(named, filename));
    if !same_file || !digest.is_some_and(|digest| digest.eq_ignore_ascii_case(sha256)) {
        return Err(refused(format!("a statement is about another file than {filename} with the SHA-256 {sha256}")));
    }
    let kind = statement.get("predicateType").and_then(Value::as_str).filter(|kind| !kind.is_empty());
    kind.map(str::to_owned).ok_or_else(|| refused("a statement has no predicateType"))
}

fn same_name(one: &str, other: &str) -> bool {
    let read = crate::filename::Filename::parse;
    matches!((read(one), read(other)), (Ok(one), Ok(other)) if one == other)
}

fn refused(why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid attestations: {why}")).with_reason("Invalid attestations supplied during upload")
}

#[cfg(test)]
mod tests {
    use super::provenance;
    use crate::testing::attestation;
    use serde_json::{Value, json};

    const NAME: &str = "foo-1.0-py3-none-any.whl";
    const SHA256: &str = "ab";

    #[test]
    fn honest_ones_are_kept_as_they_are() {
        let one = attestation(NAME, SHA256);
        let document: Value = serde_json::from_str(&provenance(&json!([one]).to_string(), NAME, SHA256, "user:bob").unwrap()).unwrap();
        assert_eq!(document["version"], 1);
        assert_eq!(document["attestation_bundles"][0]["attestations"][0], one);
        assert_eq!(document["attestation_bundles"][0]["publisher"]["kind"], "entrepot");
    }

    #[test]
    fn others_are_refused() {
        type Spoil = fn(&mut Value);
        let edits: [(&str, Spoil); 7] = [
            ("version", |one| one["version"] = json!(2)),
            ("certificate", |one| one["verification_material"]["certificate"] = json!("?")),
            ("entries", |one| one["verification_material"]["transparency_entries"] = json!([])),
            ("signature", |one| one["envelope"]["signature"] = json!("")),
            ("statement", |one| one["envelope"]["statement"] = json!("e30=")),
            ("no envelope", |one| one["envelope"] = json!(null)),
            ("no object", |one| *one = json!(1)),
        ];
        for (what, edit) in edits {
            let mut one = attestation(NAME, SHA256);
            edit(&mut one);
            assert!(provenance(&json!([one]).to_string(), NAME, SHA256, "").is_err(), "{what}");
        }
        let one = attestation(NAME, SHA256);
        assert!(provenance(&json!([one]).to_string(), NAME, "cd", "").is_err());
        assert!(provenance(&json!([one]).to_string(), "bar-1.0-py3-none-any.whl", SHA256, "").is_err());
        assert!(provenance(&json!([one, one]).to_string(), NAME, SHA256, "").is_err());
        for bad in ["", "[]", "{}", "[[]]"] {
            assert!(provenance(bad, NAME, SHA256, "").is_err(), "{bad}");
        }
    }
}
