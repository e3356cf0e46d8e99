//! `/admin`: for operators, and for nobody else.

use crate::support::*;
use countersign::service::claims::register::NewRegistration;

const PAGES: [&str; 6] = ["/admin", "/admin/accounts", "/admin/agents", "/admin/days.csv", "/admin/accounts.csv", "/admin/agents.csv"];

/// An operator's browser.
async fn operator(app: &TestApp) -> Browser {
    app.operator("operator@example.com").await;
    app.signed_in("operator@example.com").await
}

fn page_of(human: &Human) -> String {
    format!("/admin/accounts/{}", human.account)
}

fn lines(csv: &Answer) -> Vec<String> {
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert!(csv.header("content-disposition").starts_with("attachment; filename="));
    csv.text().split_terminator("\r\n").map(str::to_owned).collect()
}

#[tokio::test]
async fn there_is_no_such_page_for_anybody_else() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let mut hers = app.signed_in("ada@example.com").await;
    let account = page_of(&ada);
    for page in PAGES.into_iter().chain([account.as_str()]) {
        assert_eq!(hers.visit(page).await.status, 404, "{page}");
        assert_eq!(app.browser().visit(page).await.location(), format!("/login?return_to={}", page.replace('/', "%2F")), "{page}");
    }
    let key = app.service_key().await;
    assert_eq!(app.http().get("/admin").bearer(&key).send().await.status, 303, "a key opens no page");
}

#[tokio::test]
async fn a18_nobody_else_changes_an_account_and_no_form_comes_from_elsewhere() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let mut browser = operator(&app).await;
    let target = page_of(&ada);
    browser.open(&target).await.html();
    let mut hers = app.signed_in("ada@example.com").await;
    for what in ["plan", "verify-email", "disable", "enable"] {
        let action = format!("{target}/{what}");
        let foreign = browser.http.post(&action).header("origin", "https://evil.example").form(&[("plan", "pro")]);
        assert_eq!(browser.send(foreign).await.status, 403, "{what}");
        let unsigned = browser.http.post(&action).header("origin", "http://127.0.0.1:4080").form(&[("plan", "pro")]);
        assert_eq!(browser.send(unsigned).await.status, 403, "{what}");
        let own = hers.http.post(&action).header("origin", "http://127.0.0.1:4080").form(&[("plan", "pro")]);
        assert_eq!(hers.send(own).await.status, 404, "{what}");
        assert!(matches!(browser.visit(&action).await.status, 200 | 405), "a GET changes nothing");
    }
    let now = app.service.accounts.find_account("ada@example.com").await.unwrap();
    assert!(now.plan == "free" && !now.email_verified && now.disabled_at.is_none());
}

#[tokio::test]
async fn an_operator_changes_plan_and_email_disables_and_enables() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let mut browser = operator(&app).await;
    let target = page_of(&ada);
    let found = |app: &TestApp| {
        let service = app.service.clone();
        async move { service.accounts.find_account("ada@example.com").await.unwrap() }
    };
    browser.open(&target).await.html();
    assert_eq!(browser.submit(&format!("{target}/plan"), &[("plan", "pro")]).await.location(), target);
    browser.open(&target).await.html();
    browser.submit(&format!("{target}/verify-email"), &[]).await;
    browser.open(&format!("{target}/disable")).await.html();
    browser.submit(&format!("{target}/disable"), &[]).await;
    let now = found(&app).await;
    assert!(now.plan == "pro" && now.email_verified && now.disabled_at.is_some());
    assert!(browser.open(&target).await.html().contains("disabled"));
    browser.submit(&format!("{target}/enable"), &[]).await;
    assert_eq!(found(&app).await.disabled_at, None);
}

#[tokio::test]
async fn a_plan_that_is_not_configured_is_refused() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let mut browser = operator(&app).await;
    browser.open(&page_of(&ada)).await.html();
    let refused = browser.submit(&format!("{}/plan", page_of(&ada)), &[("plan", "gold")]).await;
    assert!(refused.status == 400 && refused.text().contains("enterprise, free, pro"), "{}", refused.text());
}

#[tokio::test]
async fn an_operator_does_not_disable_their_own_account_from_a_page() {
    let app = app().await;
    let mut browser = operator(&app).await;
    let own = format!("/admin/accounts/{}", app.service.accounts.account_by_email("operator@example.com").await.unwrap().id);
    browser.open(&format!("{own}/disable")).await.html();
    assert_eq!(browser.submit(&format!("{own}/disable"), &[]).await.status, 403);
    assert_eq!(browser.visit("/admin").await.status, 200);
}

#[tokio::test]
async fn accounts_are_found_by_email_external_id_and_id() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    app.human("bob@example.com").await;
    app.edit(ada.account, |account| account.external_id = "crm-17".parse().ok()).await;
    let mut browser = operator(&app).await;
    for search in ["ADA@", "crm-17", &ada.account.to_string()] {
        let page = browser.open(&format!("/admin/accounts?q={search}")).await.html();
        assert!(page.contains("ada@example.com") && !page.contains("bob@example.com"), "{search}");
    }
    assert!(browser.open("/admin/accounts?q=nobody").await.html().contains("No such account"));
    assert_eq!(browser.visit("/admin/accounts/acc_01").await.status, 404);
    assert_eq!(browser.visit(&page_of(&ada).replace("acc_", "key_")).await.status, 404);
}

#[tokio::test]
async fn a04_what_people_and_agents_call_themselves_is_text() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let agent = app.ask(NewRegistration { agent_name: "<script>alert(1)</script>".to_owned(), ..asks(&["audience:read"]) }).await.unwrap();
    app.approve(&ada, &agent).await;
    app.poll(&agent).await.unwrap();
    let mut browser = operator(&app).await;
    for page in
        ["/admin/agents".to_owned(), page_of(&ada), "/admin/accounts?q=<script>alert(1)</script>".replace('<', "%3C").replace('>', "%3E")]
    {
        let page = browser.open(&page).await.html();
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
    }
}

#[tokio::test]
async fn the_overview_counts_what_agents_asked_and_humans_decided() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    app.delivered(&ada, &["audience:read"]).await;
    let denied = app.register().await;
    app.deny(&ada, &denied).await.unwrap();
    app.register().await;
    app.advance(86_400);
    let overview = app.service.admin.overview().await.unwrap();
    let [.., yesterday, today] = overview.decisions.as_slice() else { panic!("30 days") };
    assert_eq!((yesterday.requested, yesterday.approved, yesterday.denied), (3, 1, 1));
    assert_eq!((overview.decisions.len(), today.requested), (30, 0));
    let page = operator(&app).await.open("/admin").await.html();
    assert!(page.contains("1 approved") && page.contains("1 denied") && page.contains("role=\"img\""), "{page}");
}

#[tokio::test]
async fn the_overview_counts_use_and_refusals_by_reason() {
    let app = app_with("plans.free.requests_per_minute", "1").await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    app.call(&key).await.unwrap();
    app.call(&key).await.unwrap_err();
    let csv = operator(&app).await.visit("/admin/days.csv").await;
    let lines = lines(&csv);
    assert_eq!(
        lines[0],
        "\"day\",\"requested\",\"approved\",\"denied\",\"accepted\",\"REVOKED\",\"EXPIRED\",\"DISABLED\",\"INSUFFICIENT_SCOPE\",\"WRONG_ENVIRONMENT\",\"RATE_LIMITED\""
    );
    assert_eq!((lines.len(), lines[30].as_str()), (31, "\"2026-11-21\",\"0\",\"0\",\"0\",\"1\",\"0\",\"0\",\"0\",\"0\",\"0\",\"1\""));
}

#[tokio::test]
async fn a_download_holds_every_account_however_many() {
    let app = app().await;
    for n in 0..120 {
        app.clock.advance_ms(1);
        app.human(&format!("user{n}@example.com")).await;
    }
    let mut browser = operator(&app).await;
    let all = lines(&browser.visit("/admin/accounts.csv").await);
    assert_eq!((all.len(), all[0].split(',').next()), (122, Some("\"id\"")));
    let unique: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(unique.len(), 122);
    assert_eq!(lines(&browser.visit("/admin/accounts.csv?q=user11@").await).len(), 2);
}

#[tokio::test]
async fn a_download_is_no_formula() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let agent =
        app.ask(NewRegistration { agent_name: "=HYPERLINK(\"http://evil\",\"a\")".to_owned(), ..asks(&["audience:read"]) }).await.unwrap();
    app.approve(&ada, &agent).await;
    app.poll(&agent).await.unwrap();
    app.edit(ada.account, |account| account.external_id = "@SUM(A1)".parse().ok()).await;
    let mut browser = operator(&app).await;
    let agents = browser.visit("/admin/agents.csv").await.text();
    assert!(agents.contains(",\"'=HYPERLINK(\"\"http://evil\"\",\"\"a\"\")\","), "{agents}");
    assert!(browser.visit("/admin/accounts.csv").await.text().contains(",\"'@SUM(A1)\","));
}

#[tokio::test]
async fn no_download_and_no_page_holds_a_secret() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let key = app.delivered(&ada, &["audience:read"]).await.access_token.expose().to_owned();
    let mut browser = operator(&app).await;
    for page in PAGES.into_iter().map(str::to_owned).chain([page_of(&ada)]) {
        let text = browser.visit(&page).await.text();
        assert!(!text.contains(&key) && !text.contains("$argon2"), "{page}");
    }
}
