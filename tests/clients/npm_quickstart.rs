//! The first minute: what the README prints, typed by the real npm in an empty home.
#![cfg(test)]

use std::path::Path;

use http::Method;

use crate::support::clients::Home;
use crate::support::process::Dialog;
use crate::support::{ADMIN_PASSWORD, TestServer};

/// The lines to be typed under a heading of a page, with the comments behind them taken off.
fn printed(page: &str, heading: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let section = text.split(&format!("# {heading}\n")).nth(1).unwrap_or_else(|| panic!("{page} has no heading {heading:?}"));
    let lines = section.lines().skip_while(|line| !line.starts_with("    ")).take_while(|line| line.starts_with("    "));
    lines.map(|line| line.split("  # ").next().unwrap().trim().to_owned()).collect()
}

fn type_password(mut npm: Dialog) -> String {
    npm.hear("sername:");
    npm.say("admin");
    npm.hear("assword:");
    npm.say(ADMIN_PASSWORD);
    npm.succeeded()
}

#[test]
fn npm_quick_start_works_as_printed() {
    let server = TestServer::start();
    let lines = printed("README.md", "npm in one minute");
    let [set_registry, login, publish, install] = lines.as_slice() else { panic!("the README prints other commands than this test types: {lines:?}") };
    assert_eq!(set_registry, "npm config set registry http://127.0.0.1:8080/main/npm/");
    let set_registry = set_registry.replace("127.0.0.1:8080", server.address());

    let author = Home::new();
    let package = author.package("your-package", "1.0.0");
    author.shell(&package, &set_registry).succeeded();
    author.shell(&package, publish).failed();
    let mut words = login.split(' ').map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some("npm"));
    let words: Vec<String> = words.collect();
    type_password(author.npm_dialog(&package, &words.iter().map(String::as_str).collect::<Vec<_>>()));
    author.shell(&package, publish).succeeded();

    let reader = Home::new();
    let project = reader.project("empty");
    reader.shell(&project, &set_registry).succeeded();
    reader.shell(&project, install).succeeded();
    assert_eq!(reader.node(&project, "console.log(require('your-package'))").succeeded().stdout, "1.0.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_login_through_a_browser() {
    let server = TestServer::start();
    let home = Home::new();
    let package = home.package("by-browser", "1.0.0");
    home.npm_registry(&server.url("/main/npm/"), None);
    let mut npm = home.npm_dialog(&package, &["login"]);
    npm.hear("Login at:\n");
    let page = npm.rest_of_line();
    let path = page.strip_prefix(&server.url("")).unwrap_or_else(|| panic!("the page is elsewhere: {page}")).to_owned();
    let browser = server.anonymous();
    let shown = browser.get(&path).await.succeeded().text();
    assert!(shown.contains("name=\"name\"") && shown.contains("name=\"password\"") && shown.contains("method=\"post\""), "{shown}");
    let form = |password: &str| {
        browser.request(Method::POST, &path).header("content-type", "application/x-www-form-urlencoded").body(format!("name=admin&password={password}"))
    };
    browser.send(form("wrong")).await.is(401);
    browser.send(form(ADMIN_PASSWORD)).await.succeeded();
    npm.succeeded();
    browser.send(form(ADMIN_PASSWORD)).await.is(404);
    assert_eq!(home.npm(&package, &["whoami"]).succeeded().stdout, "admin\n");
    home.npm(&package, &["publish"]).succeeded();
}

#[test]
fn npm_is_told_that_a_password_is_wrong() {
    let server = TestServer::start();
    let home = Home::new();
    let folder = home.project("p");
    home.npm_registry(&server.url("/main/npm/"), None);
    let mut npm = home.npm_dialog(&folder, &["login", "--auth-type=legacy"]);
    npm.hear("sername:");
    npm.say("admin");
    npm.hear("assword:");
    npm.say("wrong");
    npm.hear("E401");
    home.npm(&folder, &["whoami"]).failed();
}
