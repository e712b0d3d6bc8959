//! A server whose clock a test moves, and what its housekeeping does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use entrepot_kit::{Kind, Timestamp};
use http::StatusCode;
use serde_json::Value;

use super::OWNER;
use crate::house::House;
use crate::raw::Call;

const DAY: i64 = 24 * 3600 * 1000;

/// The server.
pub(super) struct Later {
    pub(super) house: House,
    offset: Arc<AtomicI64>,
}

impl Later {
    pub(super) async fn start(settings: Value) -> Self {
        let offset = Arc::new(AtomicI64::new(0));
        let moved = Arc::clone(&offset);
        let house = House::start_with(move |options| {
            let (real, moved) = (entrepot::clock::system(), Arc::clone(&moved));
            options.clock = Arc::new(move || Timestamp(real().0 + moved.load(Ordering::Relaxed)));
        })
        .await;
        house.repository("alpha/maven", "maven", Kind::Hosted, true, settings).await;
        house.user("bob", &[("system", "alpha"), ("role", "publisher")]).await;
        Self { house, offset }
    }

    /// Lets days pass.
    pub(super) fn pass(&self, days: i64) {
        self.offset.fetch_add(days * DAY, Ordering::Relaxed);
    }

    /// Does what housekeeping does, after a dry run that must say the same; gives the names of what went.
    pub(super) async fn tidy(&self) -> Vec<String> {
        self.house.settle().await;
        let ask = |dry: bool| self.house.call_as(OWNER, Call::post(format!("/api/v1/repositories/alpha/maven/retention?dry_run={dry}"), ""));
        let (told, done) = (ask(true).await, ask(false).await);
        assert_eq!((told.status, done.status), (StatusCode::OK, StatusCode::OK), "{} {}", told.text(), done.text());
        let names = |reply: &Value| -> Vec<String> {
            let gone = reply["gone"].as_array().expect("a list").iter();
            gone.map(|gone| format!("{} {}", gone["kind"].as_str().expect("a kind"), gone["name"].as_str().expect("a name"))).collect()
        };
        assert_eq!(names(&told.json()), names(&done.json()), "a dry run says what a run does");
        names(&done.json())
    }
}
