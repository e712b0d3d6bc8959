//! What a registry client asks a token for: `repository:team/app:pull,push`, `registry:catalog:*`.

use entrepot_kit::Action;
use serde::{Deserialize, Serialize};

/// Longest name in a scope.
const LONGEST_NAME: usize = 512;
/// Stands for every image: the token is then as good as whoever asked for it, for images.
const ANY: &str = "*";
/// Most scopes of one token: a client asks for an image, and for those that it copies from.
const MOST_SCOPES: usize = 64;
/// Most bytes of all their names: a token has to fit into a header.
const MOST_NAMES: usize = 8 * 1024;

/// One scope, in the form that tokens carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryScope {
    /// `repository` or `registry`.
    #[serde(rename = "type")]
    kind: String,
    /// The name of an image below `/v2/`, or `catalog`.
    name: String,
    /// `pull`, `push`, `delete` or `*`.
    actions: Vec<String>,
}

impl RegistryScope {
    /// Reads one. The name may have a colon of its own (`host:5000/app`), so that the first and the last colon count. `None` for what
    /// nobody could be given.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        // `repository(plugin)`: a class, which old clients write for images of another kind.
        let kind = kind.split_once('(').map_or(kind, |(kind, _)| kind);
        let known_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/:".contains(&byte);
        let well_formed = name == ANY || (!name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(known_name));
        if !matches!(kind, "repository" | "registry") || !well_formed {
            return None;
        }
        let mut known = Vec::new();
        for action in actions.split(',').map(str::trim).filter(|action| matches!(*action, "pull" | "push" | "delete" | "*")) {
            if !known.iter().any(|other| other == action) {
                known.push(action.to_owned());
            }
        }
        (!known.is_empty()).then(|| Self { kind: kind.to_owned(), name: name.to_owned(), actions: known })
    }

    /// Reads the values of `scope`, each of which may hold several with spaces between them. What cannot be read is left out, because
    /// a token may always allow less than was asked for.
    #[must_use]
    pub fn parse_all<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Self> {
        let (mut scopes, mut bytes): (Vec<Self>, usize) = (Vec::new(), 0);
        for scope in values.flat_map(str::split_whitespace).filter_map(Self::parse).take(MOST_SCOPES) {
            match scopes.iter_mut().find(|known| known.kind == scope.kind && known.name == scope.name) {
                Some(known) => {
                    for action in scope.actions {
                        if !known.actions.contains(&action) {
                            known.actions.push(action);
                        }
                    }
                }
                None => {
                    bytes += scope.name.len();
                    if bytes > MOST_NAMES {
                        break;
                    }
                    scopes.push(scope);
                }
            }
        }
        scopes
    }

    /// Whether the scope is about an image.
    #[must_use]
    pub fn is_about(&self, image: &str) -> bool {
        self.image().is_some_and(|name| name == image || name == ANY)
    }

    /// The images that it is about; of one that is about every image those that are needed.
    #[must_use]
    pub fn images<'a>(&'a self, needed: &[&'a str]) -> Vec<&'a str> {
        match self.image() {
            Some(ANY) => needed.to_vec(),
            Some(name) => vec![name],
            None => Vec::new(),
        }
    }

    /// The name of the image.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        (self.kind == "repository").then_some(self.name.as_str())
    }

    /// Whether this is the scope for listing all images.
    #[must_use]
    pub fn lists(&self) -> bool {
        self.kind == "registry" && self.name == "catalog" && self.has("*")
    }

    /// The actions that were asked for, in a registry's words.
    #[must_use]
    pub fn actions(&self) -> &[String] {
        &self.actions
    }

    /// The same with other actions; `None` without any.
    #[must_use]
    pub fn only(&self, actions: Vec<String>) -> Option<Self> {
        (!actions.is_empty()).then(|| Self { actions, ..self.clone() })
    }

    /// Whether the scope is good for an action on the image. Managing is no business of registry clients.
    #[must_use]
    pub fn allows(&self, action: Action) -> bool {
        let word = match action {
            Action::Read => "pull",
            Action::Publish | Action::Overwrite => "push",
            Action::Delete => "delete",
            Action::Manage | Action::SignIn => return false,
        };
        self.kind == "repository" && (self.has("*") || self.has(word))
    }

    fn has(&self, action: &str) -> bool {
        self.actions.iter().any(|known| known == action)
    }
}

#[cfg(test)]
mod tests {
    use entrepot_kit::Action;
    use proptest::prelude::*;

    use super::RegistryScope;

    fn allowed(text: &str) -> Vec<Action> {
        let scope = RegistryScope::parse(text).unwrap();
        Action::DECIDED.into_iter().filter(|action| scope.allows(*action)).collect()
    }

    #[test]
    fn scopes_are_split_at_the_first_and_the_last_colon() {
        for (text, image) in [
            ("repository:app:pull", "app"),
            ("repository:host:5000/team/app:pull,push", "host:5000/team/app"),
            ("repository(plugin):team/app:pull", "team/app"),
        ] {
            assert_eq!(RegistryScope::parse(text).and_then(|scope| scope.image().map(str::to_owned)).as_deref(), Some(image), "{text}");
        }
        assert!(RegistryScope::parse("registry:catalog:*").is_some_and(|scope| scope.lists() && scope.image().is_none()));
        for bad in [
            "",
            "repository",
            "repository:app",
            "repository::pull",
            "repository:app:",
            "repository:app:own",
            "thing:app:pull",
            "(:a:pull",
            "repository:A:pull",
            "repository:a\"b:pull",
            "repository:a b:pull",
            "repository:a*:pull",
            ":a:pull",
        ] {
            assert!(RegistryScope::parse(bad).is_none(), "{bad}");
        }
        assert!(RegistryScope::parse(&format!("repository:{}:pull", "a".repeat(513))).is_none());
    }

    #[test]
    fn actions_are_no_wider_than_their_words() {
        assert_eq!(allowed("repository:a:pull"), [Action::Read]);
        assert_eq!(allowed("repository:a:push,own"), [Action::Publish, Action::Overwrite]);
        assert_eq!(allowed("repository:a:delete"), [Action::Delete]);
        assert_eq!(allowed("repository:a:*"), [Action::Read, Action::Publish, Action::Overwrite, Action::Delete]);
        assert_eq!(allowed("registry:catalog:*"), [], "a list is not an image");
    }

    #[test]
    fn several_scopes_come_in_two_spellings() {
        let one = RegistryScope::parse_all(["repository:a:pull repository:b:pull", "repository:a:push,pull", "nonsense"].into_iter());
        assert_eq!(one.len(), 2);
        assert_eq!(one[0].actions(), ["pull", "push"]);
        let many = (0..100).map(|number| format!("repository:a{number}:pull")).collect::<Vec<_>>().join(" ");
        assert_eq!(RegistryScope::parse_all([many.as_str()].into_iter()).len(), super::MOST_SCOPES);
        let long = (0..64).map(|number| format!("repository:{}{number:02}:pull", "a".repeat(500))).collect::<Vec<_>>().join(" ");
        assert_eq!(RegistryScope::parse_all([long.as_str()].into_iter()).len(), 16, "a token has to fit into a header");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_left_out(text in "\\PC{0,80}") {
            if let Some(scope) = RegistryScope::parse(&text) {
                prop_assert!(!scope.allows(Action::Manage) && !scope.actions().is_empty());
            }
        }
    }
}
