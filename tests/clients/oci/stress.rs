//! Many pushes at once of images that share layers, while others are deleted and garbage is removed.
#![cfg(test)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::json;

use super::protocol::{Image, call, digest};
use super::{had_no_errors, start};
use crate::support::images::unique;
use crate::token;

const IMAGES: usize = 200;
const AT_ONCE: usize = 16;
/// Layers of the images that stay, and of those that go.
const LAYERS: usize = 12;
/// Layers of the images that go with their repository: few, so that everybody pushes what was just collected with another one.
const PASSING: usize = 4;
/// Of each image.
const LAYERS_EACH: usize = 3;
/// More than what lives in the catalog.
const LAYER: usize = 70 * 1024;
/// Names with many tags: their manifests come and go in one place.
const NAMES: usize = 10;
/// How often a push is begun again, as clients do whose layers were deleted before the manifest came.
const ATTEMPTS: usize = 20;

/// What becomes of an image.
enum Fate {
    Stays,
    /// Its manifest is deleted once it is there.
    Deleted,
    /// Its whole repository is deleted: nothing remembers it, and what nobody else has may be collected.
    Forgotten,
}

fn fate(number: usize) -> Fate {
    match number % 4 {
        0 | 2 => Fate::Stays,
        1 => Fate::Deleted,
        _ => Fate::Forgotten,
    }
}

fn image(number: usize, layers: &[Bytes], passing: &[Bytes]) -> Image {
    let chosen = |from: &[Bytes]| (0..LAYERS_EACH).map(|index| from[(number * 5 + index * 7) % from.len()].clone()).collect();
    match fate(number) {
        Fate::Stays | Fate::Deleted => Image::new(format!("/v2/images/stress/app-{}", number % NAMES), number, chosen(layers)),
        Fate::Forgotten => Image::new(format!("/v2/team/passing-{number}/app"), number, chosen(passing)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_images_are_pushed_deleted_and_collected() {
    let server = start();
    let api = server.with_token(&token(&server).await);
    let [layers, passing]: [Vec<Bytes>; 2] = [LAYERS, PASSING].map(|count| (0..count).map(|number| unique(LAYER + number).into()).collect());
    let images: Vec<Image> = (0..IMAGES).map(|number| image(number, &layers, &passing)).collect();
    let (again, losses, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicBool::new(false));

    let push = async |(number, image): (usize, &Image)| {
        let tag = format!("t{number}");
        let name = format!("passing-{number}");
        if matches!(fate(number), Fate::Forgotten) {
            let wanted = json!({ "system": "team", "name": name, "format": "oci", "kind": "hosted" });
            api.json(Method::POST, "/api/v1/repositories", &wanted).await.is(201);
        }
        for attempt in 0..=ATTEMPTS {
            let answer = image.push(&api, &tag, number).await;
            if answer.status() == StatusCode::CREATED {
                break;
            }
            let (status, said) = (answer.status(), answer.text().await.unwrap());
            assert!(status == StatusCode::BAD_REQUEST && said.contains("MANIFEST_BLOB_UNKNOWN") && attempt < ATTEMPTS, "{tag}: {status} {said}");
            again.fetch_add(1, Ordering::Relaxed);
        }
        if let Err(loss) = image.pull(&api, &tag).await {
            losses.lock().push(loss);
        }
        match fate(number) {
            Fate::Stays => {}
            Fate::Deleted => {
                let path = image.manifest_at(&digest(&image.manifest));
                assert_eq!(call(&api, Method::DELETE, &path, None).await.status(), StatusCode::ACCEPTED, "{path}");
                assert_eq!(call(&api, Method::GET, &path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
            }
            Fate::Forgotten => drop(api.delete(&format!("/api/v1/repositories/team/{name}")).await.succeeded()),
        }
    };
    let pushes = async {
        stream::iter(images.iter().enumerate()).map(push).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        done.store(true, Ordering::Relaxed);
    };
    // As the operator's command, beside everything: what nothing names goes at once.
    let gc = async || {
        let said = server.command_beside(&["gc", "--grace", "0"]).await.succeeded().text();
        let count = said.lines().find_map(|line| line.strip_prefix("removed: ")).and_then(|rest| rest.split(' ').next()).unwrap();
        count.parse::<usize>().unwrap()
    };
    let collect = async {
        let (mut runs, mut removed) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            removed += gc().await;
            runs += 1;
            // A new process each time is dear: the pushes need the machine, too.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        (runs, removed)
    };
    let ((), (runs, removed)) = futures::join!(pushes, collect);

    let stays: Vec<(usize, &Image)> = images.iter().enumerate().filter(|(number, _)| matches!(fate(*number), Fate::Stays)).collect();
    let check = async || {
        for (number, image) in &stays {
            for reference in [format!("t{number}"), digest(&image.manifest)] {
                if let Err(loss) = image.pull(&api, &reference).await {
                    losses.lock().push(loss);
                }
            }
        }
    };
    check().await;
    let at_last = gc().await + gc().await;
    check().await;
    assert_eq!(*losses.lock(), Vec::<String>::new());
    let verified = server.command_beside(&["verify"]).await.succeeded().text();
    let again = again.load(Ordering::Relaxed);
    println!("{IMAGES} images, {again} pushes begun again, {removed} blobs removed by {runs} runs of gc meanwhile, {at_last} at last; {verified}");
    assert!(removed > 0 && removed + at_last >= IMAGES / 4, "gc removed {removed} blobs meanwhile: this was no stress");
    had_no_errors(&server);
}
