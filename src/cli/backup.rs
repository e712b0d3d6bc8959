//! `backup`: one file with everything that is stored.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::transfer::{count, existing, failed, open, progress};
use super::{Failure, say};
use crate::clock;
use crate::config::Config;
use crate::store::transfer::{BackedUp, backup, human};

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to write it: a file, a folder, or - for standard output.
    #[arg(value_name = "FILE|DIR|-")]
    target: PathBuf,
}

/// Writes a backup and says what it holds.
///
/// # Errors
/// What is wrong, in words for the operator.
pub(super) async fn run(arguments: Arguments, config: Config) -> Result<(), Failure> {
    let directory = existing(&config)?;
    if config.database.url.is_sqlite() && !directory.database().is_file() {
        return Err(Failure::Other(format!("there is no catalog {}", directory.database().display())));
    }
    let clock = clock::system();
    let storage = open(&config, &directory).await?;
    let key = if config.server.master_key.is_some() { String::from("server.master_key") } else { directory.master_key_file().display().to_string() };
    if arguments.target == Path::new("-") {
        let (_, facts) = backup(&storage, BufWriter::with_capacity(BUFFER, io::stdout()), &clock, progress("backup")).await.map_err(failed)?;
        // Standard output is the archive.
        let _ = writeln!(io::stderr(), "{}", summary("standard output", &facts, &key));
        return Ok(());
    }
    let file = target_file(&arguments.target, clock().0);
    let part = Part::create(&file)?;
    let output = BufWriter::with_capacity(BUFFER, part.file()?);
    let (output, facts) = backup(&storage, output, &clock, progress("backup")).await.map_err(failed)?;
    part.finish(output, &file)?;
    say(&summary(&file.display().to_string(), &facts, &key))
}

/// The file to be written: in a folder, one that tells when.
fn target_file(target: &Path, now: i64) -> PathBuf {
    if !target.is_dir() {
        return target.to_owned();
    }
    let time = jiff::Timestamp::from_millisecond(now).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
    target.join(format!("entrepot-backup-{time}.tar"))
}

/// A file that is not finished; it goes when this value does.
struct Part(PathBuf);

impl Part {
    fn create(file: &Path) -> Result<Self, Failure> {
        let mut name = file.file_name().ok_or_else(|| Failure::Other(format!("{} is no name of a file", file.display())))?.to_owned();
        name.push(".part");
        let part = file.with_file_name(name);
        // Password hashes are in it: for its owner only.
        File::options().create(true).truncate(true).write(true).mode(0o600).open(&part).map_err(|cause| wrong(&part, &cause))?;
        Ok(Self(part))
    }

    fn file(&self) -> Result<File, Failure> {
        File::options().write(true).open(&self.0).map_err(|cause| wrong(&self.0, &cause))
    }

    /// Gives the whole archive its name, once its bytes are on the disk.
    fn finish(&self, output: BufWriter<File>, file: &Path) -> Result<(), Failure> {
        let place = || -> io::Result<()> {
            output.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&self.0, file)?;
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        };
        place().map_err(|cause| wrong(file, &cause))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After the renaming there is none.
        let _ = fs::remove_file(&self.0);
    }
}

fn wrong(file: &Path, cause: &io::Error) -> Failure {
    Failure::Other(format!("cannot write {}: {cause}", file.display()))
}

fn summary(target: &str, facts: &BackedUp, key: &str) -> String {
    let blobs = count(facts.blobs, "blob", "blobs");
    let mut text = format!("{target}: {}, {blobs} ({})\n", count(facts.rows, "row", "rows"), human(facts.blob_bytes));
    if facts.damaged > 0 {
        text += &format!("{} whose bytes were lost before are not in it: entrepot verify lists them\n", count(facts.damaged, "blob", "blobs"));
    }
    text + &format!("the master key is not in it, and is needed to restore it: keep {key} in another safe place")
}
