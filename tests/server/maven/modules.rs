//! What Gradle says of a release besides the pom: it holds the digests of its files, so not a byte of it may change.

use entrepot_format_maven::testing::{checksum, path};
use entrepot_kit::{Algorithm, Kind};
use http::StatusCode;
use serde_json::json;

use super::{deploy, filled, house, put, release};
use crate::raw::Call;
use crate::upstream::{Reply, ScriptedUpstream};

/// As Gradle writes it: indented, and with an escape that other writers of JSON leave out.
fn module(jar: &[u8]) -> String {
    format!(
        "{{\n  \"formatVersion\": \"1.1\",\n  \"component\": {{\n    \"group\": \"com.acme\",\n    \"module\": \"lib\",\n    \"version\": \"1.0\",\n    \"attributes\": {{\n      \"org.gradle.status\": \"release\"\n    }}\n  }},\n  \"createdBy\": {{\n    \"gradle\": {{\n      \"version\": \"8.10\"\n    }}\n  }},\n  \"variants\": [\n    {{\n      \"name\": \"api\\u003dElements\",\n      \"files\": [\n        {{\n          \"name\": \"lib-1.0.jar\",\n          \"url\": \"lib-1.0.jar\",\n          \"size\": {},\n          \"sha512\": \"{}\",\n          \"sha256\": \"{}\"\n        }}\n      ]\n    }}\n  ]\n}}\n",
        jar.len(),
        checksum(jar, Algorithm::Sha512),
        checksum(jar, Algorithm::Sha256)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn gradle_module_metadata_is_given_byte_for_byte() {
    let (house, upstream) = (house().await, ScriptedUpstream::start().await);
    let settings = json!({ "upstream": { "url": format!("{}/maven2", upstream.url()), "allow_private": true, "retries": 0 } });
    house.repository("alpha/mirror", "maven", Kind::Proxy, true, settings).await;
    house.repository("alpha/all", "maven", Kind::Group, true, json!({ "members": ["alpha/maven", "alpha/mirror"] })).await;
    let (file, theirs) = (path("com.acme", "lib", "1.0", ".module"), path("com.acme", "theirs", "1.0", ".module"));
    let text = module(&filled("1.0"));
    release(&house, "lib", "1.0").await;
    deploy(&house, &file, text.clone()).await;
    // Gradle sends all four.
    for (name, algorithm) in [("md5", Algorithm::Md5), ("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512)] {
        let reply = put(&house, &format!("{file}.{name}"), checksum(text.as_bytes(), algorithm)).await;
        assert!(reply.status.is_success(), "{name}: {}", reply.text());
    }
    upstream.answer(&format!("/maven2/{theirs}"), Reply::bytes(text.clone()));
    for place in [format!("/alpha/maven/{file}"), format!("/alpha/all/{file}"), format!("/alpha/mirror/{theirs}"), format!("/alpha/all/{theirs}")] {
        let reply = house.call(Call::get(place.clone())).await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, text.as_str()), "{place}");
        let sum = house.call(Call::get(format!("{place}.sha512"))).await;
        assert_eq!(sum.text(), checksum(text.as_bytes(), Algorithm::Sha512), "{place}");
    }
}
