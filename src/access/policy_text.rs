//! Policies as people write them: parsed, named, and checked against the published schema.

use std::collections::HashSet;
use std::sync::LazyLock;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use entrepot_kit::{Error, Result};

/// The schema that policies are written against.
pub const SCHEMA: &str = include_str!("schema.cedarschema");
/// The default policies, for an operator to copy and change.
pub const DEFAULT_POLICIES: &str = include_str!("default.cedar");

/// Largest text of one policy.
const LARGEST_TEXT: usize = 64 * 1024;
/// Most rules in one text.
const MOST_RULES: usize = 500;
/// Most problems that an answer names.
const MOST_PROBLEMS: usize = 5;

/// A named text of one or more rules.
#[derive(Debug)]
pub(super) struct PolicyText {
    /// As it was written.
    pub(super) text: String,
    /// Its rules. Each one's id is the name that answers and logs give.
    pub(super) policies: Vec<Policy>,
}

/// What is worth knowing about a policy that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PolicyReport {
    /// Its name.
    pub name: String,
    /// The names of its rules, as `explain` and `X-Artifact-Policy` give them.
    pub rules: Vec<String>,
    /// What may surprise its author.
    pub warnings: Vec<String>,
}

impl PolicyText {
    /// Reads and checks a text.
    ///
    /// A rule is named `{name}`, or where the text has several `{name}:{id}` by its `@id("…")`, or else by its number.
    ///
    /// # Errors
    /// 400 with the place and the reason.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self> {
        if text.len() > LARGEST_TEXT {
            return Err(Error::bad_request(format!("the policy {name:?} has {} bytes; {LARGEST_TEXT} are allowed: split it", text.len())));
        }
        let set: PolicySet = text
            .parse()
            .map_err(|error| Error::bad_request(format!("the policy {name:?} cannot be read: {}", describe(text, &DetailedError::from(&error)))))?;
        if set.templates().next().is_some() {
            return Err(Error::bad_request(format!("the policy {name:?} uses ?principal or ?resource: templates are not supported, name the entity itself")));
        }
        let rules: Vec<&Policy> = set.policies().collect();
        if rules.is_empty() || rules.len() > MOST_RULES {
            return Err(Error::bad_request(format!("the policy {name:?} has {} rules; it takes 1 to {MOST_RULES}", rules.len())));
        }
        let alone = rules.len() == 1;
        let mut seen = HashSet::new();
        let mut policies = Vec::with_capacity(rules.len());
        for (number, rule) in rules.into_iter().enumerate() {
            let id = match rule.annotation("id") {
                Some(id) if !is_rule_id(id) => return Err(Error::bad_request(format!("@id({id:?}): an id is 1 to 64 letters, digits, '.', '_' and '-'"))),
                Some(id) => format!("{name}:{id}"),
                None if alone => name.to_owned(),
                None => format!("{name}:{}", number + 1),
            };
            if !seen.insert(id.clone()) {
                return Err(Error::bad_request(format!("two rules of the policy are called {id:?}: give each its own @id")));
            }
            policies.push(rule.new_id(PolicyId::new(id)));
        }
        let parsed = Self { text: text.to_owned(), policies };
        parsed.validate(name)?;
        Ok(parsed)
    }

    fn validate(&self, name: &str) -> Result<()> {
        let set = PolicySet::from_policies(self.policies.iter().cloned()).map_err(Error::internal)?;
        let outcome = Validator::new(schema()?.clone()).validate(&set, ValidationMode::Strict);
        let problems: Vec<String> = outcome.validation_errors().take(MOST_PROBLEMS).map(|error| describe(&self.text, &DetailedError::from(error))).collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::bad_request(format!("the policy {name:?} does not fit the schema (GET /api/v1/access/schema): {}", problems.join("; "))))
    }

    /// What to tell the author.
    pub(super) fn report(&self, name: &str) -> PolicyReport {
        let mut warnings = Vec::new();
        let names_packages = |policy: &Policy| policy.to_json().is_ok_and(|json| json.to_string().contains("\"Package\""));
        if self.policies.iter().any(names_packages) {
            let hint = "this policy looks at packages. Documents that are signed as a whole (APKINDEX, repodata) still name every package of a readable repository; the files themselves are refused";
            warnings.push(hint.to_owned());
        }
        PolicyReport { name: name.to_owned(), rules: self.policies.iter().map(|policy| policy.id().to_string()).collect(), warnings }
    }
}

/// The schema, parsed once.
pub(super) fn schema() -> Result<&'static Schema> {
    static PARSED: LazyLock<std::result::Result<Schema, String>> =
        LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA).map(|(schema, _)| schema).map_err(|error| error.to_string()));
    PARSED.as_ref().map_err(|error| Error::internal(error.as_str()))
}

/// Checks a text of policies without keeping it: what `entrepot check` does with the operator's file.
///
/// # Errors
/// 400 with the place and the reason.
pub fn check_policies(name: &str, text: &str) -> Result<PolicyReport> {
    Ok(PolicyText::parse(name, text)?.report(name))
}

fn is_rule_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// `line 3: message (help)`.
fn describe(text: &str, error: &DetailedError) -> String {
    let line =
        error.source_locations.first().and_then(|label| text.get(..label.loc.start)).map(|before| format!("line {}: ", before.matches('\n').count() + 1));
    let label = error.source_locations.first().and_then(|label| label.label.as_deref()).map(|label| format!(", {label}"));
    let help = error.help.as_deref().map(|help| format!(" ({help})"));
    [line.as_deref().unwrap_or(""), &error.message, label.as_deref().unwrap_or(""), help.as_deref().unwrap_or("")].concat()
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_POLICIES, PolicyText, check_policies};

    fn refusal(text: &str) -> String {
        let error = check_policies("mine", text).unwrap_err();
        assert_eq!(error.status(), 400, "{error}");
        error.message().to_owned()
    }

    #[test]
    fn the_default_policies_are_valid_and_named() {
        let report = check_policies("default", DEFAULT_POLICIES).unwrap();
        assert_eq!(report.rules, ["default:public-read", "default:system-read", "default:system-publisher", "default:system-owner"]);
        assert!(report.warnings.is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let message = refusal("permit (principal, action, resource);\npermit (principal, action, resource) when { ;");
        assert!(message.contains("line 2"), "{message}");
        let message = refusal("permit (principal, action == Action::\"raed\", resource);");
        assert!(message.contains("raed") && message.contains("read"), "{message}");
        let message = refusal("permit (principal, action, resource) when { principal.getTag(\"team\").contains(\"a\") };");
        assert!(message.contains("hasTag") || message.contains("tag"), "{message}");
        assert!(refusal("permit (principal, action, resource) when { resource.colour == \"red\" };").contains("colour"));
        assert!(refusal("permit (principal == ?principal, action, resource);").contains("templates"));
        assert!(refusal("").contains("0 rules"));
        assert!(refusal("@id(\"a b\") permit (principal, action, resource);").contains("@id"));
        assert!(refusal("@id(\"a\") permit (principal, action, resource); @id(\"a\") permit (principal, action, resource);").contains("two rules"));
        assert!(refusal(&" ".repeat(70_000)).contains("split"));
    }

    #[test]
    fn rules_are_named_by_policy_id_or_number() {
        let rule = "permit (principal, action, resource);";
        assert_eq!(PolicyText::parse("mine", rule).unwrap().report("mine").rules, ["mine"]);
        assert_eq!(check_policies("mine", &format!("{rule} @id(\"x\") {rule} {rule}")).unwrap().rules, ["mine:1", "mine:x", "mine:3"]);
    }

    #[test]
    fn rules_about_packages_come_with_a_warning() {
        for rule in ["forbid (principal, action, resource is Package);", "forbid (principal, action, resource == Package::\"main/apk:x\");"] {
            assert_eq!(check_policies("mine", rule).unwrap().warnings.len(), 1, "{rule}");
        }
    }
}
