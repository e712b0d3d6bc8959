//! Many pushes at once of images that share layers, while others are deleted and garbage is removed.
#![cfg(test)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, StatusCode};
use parking_lot::Mutex;

use super::protocol::{Image, call, digest};
use super::{had_no_errors, start};
use crate::support::images::unique;
use crate::token;

const IMAGES: usize = 200;
const AT_ONCE: usize = 16;
/// Layers of all images: few, so that everybody pushes what another one has just deleted.
const LAYERS: usize = 12;
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
    /// With its layers, which nobody else has under that name.
    Emptied,
}

fn fate(number: usize) -> Fate {
    match number % 4 {
        0 | 2 => Fate::Stays,
        1 => Fate::Deleted,
        _ => Fate::Emptied,
    }
}

fn image(number: usize, layers: &[Bytes]) -> Image {
    let path = match fate(number) {
        Fate::Stays | Fate::Deleted => format!("/v2/images/stress/app-{}", number % NAMES),
        Fate::Emptied => format!("/v2/team/secret/stress/own-{number}"),
    };
    let chosen = (0..LAYERS_EACH).map(|index| layers[(number * 5 + index * 7) % LAYERS].clone()).collect();
    Image::new(path, number, chosen)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_images_are_pushed_deleted_and_collected() {
    let server = start();
    let api = server.with_token(&token(&server).await);
    let layers: Vec<Bytes> = (0..LAYERS).map(|number| unique(LAYER + number).into()).collect();
    let images: Vec<Image> = (0..IMAGES).map(|number| image(number, &layers)).collect();
    let (again, losses, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicBool::new(false));

    let push = async |(number, image): (usize, &Image)| {
        let tag = format!("t{number}");
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
        let gone = match fate(number) {
            Fate::Stays => return,
            Fate::Deleted => vec![image.manifest_at(&digest(&image.manifest))],
            Fate::Emptied => {
                let blobs = image.blobs.iter().map(|bytes| image.blob_at(bytes));
                std::iter::once(image.manifest_at(&digest(&image.manifest))).chain(blobs).collect()
            }
        };
        for path in gone {
            assert_eq!(call(&api, Method::DELETE, &path, None).await.status(), StatusCode::ACCEPTED, "{path}");
            assert_eq!(call(&api, Method::GET, &path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    };
    let pushes = async {
        stream::iter(images.iter().enumerate()).map(push).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        done.store(true, Ordering::Relaxed);
    };
    // As the operator's command, beside everything: what nothing names goes at once.
    let collect = async {
        let (mut runs, mut removed) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            let said = server.command_beside(&["gc", "--grace", "0"]).await.succeeded().text();
            let count = said.lines().find_map(|line| line.strip_prefix("removed: ")).and_then(|rest| rest.split(' ').next()).unwrap();
            removed += count.parse::<usize>().unwrap();
            runs += 1;
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
    server.command_beside(&["gc", "--grace", "0"]).await.succeeded();
    check().await;
    assert_eq!(*losses.lock(), Vec::<String>::new());
    let verified = server.command_beside(&["verify"]).await.succeeded().text();
    println!("{IMAGES} images, {} pushes begun again, {removed} blobs removed by {runs} runs of gc meanwhile; {verified}", again.load(Ordering::Relaxed));
    assert!(runs > 1, "gc ran {runs} times: this was no stress");
    had_no_errors(&server);
}
