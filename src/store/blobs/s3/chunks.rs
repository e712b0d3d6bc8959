//! Bytes in memory as the body of a request.
//!
//! The client copies what it is handed into a buffer of its own before it writes: of a body in one piece there would be two in memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Bytes that are handed over at once.
const CHUNK: usize = 64 * 1024;

struct Chunks(Bytes);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let most = self.0.len().min(CHUNK);
        let chunk = self.0.split_to(most);
        Poll::Ready((!chunk.is_empty()).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// A body that can be sent again.
pub(super) fn body(bytes: Bytes) -> ByteStream {
    ByteStream::new(SdkBody::retryable(move || SdkBody::from_body_1_x(Chunks(bytes.clone()))))
}
