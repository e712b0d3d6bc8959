//! Packages that nobody builds.

use entrepot_format_rpm::testing::{Value, file, header, package, tags};

use super::{get, house, put};

/// Every way in which the front of a file can be cut off or changed leads to a refusal with a reason, or to a package that says what it is.
#[tokio::test(flavor = "multi_thread")]
async fn rpm_hostile_packages_are_refused_and_change_nothing() {
    let house = house().await;
    let with = |tag: u32, value: Value| {
        let mut tags = tags("tool", "1.0", "1", "noarch", b"x");
        tags.retain(|(known, _)| *known != tag);
        tags.push((tag, value));
        file(&header(&tags), b"x")
    };
    let good = package("tool", "1.0", "1", "noarch", "x");
    let count_at = |at: usize, count: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&count.to_be_bytes());
        bytes
    };
    let header_at = good.windows(4).enumerate().skip(100).find(|(_, bytes)| *bytes == [0x8e, 0xad, 0xe8, 0x01]).expect("a header").0;
    let mut hostile = vec![
        ("nothing", Vec::new()),
        ("another format", b"!<arch>\ndebian-binary".to_vec()),
        ("a name with folders", with(1000, Value::text("../../etc/cron.d/x"))),
        ("a name of nothing", with(1000, Value::text(""))),
        ("a name of many", with(1000, Value::text(&"x".repeat(10_000)))),
        ("a name that is markup", with(1000, Value::text("a\"><evil/>"))),
        ("a version with a folder", with(1001, Value::text("1/../../x"))),
        ("a release with a line", with(1002, Value::text("1\n2"))),
        ("an architecture with spaces", with(1022, Value::text("x86 64"))),
        ("an epoch that is a text", with(1003, Value::text("one"))),
        ("another payload", file(&header(&tags("tool", "1.0", "1", "noarch", b"x")), b"y")),
        ("files in no folder", with(1117, Value::texts(&["a", "b"]))),
        ("fewer versions than names", with(1047, Value::texts(&["tool", "b", "c"]))),
    ];
    for (what, at) in [("signature tags", 96 + 8), ("signature bytes", 96 + 12), ("tags", header_at + 8), ("bytes", header_at + 12)] {
        for count in [0, 0xffff, 0x7fff_ffff, 0xffff_ffff] {
            hostile.push((what, count_at(at, count)));
        }
    }
    // Of the first tag: type, offset, count.
    for at in [4, 8, 12] {
        hostile.push(("a tag", count_at(header_at + 16 + at, 0x7fff_ffff)));
    }
    for (what, body) in hostile {
        let reply = put(&house, "tool-1.0-1.noarch.rpm", body).await;
        assert!([400, 422].contains(&reply.status.as_u16()), "{what}: {} {}", reply.status, reply.text());
    }
    for length in (0..good.len() - 1).step_by(37) {
        let reply = put(&house, "tool-1.0-1.noarch.rpm", good[..length].to_vec()).await;
        assert_eq!(reply.status.as_u16(), 422, "{length} bytes: {}", reply.text());
    }
    assert_eq!(house.head("alpha/rpm"), 0);
    assert_eq!(get(&house, "tool-1.0-1.noarch.rpm").await.status, 404);
    assert_eq!(put(&house, "tool-1.0-1.noarch.rpm", good).await.status, 201);
}
