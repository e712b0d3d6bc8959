use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use entrepot_kit::verify::Trusted;
use entrepot_kit::{Sha256Digest, Timestamp};
use entrepot_oci_core::{Digest, Manifest};
use serde_json::{Value, json};

use super::{Outcome, recognise, subject_of_tag, tag_of_subject, verify};

macro_rules! fixture {
    ($name:expr) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/oci/", $name))
    };
}
macro_rules! envelope {
    ($name:expr) => {
        &include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/oci/notation/", $name))[..]
    };
}

const IMAGE: &str = fixture!("cosign/image.json");
/// Cosign's fixtures were made on the 26th of November 2026.
const NOW: Timestamp = Timestamp(1_796_000_000_000);

fn digest(bytes: &str) -> Digest {
    Digest::sha256(Sha256Digest::of(bytes.as_bytes()))
}

fn cosign_key() -> Vec<Trusted> {
    vec![Trusted::from_pem(fixture!("cosign/cosign.pub")).expect("a key")]
}

fn parse(manifest: &str) -> Manifest {
    Manifest::parse(manifest.as_bytes(), None, &[]).expect("a manifest")
}

/// What a manifest under these tags, with these layers, vouches for.
fn judge(manifest: &str, tags: &[&str], layers: &[&[u8]], subject: Option<&str>, keys: &[Trusted]) -> Outcome {
    let signature = recognise(&parse(manifest), tags.iter().copied()).expect("within the limits").expect("a signature");
    for (part, layer) in signature.parts.iter().zip(layers) {
        assert_eq!(part.digest, Digest::sha256(Sha256Digest::of(layer)), "the store gives what the digest names");
    }
    let contents: Vec<Bytes> = layers.iter().map(|layer| Bytes::copy_from_slice(layer)).collect();
    assert_eq!(contents.len(), signature.parts.len());
    verify(&signature, &contents, subject.map(str::as_bytes), keys, NOW)
}

fn vouches(outcome: &Outcome, subject: &str) -> bool {
    !outcome.verdicts.is_empty() && outcome.verdicts.iter().all(|verdict| verdict.subject == digest(subject) && verdict.key == 0)
}

fn refused(outcome: &Outcome, complaint: &str) {
    assert!(outcome.verdicts.is_empty(), "{complaint}: {outcome:?}");
    assert!(outcome.refusals.iter().any(|refusal| refusal.contains(complaint)), "{complaint}: {outcome:?}");
}

/// A manifest with one layer per content, of this type and with this annotation.
fn manifest(artifact: &str, layer_type: &str, layers: &[(&[u8], Option<&str>)], subject: Option<&str>) -> String {
    let descriptor = |bytes: &[u8]| json!({ "mediaType": layer_type, "digest": Digest::sha256(Sha256Digest::of(bytes)), "size": bytes.len() });
    let layers: Vec<Value> = layers
        .iter()
        .map(|(bytes, signature)| {
            let mut layer = descriptor(bytes);
            if let Some(signature) = signature {
                layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
            }
            layer
        })
        .collect();
    let empty = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest("{}"), "size": 2 });
    let mut manifest =
        json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": artifact, "config": empty, "layers": layers });
    if let Some(subject) = subject {
        manifest["subject"] = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(subject), "size": subject.len() });
    }
    manifest.to_string()
}

/// A key made here, so that what is tampered with can be signed rightly.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).expect("a key");
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, made.as_ref()).expect("a key"))
    }

    fn trusted(&self) -> Vec<Trusted> {
        // The beginning of a SubjectPublicKeyInfo for P-256, up to the point.
        let prefix = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").expect("base64");
        let der = STANDARD.encode([&prefix, self.0.public_key().as_ref()].concat());
        vec![Trusted::from_pem(&format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")).expect("a key")]
    }

    fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), message).expect("a signature"))
    }

    fn simple(&self, payload: &str, subject: &str) -> Outcome {
        let signature = self.sign(payload.as_bytes());
        let manifest =
            manifest("application/vnd.dev.cosign.artifact.sig.v1+json", super::SIMPLE_SIGNING, &[(payload.as_bytes(), Some(&signature))], Some(subject));
        judge(&manifest, &[], &[payload.as_bytes()], None, &self.trusted())
    }

    /// A bundle around a statement, signed over `encoding`.
    fn bundle(&self, statement: &str, encoding: &str) -> Value {
        json!({
            "mediaType": super::BUNDLES[0],
            "verificationMaterial": { "publicKey": { "hint": "any" } },
            "dsseEnvelope": {
                "payload": STANDARD.encode(statement),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{ "sig": self.sign(encoding.as_bytes()) }],
            },
        })
    }

    fn judge_bundle(&self, bundle: &str, subject: Option<&str>) -> Outcome {
        judge(&manifest(super::BUNDLES[0], super::BUNDLES[0], &[(bundle.as_bytes(), None)], Some(IMAGE)), &[], &[bundle.as_bytes()], subject, &self.trusted())
    }
}

fn payload(digest: &str) -> String {
    json!({
        "critical": {
            "identity": { "docker-reference": "somewhere/else" }, "image": { "docker-manifest-digest": digest }, "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string()
}

fn statement(predicate: &str, algorithm: &str, hex: &str) -> String {
    json!({ "_type": "https://in-toto.io/Statement/v1", "subject": [{ "digest": { algorithm: hex } }], "predicateType": predicate, "predicate": {} })
        .to_string()
}

fn encoded(payload_type: &str, statement: &str) -> String {
    format!("DSSEv1 {} {payload_type} {} {statement}", payload_type.len(), statement.len())
}

#[test]
fn what_cosign_makes_vouches_in_each_form() {
    let tag = tag_of_subject(&digest(IMAGE));
    assert_eq!(subject_of_tag(&tag), Some(digest(IMAGE)));
    let legacy = [fixture!("cosign/legacy.layer.json").as_bytes()];
    assert!(vouches(&judge(fixture!("cosign/legacy.manifest.json"), &["other", &tag], &legacy, None, &cosign_key()), IMAGE));
    let artifact = [fixture!("cosign/artifact.layer.json").as_bytes()];
    assert!(vouches(&judge(fixture!("cosign/artifact.manifest.json"), &[], &artifact, None, &cosign_key()), IMAGE));
    let bundle = [fixture!("cosign/bundle.layer.json").as_bytes()];
    assert!(vouches(&judge(fixture!("cosign/bundle.manifest.json"), &[], &bundle, None, &cosign_key()), IMAGE));
    // What `cosign sign-blob` makes of the manifest.
    let message = fixture!("cosign/message.layer.json").as_bytes();
    assert!(super::needs_subject(message) && !super::needs_subject(bundle[0]));
    let around = manifest(super::BUNDLES[0], super::BUNDLES[0], &[(message, None)], Some(IMAGE));
    assert!(vouches(&judge(&around, &[], &[message], Some(IMAGE), &cosign_key()), IMAGE));
    refused(&judge(&around, &[], &[message], None, &cosign_key()), "not here");
    refused(&judge(&around, &[], &[message], Some("another"), &cosign_key()), "another image");
    let tampered = fixture!("cosign/message.layer.json").replace("signature\":\"MEUC", "signature\":\"MEUD");
    let around = manifest(super::BUNDLES[0], super::BUNDLES[0], &[(tampered.as_bytes(), None)], Some(IMAGE));
    refused(&judge(&around, &[], &[tampered.as_bytes()], Some(IMAGE), &cosign_key()), "none of the keys");
    // By another key they vouch for nothing.
    let other = Signer::new().trusted();
    refused(&judge(fixture!("cosign/legacy.manifest.json"), &[&tag], &legacy, None, &other), "none of the keys");
    refused(&judge(fixture!("cosign/artifact.manifest.json"), &[], &artifact, None, &other), "none of the keys");
    refused(&judge(fixture!("cosign/bundle.manifest.json"), &[], &bundle, None, &other), "none of the keys");
    assert!(judge(fixture!("cosign/bundle.manifest.json"), &[], &bundle, None, &[]).verdicts.is_empty());
}

#[test]
fn a_tag_names_its_subject_and_nothing_else() {
    for bad in ["sha256-00.sig", "latest", &tag_of_subject(&digest("x")).to_uppercase(), &tag_of_subject(&digest("x")).replace(".sig", ".att")] {
        assert_eq!(subject_of_tag(bad), None, "{bad}");
    }
    let legacy = fixture!("cosign/legacy.manifest.json");
    // Without its tag it says nothing about anything; under another's it is of another image.
    assert_eq!(recognise(&parse(legacy), ["latest"]), Ok(None));
    let elsewhere = tag_of_subject(&digest("another image"));
    refused(&judge(legacy, &[&elsewhere], &[fixture!("cosign/legacy.layer.json").as_bytes()], None, &cosign_key()), "another image");
    assert_eq!(recognise(&parse(IMAGE), ["latest"]), Ok(None));
}

#[test]
fn simple_signing_is_read_strictly() {
    let signer = Signer::new();
    let right = payload(&digest(IMAGE).to_string());
    assert!(vouches(&signer.simple(&right, IMAGE), IMAGE));
    refused(&signer.simple(&right, "another image"), "of another image");
    refused(&signer.simple("no JSON", IMAGE), "cannot be read");
    refused(&signer.simple("{}", IMAGE), "is no");
    let twice = right.replace("\"image\":", &format!("\"image\":{{\"docker-manifest-digest\":\"{}\"}},\"image\":", digest("another image")));
    refused(&signer.simple(&twice, IMAGE), "stands twice");
    refused(&signer.simple(&right.replace("cosign container", "atomic container"), IMAGE), "is no");
    refused(&signer.simple(&payload(&digest(IMAGE).to_string().replace("sha256:", "sha512:")), IMAGE), "another image");
    refused(&signer.simple(&payload(&digest(IMAGE).to_string().to_uppercase()), IMAGE), "another image");
    refused(&signer.simple(&right.replace("docker-manifest-digest", "digest"), IMAGE), "names no image");
    // The signature of something else, none, and garbage.
    for signature in [Some(signer.sign(b"something else")), None, Some(String::from("%%%")), Some(String::new())] {
        let manifest = manifest("x/y", super::SIMPLE_SIGNING, &[(right.as_bytes(), signature.as_deref())], Some(IMAGE));
        assert!(judge(&manifest, &[], &[right.as_bytes()], None, &signer.trusted()).verdicts.is_empty(), "{signature:?}");
    }
    // One good signature among bad ones is enough, and who made it is told.
    let (other, good) = (Signer::new(), signer.sign(right.as_bytes()));
    let layers = [(&b"{}"[..], Some("AA==")), (right.as_bytes(), Some(&*good))];
    let keys: Vec<Trusted> = other.trusted().into_iter().chain(signer.trusted()).collect();
    let outcome = judge(&manifest("x/y", super::SIMPLE_SIGNING, &layers, Some(IMAGE)), &[], &[b"{}", right.as_bytes()], None, &keys);
    assert_eq!(outcome.verdicts.iter().map(|verdict| verdict.key).collect::<Vec<_>>(), [1]);
    assert_eq!(outcome.refusals.len(), 1);
}

#[test]
fn bundles_are_read_strictly() {
    const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
    const IN_TOTO: &str = "application/vnd.in-toto+json";
    let signer = Signer::new();
    let image = digest(IMAGE);
    let right = statement(SIGNED, "sha256", image.hex());
    let good = signer.bundle(&right, &encoded(IN_TOTO, &right));
    assert!(vouches(&signer.judge_bundle(&good.to_string(), None), IMAGE));

    let stated = |statement: &str| signer.judge_bundle(&signer.bundle(statement, &encoded(IN_TOTO, statement)).to_string(), None);
    refused(&stated(&statement("https://slsa.dev/provenance/v1", "sha256", image.hex())), "is an attestation");
    refused(&stated(&statement(SIGNED, "sha512", image.hex())), "another image");
    refused(&stated(&statement(SIGNED, "sha256", digest("another").hex())), "another image");
    refused(&stated(&right.replace("\"predicate\":{}", "\"predicate\":{},\"subject\":[]")), "stands twice");
    refused(&stated("not JSON"), "cannot be read");
    refused(&stated(&right.replace("in-toto.io/Statement", "example.com/Statement")), "no in-toto statement");

    // Another encoding than that of DSSE: the bare payload, another type, other lengths.
    for wrong in [right.clone(), encoded("application/json", &right), encoded(IN_TOTO, &right).replacen("28", "29", 1), encoded(IN_TOTO, &format!("{right} "))]
    {
        refused(&signer.judge_bundle(&signer.bundle(&right, &wrong).to_string(), None), "none of the keys");
    }
    let changed = |path: &str, value: Value| {
        let mut bundle = good.clone();
        *bundle.pointer_mut(path).expect(path) = value;
        signer.judge_bundle(&bundle.to_string(), None)
    };
    refused(&changed("/mediaType", json!("application/vnd.dev.sigstore.bundle+json;version=0.1")), "version 0.3");
    refused(&changed("/dsseEnvelope/payloadType", json!("application/json")), "payload must be");
    refused(&changed("/dsseEnvelope/signatures", json!([])), "one signature");
    let both = json!([good["dsseEnvelope"]["signatures"][0], good["dsseEnvelope"]["signatures"][0]]);
    refused(&changed("/dsseEnvelope/signatures", both), "one signature");
    refused(&changed("/dsseEnvelope/payload", json!(STANDARD.encode(statement(SIGNED, "sha256", image.hex()).replace("{}", "{ }")))), "none of the keys");
    let text = good.to_string();
    refused(&signer.judge_bundle(&text.replacen("\"dsseEnvelope\":", "\"dsseEnvelope\":{},\"dsseEnvelope\":", 1), None), "stands twice");
    refused(&signer.judge_bundle(&text.replacen("\"dsseEnvelope\":", "\"messageSignature\":{},\"dsseEnvelope\":", 1), None), "either");
    refused(&signer.judge_bundle("[]", None), "version 0.3");
    refused(&signer.judge_bundle("", None), "cannot be read");
}

#[test]
fn counts_and_sizes_are_bounded() {
    let layer = |size: u64| json!({ "mediaType": super::SIMPLE_SIGNING, "digest": digest("x"), "size": size });
    let many = |count: usize, size: u64| {
        let mut manifest: Value = serde_json::from_str(&manifest("x/y", super::SIMPLE_SIGNING, &[], Some(IMAGE))).expect("JSON");
        manifest["layers"] = json!(vec![layer(size); count]);
        recognise(&parse(&manifest.to_string()), [])
    };
    assert!(many(64, 1).is_ok_and(|signature| signature.is_some_and(|signature| signature.parts.len() == 64)));
    assert!(many(65, 1).is_err_and(|refusal| refusal.contains("more than 64")));
    assert!(many(1, (64 << 10) + 1).is_err_and(|refusal| refusal.contains("at most 65536")));
    let mut huge: Value = serde_json::from_str(fixture!("cosign/bundle.manifest.json")).expect("JSON");
    huge["layers"][0]["size"] = json!(1_048_577);
    assert!(recognise(&parse(&huge.to_string()), []).is_err());
    // A length other than the manifest says is not verified at all.
    let signature = recognise(&parse(fixture!("cosign/bundle.manifest.json")), []).expect("within the limits").expect("a signature");
    refused(&verify(&signature, &[Bytes::from_static(b"{}")], None, &cosign_key(), NOW), "length");
}

const NOTATION_IMAGE: &str = fixture!("notation/image.json");

fn judge_notation(layer_type: &str, envelope: &[u8], keys: &[&str]) -> Outcome {
    let keys: Vec<Trusted> = keys.iter().map(|pem| Trusted::from_pem(pem).expect("a certificate")).collect();
    judge(&manifest(super::NOTATION, layer_type, &[(envelope, None)], Some(NOTATION_IMAGE)), &[], &[envelope], None, &keys)
}

#[test]
fn what_notation_makes_vouches() {
    let made = [
        (fixture!("notation/p256.root.pem"), envelope!("p256.jws"), envelope!("p256.cose")),
        (fixture!("notation/p256.leaf.pem"), envelope!("p256.jws"), envelope!("p256.cose")),
        (fixture!("notation/p256.root.pem"), envelope!("p256.expiring.jws"), envelope!("p256.expiring.cose")),
        (fixture!("notation/p256.root.pem"), envelope!("p256.authority.jws"), envelope!("p256.authority.cose")),
        (fixture!("notation/p384.root.pem"), envelope!("p384.jws"), envelope!("p384.cose")),
        (fixture!("notation/rsa2048.root.pem"), envelope!("rsa2048.jws"), envelope!("rsa2048.cose")),
        (fixture!("notation/rsa3072.root.pem"), envelope!("rsa3072.jws"), envelope!("rsa3072.cose")),
    ];
    for (trusted, jws, cose) in made {
        for outcome in [judge_notation(super::JWS, jws, &[trusted]), judge_notation(super::COSE, cose, &[trusted])] {
            assert!(vouches(&outcome, NOTATION_IMAGE), "{outcome:?}");
        }
        let stranger =
            if trusted.contains(fixture!("notation/p384.root.pem")) { fixture!("notation/p256.root.pem") } else { fixture!("notation/p384.root.pem") };
        refused(&judge_notation(super::JWS, jws, &[stranger]), "leads to none that is trusted");
        refused(&judge_notation(super::COSE, cose, &[stranger]), "leads to none that is trusted");
    }
    // A verdict ends with the first of what it rests on.
    let until = |jws: &[u8]| judge_notation(super::JWS, jws, &[fixture!("notation/p256.root.pem")]).verdicts.first().and_then(|verdict| verdict.until);
    assert_eq!(until(envelope!("p256.expiring.jws")), Timestamp::parse_rfc3339("2120-01-01T00:00:00Z"));
    assert_eq!(until(envelope!("p256.jws")), Timestamp::parse_rfc3339("2126-01-01T00:00:00.999Z"));
}

#[test]
fn notation_is_read_strictly() {
    let root = fixture!("notation/p256.root.pem");
    for (name, jws, cose) in [
        ("expired", envelope!("p256.expired.jws"), envelope!("p256.expired.cose")),
        ("not understood", envelope!("p256.plugin.jws"), envelope!("p256.plugin.cose")),
        ("is valid from", envelope!("p256.old-certificate.jws"), envelope!("p256.old-certificate.cose")),
    ] {
        refused(&judge_notation(super::JWS, jws, &[root]), name);
        refused(&judge_notation(super::COSE, cose, &[root]), name);
    }
    // Every byte counts, but for the name of the tool, which is not signed.
    const AGENT: &[u8] = b"x\x1bio.cncf.notary.signingAgentjfixtures/1";
    for envelope in [envelope!("p256.cose"), envelope!("rsa2048.cose")] {
        let agent = envelope.windows(AGENT.len()).position(|window| window == AGENT).expect("a name");
        for position in (0..envelope.len()).step_by(37).filter(|position| !(agent..agent + AGENT.len()).contains(position)) {
            let mut changed = envelope.to_vec();
            changed[position] ^= 1;
            let outcome = judge_notation(super::COSE, &changed, &[root, fixture!("notation/rsa2048.root.pem")]);
            assert!(outcome.verdicts.is_empty(), "byte {position} of {}", envelope.len());
        }
    }
    let good: Value = serde_json::from_slice(envelope!("p256.jws")).expect("JSON");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut envelope = good.clone();
        change(&mut envelope);
        judge_notation(super::JWS, envelope.to_string().as_bytes(), &[root])
    };
    assert!(!changed(&|_| {}).verdicts.is_empty());
    let header = |envelope: &Value| -> String {
        String::from_utf8(URL_SAFE_NO_PAD.decode(envelope["protected"].as_str().expect("text")).expect("base64")).expect("text")
    };
    let with_header = |from: &str, to: &str| changed(&|envelope| envelope["protected"] = json!(URL_SAFE_NO_PAD.encode(header(envelope).replace(from, to))));
    refused(&with_header("ES256", "none"), "not taken");
    refused(&with_header("ES256", "HS256"), "not taken");
    refused(&with_header("ES256", "ES384"), "is not for ECDSA P-256 keys");
    refused(&with_header("ES256", "PS256"), "is not for ECDSA P-256 keys");
    refused(&with_header("\"alg\"", "\"alg\":\"ES256\",\"alg\""), "stands twice");
    refused(&with_header("notary.x509\"", "notary.x509.signingAuthority\""), "signing scheme");
    refused(&with_header("[\"io.cncf.notary.signingScheme\"]", "[]"), "mark as critical");
    refused(&with_header("[\"io.cncf.notary.signingScheme\"]", "[\"io.cncf.notary.signingScheme\",\"b64\"]"), "not understood");
    refused(&with_header("payload.v1", "payload.v2"), "payload must be");
    refused(&with_header("2026-03-01", "2026-03-02"), "not by its certificate");
    refused(&changed(&|envelope| envelope["payload"] = json!(URL_SAFE_NO_PAD.encode("{}"))), "not by its certificate");
    refused(&changed(&|envelope| envelope["header"]["x5c"] = json!([])), "no certificate");
    refused(&changed(&|envelope| envelope["header"]["x5c"] = json!(vec![envelope["header"]["x5c"][0].clone(); 9])), "more than 8");
    refused(&changed(&|envelope| drop(envelope["header"]["x5c"].as_array_mut().expect("a list").pop())), "ends the chain");
    refused(&changed(&|envelope| drop(envelope["header"]["x5c"].as_array_mut().expect("a list").remove(1))), "not issued by");
    // A stranger's certificate in front of the trusted chain.
    let other: Value = serde_json::from_slice(envelope!("p384.jws")).expect("JSON");
    refused(&changed(&|envelope| envelope["header"]["x5c"][0] = other["header"]["x5c"][0].clone()), "is not for ECDSA P-384 keys");
    let mut appended = other.clone();
    appended["header"]["x5c"].as_array_mut().expect("a list").push(good["header"]["x5c"][2].clone());
    refused(&judge_notation(super::JWS, appended.to_string().as_bytes(), &[root]), "not issued by");
    // A key is not a certificate, and the other kind of envelope is none.
    let key = fixture!("cosign/cosign.pub");
    refused(&judge_notation(super::JWS, envelope!("p256.jws"), &[key]), "leads to none");
    refused(&judge_notation(super::JWS, envelope!("p256.cose"), &[root]), "cannot be read");
    refused(&judge_notation(super::COSE, envelope!("p256.jws"), &[root]), "no COSE_Sign1");
    // Of another image.
    let keys = [Trusted::from_pem(root).expect("a certificate")];
    let elsewhere = manifest(super::NOTATION, super::JWS, &[(envelope!("p256.jws"), None)], Some("another image"));
    refused(&judge(&elsewhere, &[], &[envelope!("p256.jws")], None, &keys), "another image");
    // Two envelopes, or of an unknown kind.
    for (kind, layers) in [(super::JWS, 2), ("application/x", 1), (super::JWS, 0)] {
        let layers = vec![(envelope!("p256.jws"), None); layers];
        assert!(recognise(&parse(&manifest(super::NOTATION, kind, &layers, Some(IMAGE))), []).is_err());
    }
}
