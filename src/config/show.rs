//! `config show`: each value and where it came from, secrets hidden.

use std::fmt::Write;

use entrepot_kit::Kind;
use entrepot_kit::accounts::Tags;
use serde_json::Value;

use super::value::quoted;
use super::{Config, Repository};

impl Config {
    /// The whole configuration in the file's notation, each single value with its origin as a comment.
    #[must_use]
    pub fn show(&self) -> String {
        self.render(true)
    }

    fn render(&self, origins: bool) -> String {
        let mut text = String::new();
        let mut section = "";
        for shown in &self.settings {
            if shown.section != section {
                section = shown.section;
                push(&mut text, format_args!("[{section}]"));
            }
            if origins {
                push(&mut text, format_args!("{:<48} # {}", format!("{} = {}", shown.name, shown.value), shown.origin));
            } else {
                push(&mut text, format_args!("{} = {}", shown.name, shown.value));
            }
        }
        for system in &self.systems {
            push(&mut text, format_args!("[[system]]\nname = {}\ntags = {}", quoted(system.name.as_str()), tags(&system.tags)));
            if let Some(quota) = system.quota_bytes {
                push(&mut text, format_args!("quota_bytes = {quota}"));
            }
        }
        for repository in &self.repositories {
            show_repository(&mut text, repository);
        }
        for host in &self.hosts {
            push(&mut text, format_args!("[[host]]\nname = {}\nrepository = {}", quoted(&host.name), quoted(&host.repository.to_string())));
        }
        text
    }
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "{line}");
}

fn show_repository(text: &mut String, repository: &Repository) {
    let kind = match repository.kind {
        Kind::Hosted => "hosted",
        Kind::Proxy => "proxy",
        Kind::Group => "group",
    };
    push(text, format_args!("[[repository]]\nsystem = {}\nname = {}", quoted(repository.system.as_str()), quoted(repository.name.as_str())));
    push(text, format_args!("format = {}\nkind = {}\ntags = {}", quoted(&repository.format), quoted(kind), tags(&repository.tags)));
    if let Some(upstream) = repository.shown_upstream() {
        push(text, format_args!("upstream = {}", inline(&upstream)));
    }
    if !repository.members.is_empty() {
        push(text, format_args!("members = {}", inline(&Value::from(repository.members.clone()))));
    }
    let settings = repository.shown_settings();
    if !settings.is_empty() {
        push(text, format_args!("settings = {}", inline(&Value::Object(settings))));
    }
}

fn tags(tags: &Tags) -> String {
    let one = |(key, values): (&String, &std::collections::BTreeSet<String>)| {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        match values.as_slice() {
            [value] => format!("{} = {value}", quoted(key)),
            _ => format!("{} = [{}]", quoted(key), values.join(", ")),
        }
    };
    table(tags.iter().map(one).collect())
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(members) => table(members.iter().map(|(key, value)| format!("{} = {}", quoted(key), inline(value))).collect()),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn table(members: Vec<String>) -> String {
    if members.is_empty() { String::from("{}") } else { format!("{{ {} }}", members.join(", ")) }
}

#[cfg(test)]
impl Config {
    /// The same without origins, to compare two configurations.
    pub(super) fn values(&self) -> String {
        self.render(false)
    }
}
