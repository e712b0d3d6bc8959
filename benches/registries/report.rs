//! Figures as lines of JSON, as tables, and held against the goals.
#![expect(clippy::print_stdout, reason = "the harness is a program for a person at a terminal")]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::Result;
use crate::traffic::Figures;

/// All that a run measured.
#[derive(Debug)]
pub(crate) struct Report {
    path: PathBuf,
    file: File,
    begun: std::time::Instant,
    goals: Vec<(String, bool)>,
}

impl Report {
    /// Begins one beside the data.
    pub(crate) fn begin(folder: &Path) -> Result<Self> {
        let path = folder.join("results.jsonl");
        Ok(Self { file: File::create(&path)?, path, begun: std::time::Instant::now(), goals: Vec::new() })
    }

    /// A headline for what follows.
    pub(crate) fn section(&self, title: &str) {
        println!("\n{title} ({} s)", self.begun.elapsed().as_secs());
    }

    /// Keeps figures of a case, and prints them.
    pub(crate) fn row(&mut self, case: &str, peer: &str, figures: &Figures) -> Result<()> {
        let mut line = Map::from_iter([(String::from("case"), json!(case)), (String::from("peer"), json!(peer))]);
        let mut text = format!("  {case:<34} {peer:<10}");
        for (name, value) in figures.named() {
            line.insert(name.to_owned(), json!(value));
            text += &format!(" {:>10} {name}", short(value));
        }
        println!("{text}");
        writeln!(self.file, "{}", Value::Object(line))?;
        Ok(())
    }

    /// Holds a figure against its goal: at least so much.
    pub(crate) fn at_least(&mut self, what: &str, figure: f64, goal: f64) -> Result<()> {
        self.goal(what, figure, ">=", goal, figure >= goal)
    }

    /// Holds a figure against its goal: at most so much.
    pub(crate) fn at_most(&mut self, what: &str, figure: f64, goal: f64) -> Result<()> {
        self.goal(what, figure, "<=", goal, figure <= goal)
    }

    fn goal(&mut self, what: &str, figure: f64, sign: &str, goal: f64, met: bool) -> Result<()> {
        writeln!(self.file, "{}", json!({ "goal": what, "figure": figure, "limit": format!("{sign} {goal}"), "met": met }))?;
        self.goals.push((format!("{:<4} {what:<76} {:>10}  {sign} {}", if met { "met" } else { "MISS" }, short(figure), short(goal)), met));
        Ok(())
    }

    /// Prints the goals. A missed one is no failure of the run: who reads decides.
    pub(crate) fn end(self) -> Result<()> {
        println!("\nGoals");
        for (line, _) in &self.goals {
            println!("  {line}");
        }
        let met = self.goals.iter().filter(|(_, met)| *met).count();
        println!("\n{met} of {} goals met in {} s; every figure: {}", self.goals.len(), self.begun.elapsed().as_secs(), self.path.display());
        Ok(())
    }
}

/// A number as people read it.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
