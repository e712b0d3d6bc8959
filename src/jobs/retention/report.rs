//! What a run did, or would do, in bounded words.

use std::collections::BTreeMap;
use std::fmt;

use entrepot_kit::Address;

use super::plan::Reason;
use crate::store::facts::Forgotten;

/// Most things of a repository that are told one by one.
pub const MOST_TOLD: usize = 1000;
/// Most lines about a repository that a command prints.
const MOST_LINES: usize = 50;

/// What kind of thing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A version: a tag.
    Version,
    /// A document that nothing holds: a manifest without a tag.
    Document,
    /// Bytes that no document needs: a layer.
    Part,
    /// A file that stands for itself, or that a proxy kept.
    File,
    /// A package of which nothing is left.
    Package,
}

impl What {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Document => "document",
            Self::Part => "part",
            Self::File => "file",
            Self::Package => "package",
        }
    }
}

/// Something that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// What kind of thing.
    pub what: What,
    /// Its package; empty for files that belong to none.
    pub package: String,
    /// Its version or path.
    pub name: String,
}

/// A version, or a file, that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stays {
    /// Its package; empty for files that belong to none.
    pub package: String,
    /// Its version or path.
    pub name: String,
    /// Why.
    pub reason: Reason,
}

/// What became of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The repository.
    pub address: Address,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// What goes, the first of it.
    pub gone: Vec<Gone>,
    /// How much of each kind.
    pub gone_of: BTreeMap<What, u64>,
    /// What stays, the first of it.
    pub stays: Vec<Stays>,
    /// How many stay, by reason.
    pub stays_for: BTreeMap<Reason, u64>,
    /// Rows of the past.
    pub forgotten: Forgotten,
    /// Packages that were left alone: they changed again and again meanwhile, or are too large.
    pub passed_over: u64,
}

impl Report {
    pub(super) fn new(address: Address, dry_run: bool) -> Self {
        Self {
            address,
            dry_run,
            gone: Vec::new(),
            gone_of: BTreeMap::new(),
            stays: Vec::new(),
            stays_for: BTreeMap::new(),
            forgotten: Forgotten::default(),
            passed_over: 0,
        }
    }

    pub(super) fn goes(&mut self, what: What, package: &str, name: &str) {
        *self.gone_of.entry(what).or_default() += 1;
        if self.gone.len() < MOST_TOLD {
            self.gone.push(Gone { what, package: package.to_owned(), name: name.to_owned() });
        }
    }

    pub(super) fn stay(&mut self, package: &str, name: &str, reason: Reason) {
        *self.stays_for.entry(reason).or_default() += 1;
        if self.stays.len() < MOST_TOLD {
            self.stays.push(Stays { package: package.to_owned(), name: name.to_owned(), reason });
        }
    }

    /// How much goes in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.gone_of.values().sum()
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.total() == 0 && self.forgotten.rows() == 0 && self.passed_over == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |what| self.gone_of.get(&what).copied().unwrap_or(0);
        write!(
            f,
            "{}: {} versions, {} documents, {} parts, {} files, {} packages {}; {} rows of the past {}",
            self.address,
            of(What::Version),
            of(What::Document),
            of(What::Part),
            of(What::File),
            of(What::Package),
            if self.dry_run { "would go" } else { "gone" },
            self.forgotten.rows(),
            if self.dry_run { "would be forgotten" } else { "forgotten" },
        )?;
        for (reason, number) in &self.stays_for {
            write!(f, "; {number} stay ({})", reason.text())?;
        }
        if self.passed_over > 0 {
            write!(f, "; {} packages passed over: they change all the time, or are too large", self.passed_over)?;
        }
        if self.dry_run {
            for Gone { what, package, name } in self.gone.iter().take(MOST_LINES) {
                write!(f, "\n  {} {package} {name}", what.name())?;
            }
            if self.total() > MOST_LINES as u64 {
                write!(f, "\n  … and {} more", self.total() - MOST_LINES as u64)?;
            }
        }
        Ok(())
    }
}
