//! Which form of a page a client wants (PEP 691).

use entrepot_kit::{Error, Result};
use http::StatusCode;

/// A form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `application/vnd.pypi.simple.v1+json`
    Json,
    /// `application/vnd.pypi.simple.v1+html`
    Html,
    /// The same under the name that every client knows: `text/html`
    PlainHtml,
}

impl Form {
    /// In the order of preference where a client has none. What names no form at all means the old one.
    const ALL: [Self; 3] = [Self::PlainHtml, Self::Html, Self::Json];

    /// The media type that the answer has.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/vnd.pypi.simple.v1+json",
            Self::Html => "application/vnd.pypi.simple.v1+html",
            Self::PlainHtml => "text/html; charset=utf-8",
        }
    }

    /// The variant of the index document.
    #[must_use]
    pub fn variant(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Html => "html",
            Self::PlainHtml => "plain-html",
        }
    }

    /// Whether it is JSON.
    #[must_use]
    pub fn is_json(self) -> bool {
        self == Self::Json
    }

    /// How closely a media range names this form; 0 when it does not.
    fn named_by(self, range: &str) -> u8 {
        let (exact, latest, family) = match self {
            Self::Json => ("application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json", "application/*"),
            Self::Html => ("application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html", "application/*"),
            Self::PlainHtml => ("text/html", "text/html", "text/*"),
        };
        if range.eq_ignore_ascii_case(exact) || range.eq_ignore_ascii_case(latest) {
            3
        } else if range.eq_ignore_ascii_case(family) {
            2
        } else {
            u8::from(range == "*/*")
        }
    }
}

/// A weight in thousandths; what cannot be read is 0, as if it were refused.
fn weight(text: &str) -> u16 {
    text.trim().parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight)).map_or(0, |weight| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
        let thousandths = (weight * 1000.0).round() as u16;
        thousandths
    })
}

/// The form of an answer: `?format=` names it, else the `Accept` header does, else it is HTML.
///
/// # Errors
/// 406 when none is acceptable.
pub fn negotiate<'a>(accept: impl IntoIterator<Item = &'a str>, format: Option<&str>) -> Result<Form> {
    let refuse = || {
        let known = Form::ALL.map(|form| form.content_type().split(';').next().unwrap_or_default()).join(", ");
        Error::new(StatusCode::NOT_ACCEPTABLE, format!("no acceptable form: this page is there as {known}"))
    };
    if let Some(format) = format {
        // A plus sign in a query may have become a space.
        let format = format.trim().replace(' ', "+");
        return Form::ALL.into_iter().find(|form| form.named_by(&format) == 3).ok_or_else(refuse);
    }
    let ranges: Vec<(&str, u16)> = accept
        .into_iter()
        .flat_map(|value| value.split(','))
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?;
            let said = parts.find_map(|parameter| parameter.split_once('=').filter(|(key, _)| key.trim().eq_ignore_ascii_case("q")));
            Some((name, said.map_or(1000, |(_, value)| weight(value))))
        })
        .take(64)
        .collect();
    if ranges.is_empty() {
        return Ok(Form::PlainHtml);
    }
    let mut best: Option<(u16, Form)> = None;
    for form in Form::ALL {
        // Of the ranges that name a form, the closest says its weight.
        let Some((_, weight)) = ranges.iter().map(|(range, weight)| (form.named_by(range), *weight)).filter(|(close, _)| *close > 0).max() else { continue };
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, form));
        }
    }
    best.map(|(_, form)| form).ok_or_else(refuse)
}
