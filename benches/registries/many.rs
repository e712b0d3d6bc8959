//! What a repository costs that holds many packages: filled through the catalog's own bulk call, which restores use as well.

use std::path::Path;

use entrepot::store::catalog::Catalog;
use entrepot::store::catalog::tables::{TABLES, Table};
use entrepot::store::catalog::transfer::{Clash, Row, Value};
use reqwest::Client;
use reqwest::Method;

use crate::packages::{SMALL, npm_publish};
use crate::peers::{self, Peer};
use crate::report::Report;
use crate::traffic::{self, Figures, send_all, succeeded};
use crate::{Plan, Result};

/// The package that is multiplied. Its number stands in all that is kept of it.
const TEMPLATE: &str = "many-0000000";

/// The number of the template, which becomes that of each copy.
const NUMBER: &str = "0000000";

/// The tables in which a package has rows, and the columns that number packages, versions or rows.
const OF_PACKAGES: [(&str, &[&str]); 7] = [
    ("packages", &["id"]),
    ("package_documents", &["id", "package_id"]),
    ("package_changes", &["package_id"]),
    ("versions", &["id", "package_id"]),
    ("fragments", &["version_id"]),
    ("entries", &["id"]),
    ("search_terms", &["package_id"]),
];

/// Rows that are handed over at once.
const SLICE: usize = 2000;

/// Requests of each kind.
const REQUESTS: usize = 1000;

/// What reading, publishing and searching cost.
struct Costs {
    read: Figures,
    publish: Figures,
    search: Figures,
}

/// Measures it.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let few = filled(plan, report, 1_000).await?;
    let sizes: &[usize] = if plan.million { &[100_000, 1_000_000] } else { &[100_000] };
    for &size in sizes {
        let many = filled(plan, report, size).await?;
        for (what, few, many) in [("reading", &few.read, &many.read), ("publishing", &few.publish, &many.publish), ("searching", &few.search, &many.search)] {
            let ratio = many.cpu_milliseconds() / few.cpu_milliseconds();
            report.at_most(&format!("{what} with {size} packages: times the CPU with 1000"), ratio, 2.0)?;
        }
    }
    Ok(())
}

async fn filled(plan: &Plan, report: &mut Report, size: usize) -> Result<Costs> {
    report.section(&format!("{size} packages in one repository"));
    let data = peers::fresh(plan, "many")?;
    let client = traffic::client()?;
    let peer = Peer::entrepot(&data).await?;
    succeeded(npm_publish(&peer, &client, "/main/npm", TEMPLATE, "1.0.0", SMALL)?).await?;
    peer.stop()?;
    multiply(&data, size).await?;
    let peer = Peer::entrepot(&data).await?;
    report.at_most(&format!("start with {size} packages: seconds to the first answer"), peer.started.as_secs_f64(), 0.1)?;
    let costs = costs(report, &peer, &client, size).await?;
    peer.stop()?;
    Ok(costs)
}

/// Copies all rows of the template, with other numbers and another name. SQLite numbers what comes later behind the highest by itself.
async fn multiply(data: &Path, size: usize) -> Result<()> {
    let catalog = Catalog::open_sqlite_at_rest(&data.join("entrepot.db")).await?;
    for (name, numbers) in OF_PACKAGES {
        let table: &'static Table = TABLES.iter().find(|table| table.name == name).ok_or_else(|| format!("there is no table {name}"))?;
        let rows = catalog.rows(table, None).await?;
        // Every copy is this far from the one before, so that no two rows of a table meet.
        let step = i64::try_from(rows.len().max(1))?;
        let distance = |column: &str| if column == "id" { step } else { 1 };
        let mut copies = Vec::with_capacity(SLICE);
        for number in 1..size {
            for row in &rows {
                let mut copy = renamed(row, &format!("{number:07}"));
                for column in numbers {
                    let old = row.get(table, column).and_then(Value::as_number).ok_or_else(|| format!("{name} has no {column}"))?;
                    copy.set(table, column, Value::Number(old + i64::try_from(number)? * distance(column)));
                }
                copies.push(copy);
            }
            if copies.len() >= SLICE || number + 1 == size {
                catalog.insert(table, std::mem::take(&mut copies), Clash::Refuse).await?;
            }
        }
    }
    Ok(())
}

/// The same row about another package.
fn renamed(row: &Row, number: &str) -> Row {
    let values = row.0.iter().map(|value| match value {
        Value::Text(text) => Value::Text(text.replace(NUMBER, number)),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Bytes(text.replace(NUMBER, number).into_bytes()),
            Err(_) => Value::Bytes(bytes.clone()),
        },
        other => other.clone(),
    });
    Row(values.collect())
}

async fn costs(report: &mut Report, peer: &Peer, client: &Client, size: usize) -> Result<Costs> {
    // Spread over all of them, each asked for once: no answer is one that was kept.
    let name = |i: usize| format!("many-{:07}", (i * 7919) % size);
    let reads = (0..REQUESTS).map(|i| client.get(format!("{}/main/npm/{}", peer.base, name(i)))).collect();
    let read = send_all(peer, 4, reads).await?;
    report.row(&format!("read one of {size}"), "entrepot", &read)?;
    let publishes: Result<Vec<_>> = (0..REQUESTS).map(|i| npm_publish(peer, client, "/main/npm", &format!("new-{i}"), "1.0.0", SMALL)).collect();
    let publish = send_all(peer, 1, publishes?).await?;
    report.row(&format!("publish beside {size}"), "entrepot", &publish)?;
    let searches = (0..REQUESTS).map(|i| peer.request(client, Method::GET, &format!("/main/npm/-/v1/search?text={}&size=20", name(i)))).collect();
    let search = send_all(peer, 1, searches).await?;
    report.row(&format!("search among {size}"), "entrepot", &search)?;
    Ok(Costs { read, publish, search })
}
