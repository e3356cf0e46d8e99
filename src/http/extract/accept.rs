//! What a client would like to be answered (RFC 9110 §12.5.1).

use axum::http::{HeaderMap, header};

pub const JSON: &str = "application/json";
pub const TEXT: &str = "text/plain";
pub const HTML: &str = "text/html";

/// The weight a request's `Accept` gives a media type, in thousandths: 0 is "not that", 1000 is "gladly".
///
/// The range that names the type most closely decides: the type itself, then `type/*`, then `*/*`. No header, or none
/// that holds a range, takes anything. Parameters of a range, such as `charset`, tell our answers from nothing else of
/// ours, so they don't matter.
pub fn weight(headers: &HeaderMap, media_type: &str) -> u16 {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| split(value, ',')).filter(|range| !range.is_empty());
    let (mut any, mut best) = (false, None);
    for range in ranges {
        any = true;
        let mut parts = split(range, ';');
        if let Some(closeness) = parts.next().and_then(|range| closeness(range, media_type)) {
            best = best.max(Some((closeness, parts.find_map(quality).unwrap_or(1000))));
        }
    }
    best.map_or(if any { 0 } else { 1000 }, |(_, weight)| weight)
}

/// Whether a client would rather have one type than the other, which is what it gets when both are as good.
pub fn prefers(headers: &HeaderMap, wanted: &str, to: &str) -> bool {
    weight(headers, wanted) > weight(headers, to)
}

/// How closely a range names a type, if it does.
fn closeness(range: &str, media_type: &str) -> Option<u8> {
    let kind = |text: &str| text.split_once('/').map(|(kind, _)| kind.to_ascii_lowercase());
    match range {
        // Java's own client writes a star alone.
        "*/*" | "*" => Some(0),
        _ if range.eq_ignore_ascii_case(media_type) => Some(2),
        _ if range.ends_with("/*") && kind(range) == kind(media_type) => Some(1),
        _ => None,
    }
}

/// The thousandths of a `q` parameter. One that can't be read prefers nothing, and refuses nothing.
fn quality(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    let read = |value: &str| value.trim().parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q));
    name.trim().eq_ignore_ascii_case("q").then(|| read(value).map_or(1, |q| (q * 1000.0).round() as u16))
}

/// The parts of a header between separators, but for those inside a quoted string.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        c == separator && !quoted
    })
    .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::ACCEPT, line.parse().unwrap())).collect()
    }

    #[test]
    fn the_closest_range_decides_whatever_the_order() {
        for (lines, json, text) in [
            (&[][..], 1000, 1000),
            (&[""], 1000, 1000),
            (&[" , ,"], 1000, 1000),
            (&["*/*"], 1000, 1000),
            (&["*; q=.2"], 200, 200),
            (&["text/plain"], 0, 1000),
            (&["TEXT/PLAIN"], 0, 1000),
            (&["Text/*;Q=0.5"], 0, 500),
            (&["text/plain;q=0.1, application/json"], 1000, 100),
            (&["text/plain; charset=utf-8 ; q=0.25"], 0, 250),
            (&["*/*;q=0.3, application/*;q=0.2, application/json;q=0.1"], 100, 300),
            (&["application/json;q=0.1, application/*;q=0.2, */*;q=0.3"], 100, 300),
            (&["text/plain", "application/json;q=0.5"], 500, 1000),
            (&["application/json;q=0, */*"], 0, 1000),
            (&["application/json;q=0.001, text/plain;q=1.000"], 1, 1000),
            (&["text/plain;q=many, application/json;q=2"], 1, 1),
            (&["text/plain;q=-1;q=1"], 0, 1),
            (&[r#"text/plain;x="a, application/json;q=0.9""#], 0, 1000),
            (&[r#"text/plain;x="\", application/json", application/json;q=0.4"#], 400, 1000),
            (&["application/jsonp, text/plainer, text, application/"], 0, 0),
        ] {
            let headers = headers(lines);
            assert_eq!((weight(&headers, JSON), weight(&headers, TEXT)), (json, text), "{lines:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        let mut headers = headers(&["text/plain;q=0.5"]);
        headers.append(header::ACCEPT, axum::http::HeaderValue::from_bytes(b"application/json;x=\xff").unwrap());
        assert_eq!((weight(&headers, JSON), weight(&headers, TEXT)), (0, 500));
    }
}
