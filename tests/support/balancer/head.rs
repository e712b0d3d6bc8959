//! Heads of requests.

/// Longest head that is waited for.
const LONGEST: usize = 256 << 10;

/// Whether these bytes may be the beginning of a head.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(u8::is_ascii_uppercase) && bytes.len() < LONGEST
}

/// Where the head ends, with its empty line.
pub(crate) fn end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The same head with `Connection: close`; `None` when it is none of one plain request.
pub(crate) fn for_one_request(head: &[u8]) -> Option<Vec<u8>> {
    let text = head.strip_suffix(b"\r\n\r\n")?;
    if text.iter().zip(text.iter().skip(1)).any(|(one, next)| (*one == b'\r') != (*next == b'\n')) {
        return None;
    }
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next()?;
    let mut words = first.split(|byte| *byte == b' ');
    let is_plain = words.next()?.iter().all(u8::is_ascii_uppercase) && !words.next()?.is_empty() && words.next()? == b"HTTP/1.1" && words.next().is_none();
    if !is_plain {
        return None;
    }
    let mut closing = [first, b"\r\n"].concat();
    let mut lengths = 0;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        match name.as_slice() {
            b"connection" if value.eq_ignore_ascii_case(b"upgrade") => return None,
            b"connection" => continue,
            b"content-length" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => lengths += 1,
            b"transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") => lengths += 1,
            b"content-length" | b"transfer-encoding" => return None,
            _ => {}
        }
        closing.extend_from_slice(line);
        closing.extend_from_slice(b"\r\n");
    }
    closing.extend_from_slice(b"Connection: close\r\n\r\n");
    (lengths <= 1).then_some(closing)
}
