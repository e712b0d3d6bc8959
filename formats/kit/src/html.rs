//! Plain HTML: texts that stand for themselves, and a page with a table. No scripts, no styles, nothing from elsewhere.

use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY};

use crate::request::Response;

/// Writes a text so that it stands for itself between tags and in quotes, in XML too.
pub fn escape_into(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
}

/// The same as a text of its own.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape_into(&mut escaped, text);
    escaped
}

/// A page with a table of names, sizes and times; the arguments are HTML.
#[must_use]
pub fn table(title: &str, rows: &str, more: &str) -> Response {
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body><h1>{title}</h1>\n<table>\n<tr><th>Name</th><th>Size</th><th>Created</th></tr>\n{rows}</table>\n{more}</body></html>\n"
    );
    Response::bytes(StatusCode::OK, "text/html; charset=utf-8", body)
        .with_header(CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
        // Made here and free of scripts: to be shown, not saved.
        .with_header(CONTENT_DISPOSITION, "inline")
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn no_text_is_markup() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }
}
