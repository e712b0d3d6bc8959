//! The list of all images names what the caller may read, and nothing else.

use entrepot_kit::Kind;
use serde_json::{Value, json};

use super::{hosted, push, token};
use crate::house::{House, PASSWORD};
use crate::raw::Call;

fn names(body: &Value) -> Vec<String> {
    body["repositories"].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// All pages, each as the one before says.
async fn walk(house: &House, first: &str, sign: &dyn Fn(Call) -> Call) -> (Vec<String>, usize) {
    let (mut all, mut pages, mut next) = (Vec::new(), 0, Some(first.to_owned()));
    while let Some(path) = next.take() {
        let reply = house.call(sign(Call::get(path))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        all.extend(names(&reply.json()));
        pages += 1;
        next = reply.header("Link").strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).map(str::to_owned);
        assert!(pages < 50);
    }
    (all, pages)
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_listed_in_order_and_in_pages() {
    let house = House::start().await;
    house.user("root", &[("server-role", "admin")]).await;
    for (address, public) in [("alpha/oci", false), ("alpha/oci-b", false), ("beta/oci", false), ("main/oci", true), ("main/alp", true)] {
        hosted(&house, address, public).await;
    }
    house.repository("main/all", "oci", Kind::Group, true, json!({ "members": ["main/oci", "alpha/oci"] })).await;
    for name in ["alpha/oci/app", "alpha/oci/app/sub", "alpha/oci/app-b", "alpha/oci-b/x", "beta/oci/secret", "oci/app", "oci/zebra", "alp/one"] {
        push(&house, "root", name, "one").await;
    }
    let root = |call: Call| call.signed("root", PASSWORD);
    let all = [
        "all/app",
        "all/app-b",
        "all/app/sub",
        "all/zebra",
        "alp/one",
        "alpha/oci-b/x",
        "alpha/oci/app",
        "alpha/oci/app-b",
        "alpha/oci/app/sub",
        "beta/oci/secret",
        "oci/app",
        "oci/zebra",
    ];
    assert_eq!(walk(&house, "/v2/_catalog", &root).await, (all.map(str::to_owned).to_vec(), 1));
    for size in [1, 2, 5, 11, 12, 13] {
        let (listed, pages) = walk(&house, &format!("/v2/_catalog?n={size}"), &root).await;
        assert_eq!((listed.as_slice(), pages), (all.map(str::to_owned).as_slice(), all.len().div_ceil(size)), "n = {size}");
    }
    let visible = |hidden: &[&str]| all.into_iter().filter(|name| !hidden.iter().any(|part| name.starts_with(part))).map(str::to_owned).collect::<Vec<_>>();
    let owner = |call: Call| call.signed("alpha-owner", PASSWORD);
    assert_eq!(walk(&house, "/v2/_catalog?n=2", &owner).await.0, visible(&["beta/"]));
    let anonymous = token(&house, None, &["registry:catalog:*"]).await;
    assert_eq!(walk(&house, "/v2/_catalog?n=1", &|call| call.with_token(&anonymous)).await.0, visible(&["beta/", "alpha/", "all/app-b", "all/app/"]));
    // A policy about one image counts here too.
    let forbid = "forbid(principal, action == Action::\"read\", resource == Package::\"alpha/oci:app\");";
    house.engine().access.operator().put_policy("hide", forbid).await.expect("a policy");
    let left: Vec<String> = visible(&["beta/"]).into_iter().filter(|name| name != "alpha/oci/app").collect();
    assert_eq!(walk(&house, "/v2/_catalog?n=3", &owner).await.0, left, "the group has an image of that name from another member");
    for (query, status, count) in [
        ("n=0", 200, 0),
        ("n=1000000000", 200, 10),
        ("n=-1", 400, 0),
        ("n=x", 400, 0),
        ("n=", 400, 0),
        ("last=zzz", 200, 0),
        ("last=~x", 400, 0),
        ("last=%ff%00", 200, 0),
    ] {
        let reply = house.call(owner(Call::get(format!("/v2/_catalog?{query}")))).await;
        assert_eq!(reply.status, status, "{query}: {}", reply.text());
        if status == 200 {
            assert_eq!((names(&reply.json()).len(), reply.header("Link")), (count, ""), "{query}");
        }
    }
    assert_eq!(house.call(Call::get("/v2/_catalog")).await.status, 401, "a client sends what it has when it is asked");
}
