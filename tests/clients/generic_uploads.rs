//! A real client of the tus protocol: an upload that is broken off and goes on, on whichever replica it reaches.
#![cfg(test)]

use entrepot_kit::Sha256Digest;

use crate::support::TestServer;
use crate::support::clients::{Home, library};
use crate::token;

/// Several parts of an object, and a rest.
const SIZE: usize = (22 << 20) + 12_345;

/// Uploads, stops behind the second chunk, and goes on as a new process would: with nothing but the address of the upload.
const SCRIPT: &str = r#"
const tus = require(LIBRARY), fs = require("fs");
const options = (more, done) => ({
    endpoint: ENDPOINT, headers: { Authorization: "Bearer " + TOKEN }, uploadSize: SIZE, chunkSize: 5 << 20, retryDelays: [0, 100, 1000],
    metadata: { filename: "big.bin", filetype: "application/x-special" }, storeFingerprintForResuming: false,
    onError: (error) => { console.error(String(error)); process.exit(1); }, onSuccess: done, ...more,
});
let broken = false;
const first = new tus.Upload(fs.createReadStream("big.bin"), options({
    onChunkComplete: (length, accepted) => {
        if (broken || accepted < 10 << 20) return;
        broken = true;
        first.abort().then(() => {
            const again = new tus.Upload(fs.createReadStream("big.bin"), options({ uploadUrl: first.url }, () => console.log("resumed and done")));
            again.start();
        });
    },
}, () => { console.error("the first part was the whole"); process.exit(1); }));
first.start();
"#;

#[tokio::test(flavor = "multi_thread")]
async fn generic_uploads_by_tus_go_on_where_they_broke() {
    let server = TestServer::start();
    let home = Home::new();
    let folder = home.project("sent");
    let bytes: Vec<u8> = (0..SIZE as u64 / 8 + 1).flat_map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(SIZE).collect();
    std::fs::write(folder.join("big.bin"), &bytes).unwrap();
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let script = SCRIPT
        .replace("LIBRARY", &text(library("tus", "tus-js-client").to_str().unwrap()))
        .replace("ENDPOINT", &text(&server.url("/main/generic/big/file.bin")))
        .replace("TOKEN", &text(&token(&server).await))
        .replace("SIZE", &SIZE.to_string());
    let said = home.node(&folder, &script).succeeded();
    assert!(said.stdout.contains("resumed and done"), "{said}");
    let file = server.anonymous().get("/main/generic/big/file.bin").await.succeeded();
    assert_eq!(Sha256Digest::of(&file.body), Sha256Digest::of(&bytes));
    assert_eq!(file.body.len(), SIZE);
}
