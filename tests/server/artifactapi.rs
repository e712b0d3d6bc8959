//! The caching service "artifactapi": each sentence of its contract, against an upstream that does what it is told.
#![cfg(test)]

mod declared;
mod docker;
mod docs;
mod files;
mod freshness;
mod gather;
mod pages;
mod patterns;
mod reach;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use entrepot::config::{self, Checks, Environment, Flags};
use entrepot::registry::reconcile::Wanted;
use entrepot::server::Options;
use entrepot_kit::Timestamp;
use http::Method;
use tempfile::TempDir;

use crate::house::House;
use crate::raw::{Call, Reply as Answer};
use crate::upstream::ScriptedUpstream;

/// A server with the remotes of a file, whose clock a test moves, and what is behind them.
struct Caching {
    house: House,
    upstream: ScriptedUpstream,
    moved: Arc<AtomicI64>,
}

/// The repositories that a file of remotes declares, as the server's own command reads it.
fn wanted(remotes: &str) -> Vec<Wanted> {
    let folder = TempDir::new().expect("a folder");
    let (config, file) = (folder.path().join("config.toml"), folder.path().join("remotes.yaml"));
    std::fs::write(&config, "repository = []\n").expect("written");
    std::fs::write(&file, remotes).expect("written");
    let formats = entrepot::formats::all();
    let formats: Vec<&str> = formats.iter().map(|format| format.id()).collect();
    let publisher = |_: &str, _: serde_json::Value, _: Option<&str>| Err(String::from("none"));
    let checks = Checks { formats: &formats, upstream: &|_| Ok(()), repository: &|_| Ok(()), publisher: &publisher, policies: &|_| Ok(()), tls: &|_| Ok(()) };
    let flags = Flags { config: Some(config), remotes: Some(file), ..Flags::default() };
    let config = config::load(&flags, &Environment::default(), &checks).unwrap_or_else(|problems| panic!("{problems:?}"));
    let wanted = |repository: &config::Repository| Wanted {
        address: repository.address(),
        format: repository.format.clone(),
        kind: repository.kind,
        tags: repository.tags.clone(),
        settings: repository.all_settings(),
    };
    config.repositories.iter().map(wanted).collect()
}

impl Caching {
    /// The lines of a remotes.yaml below `remotes:`, where `UPSTREAM` stands for the upstream's URL.
    async fn start(remotes: &str) -> Self {
        let upstream = ScriptedUpstream::start().await;
        let moved = Arc::new(AtomicI64::new(0));
        let house = House::start_with(Self::change(remotes, &upstream.url(), &moved)).await;
        Self { house, upstream, moved }
    }

    /// The same with one engine, where each question to the upstream is counted: two may each ask for themselves.
    async fn alone(remotes: &str) -> Self {
        let upstream = ScriptedUpstream::start().await;
        let moved = Arc::new(AtomicI64::new(0));
        let house = House::alone_with(Self::change(remotes, &upstream.url(), &moved)).await;
        Self { house, upstream, moved }
    }

    fn change(remotes: &str, upstream: &str, moved: &Arc<AtomicI64>) -> impl Fn(&mut Options) + use<> {
        let text = format!("remotes:\n{}", remotes.replace("UPSTREAM", upstream));
        let moved = Arc::clone(moved);
        move |options| {
            let (real, moved) = (entrepot::clock::system(), Arc::clone(&moved));
            options.clock = Arc::new(move || Timestamp(real().0 + moved.load(Ordering::Relaxed)));
            options.repositories = wanted(&text);
        }
    }

    /// The same data with another file.
    async fn change_to(&mut self, remotes: &str, upstream: &str) {
        let change = Self::change(remotes, upstream, &self.moved);
        self.house.restart_with(change).await;
    }

    /// Lets seconds pass.
    fn pass(&self, seconds: i64) {
        self.moved.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    async fn get(&self, target: &str) -> Answer {
        self.house.call(Call::get(target)).await
    }

    /// Status, source and body of a file.
    async fn file(&self, target: &str) -> (u16, String, String) {
        let answer = self.get(target).await;
        (answer.status.as_u16(), answer.header("x-artifact-source").to_owned(), answer.text())
    }

    /// The methods by which a path was asked for.
    fn asked(&self, path: &str) -> Vec<String> {
        self.upstream.seen_at(path).into_iter().map(|seen| seen.method).collect()
    }

    async fn head(&self, target: &str) -> Answer {
        self.house.call(Call::new(Method::HEAD, target)).await
    }
}

/// What a file is expected to be.
fn is(status: u16, source: &str, body: &str) -> (u16, String, String) {
    (status, source.to_owned(), body.to_owned())
}
