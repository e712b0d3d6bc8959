//! Every format passes the kit's suite as hosted, proxy and group; so does a toy that says as little as a format can.
#![cfg(test)]

use entrepot_format_alpine::testing::AlpineSpecimen;
use entrepot_format_generic::testing::GenericSpecimen;
use entrepot_format_helm::testing::HelmSpecimen;
use entrepot_format_maven::testing::MavenSpecimen;
use entrepot_format_npm::testing::NpmSpecimen;
use entrepot_format_oci::Oci;
use entrepot_format_pypi::testing::PypiSpecimen;
use entrepot_format_rpm::testing::RpmSpecimen;
use entrepot_kit::conformance::{CASES, Specimen};
use futures::future::join_all;

use crate::house::House;
use crate::toy::Toy;

/// All cases at the same time: each has repositories of its own.
async fn conforms(specimen: &dyn Specimen) {
    let house = House::start().await;
    let cases = CASES.iter().map(async |(name, case)| {
        let outcome = case(&house, specimen).await;
        outcome.err().map(|failure| format!("{} {name}: {failure}", specimen.format()))
    });
    let failures: Vec<String> = join_all(cases).await.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_conforms() {
    conforms(&NpmSpecimen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generic_conforms() {
    conforms(&GenericSpecimen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oci_conforms() {
    conforms(&Oci).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pypi_conforms() {
    conforms(&PypiSpecimen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maven_conforms() {
    conforms(&MavenSpecimen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_conforms() {
    conforms(&HelmSpecimen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_conforms() {
    conforms(&RpmSpecimen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_conforms() {
    conforms(&AlpineSpecimen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn toy_conforms() {
    conforms(&Toy).await;
}
