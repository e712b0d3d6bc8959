//! Secrets that clients put into addresses are not written down.
#![cfg(test)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use entrepot_kit::{Kind, PrincipalKind, TokenRequest};
use http::Method;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::house::House;
use crate::raw::Call;

/// In every address that this test asks for; other tests' lines are dropped.
const MARK: &str = "written-down";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if line.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
            self.0.lock().unwrap().extend_from_slice(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_in_addresses_are_not_logged() {
    let lines = Lines::default();
    // The server's threads are its own: the subscriber must be everybody's.
    tracing_subscriber::fmt()
        .with_env_filter("entrepot=debug")
        .with_ansi(false)
        .with_writer(lines.clone())
        .try_init()
        .expect("the only subscriber of these tests");
    let house = House::start().await;
    for (name, format) in [("npm", "npm"), ("files", "generic")] {
        house.repository(&format!("alpha/{MARK}-{name}"), format, Kind::Hosted, true, json!({})).await;
    }
    let operator = house.engine().access.operator();
    for address in ["npm", "files", "missing", "npm.at-r0"] {
        for path in ["-/user/token/{}", "-/npm/v1/tokens/token/{}", "%2d/user/token/{}", "-/user/token/{}/more", "-/user/token/{}?x={}", "{}"] {
            let token = operator.create_token(PrincipalKind::User, "alpha-owner", TokenRequest { name: "x".into(), ..TokenRequest::default() }).await.unwrap();
            let secret = token.secret.splitn(3, '_').nth(2).unwrap().split('_').next().unwrap().to_owned();
            for method in [Method::DELETE, Method::GET, Method::PUT] {
                let target = format!("/alpha/{MARK}-{address}/{}", path.replace("{}", &token.secret));
                house.call(Call::new(method.clone(), target).with_token(&token.secret)).await;
                let written = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
                assert!(
                    !written.contains(&secret),
                    "{method} {path} of {address} wrote the token down: {}",
                    written.lines().rfind(|line| line.contains(&secret)).unwrap()
                );
            }
        }
    }
    let written = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    assert!(written.contains("npm.ping") || written.lines().count() > 50, "something was written: {} lines", written.lines().count());
}
