use crate::http::App;
pub fn router() -> axum::Router<App> {
    axum::Router::new()
}
