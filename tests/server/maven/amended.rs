//! Metadata is amended by what changed: to the byte what is made anew of all records, and at a cost that does not grow with them.

use entrepot_format_maven::metadata::Metadata;
use entrepot_format_maven::testing::{jar, path, pom};
use http::{Method, StatusCode};

use super::{HERE, OWNER, delete, deploy, filled, get, house};
use crate::house::House;
use crate::raw::Call;

const LEVELS: [&str; 3] = ["com/acme/maven-metadata.xml", "com/acme/lib/maven-metadata.xml", "com/acme/lib/1.1-SNAPSHOT/maven-metadata.xml"];

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }
}

/// The metadata of all levels, amended or not, is that of a view that nobody asked for before, which is made anew.
async fn compare(house: &House, what: &str) {
    let head = house.head("alpha/maven");
    for level in LEVELS {
        let (now, anew) = (get(house, level).await, house.call(Call::get(format!("{HERE}.at-r{head}/{level}"))).await);
        assert_eq!((now.status, now.text()), (anew.status, anew.text()), "{level} after {what}");
        assert_eq!(now.header("last-modified"), anew.header("last-modified"), "{level} after {what}");
    }
}

async fn amended(house: &House) -> u64 {
    house.figure("entrepot_documents_amended_total").await
}

async fn restore(house: &House, version: &str) {
    let address = format!("/api/v1/repositories/alpha/maven/packages/com.acme:lib/versions/{version}/restore");
    house.call_as(OWNER, Call::new(Method::POST, address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_what_would_be_made_anew() {
    let house = house().await;
    let mut dice = Dice(7);
    for round in 0..60 {
        let number = dice.below(12);
        let version = format!("1.{}.{}", number % 4, number % 3);
        let what = match dice.below(8) {
            0 | 1 => {
                deploy(&house, &path("com.acme", "lib", &version, ".pom"), pom("com.acme", "lib", &version, "jar")).await;
                format!("pom of {version}")
            }
            2 => {
                deploy(&house, &path("com.acme", "lib", &version, ".jar"), filled(&version)).await;
                format!("jar of {version}")
            }
            3 => {
                delete(&house, &format!("com/acme/lib/{version}/")).await;
                format!("deletion of {version}")
            }
            4 => {
                restore(&house, &version).await;
                format!("restoration of {version}")
            }
            5 => {
                let file = format!("com/acme/lib/1.1-SNAPSHOT/lib-1.1-20260101.0000{round:02}-{}.pom", round + 1);
                deploy(&house, &file, pom("com.acme", "lib", "1.1-SNAPSHOT", "jar")).await;
                format!("snapshot {round}")
            }
            6 => {
                let folder = if number < 3 { "com/acme/lib/1.1-SNAPSHOT/" } else { "com/acme/lib/1.0.1/" };
                delete(&house, folder).await;
                format!("deletion of {folder}")
            }
            _ => {
                let artifact = format!("p{}-maven-plugin", number % 3);
                let descriptor = format!("<plugin><artifactId>{artifact}</artifactId><goalPrefix>p{number}</goalPrefix></plugin>");
                let plugin = jar(&[("META-INF/maven/plugin.xml", descriptor.as_bytes())]);
                deploy(&house, &path("com.acme", &artifact, &format!("1.{round}"), ".jar"), plugin).await;
                format!("plugin {artifact}")
            }
        };
        compare(&house, &what).await;
    }
    if house.engines() == 1 {
        let amended = amended(&house).await;
        assert!(amended > 30, "{amended} documents were amended");
    }
    // Two that are equal stand in the order of their publication: nothing is amended then.
    for version in ["2", "2.0", "2-ga", "2.0.0"] {
        deploy(&house, &path("com.acme", "lib", version, ".pom"), pom("com.acme", "lib", version, "jar")).await;
        compare(&house, version).await;
    }
    for version in ["2.0", "2.0.0"] {
        delete(&house, &format!("com/acme/lib/{version}/")).await;
        compare(&house, version).await;
        restore(&house, version).await;
        compare(&house, version).await;
    }
    // Nothing of it is left, and then some of it again.
    delete(&house, "com/acme/lib/").await;
    compare(&house, "the deletion of all").await;
    deploy(&house, &path("com.acme", "lib", "3", ".pom"), pom("com.acme", "lib", "3", "jar")).await;
    compare(&house, "a new beginning").await;
}

/// All versions are read once, whatever is published afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn the_cost_of_a_publish_does_not_grow() {
    const VERSIONS: u64 = 120;
    let house = House::alone_with(|_| {}).await;
    house.repository("alpha/maven", "maven", entrepot_kit::Kind::Hosted, true, serde_json::json!({})).await;
    house.user("bob", &[("system", "alpha"), ("role", "publisher")]).await;
    for number in 0..VERSIONS {
        let version = format!("1.{number}");
        deploy(&house, &path("com.acme", "lib", &version, ".jar"), filled(&version)).await;
        deploy(&house, &path("com.acme", "lib", &version, ".pom"), pom("com.acme", "lib", &version, "jar")).await;
        let found = get(&house, "com/acme/lib/maven-metadata.xml").await;
        assert_eq!(found.status, StatusCode::OK);
        deploy(&house, "com/acme/lib/maven-metadata.xml", found.body).await;
    }
    let found = Metadata::parse(&get(&house, "com/acme/lib/maven-metadata.xml").await.body).expect("metadata");
    assert_eq!((found.versions.len() as u64, found.latest), (VERSIONS, format!("1.{}", VERSIONS - 1)));
    let made = house.figure("entrepot_document_cache_misses_total").await;
    assert_eq!((made, amended(&house).await), (VERSIONS, VERSIONS - 1));
}
