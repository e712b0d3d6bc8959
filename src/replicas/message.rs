//! News as text: who tells it, and what.

use crate::registry::news::News;

/// Longer ones are nobody's of us.
const LONGEST: usize = 2048;

/// Writes.
pub(super) fn write(origin: &str, news: &News) -> String {
    match news {
        News::Head(repository) => format!("{origin} head {repository}"),
        News::Epoch(epoch) => format!("{origin} epoch {epoch}"),
        News::Upstream(repository, path) => format!("{origin} upstream {repository} {path}"),
    }
}

/// Reads; `None` for what we told ourselves, and for what nobody of us writes.
pub(super) fn read(own: &str, payload: &[u8]) -> Option<News> {
    let text = std::str::from_utf8(payload).ok().filter(|text| text.len() <= LONGEST)?;
    let (origin, rest) = text.split_once(' ')?;
    let (word, rest) = rest.split_once(' ')?;
    if origin == own {
        return None;
    }
    match word {
        "head" => rest.parse().ok().map(News::Head),
        "epoch" => rest.parse().ok().map(News::Epoch),
        "upstream" => {
            let (repository, path) = rest.split_once(' ')?;
            Some(News::Upstream(repository.parse().ok()?, path.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{News, read, write};

    #[test]
    fn what_is_written_is_read_by_others_only() {
        for news in [News::Head(-3), News::Epoch(u64::MAX), News::Upstream(7, String::from("/a path/with spaces"))] {
            let text = write("me", &news);
            assert_eq!(read("you", text.as_bytes()), Some(news));
            assert_eq!(read("me", text.as_bytes()), None);
        }
    }

    #[test]
    fn what_nobody_writes_is_not_news() {
        for text in [
            "",
            "a",
            "a head",
            "a head x",
            "a head 99999999999999999999",
            "a epoch -1",
            "a upstream 1",
            "a other 1",
            &format!("a upstream 1 {}", "x".repeat(3000)),
        ] {
            assert_eq!(read("me", text.as_bytes()), None, "{text}");
        }
        assert_eq!(read("me", &[0xff, b' ', b'h']), None);
    }
}
