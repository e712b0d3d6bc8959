//! A registry token is good for its images and for nothing else, on no route of any format and none of the API.

use http::Method;

use super::{hosted, push, token};
use crate::access::{every_route, furnished};
use crate::house::House;
use crate::raw::Call;
use crate::upstream::ScriptedUpstream;

#[tokio::test(flavor = "multi_thread")]
async fn the_widest_registry_token_is_nobodys_elsewhere() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    house.user("root", &[("server-role", "admin")]).await;
    let addresses = furnished(&house, &upstream).await;
    hosted(&house, "alpha/images", false).await;
    push(&house, "root", "alpha/images/app", "one").await;
    let mut scopes = vec![String::from("repository:alpha/images/app:*"), String::from("registry:catalog:*")];
    scopes.extend(addresses.iter().map(|address| format!("repository:{address}:*")));
    scopes.extend(addresses.iter().map(|address| format!("repository:{address}/left-pad:*")));
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let text = token(&house, Some("root"), &scopes).await;
    assert_eq!(house.call(Call::get("/v2/alpha/images/app/tags/list").with_token(&text)).await.status, 200);
    let mut tried = 0;
    for probe in every_route(&house).iter().filter(|probe| !probe.registry) {
        for address in addresses.iter().filter(|address| address.contains(probe.format)) {
            let reply = house.call(probe.at(address).with_token(&text)).await;
            assert_eq!(reply.status, 401, "{} {} of {address}: {}", probe.method, probe.path, reply.text());
            tried += 1;
        }
    }
    assert!(tried > 60);
    let document = house.call_as("root", Call::get("/api/v1/openapi.json")).await.json();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{system}", "alpha").replace("{name}", "images").replace("{package}", "app");
        for method in methods.as_object().expect("methods").keys().filter(|method| ["get", "post", "put", "patch", "delete"].contains(&method.as_str())) {
            let method: Method = method.to_ascii_uppercase().parse().expect("a method");
            let call = Call { body: "{}".into(), ..Call::new(method.clone(), &path) }.with("Content-Type", "application/json");
            let reply = house.call(call.with_token(&text)).await;
            assert!(
                [401, 404].contains(&reply.status.as_u16()) || ["/api/v1/openapi.json", "/api/v1/access/schema"].contains(&path.as_str()),
                "{method} {path}: {} {}",
                reply.status,
                reply.text()
            );
        }
    }
}
