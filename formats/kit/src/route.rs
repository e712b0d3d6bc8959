//! Routes as data: a table from which the router, the access check and the URL builder follow.

use futures::future::BoxFuture;
use http::Method;

use crate::error::Result;
use crate::facade::{Delete, Manage, Publish, Read, Repository, SignIn};
use crate::path::{RequestPath, encode_path, encode_segment};
use crate::request::{Request, Response};

/// What a caller may be allowed to do with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// See and download.
    Read,
    /// Add something new.
    Publish,
    /// Replace something that exists, where the format or the repository's settings allow it at all.
    Overwrite,
    /// Remove.
    Delete,
    /// Change settings and what is said about others' packages.
    Manage,
    /// Exchange a password for a token. Everyone may try; it is not a right over a resource.
    SignIn,
}

impl Action {
    /// The actions that policies decide.
    pub const DECIDED: [Self; 5] = [Self::Read, Self::Publish, Self::Overwrite, Self::Delete, Self::Manage];

    /// The name in policies, tokens and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Overwrite => "overwrite",
            Self::Delete => "delete",
            Self::Manage => "manage",
            Self::SignIn => "sign-in",
        }
    }
}

/// What a handler gives back.
pub type Answer = BoxFuture<'static, Result<Response>>;

/// The function that answers a route. Its variant says which action the route demands, and its argument is the handle
/// that carries that grant: a handler cannot reach further than its route demands.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Demands `read`.
    Read(fn(Repository<Read>, Request) -> Answer),
    /// Demands `publish`.
    Publish(fn(Repository<Publish>, Request) -> Answer),
    /// Demands `delete`.
    Delete(fn(Repository<Delete>, Request) -> Answer),
    /// Demands `manage`.
    Manage(fn(Repository<Manage>, Request) -> Answer),
    /// Open to everyone; reaches accounts only, never the store.
    SignIn(fn(SignIn, Request) -> Answer),
}

impl Handler {
    /// The action that the policy must allow.
    #[must_use]
    pub fn action(self) -> Action {
        match self {
            Self::Read(_) => Action::Read,
            Self::Publish(_) => Action::Publish,
            Self::Delete(_) => Action::Delete,
            Self::Manage(_) => Action::Manage,
            Self::SignIn(_) => Action::SignIn,
        }
    }
}

/// One line of a format's route table.
///
/// Templates are segments joined by slashes; a segment is a literal, a literal with a capture behind it
/// (`org.couchdb.user:{name}`), a capture of one segment (`{version}`), a capture that also takes `@scope/name` in one
/// segment or in two (`{@package}`), or a capture of all that is left (`{path..}`). The last may take nothing where it ends the
/// template; where parts follow (`{image..}/tags/list`), those take their segments from the right, and it takes at least one.
#[derive(Clone)]
pub struct Route {
    /// A short name for logs and metrics.
    pub name: &'static str,
    /// The method. `HEAD` is answered wherever `GET` is and needs no line.
    pub method: Method,
    /// The template below the repository.
    pub template: &'static str,
    /// The capture that names the package that is demanded; without it the demand is on the repository.
    pub package: Option<&'static str>,
    /// What answers.
    pub handler: Handler,
}

/// What a template captured, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captures(Vec<(&'static str, String)>);

impl Captures {
    /// The captured text; empty for a name that the template does not have.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }
}

/// The outcome of looking a request up.
pub enum Found {
    /// The route and what it captured.
    Route(&'static Route, Captures),
    /// The path is served, but not by this method; the methods that are.
    OtherMethods(Vec<Method>),
    /// No route, no answer.
    Nothing,
}

/// A format's routes, first match first.
#[derive(Clone, Copy)]
pub struct RouteTable(pub &'static [Route]);

impl RouteTable {
    /// The first route of that method whose template takes the whole path.
    #[must_use]
    pub fn find(self, method: &Method, path: &RequestPath) -> Found {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let mut others = Vec::new();
        for route in self.0 {
            if let Some(captures) = matches(route.template, path.segments()) {
                if route.method == *method {
                    return Found::Route(route, captures);
                }
                if !others.contains(&route.method) {
                    others.push(route.method.clone());
                }
            }
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
    }
}

impl Route {
    /// The URL path (below the repository, encoded, without leading slash) that leads to this route with these values.
    #[must_use]
    pub fn path(&self, values: &[(&str, &str)]) -> String {
        let value = |name: &str| values.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
        let parts = self.template.split('/').map(|part| match split_capture(part) {
            Part::Literal(text) => text.to_owned(),
            Part::One { prefix, name } => format!("{prefix}{}", encode_segment(value(name))),
            Part::Scoped(name) | Part::Rest(name) => encode_path(value(name)),
        });
        parts.collect::<Vec<_>>().join("/")
    }
}

enum Part {
    Literal(&'static str),
    One { prefix: &'static str, name: &'static str },
    Scoped(&'static str),
    Rest(&'static str),
}

fn split_capture(part: &'static str) -> Part {
    let Some((prefix, capture)) = part.strip_suffix('}').and_then(|rest| rest.split_once('{')) else { return Part::Literal(part) };
    if let Some(name) = capture.strip_prefix('@') {
        Part::Scoped(name)
    } else if let Some(name) = capture.strip_suffix("..") {
        Part::Rest(name)
    } else {
        Part::One { prefix, name: capture }
    }
}

fn matches(template: &'static str, segments: &[String]) -> Option<Captures> {
    let mut left = segments;
    let mut captures = Captures::default();
    let mut parts = template.split('/').filter(|part| !part.is_empty());
    while let Some(part) = parts.next() {
        if let Part::Rest(name) = split_capture(part) {
            let behind = parts.clone().count();
            let taken = left.len().checked_sub(behind).filter(|taken| behind == 0 || *taken > 0)?;
            let (rest, right) = left.split_at_checked(taken)?;
            if rest.iter().any(|segment| segment.contains('/')) {
                return None;
            }
            captures.0.push((name, rest.join("/")));
            left = right;
            continue;
        }
        let (segment, rest) = left.split_first()?;
        left = rest;
        match split_capture(part) {
            Part::Literal(text) if segment == text => {}
            Part::One { prefix, name } if !segment.contains('/') => {
                let value = segment.strip_prefix(prefix).filter(|value| !value.is_empty())?;
                captures.0.push((name, value.to_owned()));
            }
            Part::Scoped(name) => {
                let joined = if segment.starts_with('@') && !segment.contains('/') {
                    let (second, rest) = left.split_first()?;
                    left = rest;
                    format!("{segment}/{second}")
                } else {
                    segment.clone()
                };
                let is_scoped = joined.starts_with('@');
                if joined.matches('/').count() != usize::from(is_scoped) {
                    return None;
                }
                captures.0.push((name, joined));
            }
            _ => return None,
        }
    }
    left.is_empty().then_some(captures)
}

#[cfg(test)]
mod tests {
    use super::matches;
    use crate::path::RequestPath;

    fn capture(template: &'static str, path: &str, name: &str) -> Option<String> {
        let path = RequestPath::decode(path).ok()?;
        matches(template, path.segments()).map(|captures| captures.get(name).to_owned())
    }

    #[test]
    fn scopes_arrive_in_three_spellings() {
        for path in ["@acme/widget/-/w.tgz", "@acme%2fwidget/-/w.tgz", "@acme%2Fwidget/-/w.tgz"] {
            assert_eq!(capture("{@package}/-/{file}", path, "package").as_deref(), Some("@acme/widget"), "{path}");
        }
        assert_eq!(capture("{@package}", "left-pad", "package").as_deref(), Some("left-pad"));
        assert_eq!(capture("{@package}", "a%2fb", "package"), None);
        assert_eq!(capture("{@package}", "@a%2fb%2fc", "package"), None);
        assert_eq!(capture("{@package}", "@a", "package"), None);
    }

    #[test]
    fn other_captures() {
        assert_eq!(capture("-/user/org.couchdb.user:{name}", "-/user/org.couchdb.user:bob", "name").as_deref(), Some("bob"));
        assert_eq!(capture("{path..}", "", "path").as_deref(), Some(""));
        assert_eq!(capture("{path..}", "a/b/c", "path").as_deref(), Some("a/b/c"));
        assert_eq!(capture("{path..}", "a%2fb", "path"), None);
        assert_eq!(capture("x/{one}", "x/a/b", "one"), None);
        assert_eq!(capture("{image..}/tags/list", "a/tags/list/tags/list", "image").as_deref(), Some("a/tags/list"));
        assert_eq!(capture("{image..}/blobs/{digest}", "a/blobs/blobs/x", "image").as_deref(), Some("a/blobs"));
        assert_eq!(capture("{image..}/tags/list", "tags/list", "image"), None, "an image has a name");
        assert_eq!(capture("{image..}/tags/list", "a%2fb/tags/list", "image"), None);
    }
}
