//! What principals, policies and tags may be called.

use entrepot_kit::accounts::Tags;
use entrepot_kit::{Error, Result};

/// Longest name of a principal.
const LONGEST_NAME: usize = 128;
/// Most tags, and most values of one.
const MOST_TAGS: usize = 64;
/// Longest key and longest value of a tag.
const LONGEST_TAG: usize = 256;

/// Letters, digits and `. _ - @ +`, beginning with a letter or digit.
pub(super) fn is_principal_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte))
}

pub(super) fn check_principal_name(name: &str) -> Result<()> {
    if !is_principal_name(name) {
        return Err(Error::bad_request(format!(
            "{name:?} cannot be a name: it is 1 to {LONGEST_NAME} letters, digits, '.', '_', '-', '@' and '+', and begins with a letter or digit"
        )));
    }
    if name == "anonymous" {
        return Err(Error::bad_request("the name \"anonymous\" stands for nobody and cannot be taken"));
    }
    Ok(())
}

pub(super) fn check_policy_name(name: &str) -> Result<()> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(letters) {
        return Err(Error::bad_request(format!("{name:?} cannot be the name of a policy: it is 1 to 64 lower-case letters, digits, '.', '_' and '-'")));
    }
    if name == super::DEFAULT_SOURCE {
        return Err(Error::bad_request(format!("the policy {name:?} is the server's own: change the file that its configuration names")));
    }
    Ok(())
}

/// Checks the tags of a principal, system or repository.
///
/// # Errors
/// 400 with the rule that one breaks.
pub fn check_tags(tags: &Tags) -> Result<()> {
    if tags.len() > MOST_TAGS {
        return Err(Error::bad_request(format!("there are {} tags; {MOST_TAGS} are allowed", tags.len())));
    }
    for (key, values) in tags {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
        if key.is_empty() || key.len() > LONGEST_TAG || !key.bytes().all(known) {
            return Err(Error::bad_request(format!(
                "{key:?} cannot be the key of a tag: it is 1 to {LONGEST_TAG} letters, digits, '.', '_', '-', '/' and ':'"
            )));
        }
        if values.len() > MOST_TAGS {
            return Err(Error::bad_request(format!("the tag {key:?} has {} values; {MOST_TAGS} are allowed", values.len())));
        }
        if values.iter().any(|value| value.len() > LONGEST_TAG || value.chars().any(char::is_control)) {
            return Err(Error::bad_request(format!("a value of the tag {key:?} is longer than {LONGEST_TAG} bytes or has control characters")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check_policy_name, check_principal_name, check_tags};

    #[test]
    fn names_follow_the_rule() {
        for good in ["admin", "Alice.B@example.com", "ci+npm_1", "0"] {
            assert!(check_principal_name(good).is_ok(), "{good}");
        }
        for bad in ["", "anonymous", "a:b", "a b", "é", "-x", "a/b", &"x".repeat(129)] {
            assert!(check_principal_name(bad).is_err(), "{bad}");
        }
        assert!(check_policy_name("team-a.read").is_ok());
        for bad in ["", "default", "A", "a/b", "a:b"] {
            assert!(check_policy_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_are_bounded() {
        let tag = |key: &str, value: &str| check_tags(&[(key.to_owned(), [value.to_owned()].into())].into());
        assert!(tag("team", "a b é").is_ok());
        assert!(tag("", "a").is_err() && tag("a b", "").is_err() && tag("a", "\n").is_err() && tag("a", &"x".repeat(257)).is_err());
        assert!(check_tags(&(0..65).map(|n| (n.to_string(), [].into())).collect()).is_err());
    }
}
