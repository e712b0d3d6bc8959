//! OpenPGP's text form (RFC 9580, 6).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a line before they are written as text.
const LINE: usize = 48;

/// The checksum, which old programs want to see.
fn crc24(bytes: &[u8]) -> u32 {
    let mut crc = 0x00b7_04ce_u32;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    crc & 0x00ff_ffff
}

/// Writes packets as text: `what` is `SIGNATURE`, or `PUBLIC KEY BLOCK`.
#[must_use]
pub fn armored(what: &str, bytes: &[u8]) -> String {
    let mut text = format!("-----BEGIN PGP {what}-----\n\n");
    for line in bytes.chunks(LINE) {
        text.push_str(&STANDARD.encode(line));
        text.push('\n');
    }
    let checksum = STANDARD.encode(crc24(bytes).to_be_bytes().get(1..).unwrap_or_default());
    let _ = write!(text, "={checksum}\n-----END PGP {what}-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::{armored, crc24};

    #[test]
    fn texts_are_those_of_the_standard() {
        assert_eq!(crc24(b""), 0x00b7_04ce);
        assert_eq!(crc24(b"123456789"), 0x0021_cf02);
        assert_eq!(armored("SIGNATURE", b"123456789"), "-----BEGIN PGP SIGNATURE-----\n\nMTIzNDU2Nzg5\n=Ic8C\n-----END PGP SIGNATURE-----\n");
    }
}
