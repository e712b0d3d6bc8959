//! Where a URL of an upstream leads, and what may be said there.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    RANGE, USER_AGENT,
};
use http::{Method, StatusCode};
use url::Url;

use super::answer::UpstreamError;

/// Most redirects of one fetch.
pub(super) const MOST_HOPS: usize = 5;

/// One request on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) url: Url,
    pub(super) method: Method,
}

/// The folder of container registries.
const REGISTRY: &str = "v2/";

/// A path below the upstream's root. Whatever would leave the root (`..`, another host) is refused, not resolved.
pub(super) fn below(root: &Url, path: &str) -> Result<Url, UpstreamError> {
    let refused = || UpstreamError::Refused(format!("the path {path:?} leads out of the upstream's root"));
    if path.contains(['#', '\\']) || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused());
    }
    let path = path.trim_start_matches('/');
    // A root below a registry's own folder is a part of that registry: `…/v2/team/` has what is at `v2/` of others.
    let path = path.strip_prefix(REGISTRY).filter(|_| root.path().contains("/v2/")).unwrap_or(path);
    let url = Url::parse(&format!("{root}{path}")).map_err(|_| refused())?;
    // The parser resolves dot segments, in their encoded forms too; one that stays below the root is no honest path either.
    let plain = path.split('?').next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    let dots = plain.split('/').any(|segment| matches!(segment, "." | ".."));
    if !same_origin(root, &url) || !url.path().starts_with(root.path()) || dots {
        return Err(refused());
    }
    Ok(url)
}

/// A link in a document of the upstream.
pub(super) fn link(root: &Url, text: &str) -> Result<Url, UpstreamError> {
    let mut url = Url::parse(text).map_err(|_| UpstreamError::BadAnswer("a link in the upstream's document is not a URL".to_owned()))?;
    // Old documents name their own host with http: what the host serves with TLS is fetched with TLS.
    if root.scheme() == "https" && url.scheme() == "http" && url.host() == root.host() && url.port().is_none() && root.port().is_none() {
        url.set_scheme("https").ok();
    }
    allowed_from(root, &url)?;
    url.set_fragment(None);
    Ok(url)
}

/// The request that follows a redirect.
pub(super) fn next(hop: &Hop, status: StatusCode, location: Option<&str>) -> Result<Hop, UpstreamError> {
    let bad = |what: &str| UpstreamError::BadAnswer(format!("the upstream answered {} {what}", status.as_u16()));
    let location = location.ok_or_else(|| bad("without saying where to"))?;
    let mut url = hop.url.join(location).map_err(|_| bad("to something that is not a URL"))?;
    url.set_fragment(None);
    allowed_from(&hop.url, &url)?;
    let bodyless = matches!(hop.method, Method::GET | Method::HEAD);
    let method = match status.as_u16() {
        303 if !bodyless => Method::GET,
        301 | 302 if !bodyless => return Err(bad("to a request with a body")),
        // A body may name packages: it is meant for the upstream and nobody else.
        307 | 308 if !bodyless && !same_origin(&hop.url, &url) => return Err(bad("to a request with a body, leading to another host")),
        _ => hop.method.clone(),
    };
    Ok(Hop { url, method })
}

/// Rules for every step from one URL to another.
fn allowed_from(from: &Url, to: &Url) -> Result<(), UpstreamError> {
    let place = to.host_str().unwrap_or_default();
    if !matches!(to.scheme(), "http" | "https") || place.is_empty() {
        return Err(UpstreamError::Refused("the upstream leads to a URL that is neither http nor https".to_owned()));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(UpstreamError::Refused(format!("the upstream leads to {place} with credentials in the URL")));
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(UpstreamError::Refused(format!("the upstream leads from https to plain http at {place}")));
    }
    Ok(())
}

/// Scheme, host and port.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && one.host() == other.host() && one.port_or_known_default() == other.port_or_known_default()
}

/// The origin as text, the name of a breaker.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The URL without its query, which may hold a signature.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

/// What may be said to a host that is not the upstream itself: what the answer depends on, nothing about who asks.
pub(super) fn for_strangers(headers: &HeaderMap) -> HeaderMap {
    const HARMLESS: [HeaderName; 12] = [
        ACCEPT,
        ACCEPT_ENCODING,
        ACCEPT_LANGUAGE,
        CONTENT_TYPE,
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_RANGE,
        IF_UNMODIFIED_SINCE,
        RANGE,
        USER_AGENT,
        http::header::CACHE_CONTROL,
    ];
    headers.iter().filter(|(name, _)| HARMLESS.contains(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::{Hop, UpstreamError, below, for_strangers, link, next, shown};
    use http::{HeaderMap, HeaderValue, Method, StatusCode};
    use url::Url;

    fn root() -> Url {
        Url::parse("https://registry.example/npm/").unwrap()
    }

    #[test]
    fn paths_stay_below_the_root_and_keep_their_spelling() {
        for (path, expected) in [
            ("left-pad", "https://registry.example/npm/left-pad"),
            ("/left-pad", "https://registry.example/npm/left-pad"),
            ("@scope%2fname", "https://registry.example/npm/@scope%2fname"),
            ("a/-/a-1.0.0%2Bb.tgz", "https://registry.example/npm/a/-/a-1.0.0%2Bb.tgz"),
            ("-/v1/search?text=a%20b&size=20", "https://registry.example/npm/-/v1/search?text=a%20b&size=20"),
            ("", "https://registry.example/npm/"),
            ("http://evil.example/x", "https://registry.example/npm/http://evil.example/x"),
            ("a?next=../b", "https://registry.example/npm/a?next=../b"),
        ] {
            assert_eq!(below(&root(), path).map(String::from), Ok(expected.to_owned()), "{path}");
        }
        for path in ["../x", "a/../../x", "a/../b", "%2e%2e/x", "a/.%2E/b", "./x", "a\\..\\b", "a#b", "a b", "a\r\nb", "a\tb", "ä"] {
            assert!(matches!(below(&root(), path), Err(UpstreamError::Refused(_))), "{path}: {:?}", below(&root(), path));
        }
    }

    #[test]
    fn links_are_upgraded_or_refused() {
        assert_eq!(link(&root(), "http://registry.example/a.tgz").map(String::from), Ok("https://registry.example/a.tgz".to_owned()));
        assert_eq!(link(&root(), "https://files.example/a.tgz#sha256=1").map(String::from), Ok("https://files.example/a.tgz".to_owned()));
        for text in
            ["http://files.example/a.tgz", "http://registry.example:8080/a.tgz", "file:///etc/passwd", "https://u:p@files.example/", "a.tgz", "gopher://x/"]
        {
            let error = link(&root(), text).unwrap_err();
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
    }

    #[test]
    fn methods_follow_the_status() {
        let hop = |method: Method| Hop { url: root(), method };
        let method = |from: Method, status: u16, to: &str| next(&hop(from), StatusCode::from_u16(status).unwrap(), Some(to)).map(|hop| hop.method);
        assert_eq!(method(Method::GET, 302, "/x"), Ok(Method::GET));
        assert_eq!(method(Method::HEAD, 303, "/x"), Ok(Method::HEAD));
        assert_eq!(method(Method::POST, 303, "/x"), Ok(Method::GET));
        assert_eq!(method(Method::POST, 307, "/x"), Ok(Method::POST));
        assert!(method(Method::POST, 302, "/x").is_err());
        assert!(method(Method::POST, 307, "https://evil.example/").is_err());
        assert!(matches!(method(Method::GET, 302, "http://registry.example/"), Err(UpstreamError::Refused(_))));
        assert!(next(&hop(Method::GET), StatusCode::FOUND, None).is_err());
    }

    #[test]
    fn strangers_learn_nothing_about_the_caller() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("authorization", "Bearer x"), ("cookie", "a=b"), ("npm-session", "1"), ("x-token", "1"), ("accept", "*/*"), ("range", "bytes=0-1")]
        {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let left = for_strangers(&headers);
        let mut left: Vec<_> = left.keys().map(http::HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "range"]);
        assert_eq!(shown(&Url::parse("https://files.example/a?X-Signature=secret").unwrap()), "https://files.example/a");
    }
}
