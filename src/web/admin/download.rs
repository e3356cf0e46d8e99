//! Lists as CSV (RFC 4180), sent page by page: no list is too long, and none is held in memory.

use crate::{api::error::Error, web::failure::PageResult};
use axum::{body::Body, http::header, response::IntoResponse};
use futures::{StreamExt, TryStreamExt, stream};

/// One page of rows, and where the next begins.
pub type Page = (Vec<Vec<String>>, Option<String>);

/// Quoted always. A spreadsheet takes what begins like a formula for one, whoever wrote it (agents name themselves):
/// an apostrophe before it makes it text.
fn cell(text: &str) -> String {
    let formula =
        text.trim_start().starts_with(['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠']) || text.starts_with(['\t', '\r', '\n']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, text.replace('"', "\"\""))
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    format!("{}\r\n", cells.join(","))
}

/// The whole list. The first page is read before anything is sent, so that a store that fails is told as such; later
/// it breaks the download off.
pub async fn csv<F>(name: &str, head: &[&str], page: impl Fn(Option<String>) -> F + Send + 'static) -> PageResult
where
    F: Future<Output = Result<Page, Error>> + Send + 'static,
{
    let head: Vec<String> = head.iter().map(|title| (*title).to_owned()).collect();
    let first = page(None).await?;
    let rest = stream::try_unfold((first.1.clone(), page), |(cursor, page)| async move {
        let Some(cursor) = cursor else { return Ok::<_, Error>(None) };
        let (rows, next) = page(Some(cursor)).await?;
        Ok(Some((rows, (next, page))))
    });
    let pages = stream::iter([Ok(vec![head]), Ok(first.0)]).chain(rest);
    let lines = pages.map_ok(|rows| rows.iter().map(|row| line(row)).collect::<String>());
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_one_cell_of_text() {
        for (text, expected) in [
            ("Acme", "\"Acme\""),
            ("a \"b\", c\r\nd", "\"a \"\"b\"\", c\r\nd\""),
            ("=HYPERLINK(\"http://evil\")", "\"'=HYPERLINK(\"\"http://evil\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("  =1", "\"'  =1\""),
            ("\t=1", "\"'\t=1\""),
            ("", "\"\""),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }
}
