//! Answers that were just given: the same question again costs a look, not the whole way.
//!
//! An answer counts for the very same question (method, address, headers, who connects) while nothing changed that it was made of, at most
//! for one second. Only on one machine: there this process sees each change before its author is answered, while a replica has to ask the
//! database, which is most of what a question costs. Each request thread has answers of its own, so that none waits for another.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{RequestHead, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use entrepot_kit::{Kind, ResponseBody, Source, Timestamp};
use foldhash::fast::RandomState;

use crate::http::observe::Told;
use crate::http::ready::Ready;
use crate::http::sending::{self, FilePart};
use crate::registry::{Engine, Repo, Table, Use};

/// How long an answer counts, in milliseconds. What ends by the clock (tokens, times of policies) may so last this much longer.
const WINDOW: i64 = 1000;
/// Most answers of one thread.
const MOST: usize = 1024;
/// Most bytes of their questions and bodies. Most bodies are those of other caches and take no memory of their own.
const MOST_BYTES: usize = 16 << 20;
/// Largest body.
const LARGEST: usize = 8 << 20;
/// Most bodies that are files, each of which is an open one.
const MOST_FILES: usize = 16;
/// Most headers of a question.
const MOST_HEADERS: usize = 24;
/// Headers that no answer depends on: they differ between programs and tell requests apart.
const OF_NO_MATTER: [HeaderName; 6] = [
    header::USER_AGENT,
    header::CONNECTION,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("npm-session"),
];

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
}

/// The answers of one window of time.
#[derive(Default)]
struct Recent {
    began: Timestamp,
    answers: HashMap<Box<[u8]>, Rc<Given>, RandomState>,
    /// Those that were asked for again, by the very bytes of their questions' heads.
    ready: HashMap<Box<[u8]>, Rc<Ready>, RandomState>,
    bytes: usize,
    /// Large bodies that are files too.
    files: Vec<Held>,
    /// The question in hand.
    question: Vec<u8>,
}

impl Recent {
    /// Begins a new window when the last one is over.
    fn turn(&mut self, now: Timestamp) {
        if !(0..WINDOW).contains(&now.0.saturating_sub(self.began.0)) {
            self.began = now;
            self.answers.clear();
            self.ready.clear();
            self.bytes = 0;
            self.files.retain_mut(|held| std::mem::take(&mut held.is_used));
        }
    }

    /// Whether there is room for so many bytes more, which it has then.
    fn has_room(&mut self, bytes: usize) -> bool {
        let has = self.answers.len().max(self.ready.len()) < MOST && self.bytes + bytes <= MOST_BYTES;
        self.bytes += if has { bytes } else { 0 };
        has
    }
}

/// A body in memory, by its place there, and the same bytes as a file once that is made.
struct Held {
    body: Bytes,
    file: Rc<OnceCell<Arc<File>>>,
    /// Since the window began.
    is_used: bool,
}

/// What an answer was made of.
#[derive(Default)]
pub(crate) struct MadeOf {
    table: Arc<Table>,
    epoch: u64,
    damage: u64,
    heads: Vec<(Arc<AtomicU64>, u64)>,
}

impl MadeOf {
    /// What an answer will be made of that is begun now.
    pub(crate) fn now(engine: &Engine, table: &Arc<Table>) -> Self {
        Self { table: Arc::clone(table), epoch: engine.access.epoch(), damage: engine.damage(), heads: Vec::new() }
    }

    /// Adds a repository, before anything is read of it.
    pub(crate) fn add(&mut self, repo: &Repo) {
        let heads = std::iter::once(&repo.head).chain(repo.leaves.iter().map(|leaf| &leaf.repo.head));
        self.heads.extend(heads.map(|head| (Arc::clone(head), head.load(Ordering::Acquire))));
    }

    fn is_as_it_was(&self, engine: &Engine) -> bool {
        let same = self.epoch == engine.access.epoch() && self.damage == engine.damage() && Arc::ptr_eq(&self.table, &engine.table());
        same && self.heads.iter().all(|(head, then)| head.load(Ordering::Acquire) == *then)
    }
}

/// What makes an answer one that can be given again.
pub(crate) struct Again {
    pub(crate) made_of: MadeOf,
    /// It is an index document, which is in memory.
    pub(crate) is_document: bool,
    pub(crate) used: Option<Use>,
}

/// Whether an answer with this body, from a repository of this kind, is a function of the records alone: no upstream was asked, or need be.
pub(crate) fn is_of_records(kind: Kind, source: Option<Source>, body: &ResponseBody) -> bool {
    match body {
        ResponseBody::File(file) => file.source == Source::Hosted || (file.source == Source::Cache && !file.mutable),
        ResponseBody::Document(_) => kind == Kind::Hosted || source == Some(Source::Hosted),
        _ => false,
    }
}

/// An answer.
pub(crate) struct Given {
    status: StatusCode,
    headers: HeaderMap,
    /// `None` for an answer that has none, not even an empty one.
    body: Option<Bytes>,
    again: Again,
    /// What the log says of it.
    pub(crate) told: Rc<RefCell<Told>>,
}

impl Given {
    /// Its status, headers and body.
    pub(crate) fn parts(&self) -> (StatusCode, &HeaderMap, Option<&Bytes>) {
        (self.status, &self.headers, self.body.as_ref())
    }

    /// The answer for who asks now.
    pub(crate) fn give(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::with_body(self.status, boxed(self.body.clone()));
        *response.headers_mut() = self.headers.clone();
        response
    }

    /// Writes its use down.
    pub(crate) fn note_use(&self, engine: &Engine) {
        engine.metrics.repeated.inc();
        if self.again.is_document {
            engine.metrics.document_hits.inc();
        }
        if let Some(used) = &self.again.used {
            engine.note_use(used);
        }
    }

    /// Its body as a part of a file, where there is one.
    pub(crate) fn part(&self, engine: &Engine) -> Option<FilePart> {
        self.body.as_ref().and_then(|body| part(engine, body))
    }
}

/// A large body as a file that the kernel can send, if there is one by now. A thread has a few.
fn part(engine: &Engine, body: &Bytes) -> Option<FilePart> {
    let length = body.len() as u64;
    if length < sending::SMALLEST {
        return None;
    }
    RECENT.with_borrow_mut(|recent| {
        if let Some(held) = recent.files.iter_mut().find(|held| held.body.as_ptr() == body.as_ptr() && held.body.len() == body.len()) {
            let is_hot = std::mem::replace(&mut held.is_used, true);
            return held.file.get().map(|file| if is_hot { FilePart::hot(Arc::clone(file), 0..length) } else { FilePart::new(Arc::clone(file), 0..length) });
        }
        if recent.files.len() < MOST_FILES {
            let file = Rc::default();
            recent.files.push(Held { body: body.clone(), file: Rc::clone(&file), is_used: true });
            let (blobs, body) = (Arc::clone(&engine.blobs), body.clone());
            // Where no file can be made now, the bytes are sent as ever.
            actix_web::rt::spawn(async move {
                if let Ok(Some(made)) = blobs.nameless(body).await {
                    let _ = file.set(made);
                }
            });
        }
        None
    })
}

fn boxed(body: Option<Bytes>) -> BoxBody {
    body.map_or_else(|| BoxBody::new(()), BoxBody::new)
}

/// A question whose answer may be kept.
pub(crate) struct Question(Box<[u8]>);

/// What is known of a question.
pub(crate) enum Asked {
    /// It was just answered.
    Before(Rc<Given>),
    /// Its answer may be kept.
    First(Question),
    /// It is not of that kind.
    Other,
}

/// Looks whether a question was just answered.
pub(crate) fn ask(request: &RequestHead, engine: &Engine) -> Asked {
    if engine.catalog.is_shared() || !matches!(request.method, Method::GET | Method::HEAD) {
        return Asked::Other;
    }
    let now = engine.now();
    RECENT.with_borrow_mut(|recent| {
        recent.turn(now);
        if !write(request, &mut recent.question) {
            return Asked::Other;
        }
        match recent.answers.get(recent.question.as_slice()) {
            Some(given) if given.again.made_of.is_as_it_was(engine) => Asked::Before(Rc::clone(given)),
            _ => Asked::First(Question(recent.question.as_slice().into())),
        }
    })
}

/// Writes all that an answer may depend on. `false` for a request with a body, and for one with very many headers.
fn write(request: &RequestHead, question: &mut Vec<u8>) -> bool {
    let headers = request.headers();
    let has_body = headers.contains_key(header::TRANSFER_ENCODING) || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if has_body {
        return false;
    }
    // A map's order is its own: the same headers must make the same question. Values of one name stay in their order.
    let mut sorted = [("", [].as_slice()); MOST_HEADERS];
    let mut count = 0;
    for (name, value) in headers.iter().filter(|(name, _)| !OF_NO_MATTER.contains(name)) {
        let Some(place) = sorted.get_mut(count) else { return false };
        *place = (name.as_str(), value.as_bytes());
        count += 1;
    }
    let Some(sorted) = sorted.get_mut(..count) else { return false };
    sorted.sort_by_key(|(name, _)| *name);
    question.clear();
    // No part can hold the byte that ends it.
    let mut part = |bytes: &[u8]| {
        question.extend_from_slice(bytes);
        question.push(b'\n');
    };
    part(request.method.as_str().as_bytes());
    let uri = &request.uri;
    part(uri.scheme_str().unwrap_or_default().as_bytes());
    part(uri.authority().map_or("", |authority| authority.as_str()).as_bytes());
    part(uri.path_and_query().map_or("", |path| path.as_str()).as_bytes());
    question.extend_from_slice(&octets(request.peer_addr.map(|peer| peer.ip())));
    for (name, value) in sorted.iter() {
        question.push(b'\n');
        question.extend_from_slice(name.as_bytes());
        question.push(b':');
        question.extend_from_slice(value);
    }
    true
}

/// An address, in one length for both families.
fn octets(peer: Option<IpAddr>) -> [u8; 16] {
    match peer {
        Some(IpAddr::V4(address)) => address.to_ipv6_mapped().octets(),
        Some(IpAddr::V6(address)) => address.octets(),
        None => [0; 16],
    }
}

/// The answer that was just given again to a head, byte by byte, from an address.
pub(crate) fn ready(head: &[u8], peer: Option<IpAddr>, engine: &Engine, now: Timestamp) -> Option<Rc<Ready>> {
    RECENT.with_borrow_mut(|recent| {
        recent.turn(now);
        if recent.ready.is_empty() {
            return None;
        }
        recent.question.clear();
        recent.question.extend_from_slice(&octets(peer));
        recent.question.extend_from_slice(head);
        let found = recent.ready.get(recent.question.as_slice())?;
        found.given().again.made_of.is_as_it_was(engine).then(|| Rc::clone(found))
    })
}

/// Keeps an answer by the bytes of its question's head.
pub(crate) fn keep_ready(head: &[u8], peer: Option<IpAddr>, given: &Rc<Given>) {
    RECENT.with_borrow_mut(|recent| {
        let Some(ready) = Ready::new(given, recent.began) else { return };
        let question = [&octets(peer), head].concat();
        if recent.has_room(question.len() + ready.head_length()) {
            recent.ready.insert(question.into(), Rc::new(ready));
        }
    });
}

/// Keeps an answer to a question, if it is one that can be given again.
pub(crate) fn keep(question: Question, told: &Rc<RefCell<Told>>, response: ServiceResponse<impl MessageBody + 'static>) -> ServiceResponse<BoxBody> {
    let again = told.borrow_mut().again.take();
    let kept = matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
    let Some(again) = again.filter(|_| kept) else { return response.map_into_boxed_body() };
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    let has_body = body.size() != BodySize::None;
    let body = match body.try_into_bytes() {
        Ok(body) => has_body.then_some(body),
        Err(body) => return ServiceResponse::new(request, response.set_body(body).map_into_boxed_body()),
    };
    let length = body.as_ref().map_or(0, Bytes::len);
    if length <= LARGEST {
        let given = Given { status: response.status(), headers: response.headers().clone(), body: body.clone(), again, told: Rc::clone(told) };
        RECENT.with_borrow_mut(|recent| {
            if recent.has_room(question.0.len() + length) {
                recent.answers.insert(question.0, Rc::new(given));
            }
        });
    }
    ServiceResponse::new(request, response.set_body(boxed(body)))
}
