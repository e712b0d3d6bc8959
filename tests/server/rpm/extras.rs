//! Groups, advisories and modules, by upload.

use std::io::Write as _;

use http::{Method, StatusCode};

use super::{HERE, document, get, house, publish, put, refused, repomd};
use crate::raw::Call;

const COMPS: &str = "<?xml version=\"1.0\"?>\n<!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \"comps.dtd\">\n<comps><group><id>tools</id><name>Tools</name><packagelist><packagereq type=\"mandatory\">tool</packagereq></packagelist></group></comps>\n";
const MODULES: &str = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: tool\n  stream: \"1\"\n...\n";

fn advisory(id: &str) -> String {
    format!("<updates><update type=\"security\"><id>{id}</id><title>t</title><pkglist/></update></updates>")
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_what_is_uploaded_beside_packages_is_part_of_the_metadata() {
    let house = house().await;
    let here = format!("{HERE}/el9/");
    publish(&house, "el9/", "tool", "1.0").await;
    for (name, text) in [("comps.xml", COMPS), ("modules.yaml", MODULES)] {
        let reply = put(&house, &format!("el9/repodata/{name}"), text.to_owned()).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{name}: {}", reply.text());
    }
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(advisory("A-1").as_bytes()).unwrap();
    assert_eq!(put(&house, "el9/repodata/updateinfo.xml.gz", zipped.finish().unwrap()).await.status, StatusCode::CREATED);
    let old = repomd(&house, &here).await;
    assert_eq!(
        old.data.iter().map(|data| data.kind.as_str()).collect::<Vec<_>>(),
        ["primary", "filelists", "other", "group", "group_gz", "updateinfo", "modules"]
    );
    assert_eq!(document(&house, &here, &old, "group_gz").await, COMPS);
    assert_eq!(get(&house, &format!("el9/{}", old.of("group").unwrap().href)).await.text(), COMPS);
    assert_eq!(document(&house, &here, &old, "modules").await, MODULES);
    assert_eq!(document(&house, &here, &old, "updateinfo").await, advisory("A-1"));
    // Another one, as Gitea takes it; who read the old repomd.xml gets the old one.
    let posted = house.call_as("bob", Call::post(format!("{HERE}/el9/errata"), advisory("A-2"))).await;
    assert_eq!(posted.status, StatusCode::CREATED, "{}", posted.text());
    let new = repomd(&house, &here).await;
    assert_eq!(document(&house, &here, &new, "updateinfo").await, advisory("A-2"));
    assert_eq!(document(&house, &here, &old, "updateinfo").await, advisory("A-1"));
    assert!(repomd(&house, &format!("{HERE}/")).await.of("updateinfo").is_none(), "it is said of that folder");
    let gone = house.call_as("alpha-owner", Call::new(Method::DELETE, format!("{HERE}/el9/repodata/updateinfo.xml"))).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text());
    assert!(repomd(&house, &here).await.of("updateinfo").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_what_is_not_what_it_is_called_is_refused() {
    let house = house().await;
    for (name, text, status, why) in [
        ("comps.xml", "<html/>", 422, "its root is not <comps>"),
        ("comps.xml", "<comps>", 422, "ends before its time"),
        ("comps.xml", "<!DOCTYPE comps [<!ENTITY a \"b\">]><comps/>", 422, "entities"),
        ("updateinfo.xml", "\u{1f}\u{8b}", 422, "no updateinfo.xml"),
        ("modules.yaml", "a: b\n", 422, "no modules.yaml"),
        ("repomd.xml", "<repomd/>", 400, "made by the server"),
        ("productid", "x", 400, "what can be uploaded here"),
    ] {
        refused(&put(&house, &format!("repodata/{name}"), text.to_owned()).await, status, why);
    }
    assert_eq!(house.head("alpha/rpm"), 0);
}
