//! What an action is done to, and how Cedar is told of it.

use std::collections::HashMap;
use std::sync::LazyLock;

use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};
use entrepot_kit::accounts::Tags;
use entrepot_kit::{Action, Error, Kind, Principal, PrincipalKind, Result};

/// What an action is done to: a system, a repository of it, or a package of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target<'a> {
    /// The name of the system.
    pub system: &'a str,
    /// The system's tags.
    pub system_tags: &'a Tags,
    /// The repository: name, own tags, format and kind.
    pub repository: Option<(&'a str, &'a Tags, &'a str, Kind)>,
    /// The package. Without a repository it means nothing.
    pub package: Option<&'a str>,
}

impl Target<'_> {
    /// The tags that count: those of the repository, and those of the system that the repository does not have.
    #[must_use]
    pub fn tags(&self) -> Tags {
        let mut tags = self.system_tags.clone();
        if let Some((_, own, ..)) = self.repository {
            tags.extend(own.iter().map(|(key, values)| (key.clone(), values.clone())));
        }
        tags
    }

    /// `system`, `system/repository` or `system/repository:package`: what the audit log and answers call it.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.repository, self.package) {
            (None, _) => self.system.to_owned(),
            (Some((repository, ..)), None) => format!("{}/{repository}", self.system),
            (Some((repository, ..)), Some(package)) => format!("{}/{repository}:{package}", self.system),
        }
    }
}

/// One request in Cedar's terms.
pub(super) struct Question {
    principal: EntityUid,
    action: EntityUid,
    /// From the inside out; the first is the resource.
    resources: Vec<EntityUid>,
    request: Request,
    entities: Entities,
}

impl Question {
    /// Puts a request into Cedar's terms.
    pub(super) fn new(principal: &Principal, action: Action, target: &Target<'_>) -> Result<Self> {
        let asker = entity_uid(principal_type(principal.kind), &principal.name)?;
        let action = entity_uid("Action", action.name())?;
        let tags = target.tags();
        let system = entity_uid("System", target.system)?;
        let text = |name: &str, value: &str| (name.to_owned(), RestrictedExpression::new_string(value.to_owned()));

        let mut entities = vec![
            entity(&asker, vec![text("name", &principal.name)], None, &principal.tags)?,
            entity(&system, vec![text("name", target.system), text("system", target.system)], None, target.system_tags)?,
        ];
        let mut resources = vec![system.clone()];
        if let Some((name, _, format, kind)) = target.repository {
            let repository = entity_uid("Repository", &format!("{}/{name}", target.system))?;
            let common = vec![text("system", target.system), text("format", format), text("kind", kind_name(kind))];
            entities.push(entity(&repository, [vec![text("name", name)], common.clone()].concat(), Some(&system), &tags)?);
            resources.insert(0, repository.clone());
            if let Some(package_name) = target.package {
                let package = entity_uid("Package", &target.name())?;
                let own = vec![text("name", package_name), text("repository", name)];
                entities.push(entity(&package, [own, common].concat(), Some(&repository), &tags)?);
                resources.insert(0, package);
            }
        }
        let resource = resources.first().cloned().ok_or_else(|| Error::internal("a request without a resource"))?;
        let request = Request::new(asker.clone(), action.clone(), resource, Context::empty(), None).map_err(Error::internal)?;
        let entities = Entities::from_entities(entities, None).map_err(Error::internal)?;
        Ok(Self { principal: asker, action, resources, request, entities })
    }

    pub(super) fn principal(&self) -> &EntityUid {
        &self.principal
    }

    pub(super) fn action(&self) -> &EntityUid {
        &self.action
    }

    /// The resource and what contains it, from the inside out.
    pub(super) fn resources(&self) -> &[EntityUid] {
        &self.resources
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn entities(&self) -> &Entities {
        &self.entities
    }
}

fn entity(uid: &EntityUid, attributes: Vec<(String, RestrictedExpression)>, parent: Option<&EntityUid>, tags: &Tags) -> Result<Entity> {
    let tags = tags.iter().map(|(key, values)| (key.clone(), RestrictedExpression::new_set(values.iter().cloned().map(RestrictedExpression::new_string))));
    Entity::new_with_tags(uid.clone(), attributes, parent.cloned(), tags).map_err(Error::internal)
}

fn entity_uid(kind: &str, id: &str) -> Result<EntityUid> {
    let kind = TYPES.get(kind).ok_or_else(|| Error::internal(format!("{kind} is no Cedar type")))?;
    Ok(EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id)))
}

/// The type names of the schema, parsed once.
static TYPES: LazyLock<HashMap<&'static str, EntityTypeName>> = LazyLock::new(|| {
    let names = ["User", "Robot", "Workload", "Anonymous", "System", "Repository", "Package", "Action"];
    names.into_iter().filter_map(|name| Some((name, name.parse().ok()?))).collect()
});

fn principal_type(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "User",
        PrincipalKind::Robot => "Robot",
        PrincipalKind::Workload => "Workload",
        PrincipalKind::Anonymous => "Anonymous",
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Hosted => "hosted",
        Kind::Proxy => "proxy",
        Kind::Group => "group",
    }
}

#[cfg(test)]
mod tests {
    use super::{Question, Target};
    use crate::access::policy_text::schema;
    use cedar_policy::{Context, Entities, Request};
    use entrepot_kit::accounts::Tags;
    use entrepot_kit::{Action, Kind, Principal};

    fn tags(text: &[(&str, &str)]) -> Tags {
        text.iter().map(|(key, value)| ((*key).to_owned(), [(*value).to_owned()].into())).collect()
    }

    #[test]
    fn the_nearer_tag_counts() {
        let (system, own) = (tags(&[("visibility", "public"), ("team", "a")]), tags(&[("visibility", "private")]));
        let target = Target { system: "main", system_tags: &system, repository: Some(("npm", &own, "npm", Kind::Hosted)), package: None };
        assert_eq!(target.tags(), tags(&[("team", "a"), ("visibility", "private")]));
        assert_eq!(Target { repository: None, ..target }.tags(), system);
    }

    #[test]
    fn what_cedar_is_told_fits_the_published_schema() {
        let (system, own) = (tags(&[("a", "b")]), Tags::new());
        let repository = Some(("npm", &own, "npm", Kind::Proxy));
        let whole = Target { system: "main", system_tags: &system, repository: None, package: None };
        for target in [whole, Target { repository, ..whole }, Target { repository, package: Some("@a/b \"é"), ..whole }] {
            for action in Action::DECIDED {
                let question = Question::new(&Principal::anonymous(), action, &target).unwrap();
                let entities: Vec<_> = question.entities().clone().into_iter().collect();
                assert!(Entities::from_entities(entities, Some(schema().unwrap())).is_ok(), "{}", target.name());
                let resource = question.resources()[0].clone();
                let request = Request::new(question.principal().clone(), question.action().clone(), resource, Context::empty(), Some(schema().unwrap()));
                assert!(request.is_ok(), "{}: {action:?}", target.name());
            }
        }
    }
}
