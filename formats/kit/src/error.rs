//! One error for every layer that a format sees: a status, a sentence for the caller, and a cause for the log.

use http::StatusCode;

/// The result of whatever may be refused or fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal or failure on its way to the client.
///
/// The message is public: it says what is wrong and what to do. The cause is not: it is logged once, at the rim, and
/// only for statuses of 500 and above.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    message: String,
    code: Option<&'static str>,
    reason: Option<&'static str>,
    retry_after: Option<u32>,
    policy: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a status and a message for the caller.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code: None, reason: None, retry_after: None, policy: None, source: None }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: credentials are missing or wrong.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// 403: the caller may see this, but not do that.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404: there is no such thing, or the caller may not know of it.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409: the change contradicts what is stored.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 413: larger than a limit allows.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// 422: understood, but the content is not what it claims to be.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 501: honest about a part of the protocol that is not served.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// 502: an upstream answered, but not with what was asked for.
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, message)
    }

    /// 503 with `Retry-After`: the same request is expected to work after `seconds`.
    pub fn unavailable(message: impl Into<String>, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// 507 with `Retry-After`: there is no room for what was sent until somebody makes some.
    #[must_use]
    pub fn storage_full() -> Self {
        Self { retry_after: Some(60), ..Self::new(StatusCode::INSUFFICIENT_STORAGE, "the server's storage is full: nothing was stored") }
    }

    /// 500: our fault; the cause goes to the log only.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(cause.into()), ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error") }
    }

    /// The same error with a machine-readable code, where a format's errors have one.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same error with a reason phrase of its own, for clients that print that line of an answer and nothing else.
    #[must_use]
    pub fn with_reason(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// The same error with `Retry-After: seconds`.
    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The same error naming the rule that refused (`X-Artifact-Policy`).
    #[must_use]
    pub fn with_policy(self, rule: impl Into<String>) -> Self {
        Self { policy: Some(rule.into()), ..self }
    }

    /// The same error with a cause for the log.
    #[must_use]
    pub fn with_source(self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(cause.into()), ..self }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The public sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The machine-readable code, if the raiser gave one.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// The reason phrase, if it is not the one of the status.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        self.reason
    }

    /// Seconds for `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.retry_after
    }

    /// The rule that refused.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status.as_u16(), self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}
