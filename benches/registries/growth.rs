//! What a publish costs when the package has many versions already.

use crate::packages::{SMALL, npm_publish};
use crate::peers::{self, Peer};
use crate::report::Report;
use crate::traffic::{self, Figures, send_all};
use crate::{Plan, Result};

/// Publishes over which the cost is taken: the kernel counts in hundredths of a second.
const WINDOW: usize = 200;

/// The versions at which it is taken.
const POINTS: [usize; 4] = [10, 100, 1000, 5000];

/// Measures it.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    report.section("Growth of one package");
    let peer = Peer::entrepot(&peers::fresh(plan, "growth")?).await?;
    let client = traffic::client()?;
    let publish = |package: &str, versions: std::ops::Range<usize>| -> Result<Vec<_>> {
        versions.map(|version| npm_publish(&peer, &client, "/main/npm", package, &format!("1.0.{version}"), SMALL)).collect()
    };
    let mut costs: Vec<Figures> = Vec::new();
    let mut there = 0;
    for point in POINTS {
        let figures = if point < WINDOW {
            early(&peer, point, &publish).await?
        } else {
            while there < point - WINDOW / 2 {
                let next = (there + 500).min(point - WINDOW / 2);
                send_all(&peer, 1, publish("grow", there..next)?).await?;
                there = next;
            }
            there += WINDOW;
            send_all(&peer, 1, publish("grow", there - WINDOW..there)?).await?
        };
        report.row(&format!("publish of version {point}"), "entrepot", &figures)?;
        costs.push(figures);
    }
    if let (Some(first), Some(last)) = (costs.first(), costs.last()) {
        report.at_most("publish of version 5,000: times the CPU of version 10", last.cpu_milliseconds() / first.cpu_milliseconds(), 1.5)?;
        report.at_most("publish of version 5,000: times the time of version 10", last.milliseconds() / first.milliseconds(), 1.5)?;
    }
    peer.stop()
}

/// Few versions are passed by many packages.
async fn early(peer: &Peer, point: usize, publish: &impl Fn(&str, std::ops::Range<usize>) -> Result<Vec<reqwest::RequestBuilder>>) -> Result<Figures> {
    let (from, to) = (point - point / 2, point + point / 2);
    let mut all = Vec::new();
    for package in 0..WINDOW / (to - from) {
        let name = format!("early-{point}-{package}");
        send_all(peer, 1, publish(&name, 0..from)?).await?;
        all.extend(publish(&name, from..to)?);
    }
    send_all(peer, 1, all).await
}
