//! The store on a real S3 server: versitygw over a folder.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt as _;
use tempfile::TempDir;

use super::write::PART;
use super::{S3Blobs, S3Settings};
use crate::store::blobs::{BlobStore as _, StagedBlob, StoredObject, WriteSpec, suite};
use crate::store::model::{BlobFacts, BlobPlace};

const ACCESS_KEY: &str = "entrepot-tests";
const SECRET_KEY: &str = "the secret key of the tests";
/// How long the server may take until it answers: the machine may be busy with everything else.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    port: u16,
    folder: PathBuf,
    /// Its standard input is the server's lifeline: it closes when this process ends, however it ends.
    _keeper: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static BUCKETS: AtomicU32 = AtomicU32::new(0);

#[expect(clippy::disallowed_methods, reason = "tests are told by variables where clients are installed")]
fn program() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/entrepot-ci/clients")).unwrap_or_default();
    let program = std::env::var_os("ENTREPOT_TEST_CLIENTS").filter(|value| !value.is_empty()).map_or_else(home, PathBuf::from).join("versitygw/versitygw");
    assert!(program.exists(), "versitygw is not installed: {} is missing; run tests/run", program.display());
    program
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("entrepot-s3-").tempdir().expect("a folder").keep();
        for part in ["objects", "metadata"] {
            std::fs::create_dir(folder.join(part)).expect("a folder");
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        // Ends the server by its process id when the input of the shell ends, and removes the folder.
        let script =
            r#"folder=$1; shift; "$@" >"$folder/log" 2>&1 </dev/null & server=$!; cat >/dev/null; kill -KILL "$server"; wait "$server"; rm -rf "$folder""#;
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(&folder).arg(program()).args(["--access", ACCESS_KEY, "--secret", SECRET_KEY]);
        shell.args(["--port", &format!("127.0.0.1:{port}"), "--keep-alive", "--quiet", "--health", "/-/health", "posix", "--sidecar"]);
        shell.arg(folder.join("metadata")).arg(folder.join("objects")).current_dir("/");
        let keeper = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh runs");
        let server = Self { port, folder, _keeper: keeper };
        let until = Instant::now() + PATIENCE;
        while !server.is_healthy().unwrap_or(false) {
            let log = || std::fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "versitygw did not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn is_healthy(&self) -> io::Result<bool> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(b"GET /-/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    }
}

/// The settings for a bucket of its own.
pub(crate) async fn fresh() -> S3Settings {
    let make = || {
        let server = SERVER.get_or_init(Server::start);
        let bucket = format!("test-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
        // Every folder below its root is a bucket.
        std::fs::create_dir(server.folder.join("objects").join(&bucket)).expect("a bucket");
        (server.port, bucket)
    };
    let (port, bucket) = tokio::task::spawn_blocking(make).await.expect("a server");
    S3Settings {
        bucket,
        region: String::from("us-east-1"),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        public_endpoint: None,
        path_style: true,
        credentials: Some((ACCESS_KEY.to_owned(), SECRET_KEY.into())),
        authorities: None,
        prefix: String::new(),
    }
}

async fn open(settings: &S3Settings) -> (S3Blobs, TempDir) {
    let staging = tempfile::tempdir().expect("a folder");
    (S3Blobs::open(settings, staging.path()).await.expect("opened"), staging)
}

async fn refused(settings: &S3Settings) -> String {
    let staging = tempfile::tempdir().expect("a folder");
    S3Blobs::open(settings, staging.path()).await.err().expect("refused").message().to_owned()
}

async fn stage(store: &S3Blobs, body: &Bytes) -> StagedBlob {
    let mut writer = store.writer(WriteSpec { algorithms: Vec::new(), limit: u64::MAX }).await.expect("a writer");
    writer.write(body.clone()).await.expect("written");
    writer.finish().await.expect("finished")
}

fn place(facts: &BlobFacts) -> BlobPlace {
    BlobPlace { digest: facts.digest, size: facts.size, location: facts.location.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_passes_the_suite() {
    let (store, _staging) = open(&fresh().await).await;
    suite::run(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_passes_the_suite_below_a_prefix() {
    let (store, _staging) = open(&S3Settings { prefix: String::from("some/where"), ..fresh().await }).await;
    suite::run(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_others_are_neither_listed_nor_read() {
    let settings = fresh().await;
    let (ours, _one) = open(&S3Settings { prefix: String::from("ours"), ..settings.clone() }).await;
    let (theirs, _other) = open(&S3Settings { prefix: String::from("ours2"), ..settings.clone() }).await;
    let facts = theirs.persist(&stage(&theirs, &Bytes::from(vec![1; 100_000])).await).await.expect("persisted");
    ours.bucket.client.put_object().bucket(&settings.bucket).key("ours/README").send().await.expect("put");
    let listed: Vec<StoredObject> = ours.list().try_collect().await.expect("listed");
    assert_eq!(listed, []);
    assert!(suite::read_all(&ours, &place(&facts)).await.is_err());
    let hostile = BlobPlace { location: Some(format!("{}/../../x", facts.digest.hex())), ..place(&facts) };
    assert!(ours.open(&hostile).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_bucket_is_said_at_start() {
    let settings = fresh().await;
    let keys = |key: &str, secret: &str| Some((key.to_owned(), secret.into()));
    let unused = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let secure = Some(String::from("https://127.0.0.1:1"));
    let cases = [
        ("there is no such bucket", S3Settings { bucket: String::from("no-such-bucket"), ..settings.clone() }),
        ("check blobs.access_key", S3Settings { credentials: keys("nobody", "wrong"), ..settings.clone() }),
        ("check blobs.access_key", S3Settings { credentials: keys(ACCESS_KEY, "wrong"), ..settings.clone() }),
        ("check blobs.endpoint", S3Settings { endpoint: Some(format!("http://{unused}")), ..settings.clone() }),
        ("blobs.ca_file: it holds no certificate", S3Settings { endpoint: secure, authorities: Some(String::from("none")), ..settings }),
    ];
    for (said, settings) in cases {
        let message = refused(&settings).await;
        assert!(message.contains(said), "{message:?} does not say {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upload_leaves_no_parts_and_can_be_done_again() {
    let settings = fresh().await;
    let (store, _staging) = open(&settings).await;
    let body = Bytes::from(vec![7; PART as usize * 3 + 5]);
    let staged = stage(&store, &body).await;
    // The file is shorter than it was: the last part cannot be sent.
    let path = staged.spooled().expect("spooled").path;
    std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(PART)).expect("cut");
    store.persist(&staged).await.expect_err("half a file is none");
    let parts = || store.bucket.client.list_multipart_uploads().bucket(&settings.bucket).send();
    let until = Instant::now() + PATIENCE;
    while !parts().await.expect("listed").uploads().is_empty() {
        assert!(Instant::now() < until, "the parts are removed in the background");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::write(&path, &body).expect("mended");
    let facts = store.persist(&staged).await.expect("persisted again");
    assert_eq!(suite::read_all(&store, &place(&facts)).await.expect("read"), body);
    let listed: Vec<StoredObject> = store.list().try_collect().await.expect("listed");
    assert_eq!(listed.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_it_broke_unless_the_object_changed() {
    let settings = fresh().await;
    let relay = Relay::start(settings.endpoint.as_deref().and_then(|url| url.strip_prefix("http://")).expect("an address").to_owned()).await;
    let (store, _staging) = open(&settings).await;
    let body: Bytes = (0..3_000_000_u32).flat_map(|number| number.to_le_bytes().into_iter().take(2)).collect::<Vec<u8>>().into();
    let facts = store.persist(&stage(&store, &body).await).await.expect("persisted");
    let (broken, _other) = open(&S3Settings { endpoint: Some(format!("http://{}", relay.address)), ..settings.clone() }).await;

    relay.cut_after(2_000_000, 2);
    assert_eq!(suite::read_all(&broken, &place(&facts)).await.expect("read"), body);
    assert_eq!(relay.cuts(), 2, "two streams were cut");

    relay.cut_after(2_000_000, 1);
    let mut stream = broken.open(&place(&facts)).await.expect("opened").stream(None).await.expect("a stream");
    let first = stream.try_next().await.expect("read").expect("a chunk");
    let key = store.bucket.key(facts.location.as_deref().expect("a location"));
    let other = Bytes::from(vec![1; body.len()]);
    store.bucket.client.put_object().bucket(&settings.bucket).key(key).body(other.into()).send().await.expect("replaced");
    let rest: Result<Vec<Bytes>, _> = stream.try_collect().await;
    assert!(rest.is_err(), "{} bytes of the first, {:?} of the second", first.len(), rest.map(|rest| rest.concat().len()));

    relay.cut_after(1000, usize::MAX);
    let failed = suite::read_all(&broken, &place(&facts)).await.expect_err("it breaks again and again");
    assert_eq!((failed.status().as_u16(), failed.retry_after().is_some()), (503, true), "{failed:?}");
}

/// Between the store and the server; cuts some answers.
struct Relay {
    address: std::net::SocketAddr,
    plan: std::sync::Arc<parking_lot::Mutex<Plan>>,
}

#[derive(Default)]
struct Plan {
    bytes: usize,
    left: usize,
    cuts: usize,
}

impl Relay {
    async fn start(target: String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let relay = Self { address: listener.local_addr().expect("an address"), plan: std::sync::Arc::default() };
        let plan = std::sync::Arc::clone(&relay.plan);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Self::relay(client, target.clone(), std::sync::Arc::clone(&plan)));
            }
        });
        relay
    }

    /// Cuts the next answers after so many bytes.
    fn cut_after(&self, bytes: usize, times: usize) {
        *self.plan.lock() = Plan { bytes, left: times, cuts: 0 };
    }

    fn cuts(&self) -> usize {
        self.plan.lock().cuts
    }

    async fn relay(client: tokio::net::TcpStream, target: String, plan: std::sync::Arc<parking_lot::Mutex<Plan>>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let Ok(server) = tokio::net::TcpStream::connect(target).await else { return };
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.into_split(), server.into_split());
        let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
        let (mut chunk, mut sent) = (vec![0; 64 << 10], 0);
        while let Ok(read @ 1..) = from_server.read(&mut chunk).await {
            sent += read;
            if to_client.write_all(&chunk[..read]).await.is_err() {
                break;
            }
            let mut plan = plan.lock();
            if plan.left > 0 && sent >= plan.bytes {
                plan.left -= 1;
                plan.cuts += 1;
                break;
            }
        }
        up.abort();
    }
}
