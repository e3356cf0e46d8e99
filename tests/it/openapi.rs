//! The document and the product say the same.

use crate::support::*;
use serde_json::Value;

#[tokio::test]
async fn the_document_is_served() {
    let app = app().await;
    let document: Value = app.http().get("/openapi.json").send().await.json();
    assert_eq!(document["openapi"], "3.1.0");
}
