//! The repositories as the engine knows them: loaded from the catalog, held in memory, replaced as a whole.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use entrepot_kit::accounts::Tags;
use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Address, Error, Format, Kind, Result};
use serde::Deserialize as _;

use crate::registry::paths::Paths;
use crate::registry::patterns::Patterns;
use crate::registry::purge::Purge;
use crate::registry::quota::quota;
use crate::registry::rules::Rules;
use crate::registry::view::Moment;
use crate::store::model::{RepositoryRow, SystemRow};
use crate::upstream::{Trust, Upstream, UpstreamSettings};

/// Groups within groups within groups: no deeper.
const MAX_DEPTH: usize = 8;
/// The setting of every repository that sends downloads on to the storage.
pub(crate) const REDIRECT_DOWNLOADS: &str = "redirect_downloads";

/// The setting that says which registry's content a repository stands for.
pub(crate) const NAMESPACE: &str = "namespace";

/// A repository with all that a request needs of it. Never changes; a new table brings a new one.
pub struct Repo {
    /// Its row in the catalog.
    pub row: RepositoryRow,
    /// What it speaks.
    pub format: Arc<dyn Format>,
    /// The tags of its system.
    pub system_tags: Tags,
    /// Which names it takes at all.
    pub rules: Rules,
    /// Which names a proxy mirrors.
    pub patterns: Patterns,
    /// Which paths a proxy serves, and how fresh each must be.
    pub paths: Paths,
    /// Most bytes that it has.
    pub quota: Option<u64>,
    /// What is called after a change.
    pub purge: Option<Purge>,
    /// A proxy's upstream.
    pub upstream: Option<Arc<Upstream>>,
    /// A group's members in order, groups among them already replaced by their members.
    pub leaves: Vec<Leaf>,
    /// The newest revision. Shared between tables, so that it outlives a reload.
    pub head: Arc<AtomicU64>,
}

/// A hosted or proxy repository as a member of a group.
pub struct Leaf {
    /// The member.
    pub repo: Arc<Repo>,
    /// Groups between the group and the member: the caller must be allowed to read these as well.
    pub through: Vec<Arc<Repo>>,
    /// The rules on the way; all must admit a name.
    pub rules: Vec<Rules>,
}

impl Repo {
    /// Its number in the catalog.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.row.id
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.row.address
    }

    /// Hosted, proxy or group.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.row.kind
    }

    /// The newest revision that this process knows to be committed.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Notes a committed revision.
    pub fn advance(&self, revision: u64) {
        self.head.fetch_max(revision, Ordering::AcqRel);
    }

    /// Whether downloads are sent on to the storage, where it takes them.
    #[must_use]
    pub fn redirects_downloads(&self) -> bool {
        self.row.settings.get(REDIRECT_DOWNLOADS).and_then(serde_json::Value::as_bool).unwrap_or(false)
    }

    /// The namespace whose content this repository stands for (`docker.io`): its own setting, or that of its upstream's preset.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        let own = self.row.settings.get(NAMESPACE).and_then(serde_json::Value::as_str);
        own.or_else(|| self.upstream.as_ref().and_then(|upstream| upstream.settings().namespace()))
    }

    /// The name under which a proxy keeps, restricts and grants a package that clients may call by a shorter one.
    #[must_use]
    pub fn full_name<'a>(&self, package: &'a str) -> Cow<'a, str> {
        let namespace = self.namespace().filter(|_| self.kind() == Kind::Proxy);
        let full = namespace.and_then(|namespace| self.format.full_name(namespace, package));
        full.map_or(Cow::Borrowed(package), Cow::Owned)
    }

    /// The path with the full name of its package, and that package.
    #[must_use]
    pub fn full_path<'a>(&self, path: &'a str) -> (Cow<'a, str>, Option<String>) {
        let Some(package) = self.format.package_of(path) else { return (Cow::Borrowed(path), None) };
        match self.full_name(&package) {
            Cow::Borrowed(_) => (Cow::Borrowed(path), Some(package)),
            Cow::Owned(full) => match path.strip_prefix(&package).filter(|rest| rest.starts_with('/')) {
                Some(rest) => (Cow::Owned(format!("{full}{rest}")), Some(full)),
                None => (Cow::Borrowed(path), Some(package)),
            },
        }
    }

    /// The upstream of a proxy.
    ///
    /// # Errors
    /// 500 for a repository that is none.
    pub fn upstream(&self) -> Result<&Arc<Upstream>> {
        self.upstream.as_ref().ok_or_else(|| Error::internal(format!("{} has no upstream", self.address())))
    }

    /// The moment as of which a proxy stays, where it does.
    pub(crate) fn frozen(&self) -> Option<Moment> {
        self.upstream.as_ref().and_then(|upstream| upstream.settings().frozen_at()).map(Moment::Time)
    }
}

/// Every repository by its address.
#[derive(Default)]
pub struct Table {
    repositories: BTreeMap<Address, Arc<Repo>>,
    /// The systems by name.
    pub systems: BTreeMap<String, SystemRow>,
}

impl Table {
    /// The repository at an address.
    #[must_use]
    pub fn get(&self, address: &Address) -> Option<&Arc<Repo>> {
        self.repositories.get(address)
    }

    /// Every repository, ordered by address.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Repo>> {
        self.repositories.values()
    }

    /// Builds the table from the catalog's rows. A repository that cannot be served (its format is not of this version, its
    /// settings are broken) is left out and reported, so that one of them does not stop the server.
    #[must_use]
    pub fn build(systems: Vec<SystemRow>, rows: Vec<RepositoryRow>, formats: &[Arc<dyn Format>], previous: &Self) -> (Self, Vec<String>) {
        let systems: BTreeMap<_, _> = systems.into_iter().map(|system| (system.name.to_string(), system)).collect();
        let mut problems = Vec::new();
        let mut table = Self { repositories: BTreeMap::new(), systems };
        let (groups, plain): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.kind == Kind::Group);
        for row in plain {
            match table.plain(row, formats, previous) {
                Ok(repo) => drop(table.repositories.insert(repo.address().clone(), Arc::new(repo))),
                Err(problem) => problems.push(problem),
            }
        }
        let groups: HashMap<Address, RepositoryRow> = groups.into_iter().map(|row| (row.address.clone(), row)).collect();
        for address in groups.keys() {
            if let Err(problem) = table.group(address, &groups, formats, previous, 0) {
                problems.push(problem);
            }
        }
        (table, problems)
    }

    fn system_tags(&self, address: &Address) -> Tags {
        self.systems.get(address.system.as_str()).map(|system| system.tags.clone()).unwrap_or_default()
    }

    fn plain(&self, row: RepositoryRow, formats: &[Arc<dyn Format>], previous: &Self) -> Result<Repo, String> {
        let format = find_format(&row, formats)?;
        let format = match row.kind {
            Kind::Proxy => towards(format, &row.settings).map_err(|error| format!("{}: {}", row.address, error.message()))?,
            _ => format,
        };
        let known = previous.get(&row.address).filter(|known| known.id() == row.id);
        let upstream = match row.kind {
            Kind::Proxy => match known.filter(|known| known.row.settings == row.settings && known.row.declared == row.declared) {
                // The circuit breaker and the connections of an unchanged upstream stay.
                Some(known) => known.upstream.clone(),
                None => Some(Arc::new(build_upstream(&row, &*format).map_err(|error| format!("{}: {}", row.address, error.message()))?)),
            },
            _ => None,
        };
        let rules = Rules::from_settings(&row.settings).map_err(|error| format!("{}: {}", row.address, error.message()))?;
        let patterns = Patterns::from_settings(&row.settings).map_err(|error| format!("{}: {}", row.address, error.message()))?;
        let paths = Paths::from_settings(&row.settings).map_err(|error| format!("{}: {}", row.address, error.message()))?;
        let quota = quota(&row.settings).map_err(|error| format!("{}: {}", row.address, error.message()))?;
        let purge = Purge::from_settings(&row.settings).map_err(|error| format!("{}: {}", row.address, error.message()))?;
        Ok(Repo {
            system_tags: self.system_tags(&row.address),
            format,
            rules,
            patterns,
            paths,
            quota,
            purge,
            upstream,
            leaves: Vec::new(),
            head: head(&row, known),
            row,
        })
    }

    fn group(
        &mut self,
        address: &Address,
        groups: &HashMap<Address, RepositoryRow>,
        formats: &[Arc<dyn Format>],
        previous: &Self,
        depth: usize,
    ) -> Result<Arc<Repo>, String> {
        if let Some(done) = self.repositories.get(address) {
            return Ok(Arc::clone(done));
        }
        let row = groups.get(address).ok_or_else(|| format!("{address} does not exist"))?;
        if depth >= MAX_DEPTH {
            return Err(format!("{address}: groups within groups form a cycle or are nested more than {MAX_DEPTH} deep"));
        }
        let format = find_format(row, formats)?;
        let mut leaves = Vec::new();
        for member in members(&row.settings).map_err(|error| format!("{address}: {}", error.message()))? {
            let repo = self.group(&member.repository, groups, formats, previous, depth + 1).map_err(|problem| format!("{address}: member {problem}"))?;
            if repo.row.format != row.format {
                return Err(format!("{address}: the member {} speaks {}, not {}", repo.address(), repo.row.format, row.format));
            }
            if repo.kind() == Kind::Group {
                leaves.extend(repo.leaves.iter().map(|leaf| Leaf {
                    repo: Arc::clone(&leaf.repo),
                    through: std::iter::once(Arc::clone(&repo)).chain(leaf.through.iter().cloned()).collect(),
                    rules: std::iter::once(member.rules.clone()).chain(leaf.rules.iter().cloned()).collect(),
                }));
            } else {
                leaves.push(Leaf { rules: vec![member.rules.clone(), repo.rules.clone()], through: Vec::new(), repo });
            }
        }
        let known = previous.get(address).filter(|known| known.id() == row.id);
        let rules = Rules::from_settings(&row.settings).map_err(|error| format!("{address}: {}", error.message()))?;
        let purge = Purge::from_settings(&row.settings).map_err(|error| format!("{address}: {}", error.message()))?;
        let repo = Repo {
            purge,
            system_tags: self.system_tags(address),
            format,
            rules,
            patterns: Patterns::default(),
            paths: Paths::default(),
            quota: None,
            upstream: None,
            leaves,
            head: head(row, known),
            row: row.clone(),
        };
        let repo = Arc::new(repo);
        self.repositories.insert(address.clone(), Arc::clone(&repo));
        Ok(repo)
    }
}

fn find_format(row: &RepositoryRow, formats: &[Arc<dyn Format>]) -> Result<Arc<dyn Format>, String> {
    let found = formats.iter().find(|format| format.id() == row.format);
    found.cloned().ok_or_else(|| format!("{}: this server does not speak {:?}", row.address, row.format))
}

/// A format as it is towards the upstream of a repository: by another protocol, where the URL says so.
///
/// # Errors
/// 400 for a protocol that the format does not speak.
pub(crate) fn towards(format: Arc<dyn Format>, settings: &serde_json::Value) -> Result<Arc<dyn Format>> {
    let url = settings.get("upstream").and_then(|upstream| upstream.get("url")).and_then(serde_json::Value::as_str);
    match url.and_then(|url| url.split_once("://")) {
        None | Some(("http" | "https", _)) => Ok(format),
        Some((scheme, _)) => format.towards(scheme, settings).ok_or_else(|| {
            let shown: String = scheme.chars().take(20).collect();
            Error::bad_request(format!("upstream.url begins with {shown}://, which repositories of the format {} do not speak: use https://", format.id()))
        }),
    }
}

fn head(row: &RepositoryRow, known: Option<&Arc<Repo>>) -> Arc<AtomicU64> {
    let head = known.map_or_else(Default::default, |known| Arc::clone(&known.head));
    head.fetch_max(row.head, Ordering::AcqRel);
    head
}

/// Reads and checks a proxy's `upstream` setting.
///
/// # Errors
/// 400 naming what is wrong with it.
pub fn upstream_settings(settings: &serde_json::Value) -> Result<UpstreamSettings> {
    let upstream = settings.get("upstream").ok_or_else(|| Error::bad_request("a proxy needs upstream = { url = \"…\" }"))?;
    let parsed = UpstreamSettings::deserialize(upstream).map_err(|error| Error::bad_request(format!("upstream: {error}")))?;
    parsed.check().map_err(|problems| Error::bad_request(format!("upstream: {}", problems.join("; "))))?;
    Ok(parsed)
}

fn build_upstream(row: &RepositoryRow, format: &dyn Format) -> Result<Upstream> {
    Ok(Upstream::new(upstream_settings(&row.settings)?, Trust { declared: row.declared })?.speaking(format.upstream_prefix(), format.upstream_challenges()))
}

/// Checks the `namespace` setting.
///
/// # Errors
/// 400 when it is no host.
pub(crate) fn check_namespace(settings: &serde_json::Value) -> Result<()> {
    let Some(value) = settings.get(NAMESPACE) else { return Ok(()) };
    let is_host = |text: &str| {
        let name = text.split_once(':').map_or(text, |(name, _)| name);
        let port = text.split_once(':').map(|(_, port)| port);
        (1..=255).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
            && port.is_none_or(|port| port.parse::<u16>().is_ok())
    };
    match value.as_str() {
        Some(text) if is_host(text) => Ok(()),
        _ => Err(Error::bad_request("namespace is the host that images are called by, in lower case, such as docker.io or registry.example:5000")),
    }
}

/// A member as a group's settings name it.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its address.
    pub repository: Address,
    /// Which names may come from it.
    pub rules: Rules,
}

/// Reads a group's `members`: addresses, or tables `{ repository, allow, deny, reserve, merge }`. An address without a
/// system is one of `main`.
///
/// # Errors
/// 400 naming the member that is malformed.
pub fn members(settings: &serde_json::Value) -> Result<Vec<Member>> {
    let malformed =
        || Error::bad_request("members is a list of \"system/repository\" or { repository = \"…\", allow = […], deny = […], reserve = […], merge = […] }");
    let Some(list) = settings.get("members") else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or_else(malformed)?;
    if list.len() > 64 {
        return Err(Error::bad_request("a group has at most 64 members"));
    }
    list.iter()
        .map(|member| {
            let (name, rules) = match member {
                serde_json::Value::String(name) => (name.as_str(), Rules::default()),
                serde_json::Value::Object(fields) => {
                    let mut fields = fields.clone();
                    fields.remove("repository");
                    (member.get("repository").and_then(serde_json::Value::as_str).ok_or_else(malformed)?, Rules::parse(&fields.into())?)
                }
                _ => return Err(malformed()),
            };
            let repository = if name.contains('/') { Address::parse(name)? } else { Address::new(DEFAULT_SYSTEM, name)? };
            Ok(Member { repository, rules })
        })
        .collect()
}
