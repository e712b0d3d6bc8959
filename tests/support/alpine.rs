//! Indexes of Alpine as a stranger reads them: taken apart by Python, their signatures verified by openssl.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Members by zlib, tar by Python's own reader; of each signature whose key is in the folder, whether openssl takes it.
const READER: &str = r#"
import io, json, os, subprocess, sys, tarfile, tempfile, zlib
keys, data, members = sys.argv[1], sys.stdin.buffer.read(), []
while data:
    member = zlib.decompressobj(31)
    text = member.decompress(data) + member.flush()
    assert member.eof, "a member is cut"
    members.append((data[:len(data) - len(member.unused_data)], text))
    data = member.unused_data
assert len(members) == 2, len(members)
def files(text):
    with tarfile.open(fileobj=io.BytesIO(text), mode="r:") as archive:
        return [(entry.name, archive.extractfile(entry).read()) for entry in archive]
verified = []
with tempfile.TemporaryDirectory() as folder:
    for name, signature in files(members[0][1]):
        prefix, sign, kind, key = name.split(".", 3)
        assert prefix == "" and sign == "SIGN", name
        path = os.path.join(keys, key)
        if not os.path.exists(path):
            continue
        for file, content in (("signature", signature), ("content", members[1][0])):
            with open(os.path.join(folder, file), "wb") as out:
                out.write(content)
        digest = {"RSA": "-sha1", "RSA256": "-sha256"}[kind]
        subprocess.run(["openssl", "dgst", digest, "-verify", path, "-signature", "signature", "content"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        verified.append(kind + " " + key)
content = dict(files(members[1][1]))
assert set(content) == {"DESCRIPTION", "APKINDEX"}, list(content)
records = []
for block in content["APKINDEX"].decode().split("\n\n"):
    record = {}
    for line in block.splitlines():
        assert line[1] == ":" and line[0] not in record, line
        record[line[0]] = line[2:]
    if record:
        records.append(record)
json.dump({"verified": verified, "description": content["DESCRIPTION"].decode(), "records": records}, sys.stdout)
"#;

/// What is in an index: `verified` (kind and key of the signatures whose keys lie in the folder, all of them good), `description` and
/// `records`.
pub(crate) fn read(index: &[u8], keys: &Path) -> serde_json::Value {
    let mut command = Command::new("python3");
    command.args(["-I", "-c", READER]).arg(keys).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("python3 is installed");
    let mut input = child.stdin.take().expect("its input");
    let index = index.to_vec();
    let feeder = std::thread::spawn(move || drop(input.write_all(&index)));
    let output = child.wait_with_output().expect("its output");
    feeder.join().expect("fed");
    assert!(output.status.success(), "python3 and openssl do not take this index: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// `name-version arch` of each record.
pub(crate) fn listed(index: &serde_json::Value) -> Vec<String> {
    let text = |record: &serde_json::Value, key: &str| record[key].as_str().expect("a field").to_owned();
    index["records"].as_array().expect("records").iter().map(|record| format!("{}-{} {}", text(record, "P"), text(record, "V"), text(record, "A"))).collect()
}
