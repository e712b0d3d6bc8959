//! Reads settings from a parsed file and remembers, for each, where its value came from; and for each mistake, its line.

use std::fmt;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::Setting;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The code.
    Default,
    /// A line of the file.
    File(String, usize),
    /// A variable.
    Environment(&'static str),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name, line) => write!(f, "{name}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A setting as `config show` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The section: `server`.
    pub section: &'static str,
    /// The name in it: `listen`.
    pub name: &'static str,
    /// The value in the file's notation, secrets hidden.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Something wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and line, or the variable or flag.
    pub place: Option<Origin>,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    pub(super) fn new(place: Option<Origin>, message: String) -> Self {
        Self { place, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

pub(super) fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Parses the text.
///
/// # Errors
/// Every mistake of syntax that can be told apart.
pub(super) fn parse<'t>(name: &str, text: &'t str) -> Result<Spanned<DeTable<'t>>, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(document);
    }
    let problem = |error: &toml::de::Error| {
        let place = error.span().map(|span| Origin::File(name.to_owned(), line_at(text, span.start)));
        Problem::new(place, error.message().to_owned())
    };
    Err(errors.iter().map(problem).collect())
}

/// What stands above the file.
pub(super) struct Given<'a> {
    pub(super) flag: (&'static str, Option<&'a str>),
    pub(super) environment: (&'static str, Option<&'a str>),
}

/// Reads one file.
pub(super) struct Reader<'t> {
    name: String,
    text: &'t str,
    root: &'t DeTable<'t>,
    sections: Vec<&'static str>,
    shown: Vec<Shown>,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(name: &str, text: &'t str, root: &'t DeTable<'t>) -> Self {
        Self { name: name.to_owned(), text, root, sections: Vec::new(), shown: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Origin {
        Origin::File(self.name.clone(), line_at(self.text, span.start))
    }

    pub(super) fn problem(&mut self, span: &Range<usize>, message: String) {
        let place = self.place(span);
        self.problem_at(&place, message);
    }

    pub(super) fn problem_at(&mut self, place: &Origin, message: String) {
        // A default needs no place: it names no line that the operator could change.
        let place = Some(place.clone()).filter(|place| *place != Origin::Default);
        self.problems.push(Problem::new(place, message));
    }

    /// A problem of another file.
    pub(super) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn problem_count(&self) -> usize {
        self.problems.len()
    }

    /// A table of single-valued settings.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'_, 't> {
        self.sections.push(name);
        let mut table = None;
        if let Some(value) = self.root.get(name) {
            table = value.get_ref().as_table();
            if table.is_none() {
                self.problem(&value.span(), format!("{name} is a section: write [{name}] and its settings below it"));
            }
        }
        Section { reader: self, name, table, known: Vec::new() }
    }

    /// A list of tables: `None` when the file does not have it, empty when it says `name = []`.
    pub(super) fn list(&mut self, name: &'static str) -> Option<Vec<(Range<usize>, &'t DeTable<'t>)>> {
        self.sections.push(name);
        let value = self.root.get(name)?;
        let wrong = format!("{name} is a list: write [[{name}]] before each");
        let Some(items) = value.get_ref().as_array() else {
            self.problem(&value.span(), wrong);
            return Some(Vec::new());
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(table) => tables.push((item.span(), table)),
                None => self.problem(&item.span(), wrong.clone()),
            }
        }
        Some(tables)
    }

    /// A value of the file as JSON, which is what formats, upstreams and the catalog keep. A date becomes its text.
    pub(super) fn json(&mut self, value: &Spanned<DeValue<'_>>) -> serde_json::Value {
        let number = match value.get_ref() {
            DeValue::String(text) => return text.as_ref().into(),
            DeValue::Boolean(truth) => return (*truth).into(),
            DeValue::Datetime(time) => return time.to_string().into(),
            DeValue::Array(items) => return items.iter().map(|item| self.json(item)).collect(),
            DeValue::Table(table) => return table.iter().map(|(key, value)| (key.get_ref().to_string(), self.json(value))).collect(),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Into::into),
            DeValue::Float(number) => number.as_str().parse().ok().and_then(serde_json::Number::from_f64).map(Into::into),
        };
        number.unwrap_or_else(|| {
            self.problem(&value.span(), String::from("this number is too large"));
            serde_json::Value::Null
        })
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn unknown(&mut self, table: &DeTable<'_>, known: &[&'static str], within: &str) {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint = nearest(name, known).map_or_else(|| format!("known here: {}", known.join(", ")), |near| format!("did you mean {near:?}?"));
                self.problem(&key.span(), format!("unknown name {name:?} {within}; {hint}"));
            }
        }
    }

    /// Reports unknown sections and puts the problems into the order of the file.
    pub(super) fn finish(&mut self) {
        let sections = std::mem::take(&mut self.sections);
        self.unknown(self.root, &sections, "at the top of the file");
    }

    pub(super) fn into_parts(mut self) -> (Vec<Shown>, Vec<Problem>) {
        let name = &self.name;
        self.problems.sort_by_key(|problem| match &problem.place {
            Some(Origin::File(file, line)) => (file != name, *line),
            _ => (false, 0),
        });
        (self.shown, self.problems)
    }
}

/// Reads the settings of one table.
pub(super) struct Section<'r, 't> {
    reader: &'r mut Reader<'t>,
    name: &'static str,
    table: Option<&'t DeTable<'t>>,
    known: Vec<&'static str>,
}

impl Section<'_, '_> {
    /// A setting that only the file can change.
    pub(super) fn setting<T: Setting>(&mut self, name: &'static str, default: T) -> T {
        self.given(name, default, Given { flag: ("", None), environment: ("", None) })
    }

    /// A setting that the environment or a flag may override. What stands below is still checked.
    pub(super) fn given<T: Setting>(&mut self, name: &'static str, default: T, given: Given<'_>) -> T {
        self.known.push(name);
        let mut found = (default, Origin::Default);
        if let Some(value) = self.table.and_then(|table| table.get(name)) {
            match T::from_toml(value.get_ref()) {
                Some(read) => found = (read, self.reader.place(&value.span())),
                None => self.reader.problem(&value.span(), format!("{}.{name}: expected {}", self.name, T::EXPECTED)),
            }
        }
        let (variable, text) = given.environment;
        self.apply(&mut found, name, text, Origin::Environment(variable));
        let (flag, text) = given.flag;
        self.apply(&mut found, name, text, Origin::Flag(flag));
        self.reader.shown.push(Shown { section: self.name, name, value: found.0.show(), origin: found.1 });
        found.0
    }

    fn apply<T: Setting>(&mut self, found: &mut (T, Origin), name: &str, text: Option<&str>, origin: Origin) {
        let Some(text) = text else { return };
        match T::from_text(text) {
            Some(read) => *found = (read, origin),
            None => self.reader.problem_at(&origin, format!("{}.{name}: expected {}", self.name, T::EXPECTED)),
        }
    }

    /// A whole number between bounds.
    pub(super) fn number(&mut self, name: &'static str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let value = self.setting(name, default);
        if bounds.contains(&value) {
            return value;
        }
        let place = self.origin_of(name);
        self.reader.problem_at(&place, format!("{}.{name}: expected a number from {} to {}", self.name, bounds.start(), bounds.end()));
        default
    }

    /// Where the value of a setting that was read came from.
    pub(super) fn origin_of(&self, name: &str) -> Origin {
        let shown = self.reader.shown.iter().rev().find(|shown| shown.section == self.name && shown.name == name);
        shown.map_or(Origin::Default, |shown| shown.origin.clone())
    }

    pub(super) fn finish(self) {
        if let Some(table) = self.table {
            self.reader.unknown(table, &self.known, &format!("in [{}]", self.name));
        }
    }
}

/// The known name that was probably meant.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let (distance, near) = known.iter().map(|candidate| (distance(name, candidate), *candidate)).min()?;
    // Two letters in the wrong order count as two changes.
    (distance <= 2.max(name.chars().count() / 4) && distance < name.chars().count()).then_some(near)
}

/// How many letters must be added, taken or changed to get from one to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];
        for ((corner, above), candidate) in row.iter().zip(row.iter().skip(1)).zip(&other) {
            left = (corner + usize::from(*candidate != letter)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("", "url"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("lisetn", &["listen", "data"]), Some("listen"));
        assert_eq!(nearest("colour", &["listen", "data"]), None);
    }
}
