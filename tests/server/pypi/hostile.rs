//! Files that are not what they say: each is refused with a reason, and nothing is stored.
#![cfg(test)]

use entrepot_format_pypi::testing::{Form, Tar, Wheel, Zip, sdist};
use http::StatusCode;

use super::{get, house, refused, send};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_are_refused_and_nothing_is_stored() {
    let house = house().await;
    let wheel = Wheel::new("foo", "1.0", "x");
    let honest = wheel.build();
    let members = || wheel.members().into_iter().fold(Zip::new(), |zip, (path, content)| zip.deflated(&path, &content));
    let of = |bytes: Vec<u8>| Form::upload("foo", "1.0", &wheel.filename(), &bytes);
    let giant = format!("Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n\n{}", "x".repeat(5 << 20));
    let (source, _) = sdist("foo", "1.0", "x");
    let information: &[u8] = b"Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n";
    let cases: Vec<(&str, Form, &str)> = vec![
        ("a bomb", Form::wheel(&wheel.clone().file("foo/zeros", &vec![0; 80 << 20])), "unpacks to more than"),
        ("a bomb that lies", of(Zip::new().raw_deflated("foo/zeros", &vec![0; 1 << 20], 3 << 30).finish()), "another size"),
        ("a name that goes up", Form::wheel(&wheel.clone().file("../../evil.pth", b"x")), "no plain relative path"),
        ("an absolute name", Form::wheel(&wheel.clone().file("/etc/cron.d/evil", b"x")), "no plain relative path"),
        ("a backslash", Form::wheel(&wheel.clone().file("foo\\..\\evil", b"x")), "no plain relative path"),
        ("a record that lacks a file", Form::wheel(&Wheel { record: Some(String::from("foo-1.0.dist-info/RECORD,,\n")), ..wheel.clone() }), "does not list"),
        ("a record of another file", Form::wheel(&Wheel { record: Some(String::from("ghost.py,sha256=x,1\n")), ..wheel.clone() }), "lists \"ghost.py\""),
        ("giant metadata", Form::wheel(&Wheel { metadata: Some(giant), ..wheel.clone() }), "more than the"),
        ("two archives", of([Wheel::new("foo", "1.0", "evil").build(), honest.clone()].concat()), "central directory"),
        ("an archive in between", of(members().gap(&Wheel::new("foo", "1.0", "evil").build()).finish()), "between its members"),
        ("a tail", of([honest.clone(), b"#!/bin/sh".to_vec()].concat()), "something follows"),
        ("two names", of(members().two_names("foo/a.py", "foo/b.py", b"x").finish()), "two ways"),
        (
            "a name in metadata",
            Form::wheel(&Wheel { metadata: Some(String::from("Metadata-Version: 2.1\nName: bar\nVersion: 1.0\n")), ..wheel.clone() }),
            "says in its metadata",
        ),
        (
            "a version in metadata",
            Form::wheel(&Wheel { metadata: Some(String::from("Metadata-Version: 2.1\nName: foo\nVersion: 1.1\n")), ..wheel.clone() }),
            "says in its metadata",
        ),
        ("another project's file", Form::upload("bar", "1.0", &wheel.filename(), &honest), "the form says"),
        ("a folder in the name", Form::upload("foo", "1.0", "../foo-1.0-py3-none-any.whl", &honest), "Invalid filename"),
        ("an egg", Form::upload("foo", "1.0", "foo-1.0-py3.11.egg", &honest), "neither a wheel"),
        ("an installer", Form::upload("foo", "1.0", "foo-1.0.win32.exe", &honest), "neither a wheel"),
        ("no archive", of(b"hello".to_vec()), "no ZIP archive"),
        ("a source without metadata", Form::upload("foo", "1.0", &source, &Tar::new().file("foo-1.0/setup.py", b"x").finish()), "has its metadata at"),
        (
            "a link out of a source",
            Form::upload("foo", "1.0", &source, &Tar::new().file("foo-1.0/PKG-INFO", information).link("foo-1.0/l", "/etc/passwd").finish()),
            "leads out",
        ),
        (
            "a source that goes up",
            Form::upload("foo", "1.0", &source, &Tar::new().file("foo-1.0/PKG-INFO", information).file("foo-1.0/../../x", b"").finish()),
            "no plain relative path",
        ),
        (
            "a bomb of a source",
            Form::upload("foo", "1.0", &source, &Tar::new().file("foo-1.0/PKG-INFO", information).file("foo-1.0/z", &vec![0; 80 << 20]).finish()),
            "unpacks to more than",
        ),
        ("a wrong digest", Form::wheel(&wheel).with("sha256_digest", &"0".repeat(64)), "digest supplied does not match"),
        ("a wrong older digest", Form::wheel(&wheel).with("md5_digest", &"0".repeat(32)), "digest supplied does not match"),
        ("a wrong newer digest", Form::wheel(&wheel).with("blake2_256_digest", &"0".repeat(64)), "digest supplied does not match"),
    ];
    for (what, form, why) in cases {
        let reply = send(&house, &form).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{what}: {}", reply.text());
        refused(&reply, 400, why);
        assert_eq!(house.head("alpha/pypi"), 0, "{what}: nothing is stored");
    }
    assert_eq!(house.call(get("simple/foo/")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(send(&house, &Form::wheel(&wheel)).await.status, StatusCode::OK, "the honest one is taken");
}
