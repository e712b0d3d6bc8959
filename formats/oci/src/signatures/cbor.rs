//! As much of CBOR (RFC 8949) as COSE envelopes are written in: definite lengths, no floating point, no map key twice, little nesting.

/// Deepest nesting.
const DEEPEST: usize = 8;
/// Most items of one list or map.
const MOST: u64 = 256;

/// An item.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Integer(i64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Tagged(u64, Box<Self>),
    /// `false`, `true`, `null` or another simple value: nothing that is looked at.
    Simple,
}

impl Item {
    /// Reads one item that is all there is.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let item = reader.item(0)?;
        reader.0.is_empty().then_some(item)
    }

    pub(super) fn get(&self, key: &Self) -> Option<&Self> {
        let Self::Map(fields) = self else { return None };
        fields.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// The head of an item of this major type: its length or number in the shortest form.
fn head(major: u8, number: usize) -> Vec<u8> {
    let major = major << 5;
    let number = number as u64;
    match number {
        0..=23 => vec![major | u8::try_from(number).unwrap_or_default()],
        24..=0xff => [&[major | 24][..], &u8::try_from(number).unwrap_or_default().to_be_bytes()].concat(),
        0x100..=0xffff => [&[major | 25][..], &u16::try_from(number).unwrap_or_default().to_be_bytes()].concat(),
        0x1_0000..=0xffff_ffff => [&[major | 26][..], &u32::try_from(number).unwrap_or_default().to_be_bytes()].concat(),
        _ => [&[major | 27][..], &number.to_be_bytes()].concat(),
    }
}

/// What a `COSE_Sign1` signs (RFC 9052, 4.4), without data from elsewhere.
pub(super) fn signature_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let context = b"Signature1";
    [&head(4, 4)[..], &head(3, context.len()), context, &head(2, protected.len()), protected, &head(2, 0), &head(2, payload.len()), payload].concat()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, length: u64) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// The major type, and its number in the shortest form: whoever writes longer ones has two spellings of the same.
    fn head(&mut self) -> Option<(u8, u64)> {
        let first = *self.take(1)?.first()?;
        let (number, least) = match first & 0x1f {
            small @ 0..=23 => return Some((first >> 5, u64::from(small))),
            24 => (self.number(1)?, 24),
            25 => (self.number(2)?, 1 << 8),
            26 => (self.number(4)?, 1 << 16),
            27 => (self.number(8)?, 1 << 32),
            _ => return None,
        };
        (number >= least).then_some((first >> 5, number))
    }

    fn number(&mut self, bytes: u64) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn item(&mut self, depth: usize) -> Option<Item> {
        if depth > DEEPEST {
            return None;
        }
        let (major, number) = self.head()?;
        Some(match major {
            0 => Item::Integer(i64::try_from(number).ok()?),
            1 => Item::Integer(-1 - i64::try_from(number).ok()?),
            2 => Item::Bytes(self.take(number)?.to_vec()),
            3 => Item::Text(String::from_utf8(self.take(number)?.to_vec()).ok()?),
            4 if number <= MOST => Item::List((0..number).map(|_| self.item(depth + 1)).collect::<Option<_>>()?),
            5 if number <= MOST => {
                let mut fields: Vec<(Item, Item)> = Vec::new();
                for _ in 0..number {
                    let (key, value) = (self.item(depth + 1)?, self.item(depth + 1)?);
                    if fields.iter().any(|(known, _)| *known == key) {
                        return None;
                    }
                    fields.push((key, value));
                }
                Item::Map(fields)
            }
            6 => Item::Tagged(number, Box::new(self.item(depth + 1)?)),
            7 if number <= 23 => Item::Simple,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Item, signature_structure};

    #[test]
    fn items_are_read_in_one_spelling() {
        let item = Item::parse(&[0xa2, 0x01, 0x26, 0x63, b'a', b'b', b'c', 0x82, 0x41, 0xff, 0xc1, 0x18, 0x64]).expect("a map");
        assert_eq!(item.get(&Item::Integer(1)), Some(&Item::Integer(-7)));
        assert_eq!(item.get(&Item::Text("abc".into())), Some(&Item::List(vec![Item::Bytes(vec![0xff]), Item::Tagged(1, Box::new(Item::Integer(100)))])));
        for bad in [
            &[][..],
            &[0x18, 0x17],                   // 23, longer than it needs to be
            &[0x01, 0x01],                   // two items
            &[0xa2, 0x01, 0x01, 0x01, 0x02], // a key twice
            &[0x9f, 0xff],                   // an indefinite length
            &[0xf9, 0x00, 0x00],             // a floating point number
            &[0x42, 0x00],                   // cut off
            &[0x61, 0xff],                   // no UTF-8
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x81; 100],
        ] {
            assert_eq!(Item::parse(bad), None, "{bad:x?}");
        }
    }

    #[test]
    fn what_is_signed_has_its_lengths() {
        let built = signature_structure(&[7; 24], &[8; 300]);
        let Some(Item::List(parts)) = Item::parse(&built) else { panic!("a list") };
        assert_eq!(parts, [Item::Text("Signature1".into()), Item::Bytes(vec![7; 24]), Item::Bytes(vec![]), Item::Bytes(vec![8; 300])]);
    }
}
