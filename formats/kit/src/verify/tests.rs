use std::path::Path;
use std::process::Command;

use super::{Certificate, Hash, KeyKind, Scheme, Trusted, check_code_signing_chain};
use crate::Timestamp;

const MESSAGE: &[u8] = b"what is signed";

fn openssl(folder: &Path, arguments: &str) -> bool {
    let output = Command::new("openssl").args(arguments.split_ascii_whitespace()).current_dir(folder).output().expect("openssl is installed");
    output.status.success()
}

/// A key made by openssl, and its public half.
fn key(folder: &Path, options: &str) -> Result<Trusted, String> {
    assert!(openssl(folder, &format!("genpkey {options} -out key.pem")) && openssl(folder, "pkey -in key.pem -pubout -out public.pem"), "{options}");
    Trusted::from_pem(&std::fs::read_to_string(folder.join("public.pem")).expect("a key"))
}

/// A folder of one test, empty.
fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("entrepot-verify-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("message"), MESSAGE).expect("a message");
    folder
}

#[test]
fn signatures_by_openssl_are_verified_by_kind_of_key() {
    let folder = folder("kinds");
    let signing = [
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-digest sha256 -rawin", Scheme::EcdsaDer(Hash::Sha256)),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "-digest sha256 -rawin", Scheme::EcdsaDer(Hash::Sha256)),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "-digest sha384 -rawin", Scheme::EcdsaDer(Hash::Sha384)),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "-digest sha512 -rawin", Scheme::EcdsaDer(Hash::Sha512)),
        ("-algorithm ED25519", "-rawin", Scheme::Ed25519),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "-digest sha256 -rawin", Scheme::RsaPkcs1(Hash::Sha256)),
        (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "-digest sha384 -rawin -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest",
            Scheme::RsaPss(Hash::Sha384),
        ),
    ];
    for (options, how, scheme) in signing {
        let made = key(&folder, options).expect(options);
        assert!(openssl(&folder, &format!("pkeyutl -sign -inkey key.pem -in message {how} -out signature")), "{options} {how}");
        let mut signature = std::fs::read(folder.join("signature")).expect("a signature");
        let public = made.key();
        assert!(public.verifies(scheme, MESSAGE, &signature) && public.verifies_by_any(MESSAGE, &signature), "{options} {how}");
        // No other scheme, message, key or bit will do.
        let others =
            [Scheme::EcdsaDer(Hash::Sha512), Scheme::EcdsaFixed(Hash::Sha256), Scheme::RsaPkcs1(Hash::Sha512), Scheme::RsaPss(Hash::Sha256), Scheme::Ed25519];
        assert!(others.into_iter().filter(|other| *other != scheme).all(|other| !public.verifies(other, MESSAGE, &signature)), "{options}");
        assert!(!public.verifies_by_any(b"something else", &signature));
        assert!(!key(&folder, options).expect(options).key().verifies_by_any(MESSAGE, &signature));
        let last = signature.last_mut().expect("bytes");
        *last ^= 1;
        assert!(!public.verifies_by_any(MESSAGE, &signature) && !public.verifies_by_any(MESSAGE, b""));
    }
    std::fs::remove_dir_all(folder).expect("an end");
}

#[test]
fn weak_and_foreign_keys_are_refused_by_name() {
    let folder = folder("weak");
    for (options, complaint) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "2048 to 8192 bits, not 1024"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "P-256, P-384 or P-521"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-224", "P-256, P-384 or P-521"),
        ("-algorithm ED448", "are not taken"),
        ("-algorithm X25519", "are not taken"),
    ] {
        let refusal = key(&folder, options).expect_err(options);
        assert!(refusal.contains(complaint), "{options}: {refusal}");
    }
    let good = key(&folder, "-algorithm ED25519").expect("a key");
    assert_eq!(good.key().kind(), KeyKind::Ed25519);
    let public = std::fs::read_to_string(folder.join("public.pem")).expect("a key");
    let private = std::fs::read_to_string(folder.join("key.pem")).expect("a key");
    let refusal = Trusted::from_pem(&private).expect_err("private");
    assert!(refusal.contains("private key") && !refusal.contains("MC4"), "{refusal}");
    assert!(Trusted::from_pem(&format!("owner: somebody\r\n{}", public.replace('\n', "\r\n"))).is_ok());
    for bad in [
        String::new(),
        String::from("ssh-ed25519 AAAA"),
        public.replace("-----END", "-----ENDE"),
        public.replace("END PUBLIC", "END OTHER"),
        public.replace("PUBLIC KEY", "CERTIFICATE"),
        public.repeat(2),
        public.replace("MCo", "MC*"),
        public.replace("MCo", "MDo"),
        format!("{}{public}", "x".repeat(70_000)),
    ] {
        assert!(Trusted::from_pem(&bad).is_err(), "{bad}");
    }
    std::fs::remove_dir_all(folder).expect("an end");
}

/// A certificate of openssl's, issued by itself or by an earlier one of that folder.
fn certificate(folder: &Path, name: &str, issuer: Option<&str>, days: u32, extensions: &[&str]) -> Certificate {
    let issuer = issuer.map_or_else(String::new, |issuer| format!("-CA {issuer}.pem -CAkey {issuer}.key"));
    let extensions: String = extensions.iter().map(|extension| format!(" -addext {extension}")).collect();
    std::fs::write(folder.join("empty.cnf"), "[req]\ndistinguished_name=name\n[name]\n").expect("a file");
    let made = openssl(
        folder,
        &format!(
            "req -x509 -config empty.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -days {days} -subj /CN={name} {issuer}{extensions}"
        ),
    );
    assert!(made, "{name}");
    match Trusted::from_pem(&std::fs::read_to_string(folder.join(format!("{name}.pem"))).expect("a certificate")) {
        Ok(Trusted::Certificate(certificate)) => *certificate,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn chains_follow_the_rules_for_signing_code() {
    const AUTHORITY: [&str; 2] = ["basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign"];
    const LEAF: &str = "keyUsage=critical,digitalSignature";
    let folder = folder("chains");
    let root = certificate(&folder, "root", None, 100, &AUTHORITY);
    let middle = certificate(&folder, "middle", Some("root"), 50, &["basicConstraints=critical,CA:true,pathlen:0", "keyUsage=critical,keyCertSign"]);
    let leaf = certificate(&folder, "leaf", Some("middle"), 10, &[LEAF, "extendedKeyUsage=codeSigning"]);
    let now = root.validity().0.plus(60_000);
    let check = |chain: &[&Certificate], time| check_code_signing_chain(&chain.iter().map(|one| (*one).clone()).collect::<Vec<_>>(), time);
    assert_eq!(check(&[&leaf, &middle, &root], now), Ok(()));
    let alone = certificate(&folder, "alone", None, 10, &[LEAF]);
    assert_eq!(check(&[&alone], now), Ok(()));

    const DAY: i64 = 86_400_000;
    let refused = |chain: &[&Certificate], time: Timestamp, complaint: &str| {
        let refusal = check(chain, time).expect_err(complaint);
        assert!(refusal.contains(complaint), "{complaint}: {refusal}");
    };
    refused(&[&leaf, &middle, &root], now.plus(11 * DAY), "CN=leaf is valid from");
    refused(&[&leaf, &middle, &root], now.plus(-DAY), "is valid from");
    refused(&[], now, "no certificate");
    refused(&[&leaf, &middle], now, "ends the chain");
    refused(&[&leaf, &root], now, "not issued by");
    refused(&[&middle, &root], now, "must not sign code itself");
    refused(&[&leaf; 9], now, "more than 8");
    // Another one of the same name.
    let elsewhere = folder.join("elsewhere");
    std::fs::create_dir_all(&elsewhere).expect("a folder");
    refused(&[&leaf, &middle, &certificate(&elsewhere, "root", None, 100, &AUTHORITY)], now, "CN=middle is not issued by");
    // A leaf that issues, and an authority that stands deeper than it may.
    let grandchild = certificate(&folder, "grandchild", Some("leaf"), 5, &[LEAF]);
    refused(&[&grandchild, &leaf, &middle, &root], now, "is no certificate authority");
    certificate(&folder, "deep", Some("middle"), 10, &AUTHORITY);
    let deep = certificate(&folder, "deep", Some("middle"), 10, &AUTHORITY);
    let under = certificate(&folder, "under", Some("deep"), 5, &[LEAF]);
    refused(&[&under, &deep, &middle, &root], now, "does not allow a chain");
    for (name, extensions, complaint) in [
        ("without-usage", &["subjectAltName=DNS:x"][..], "must have a critical key usage"),
        ("uncritical-usage", &["keyUsage=digitalSignature"], "must have a critical key usage"),
        ("encipherment", &["keyUsage=critical,digitalSignature,keyEncipherment"], "for nothing else"),
        ("server", &[LEAF, "extendedKeyUsage=codeSigning,serverAuth"], "for something else"),
        ("unknown", &[LEAF, "1.2.3.4=critical,DER:0500"], "critical extension that is not understood: 1.2.3.4"),
    ] {
        refused(&[&certificate(&folder, name, Some("middle"), 5, extensions), &middle, &root], now, complaint);
    }
    std::fs::remove_dir_all(folder).expect("an end");
}
