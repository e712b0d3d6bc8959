//! One page from those of a group's members.

use std::sync::Arc;

use entrepot_kit::Records;

use crate::page::ProjectDocument;

/// Joins records in the order of the members: of each file name the first that has it wins, and the first member's word on the project as a
/// whole counts. Versions that members list without files are listed all.
#[must_use]
pub fn merge(parts: &[Arc<Records>]) -> Records {
    // One member alone is passed on as it is, its stamp included.
    if let [only] = parts {
        return Records::clone(only);
    }
    let mut joined = Records::first_wins(parts);
    let mut documents = parts.iter().filter_map(|part| ProjectDocument::parse(&part.document).ok());
    if let Some(mut first) = documents.next() {
        first.versions.extend(documents.flat_map(|other| other.versions));
        if let Ok(text) = first.to_text() {
            joined.document = text;
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::merge;
    use crate::page::{ProjectDocument, Status};
    use entrepot_kit::{Records, VersionRecord};
    use std::sync::Arc;

    fn part(status: Status, versions: &[&str], files: &[(&str, &'static str)]) -> Arc<Records> {
        let document = ProjectDocument { status, versions: versions.iter().map(|&version| version.to_owned()).collect(), ..ProjectDocument::default() };
        let record = |(name, bytes): &(&str, &'static str)| VersionRecord { version: (*name).to_owned(), published: None, bytes: (*bytes).into() };
        Arc::new(Records {
            package: String::from("a"),
            document: document.to_text().unwrap(),
            versions: files.iter().map(record).collect(),
            ..Records::default()
        })
    }

    #[test]
    fn the_first_member_wins_for_each_file() {
        let ours = part(Status::Archived, &["1.0"], &[("a-1.0.tar.gz", "ours")]);
        let theirs = part(Status::Active, &["1.0", "2.0"], &[("a-1.0.tar.gz", "theirs"), ("a-2.0.tar.gz", "theirs")]);
        let merged = merge(&[Arc::clone(&ours), theirs]);
        let files: Vec<(&str, &[u8])> = merged.versions.iter().map(|record| (record.version.as_str(), &*record.bytes)).collect();
        assert_eq!(files, [("a-1.0.tar.gz", &b"ours"[..]), ("a-2.0.tar.gz", &b"theirs"[..])]);
        let document = ProjectDocument::parse(&merged.document).unwrap();
        assert_eq!((document.status, document.versions), (Status::Archived, vec![String::from("1.0"), String::from("1.0"), String::from("2.0")]));
        assert_eq!(merge(&[Arc::clone(&ours)]), *ours);
    }
}
