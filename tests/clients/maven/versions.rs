//! Our order of versions against that of Maven's own resolver.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use entrepot_format_maven::version::compare;

use crate::support::clients::Home;
use crate::support::maven::libraries;

/// Asks the resolver about pairs, a line each.
const ORACLE: &str = r#"
import org.eclipse.aether.util.version.GenericVersionScheme;
import org.eclipse.aether.version.Version;
import java.io.BufferedReader;
import java.io.InputStreamReader;

public class Oracle {
    public static void main(String[] arguments) throws Exception {
        BufferedReader reader = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        GenericVersionScheme scheme = new GenericVersionScheme();
        StringBuilder out = new StringBuilder();
        String line;
        while ((line = reader.readLine()) != null) {
            String[] pair = line.split("\t", -1);
            Version one = scheme.parseVersion(pair[0]);
            Version other = scheme.parseVersion(pair[1]);
            out.append(Integer.signum(one.compareTo(other))).append('\n');
        }
        System.out.print(out);
    }
}
"#;

const KNOWN: [&str; 36] = [
    "1",
    "1.0",
    "1.0.0",
    "1-0",
    "1_0",
    "1-ga",
    "1.0.0-final",
    "1.0.RELEASE",
    "1-alpha-1",
    "1a1",
    "1.alpha.1",
    "1-beta",
    "1b2",
    "1-m2",
    "1-milestone-2",
    "1-rc1",
    "1-cr1",
    "1-SNAPSHOT",
    "1.0-SNAPSHOT",
    "1-sp",
    "1-foo",
    "1-1",
    "1.1",
    "1.10",
    "2",
    "1.min",
    "1.max",
    "31.0-jre",
    "31.0-android",
    "2.0.0.M1",
    "4.1.0.Final",
    "20030203.000129",
    "99999999999",
    "1.0.x",
    "1x",
    "1-x.0",
];

/// Versions of random parts, the same each time.
fn random(count: usize) -> Vec<String> {
    const PARTS: [&str; 24] = [
        "0",
        "1",
        "2",
        "10",
        "007",
        "99999999999",
        "a",
        "b",
        "m",
        "alpha",
        "beta",
        "milestone",
        "rc",
        "cr",
        "snapshot",
        "ga",
        "final",
        "release",
        "sp",
        "foo",
        "X",
        "min",
        "max",
        "1a2",
    ];
    const BETWEEN: [&str; 5] = [".", "-", "_", "", "."];
    let mut state = 7_u32;
    let mut next = |most: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % most
    };
    (0..count)
        .map(|_| {
            let mut version = String::new();
            for part in 0..=next(5) {
                if part > 0 {
                    version.push_str(BETWEEN[next(BETWEEN.len())]);
                }
                version.push_str(PARTS[next(PARTS.len())]);
            }
            version
        })
        .collect()
}

/// What a Maven's resolver says of pairs.
fn ask(client: &str, source: &Path, pairs: &[(&str, &str)]) -> Vec<i8> {
    let asked: String = pairs.iter().map(|(one, other)| format!("{one}\t{other}\n")).collect();
    let mut java = Command::new("java");
    java.arg("-cp").arg(libraries(client).join("*")).arg(source).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = java.spawn().expect("java is installed");
    let mut input = child.stdin.take().expect("an input");
    let writer = std::thread::spawn(move || input.write_all(asked.as_bytes()));
    let output = child.wait_with_output().expect("java ends");
    writer.join().expect("a thread").expect("written");
    assert!(output.status.success(), "{client}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| line.parse().expect("a sign")).collect()
}

#[test]
fn versions_are_ordered_as_the_resolver_orders_them() {
    let home = Home::new();
    let source = home.path().join("Oracle.java");
    std::fs::write(&source, ORACLE).unwrap();
    let random = random(3000);
    let known: Vec<(&str, &str)> = KNOWN.iter().flat_map(|one| KNOWN.iter().map(move |other| (*one, *other))).collect();
    let all: Vec<(&str, &str)> =
        known.iter().copied().chain(random.iter().zip(random.iter().skip(1)).map(|(one, other)| (one.as_str(), other.as_str()))).collect();
    // Before Maven 4 the resolver takes versions for equal of which one begins with a number and the other with a word.
    for (client, pairs) in [("mvn", &known), ("maven3", &known), ("maven4", &all)] {
        let answers = ask(client, &source, pairs);
        assert_eq!(answers.len(), pairs.len());
        let wrong: Vec<_> = pairs.iter().zip(answers).filter(|((one, other), answer)| compare(one, other) as i8 != *answer).collect();
        assert!(wrong.is_empty(), "{client}: {} of {} pairs, such as {:?}", wrong.len(), pairs.len(), wrong.first());
        println!("{} pairs of versions are ordered as the resolver of {client} orders them", pairs.len());
    }
}
