//! An upload whose requests reach one replica after the other, of which one dies in the middle.
#![cfg(test)]

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, StatusCode};

use super::CONFIG;
use super::protocol::{Image, call, header, location, with};
use crate::support::TestServer;
use crate::support::images::unique;
use crate::token;

/// Several parts of an object, and a rest.
const SIZE: usize = (21 << 20) + 12_345;
/// One request of the upload.
const CHUNK: usize = 3 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_alternates_between_replicas_and_one_of_them_dies() {
    let mut server = TestServer::builder().replicas().config(CONFIG).start();
    let token = token(&server).await;
    let layer = Bytes::from(unique(SIZE));
    let image = Image::new(String::from("/v2/team/secret/big"), 1, vec![layer.clone()]);
    let each = server.each_with_token(&token);

    let begun = call(&each[0], Method::POST, &format!("{}/blobs/uploads/", image.path), None).await;
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let mut place = location(&begun);
    let mut sent = 0;
    // By turns, each past the balancer, with the place as the other one gave it.
    for turn in 1..=3 {
        let part = layer.slice(sent..sent + CHUNK);
        let request = each[turn % 2].request(Method::PATCH, &place).header("content-range", format!("{sent}-{}", sent + CHUNK - 1));
        let answer = request.header("content-type", "application/octet-stream").body(part).send().await.unwrap();
        sent += CHUNK;
        assert_eq!((answer.status(), header(&answer, "range")), (StatusCode::ACCEPTED, format!("0-{}", sent - 1)));
        place = location(&answer);
    }

    // The first dies with half of a request in its hands.
    let half = layer.slice(sent..sent + CHUNK / 2);
    let (arrived, told) = tokio::sync::oneshot::channel();
    let parts = futures::stream::once(async move { half }).chain(futures::stream::once(async move {
        // All before was handed over when this is asked for. It never comes.
        arrived.send(()).unwrap();
        std::future::pending().await
    }));
    let request = each[0].request(Method::PATCH, &place).header("content-type", "application/octet-stream");
    let broken = tokio::spawn(request.body(reqwest::Body::wrap_stream(parts.map(Ok::<_, std::io::Error>))).send());
    told.await.unwrap();
    server.kill_replica(0);
    assert!(!broken.await.unwrap().is_ok_and(|answer| answer.status().is_success()), "nobody can have taken it");

    // Clients ask where it stands, and go on there. Whatever of the half was kept counts.
    let api = server.with_token(&token);
    let standing = call(&api, Method::GET, &place, None).await;
    assert_eq!(standing.status(), StatusCode::NO_CONTENT);
    let stands = header(&standing, "range").split_once('-').unwrap().1.parse::<usize>().unwrap() + 1;
    assert!((sent..=sent + CHUNK / 2).contains(&stands), "it stands at {stands}, and {sent} were acknowledged");
    (place, sent) = (location(&standing), stands);
    while SIZE - sent > CHUNK {
        let answer = call(&api, Method::PATCH, &place, Some(layer.slice(sent..sent + CHUNK))).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        (place, sent) = (location(&answer), sent + CHUNK);
    }
    let end = with(&place, "digest", &super::protocol::digest(&layer));
    let ended = call(&api, Method::PUT, &end, Some(layer.slice(sent..))).await;
    assert_eq!(ended.status(), StatusCode::CREATED);
    // Its answer may be lost, too: it is given again.
    server.start_replica(0);
    let api = server.with_token(&token);
    for _ in 0..2 {
        assert_eq!(call(&api, Method::PUT, &end, None).await.status(), StatusCode::CREATED);
    }
    assert_eq!(image.push(&api, "1", 0).await.status(), StatusCode::CREATED);
    for api in server.each_with_token(&token) {
        image.pull(&api, "1").await.unwrap();
    }
}
