//! What a token may be used for: its principal's rights, narrowed by actions and by patterns of repositories.
//!
//! A scope never adds a right, and a token that was made with a token is never wider than that one.

use entrepot_kit::{Action, Error, Result, Timestamp};

/// Most patterns of one token.
const MOST_PATTERNS: usize = 64;
/// Longest pattern: two names of 64 characters and some stars.
const LONGEST_PATTERN: usize = 160;
/// Most stars of one pattern; keeps matching cheap.
const MOST_STARS: usize = 4;

/// The bounds of a token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenScope {
    /// Patterns of `system/repository`, where `*` stands for any text; empty for all.
    pub repositories: Vec<String>,
    /// Actions; empty for all.
    pub actions: Vec<Action>,
    /// When the token ends.
    pub expires: Option<Timestamp>,
}

impl TokenScope {
    /// Checks what a caller asked for.
    pub(super) fn check(repositories: &[String], actions: &[Action]) -> Result<()> {
        if repositories.len() > MOST_PATTERNS {
            return Err(Error::bad_request(format!("a token takes at most {MOST_PATTERNS} patterns of repositories")));
        }
        for pattern in repositories {
            let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/*".contains(&byte);
            if pattern.len() > LONGEST_PATTERN || !pattern.bytes().all(known) || pattern.matches('*').count() > MOST_STARS {
                return Err(Error::bad_request(format!(
                    "{pattern:?} is no pattern of repositories: write system/repository in lower case, with up to {MOST_STARS} stars, such as \"alpha/*\""
                )));
            }
            if pattern.matches('/').count() != 1 && pattern != "*" {
                return Err(Error::bad_request(format!(
                    "the pattern {pattern:?} matches no repository: write system/repository, such as \"alpha/*\", or \"*\""
                )));
            }
        }
        if actions.contains(&Action::SignIn) {
            return Err(Error::bad_request("a token cannot be limited to \"sign-in\"; its actions are read, publish, overwrite, delete and manage"));
        }
        Ok(())
    }

    /// Whether the token may be used for this at all. A system as a whole needs a pattern that takes all its repositories.
    #[must_use]
    pub fn permits(&self, action: Action, system: &str, repository: Option<&str>) -> bool {
        self.permits_action(action) && (self.repositories.is_empty() || self.covers(&format!("{system}/{}", repository.unwrap_or("*"))))
    }

    /// Whether the token may be used for this action somewhere.
    pub(super) fn permits_action(&self, action: Action) -> bool {
        self.actions.is_empty() || self.actions.contains(&action)
    }

    /// Whether the token is good for this action everywhere: what rights over the whole server need.
    pub(super) fn permits_everywhere(&self, action: Action) -> bool {
        self.permits_action(action) && (self.repositories.is_empty() || self.covers("*"))
    }

    /// Whether one of the patterns takes all that `pattern` takes. A star of `pattern` counts as a letter that only a star takes.
    fn covers(&self, pattern: &str) -> bool {
        self.repositories.iter().any(|own| glob(own.as_bytes(), pattern.as_bytes()))
    }

    /// The scope of a token that is made with this one. What is not limited in the request gets this token's limits.
    pub(super) fn narrow(&self, wanted: &mut entrepot_kit::TokenRequest) -> Result<()> {
        if wanted.actions.is_empty() {
            wanted.actions.clone_from(&self.actions);
        } else if let Some(action) = wanted.actions.iter().find(|action| !self.permits_action(**action)) {
            return Err(Error::forbidden(format!("the token in use does not allow {:?}, so it cannot make a token that does", action.name())));
        }
        if wanted.repositories.is_empty() {
            wanted.repositories.clone_from(&self.repositories);
        } else if let Some(pattern) = wanted.repositories.iter().find(|pattern| !self.repositories.is_empty() && !self.covers(pattern)) {
            return Err(Error::forbidden(format!("the token in use is not for {pattern:?}, so it cannot make a token that is")));
        }
        Ok(())
    }
}

/// Whether `pattern` takes the whole of `text`. Linear in their product at worst: it goes back to the last star only.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while position < text.len() {
        match (pattern.get(at), text.get(position)) {
            (Some(b'*'), _) => {
                last_star = Some((at, position));
                at += 1;
            }
            (Some(letter), Some(other)) if letter == other => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star, taken)) = last_star else { return false };
                last_star = Some((star, taken + 1));
                at = star + 1;
                position = taken + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::{TokenScope, glob};
    use entrepot_kit::{Action, TokenRequest};
    use proptest::prelude::*;

    fn scope(repositories: &[&str], actions: &[Action]) -> TokenScope {
        TokenScope { repositories: repositories.iter().map(|text| (*text).to_owned()).collect(), actions: actions.to_vec(), expires: None }
    }

    #[test]
    fn an_empty_scope_permits_everything() {
        assert!(scope(&[], &[]).permits(Action::Delete, "a", Some("b")));
        assert!(scope(&[], &[]).permits(Action::Manage, "a", None));
        assert!(scope(&[], &[]).permits_everywhere(Action::Manage));
    }

    #[test]
    fn patterns_take_whole_addresses() {
        let alpha = scope(&["alpha/*"], &[Action::Read]);
        assert!(alpha.permits(Action::Read, "alpha", Some("npm")));
        assert!(alpha.permits(Action::Read, "alpha", None));
        assert!(!alpha.permits(Action::Publish, "alpha", Some("npm")));
        assert!(!alpha.permits(Action::Read, "alphabet", Some("npm")));
        assert!(!alpha.permits(Action::Read, "xalpha", Some("npm")));
        assert!(!alpha.permits_everywhere(Action::Read));
        assert!(!scope(&["alpha/npm"], &[]).permits(Action::Read, "alpha", None), "one repository is not the system");
        assert!(!scope(&["alpha/npm"], &[]).permits(Action::Read, "alpha", Some("npm-other")));
    }

    #[test]
    fn a_token_made_with_a_token_is_not_wider() {
        let own = scope(&["alpha/*", "beta/npm"], &[Action::Read, Action::Manage]);
        let narrowed = |repositories: &[&str], actions: &[Action]| {
            let mut request = TokenRequest { repositories: scope(repositories, &[]).repositories, actions: actions.to_vec(), ..TokenRequest::default() };
            own.narrow(&mut request).map(|()| (request.repositories, request.actions))
        };
        assert_eq!(narrowed(&[], &[]).unwrap(), (own.repositories.clone(), own.actions.clone()), "nothing asked is not everything");
        assert!(narrowed(&["alpha/npm", "alpha/n*"], &[Action::Read]).is_ok());
        for (repositories, actions) in [(&["*"][..], &[][..]), (&["alph*/*"], &[]), (&["beta/*"], &[]), (&["alpha/npm"], &[Action::Publish])] {
            assert_eq!(narrowed(repositories, actions).unwrap_err().status(), 403, "{repositories:?} {actions:?}");
        }
    }

    #[test]
    fn what_could_never_match_is_refused_with_a_reason() {
        for bad in ["alpha", "Alpha/*", "a/b/c", "a/*****", "a/é", ""] {
            assert_eq!(TokenScope::check(&[bad.to_owned()], &[]).unwrap_err().status(), 400, "{bad}");
        }
        assert!(TokenScope::check(&[], &[Action::SignIn]).is_err());
        assert!(TokenScope::check(&["*".to_owned(), "a/*-local".to_owned()], &[Action::Read]).is_ok());
    }

    proptest! {
        #[test]
        fn a_covering_pattern_takes_all_that_the_other_takes(one in "[ab*]{0,5}", other in "[ab*]{0,5}", text in "[ab]{0,7}") {
            if glob(one.as_bytes(), other.as_bytes()) && glob(other.as_bytes(), text.as_bytes()) {
                prop_assert!(glob(one.as_bytes(), text.as_bytes()));
            }
        }
    }
}
