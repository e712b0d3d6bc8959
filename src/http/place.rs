//! Which repository an address means: `/{system}/{repository}/…`, `/v2/…`, or all of a host that is bound to one.
//!
//! Below `/v2/`, the interface of container clients, a name begins with a system and a repository of it where there is such a system, and
//! with a repository of the default system otherwise. Rights never count here: what a name means is the same for everybody. A client that
//! uses us as a mirror says with `?ns=` whose image it wants, by the name that this has there; that is asked of the proxy that mirrors that
//! registry, and of no other.

use entrepot_kit::name::{DEFAULT_SYSTEM, VIEW_SEPARATOR};
use entrepot_kit::path::RequestPath;
use entrepot_kit::{Address, Format, Query, Result, RouteTable};

use crate::registry::view::parse_address;
use crate::registry::{Moment, Repo, Table};

/// What chart repositories have below `/api`.
const BELOW_API: [&str; 2] = ["charts", "prov"];

/// What of a request says which repository it is about.
pub(crate) struct Asked<'a> {
    /// The path as it came.
    pub(crate) path: &'a str,
    /// The query.
    pub(crate) query: &'a Query,
    /// The repository of the host.
    pub(crate) bound: Option<&'a Address>,
}

/// Where a request is about something.
#[derive(Debug)]
pub(crate) struct Place {
    /// The repository; `None` for names that nothing can have.
    pub(crate) address: Option<Address>,
    /// The view of it.
    pub(crate) moment: Option<Moment>,
    /// What refusals call it: the address as it was written.
    pub(crate) named: String,
    /// What is below.
    pub(crate) path: RequestPath,
    /// The path that leads to the repository.
    pub(crate) base: String,
    /// What a container client said besides.
    pub(crate) registry: Option<Registry>,
    /// It was asked for below `/api`, as clients of artifactapi do: files are to be saved, under their names.
    pub(crate) is_saved: bool,
}

/// A place below `/v2/`.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The path below `/v2/`: what is read from it does not depend on which systems there are.
    pub(crate) whole: RequestPath,
    /// What comes before an image in its name: `alpha/oci/`; nothing on a host of its own and for a mirror.
    pub(crate) prefix: String,
    /// The registry that is mirrored here, where the client asked for it.
    pub(crate) namespace: Option<String>,
}

/// The rest of a path below `/v2`, which begins with a slash or is nothing.
pub(crate) fn below_v2(path: &str) -> Option<&str> {
    path.strip_prefix("/v2").filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a path is for container clients. A host that is bound to another kind of repository has no registry.
pub(crate) fn is_registry(asked: &Asked<'_>, table: &Table) -> bool {
    let speaks = |address: &Address| table.get(address).is_none_or(|repo| speaks_registry(&*repo.format));
    below_v2(asked.path).is_some() && asked.bound.is_none_or(speaks)
}

/// Whether container clients speak to repositories of a format.
pub(crate) fn speaks_registry(format: &dyn Format) -> bool {
    !format.registry_routes().0.is_empty()
}

impl Place {
    /// Finds out what an address means.
    ///
    /// # Errors
    /// 400 for what no path may be.
    pub(crate) fn find(asked: &Asked<'_>, table: &Table) -> Result<Self> {
        match below_v2(asked.path).filter(|_| is_registry(asked, table)) {
            Some(rest) => Self::registry(asked, table, rest.strip_prefix('/').unwrap_or(rest)),
            None => Self::plain(asked, table),
        }
    }

    fn plain(asked: &Asked<'_>, table: &Table) -> Result<Self> {
        let raw = asked.path.strip_prefix('/').unwrap_or(asked.path);
        // What container clients alone speak to has nothing outside of `/v2/`.
        let has_more = |address: &&Address| table.get(address).is_none_or(|repo| !speaks_registry(&*repo.format) || !repo.format.routes().0.is_empty());
        if let Some(address) = asked.bound.filter(has_more) {
            let (named, address) = (address.to_string(), Some(address.clone()));
            return Ok(Self { address, moment: None, named, path: RequestPath::decode(raw)?, base: String::new(), registry: None, is_saved: false });
        }
        if let Some(place) = Self::prefixed(raw, table)? {
            return Ok(place);
        }
        let [system, repository, rest] = split(raw);
        let (address, moment) = read(system, repository);
        let named = address.as_ref().map_or_else(|| format!("{system}/{repository}"), ToString::to_string);
        Ok(Self { address, moment, named, path: RequestPath::decode(rest)?, base: format!("/{system}/{repository}"), registry: None, is_saved: false })
    }

    /// `/api/{system}/{repository}/charts`, as clients of chart repositories ask that were not told where `/api` begins: it is below the
    /// repository. Everything else below `/api` is `/api/{repository}/{path}` or `/api/v1/remote/{repository}/{path}`, as clients of artifactapi
    /// ask for repositories of the default system.
    fn prefixed(raw: &str, table: &Table) -> Result<Option<Self>> {
        let Some(below) = raw.strip_prefix("api/") else { return Ok(None) };
        let (base, below) = below.strip_prefix("v1/remote/").map_or(("/api", below), |below| ("/api/v1/remote", below));
        let [first, second, rest] = split(below);
        let is_charts = base == "/api" && rest.split('/').next().is_some_and(|segment| BELOW_API.contains(&segment));
        let (address, moment) = read(DEFAULT_SYSTEM, first);
        if is_charts && address.as_ref().is_none_or(|address| table.get(address).is_none()) {
            let (address, moment) = read(first, second);
            let (named, path) = (format!("{first}/{second}"), RequestPath::decode(&format!("api/{rest}"))?);
            return Ok(Some(Self { address, moment, named, path, base: format!("/{first}/{second}"), registry: None, is_saved: false }));
        }
        let path = RequestPath::decode(below.split_once('/').map_or("", |(_, path)| path))?;
        // Which of both it is must not tell whether there is such a repository.
        let named = if is_charts { format!("{first}/{second}") } else { first.to_owned() };
        Ok(Some(Self { address, moment, named, path, base: format!("{base}/{first}"), registry: None, is_saved: true }))
    }

    fn registry(asked: &Asked<'_>, table: &Table, raw: &str) -> Result<Self> {
        let whole = |address: &Address, namespace: Option<String>| {
            let path = RequestPath::decode(raw)?;
            Ok(Self {
                address: Some(address.clone()),
                moment: None,
                named: path.joined(),
                base: String::from("/v2"),
                registry: Some(Registry { whole: path.clone(), prefix: String::new(), namespace }),
                is_saved: false,
                path,
            })
        };
        let namespace = asked.query.get("ns").map(str::to_ascii_lowercase);
        if let Some(address) = asked.bound {
            let namespace = namespace.filter(|namespace| table.get(address).is_some_and(|repo| repo.mirrors(namespace)));
            return whole(address, namespace);
        }
        let by_path = Self::by_path(table, raw)?;
        let Some(namespace) = namespace else { return Ok(by_path) };
        let own = by_path.address.as_ref().and_then(|address| table.get(address)).filter(|repo| repo.mirrors(&namespace));
        if own.is_some() {
            let registry = by_path.registry.map(|registry| Registry { namespace: Some(namespace), ..registry });
            return Ok(Self { registry, ..by_path });
        }
        match table.mirror(&namespace) {
            Some(mirror) => whole(mirror.address(), Some(namespace)),
            None => Ok(by_path),
        }
    }

    fn by_path(table: &Table, raw: &str) -> Result<Self> {
        let [first, second, third] = split(raw);
        let (system, repository, prefix, rest) = if table.systems.contains_key(first) {
            (first, second, format!("{first}/{second}"), third)
        } else {
            (DEFAULT_SYSTEM, first, first.to_owned(), raw.split_once('/').map_or("", |(_, rest)| rest))
        };
        let (address, moment) = read(system, repository);
        let whole = RequestPath::decode(raw)?;
        Ok(Self {
            address,
            moment,
            named: whole.joined(),
            path: RequestPath::decode(rest)?,
            base: format!("/v2/{prefix}"),
            registry: Some(Registry { whole, prefix: format!("{prefix}/"), namespace: None }),
            is_saved: false,
        })
    }

    /// The routes of a format that are reached this way.
    pub(crate) fn routes(&self, format: &dyn Format) -> RouteTable {
        if self.registry.is_some() { format.registry_routes() } else { format.routes() }
    }

    /// The repository, if there is one here.
    pub(crate) fn repo<'t>(&self, table: &'t Table) -> Option<&'t std::sync::Arc<Repo>> {
        let repo = table.get(self.address.as_ref()?)?;
        (self.registry.is_none() || speaks_registry(&*repo.format)).then_some(repo)
    }
}

fn split(raw: &str) -> [&str; 3] {
    let mut segments = raw.splitn(3, '/');
    [(); 3].map(|()| segments.next().unwrap_or_default())
}

fn read(system: &str, repository: &str) -> (Option<Address>, Option<Moment>) {
    // Names without the separator are the rule, and errors are dear.
    if !repository.contains(VIEW_SEPARATOR) {
        return (Address::new(system, repository).ok(), None);
    }
    parse_address(system, repository).map_or((None, None), |(address, moment)| (Some(address), moment))
}
