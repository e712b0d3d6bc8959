//! Secrets that clients put into addresses are not written down.
#![cfg(test)]

use http::Method;

use crate::raw::{self, Call};
use crate::support::TestServer;

const CONFIG: &str = r#"
[log]
level = "entrepot=debug"
[[repository]]
name = "npm"
format = "npm"
tags = { visibility = "public" }
[[repository]]
name = "files"
format = "generic"
tags = { visibility = "public" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_in_addresses_are_not_logged() {
    let server = TestServer::builder().config(CONFIG).start();
    let admin = server.admin();
    let mut asked = 0;
    for address in ["npm", "files", "missing", "npm.at-r0"] {
        for path in ["-/user/token/{}", "-/npm/v1/tokens/token/{}", "%2d/user/token/{}", "-/user/token/{}/more", "-/user/token/{}?x={}", "{}"] {
            let token = admin.create_token("x", &[], &[]).await;
            let secret = token.splitn(3, '_').nth(2).unwrap().split('_').next().unwrap();
            for method in [Method::DELETE, Method::GET, Method::PUT] {
                let target = format!("/main/{address}/{}", path.replace("{}", &token));
                raw::send(server.address(), &Call::new(method.clone(), target).with_token(&token)).await.unwrap();
                asked += 1;
                let written = server.log();
                assert!(
                    !written.contains(secret),
                    "{method} {path} of {address} wrote the token down: {}",
                    written.lines().rfind(|line| line.contains(secret)).unwrap()
                );
            }
        }
    }
    let lines = server.log_lines(&["entrepot::http"]) - server.log_lines(&["entrepot::http", "path=\"/api/"]);
    assert_eq!(lines, asked, "a line for each request");
}
