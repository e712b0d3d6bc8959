//! The client, and a first look into the bucket.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use entrepot_kit::{Error, Result};
use http::StatusCode;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::ExposeSecret as _;

use super::failure::{Reason, explained, reason};
use super::{Bucket, S3Settings};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one attempt may take until the head of its answer is there; bodies on their way out get more.
const ATTEMPT: Duration = Duration::from_secs(20);
/// Attempts of one request.
const ATTEMPTS: u32 = 3;
/// The slowest upload that is waited for, in bytes a second.
const SLOWEST: u64 = 128 * 1024;

/// How long requests may take that carry, or make the server copy, this many bytes.
pub(super) fn timeouts(bytes: u64) -> TimeoutConfig {
    let attempt = ATTEMPT + Duration::from_secs(bytes / SLOWEST);
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(attempt).operation_timeout(attempt * ATTEMPTS).disable_read_timeout().build()
}

/// Other settings for one request: its time.
pub(super) fn patient(bytes: u64) -> Builder {
    Builder::new().timeout_config(timeouts(bytes))
}

/// Makes the client. Nothing is sent yet.
pub(super) async fn connect(settings: &S3Settings) -> Result<Client> {
    let region = Region::new(settings.region.clone());
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(region.clone())
        .force_path_style(settings.path_style)
        .timeout_config(timeouts(0))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        // Bodies have time-outs of their own, both ways.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Every body carries its MD5, which every S3 server knows; not all know the newer sums at the end of a body.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    if let Some(client) = http_client(settings)? {
        builder = builder.http_client(client);
    }
    let builder = match &settings.credentials {
        Some((key, secret)) => builder.credentials_provider(Credentials::new(key, secret.expose_secret(), None, None, "configuration")),
        None => builder.credentials_provider(DefaultCredentialsChain::builder().region(region).build().await),
    };
    Ok(Client::from_conf(builder.build()))
}

/// A client other than the SDK's own, where one is needed.
fn http_client(settings: &S3Settings) -> Result<Option<SharedHttpClient>> {
    if settings.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
        // A machine without any certificate can serve from a plain one.
        return Ok(Some(aws_smithy_http_client::Builder::new().build_http()));
    }
    let Some(authorities) = &settings.authorities else { return Ok(None) };
    let wrong = |cause: String| Error::bad_request(format!("blobs.ca_file: {cause}"));
    // The client would panic over a certificate that it cannot read.
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        let certificate = certificate.map_err(|cause| wrong(cause.to_string()))?;
        store.add(certificate).map_err(|cause| wrong(cause.to_string()))?;
    }
    if store.is_empty() {
        return Err(wrong(String::from("it holds no certificate in PEM form")));
    }
    let trusted = TrustStore::empty().with_pem_certificate(authorities.as_bytes());
    let context = TlsContext::builder().with_trust_store(trusted).build().map_err(|cause| wrong(cause.to_string()))?;
    Ok(Some(aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https()))
}

/// Looks into the bucket, so that what is wrong shows before anybody publishes.
pub(super) async fn check(bucket: &Bucket, settings: &S3Settings) -> Result<()> {
    let sent = bucket.client.list_objects_v2().bucket(&*bucket.name).prefix(&*bucket.prefix).max_keys(1).send().await;
    let Err(error) = sent else { return Ok(()) };
    let place = settings.endpoint.clone().unwrap_or_else(|| format!("AWS in {}", settings.region));
    let credentials = if settings.credentials.is_some() { "blobs.access_key and blobs.secret_key" } else { "the credentials of the standard chain" };
    let advice = match (error.code().unwrap_or_default(), reason(&error)) {
        ("InvalidAccessKeyId" | "XAdminUserNotFound" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken", _) => format!("check {credentials}"),
        ("RequestTimeTooSkewed", _) => String::from("the clock of this machine is wrong"),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _) => String::from("check blobs.region"),
        ("NoSuchBucket", _) => String::from("there is no such bucket: make it, or check blobs.bucket and blobs.path_style"),
        (_, Reason::Refused) => format!("it is closed to these credentials ({credentials}): they must be allowed to list, get, put and delete"),
        _ if error.raw_response().is_none() => format!("it cannot be asked: check blobs.endpoint, the network and {credentials}"),
        _ => String::from("it answers with an error"),
    };
    let cause = explained("the first look", &error);
    Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, format!("the bucket {:?} at {place}: {advice}", settings.bucket)).with_source(cause))
}
