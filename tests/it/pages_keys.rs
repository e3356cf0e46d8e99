//! `/settings/keys`: make a key, see its secret once, change it, replace it, end it.

use crate::support::*;
use countersign::service::keys::create::NewKey;

const NEW: &str = "/settings/keys/new";

/// A browser of Alice's that shows the form for a new key.
async fn creating(app: &TestApp) -> Browser {
    let mut browser = app.signed_in("alice@example.com").await;
    browser.open(NEW).await;
    browser
}

/// The secret the page shows, in the one field it is shown in.
fn secret(page: &str) -> Option<String> {
    let field = page.split("<input id=\"secret\"").nth(1)?;
    Some(field.split("value=\"").nth(1)?.split('"').next()?.to_owned())
}

/// The secret of a key that a form just made.
#[track_caller]
fn shown(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    secret(&answer.text()).expect("the page shows a secret")
}

async fn keys_of(app: &TestApp, human: &Human) -> Vec<countersign::api::keys::KeyView> {
    app.service.keys.list_keys(&human.actor(), None, &countersign::service::keys::list::KeyFilter::default()).await.unwrap().keys
}

// Create and reveal.

#[tokio::test]
async fn a_key_made_on_the_page_works_at_once_with_what_was_ticked() {
    let app = app().await;
    let mut browser = creating(&app).await;
    let fields = [("name", "Production server"), ("scopes", "audience:read"), ("expires_in", "2592000"), ("requests_per_minute", "5")];
    let key = shown(&browser.submit(NEW, &fields).await);
    app.http().projects(&key).await.ok();
    let made = &keys_of(&app, &owner(&app).await).await[0];
    assert_eq!(
        (made.name.as_str(), made.scopes.to_string(), made.requests_per_minute),
        ("Production server", "audience:read".into(), Some(5))
    );
    assert_eq!(made.expires_at.unwrap().0.as_second() - made.created_at.0.as_second(), 2_592_000);
}

#[tokio::test]
async fn the_form_groups_permissions_by_resource_in_plain_words_with_their_risk() {
    let app = app().await;
    let page = creating(&app).await.page.text();
    for words in
        ["<legend>audience</legend>", "<legend>keys</legend>", "Send e-mails to subscribers", "High risk", "Low risk", "Medium risk"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains(" checked"), "nothing is ticked that nobody ticked");
}

#[tokio::test]
async fn the_secret_is_in_no_address_no_cookie_no_store_and_no_later_page() {
    let app = app().await;
    let mut browser = creating(&app).await;
    let answer = browser.submit(NEW, &[("name", "Once"), ("scopes", "audience:read")]).await;
    let key = shown(&answer);
    answer.not_stored();
    assert_eq!(answer.header("location"), "");
    assert!(answer.cookies().iter().all(|cookie| !cookie.contains(&key[8..])));
    let id = keys_of(&app, &owner(&app).await).await[0].id;
    for page in ["/settings/keys".to_owned(), format!("/settings/keys/{id}"), format!("/settings/keys/{id}/edit"), "/activity".to_owned()] {
        let html = browser.open(&page).await.text();
        assert!(html.contains("Once") && !html.contains(&key[20..]), "{page}");
    }
    app.service.close().await;
    for file in std::fs::read_dir(app.dir.path()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        assert!(!String::from_utf8_lossy(&std::fs::read(&file).unwrap()).contains(&key[20..]), "{file:?}");
    }
}

#[tokio::test]
async fn a_reload_of_the_answer_makes_no_second_key_and_shows_nothing() {
    let app = app().await;
    let mut browser = creating(&app).await;
    let form = browser.clone();
    let fields = [("name", "Once"), ("scopes", "audience:read")];
    let key = shown(&browser.submit(NEW, &fields).await);
    let again = form.clone().submit(NEW, &fields).await;
    assert!(again.status == 409 && again.text().contains("already created") && !again.text().contains(&key[20..]));
    assert_eq!(keys_of(&app, &owner(&app).await).await.len(), 1);
    let other = form.clone().submit(NEW, &[("name", "Another"), ("scopes", "audience:read")]).await;
    assert_eq!((other.status, keys_of(&app, &owner(&app).await).await.len()), (409, 1), "a form makes one key");
    app.http().projects(&key).await.ok();
}

#[tokio::test]
async fn two_clicks_at_once_make_one_key() {
    let app = app().await;
    let browser = creating(&app).await;
    let (mut first, mut second) = (browser.clone(), browser);
    let fields = [("name", "Once"), ("scopes", "audience:read")];
    let (first, second) = tokio::join!(first.submit(NEW, &fields), second.submit(NEW, &fields));
    assert_eq!([first, second].iter().filter(|answer| secret(&answer.text()).is_some()).count(), 1);
    assert_eq!(keys_of(&app, &owner(&app).await).await.len(), 1);
}

#[tokio::test]
async fn a29_what_the_form_does_not_offer_is_refused_and_what_was_typed_stays() {
    let app = app().await;
    let mut browser = creating(&app).await;
    let good = [("name", "My key"), ("scopes", "audience:read"), ("expires_in", "604800")];
    for (field, value) in [
        ("scopes", "admin:everything"),
        ("scopes", "nonsense"),
        ("environment", "test"),
        ("expires_in", "soon"),
        ("expires_in", "-1"),
        ("requests_per_minute", "11"),
        ("requests_per_minute", "0"),
        ("requests_per_minute", "-3"),
        ("name", " "),
        ("name", "evil\u{202e}txt"),
    ] {
        browser.open(NEW).await;
        let mut fields = good.to_vec();
        fields.retain(|(name, _)| *name != field || field == "scopes");
        fields.push((field, value));
        let refused = browser.submit(NEW, &fields).await;
        assert_eq!(refused.status, 400, "{field}={value}: {}", refused.text());
        assert!(refused.text().contains("value=\"audience:read\" checked") && refused.text().contains("id=\"problem\""), "{field}");
    }
    assert_eq!(keys_of(&app, &owner(&app).await).await.len(), 0);
}

#[tokio::test]
async fn environments_are_chosen_where_the_configuration_offers_them() {
    let app = app_with("keys.offered_environments", r#"["live", "test"]"#).await;
    let mut browser = creating(&app).await;
    let key = shown(&browser.submit(NEW, &[("name", "Test"), ("scopes", "audience:read"), ("environment", "test")]).await);
    assert!(key.starts_with("cs_test_"));
}

#[tokio::test]
async fn a_full_account_is_told_to_revoke_one_first() {
    let app = app_with("keys.max_active_per_account", "1").await;
    let mut browser = creating(&app).await;
    shown(&browser.submit(NEW, &[("name", "One"), ("scopes", "audience:read")]).await);
    browser.open(NEW).await;
    let full = browser.submit(NEW, &[("name", "Two"), ("scopes", "audience:read")]).await;
    assert!(full.status == 409 && full.text().contains("revoke one first"));
}

// The list.

#[tokio::test]
async fn the_list_is_narrowed_by_status_environment_maker_and_words() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let human = owner(&app).await;
    let named = |name: &str| NewKey { name: name.to_owned(), ..new_key(&["audience:read"]) };
    app.service.keys.create_key(human.actor(), human.account, named("Billing"), human.source).await.unwrap();
    let old = app.service.keys.create_key(human.actor(), human.account, named("Old thing"), human.source).await.unwrap();
    app.service.keys.revoke_key(&human.actor(), old.view.id, None, human.source).await.unwrap();
    app.delivered(&human, &["audience:read"]).await;
    for (query, there, absent) in [
        ("q=bill", "Billing", "Old thing"),
        ("status=revoked", "Old thing", "Billing"),
        ("status=active", "Billing", "Old thing"),
        ("made_by=agent", "Claude", "Billing"),
        ("made_by=human", "Billing", "Claude"),
        ("environment=live", "Billing", "No key fits"),
        ("environment=test", "No key fits", "Billing"),
        ("q=nothing+of+the+kind", "No key fits", "Billing"),
        ("status=nonsense", "Billing", "No key fits"),
    ] {
        let page = browser.open(&format!("/settings/keys?{query}")).await.text();
        assert!(page.contains(there) && !page.contains(absent), "{query}: {page}");
    }
}

#[tokio::test]
async fn pages_of_the_list_keep_what_is_looked_for() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let human = owner(&app).await;
    for _ in 0..21 {
        app.key(&human, &["audience:read"]).await;
    }
    let page = browser.open("/settings/keys?q=a+key&status=active").await.text();
    let older = page
        .split("href=\"")
        .find_map(|rest| rest.split('"').next().filter(|href| href.contains("cursor=")))
        .unwrap()
        .replace("&amp;", "&");
    assert!(older.contains("q=a+key&status=active&cursor=key_"), "{older}");
    let last = browser.open(&older).await.text();
    assert_eq!((page.matches("class=\"key\"").count(), last.matches("class=\"key\"").count()), (20, 1));
}

#[tokio::test]
async fn words_looked_for_come_back_as_text() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    app.key(&owner(&app).await, &["audience:read"]).await;
    let page = browser.open("/settings/keys?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await.text();
    assert!(!page.contains("<script") && page.contains("&quot;&gt;&lt;script&gt;"));
}

#[tokio::test]
async fn an_account_without_keys_is_told_how_to_get_one() {
    let app = app().await;
    let page = app.signed_in("alice@example.com").await.open("/settings/keys").await.text();
    assert!(
        page.contains("No keys yet") && page.contains("auth.md and follow it") && page.contains(NEW) && !page.contains("role=\"search\"")
    );
}

// One key.

#[tokio::test]
async fn a_keys_page_tells_what_it_is_who_made_it_and_what_used_it() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let human = owner(&app).await;
    let delivered = app.delivered(&human, &["audience:read"]).await;
    let key = delivered.access_token.expose();
    for _ in 0..12 {
        app.http().from("203.0.113.9").projects(key).await;
    }
    let page = browser.open(&format!("/settings/keys/{}", delivered.key_id)).await.text();
    for words in [
        "Claude",
        ">Agent<",
        "View subscribers, tags and segments",
        "Low risk",
        "10 accepted",
        "2 refused, over the limit",
        "203.0.113.9",
        "10 requests a minute, by your plan",
        "/settings/agents#grt_",
        "<table>",
        "<svg",
    ] {
        assert!(page.contains(words), "{words:?} is not in {page}");
    }
}

#[tokio::test]
async fn a_key_nobody_used_says_so() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let key = app.key(&owner(&app).await, &["audience:read"]).await;
    let page = browser.open(&page_of_key(&key)).await.text();
    assert!(page.contains("Nothing has used it") && page.contains("Never") && !page.contains("<svg"));
}

#[tokio::test]
async fn a45_pages_and_forms_of_anothers_key_are_not_found() {
    let app = app().await;
    let human = app.human("bob@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let mut alice = app.signed_in("alice@example.com").await;
    alice.open(NEW).await;
    let fields = alice.form(NEW);
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain([("confirm", "A key"), ("grace_seconds", "0"), ("name", "Mine"), ("scopes", "audience:read")])
        .collect();
    for path in ["", "/edit", "/rotate", "/revoke", "/disable", "/enable"] {
        for id in [key.view.id.to_string(), "key_01arz3ndektsv4rrffq69g5fav".to_owned(), "nonsense".to_owned()] {
            let page = format!("/settings/keys/{id}{path}");
            if !path.ends_with("able") {
                assert_eq!(alice.visit(&page).await.status, 404, "GET {page}");
            }
            if !path.is_empty() {
                let call = alice.http.post(&page).form(&fields).header("origin", "http://127.0.0.1:4080");
                assert_eq!(alice.send(call).await.status, 404, "POST {page}");
            }
        }
    }
    app.http().projects(key.key.expose()).await.ok();
    assert_eq!(keys_of(&app, &human).await.len(), 1);
}

// Edit.

#[tokio::test]
async fn an_edit_holds_from_the_next_request_on() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let key = app.key(&owner(&app).await, &["audience:read"]).await;
    let edit = format!("{}/edit", page_of_key(&key));
    let page = browser.open(&edit).await.text();
    assert!(page.contains("value=\"audience:read\" checked") && !page.contains("value=\"email:send\" checked"));
    let saved = browser.submit(&edit, &[("name", "Renamed"), ("scopes", "email:send")]).await;
    assert_eq!((saved.status, saved.location()), (303, format!("{}?saved", page_of_key(&key)).as_str()));
    let page = browser.open(saved.location()).await.text();
    assert!(page.contains("Renamed") && page.contains("Saved") && page.contains("email:send") && !page.contains("audience:read"));
    assert_eq!(app.caller(key.key.expose()).await.name(), key.view.id.to_string());
    assert!(!app.caller(key.key.expose()).await.has("audience:read"));
}

#[tokio::test]
async fn a_key_is_switched_off_and_on_again_on_its_page() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let key = app.key(&owner(&app).await, &["audience:read"]).await;
    browser.open(&page_of_key(&key)).await;
    let off = browser.submit(&format!("{}/disable", page_of_key(&key)), &[]).await;
    assert_eq!(app.http().projects(key.key.expose()).await.status, 401);
    assert!(browser.open(off.location()).await.text().contains("every use is refused"));
    browser.submit(&format!("{}/enable", page_of_key(&key)), &[]).await;
    app.http().projects(key.key.expose()).await.ok();
}

#[tokio::test]
async fn a29_an_edit_takes_no_scope_that_is_not_offered_and_not_none() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let key = app.key(&owner(&app).await, &["audience:read"]).await;
    let edit = format!("{}/edit", page_of_key(&key));
    browser.open(&edit).await;
    assert_eq!(browser.submit(&edit, &[("name", "A key"), ("scopes", "admin:everything")]).await.status, 400);
    browser.open(&edit).await;
    let bare: Vec<(String, String)> = browser.form(&edit).into_iter().filter(|(name, _)| name == "form_token").collect();
    let call = browser.http.post(&edit).form(&[("form_token", &bare[0].1), ("name", "A key")]).header("origin", "http://127.0.0.1:4080");
    assert_eq!(browser.send(call).await.status, 400);
    assert!(app.caller(key.key.expose()).await.has("audience:read"));
}

// Rotate.

#[tokio::test]
async fn a55_a_rotated_key_goes_on_for_its_grace_beside_the_new_one() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let old = app.key(&owner(&app).await, &["audience:read"]).await;
    let rotate = format!("{}/rotate", page_of_key(&old));
    browser.open(&rotate).await;
    let answer = browser.submit(&rotate, &[("grace_seconds", "3600")]).await;
    let new = shown(&answer);
    assert!(answer.text().contains("works until"));
    app.http().projects(old.key.expose()).await.ok();
    app.http().projects(&new).await.ok();
    assert!(browser.open(&page_of_key(&old)).await.text().contains("See the new key"));
    app.advance(3601);
    assert_eq!(app.http().projects(old.key.expose()).await.status, 401);
    app.http().projects(&new).await.ok();
}

#[tokio::test]
async fn a55_without_grace_the_old_key_dies_with_the_page() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let old = app.key(&owner(&app).await, &["audience:read"]).await;
    let rotate = format!("{}/rotate", page_of_key(&old));
    browser.open(&rotate).await;
    let form = browser.clone();
    let answer = browser.submit(&rotate, &[("grace_seconds", "0")]).await;
    app.http().projects(&shown(&answer)).await.ok();
    assert!(answer.text().contains("no longer works"));
    assert_eq!(app.http().projects(old.key.expose()).await.status, 401);
    let reloaded = form.clone().submit(&rotate, &[("grace_seconds", "0")]).await;
    assert!(reloaded.status == 409 && secret(&reloaded.text()).is_none());
    assert_eq!(keys_of(&app, &owner(&app).await).await.len(), 2);
}

#[tokio::test]
async fn a_grace_nobody_offers_is_refused() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let key = app.key(&owner(&app).await, &["audience:read"]).await;
    let rotate = format!("{}/rotate", page_of_key(&key));
    for grace in ["", "1", "99999999", "soon"] {
        browser.open(&rotate).await;
        assert_eq!(browser.submit(&rotate, &[("grace_seconds", grace)]).await.status, 400, "{grace}");
    }
    assert_eq!(keys_of(&app, &owner(&app).await).await.len(), 1);
}

// Revoke.

#[tokio::test]
async fn a_key_is_revoked_by_typing_its_name_and_nothing_else() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let key = app.key(&owner(&app).await, &["audience:read"]).await;
    let revoke = format!("{}/revoke", page_of_key(&key));
    for typed in ["", "a key", "Another", "A key x"] {
        browser.open(&revoke).await;
        assert_eq!(browser.submit(&revoke, &[("confirm", typed)]).await.status, 400, "{typed}");
    }
    app.http().projects(key.key.expose()).await.ok();
    browser.open(&revoke).await;
    assert_eq!(browser.submit(&revoke, &[("confirm", " A key ")]).await.status, 303);
    assert_eq!(app.http().projects(key.key.expose()).await.status, 401);
}

// Every form of these pages.

/// Every form there is for somebody who is signed in, each with what would do something.
async fn forms(app: &TestApp) -> Vec<(String, Vec<(&'static str, &'static str)>)> {
    let human = owner(app).await;
    let key = app.key(&human, &["audience:read"]).await;
    app.delivered(&human, &["audience:read"]).await;
    let agents = app.service.claims.list_agents(&human.actor(), None, None, None).await.unwrap().agents;
    vec![
        (NEW.to_owned(), vec![("name", "Forced"), ("scopes", "audience:read"), ("form_id", "x")]),
        (format!("{}/edit", page_of_key(&key)), vec![("name", "Forced"), ("scopes", "email:send")]),
        (format!("{}/disable", page_of_key(&key)), vec![]),
        (format!("{}/rotate", page_of_key(&key)), vec![("grace_seconds", "0"), ("form_id", "x")]),
        (format!("{}/revoke", page_of_key(&key)), vec![("confirm", "A key")]),
        (format!("/settings/agents/{}/revoke", agents[0].id), vec![("confirm", "Claude")]),
        ("/settings/agents/revoke".to_owned(), vec![("confirm", "revoke all")]),
        ("/settings/security/password".to_owned(), vec![("current_password", PASSWORD), ("password", "a brand new pass phrase")]),
        ("/settings/security/sign-out".to_owned(), vec![]),
        ("/settings/security/browsers/x/end".to_owned(), vec![]),
    ]
}

#[tokio::test]
async fn a18_every_form_of_the_settings_needs_its_token_and_our_origin() {
    let app = app().await;
    let mut browser = creating(&app).await;
    let mut mallory = app.signed_in("mallory@example.net").await;
    mallory.open(NEW).await;
    let token = |browser: &Browser| browser.form(NEW).into_iter().find(|(name, _)| name == "form_token").unwrap().1;
    let (ours, foreign) = (token(&browser), token(&mallory));
    let forms = forms(&app).await;
    let before = (app.row_counts().await, keys_of(&app, &owner(&app).await).await.iter().map(|key| format!("{key:?}")).collect::<Vec<_>>());
    for (path, fields) in forms {
        for (token, headers) in [
            ("", vec![("origin", "http://127.0.0.1:4080")]),
            (foreign.as_str(), vec![("origin", "http://127.0.0.1:4080")]),
            (ours.as_str(), vec![]),
            (ours.as_str(), vec![("origin", "https://evil.example")]),
            (ours.as_str(), vec![("origin", "null")]),
            (ours.as_str(), vec![("origin", "http://127.0.0.1:4080"), ("sec-fetch-site", "cross-site")]),
        ] {
            let fields: Vec<_> = fields.iter().copied().chain([("form_token", token)]).collect();
            let call = headers.iter().fold(browser.http.post(&path).form(&fields), |call, (name, value)| call.header(name, value));
            let answer = browser.send(call).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
            assert!(answer.text().contains("form"), "{path} answers a page");
        }
        let stranger = app.http().post(&path).form(&fields).header("origin", "http://127.0.0.1:4080").send().await;
        assert!(matches!(stranger.status, 401 | 403), "{path}: {}", stranger.status);
    }
    let after = keys_of(&app, &owner(&app).await).await.iter().map(|key| format!("{key:?}")).collect::<Vec<_>>();
    assert_eq!(after, before.1);
    assert_eq!(browser.visit("/settings/security").await.status, 200, "nobody was signed out");
}

/// Every page there is for somebody who is signed in.
async fn pages(app: &TestApp) -> Vec<String> {
    let acts_only = |path: &String| path.starts_with("/settings/security/") || path.ends_with("/disable");
    let mut pages: Vec<String> = forms(app).await.into_iter().map(|(path, _)| path).filter(|path| !acts_only(path)).collect();
    let key = pages[1].trim_end_matches("/edit").to_owned();
    pages.extend([key, "/settings/keys".into(), "/settings/agents".into(), "/settings/security".into(), "/activity".into()]);
    pages
}

#[tokio::test]
async fn a19_no_page_of_the_settings_can_be_framed_cached_or_scripted() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    for page in pages(&app).await {
        let answer = browser.visit(&page).await;
        assert_eq!(answer.status, 200, "{page}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{page}");
        assert_eq!((answer.header("x-frame-options"), answer.not_stored().status), ("DENY", 200), "{page}");
        let html = answer.text();
        assert!(!html.contains("<script") && !html.contains("style=\"") && !html.contains(" onclick"), "{page}");
    }
}

#[tokio::test]
async fn a17_looking_at_the_settings_changes_nothing_and_a22_a_stranger_comes_back_to_them() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let pages = pages(&app).await;
    let before = app.row_counts().await;
    for page in &pages {
        for method in ["GET", "HEAD"] {
            assert_eq!(browser.send(browser.http.call(method, page)).await.status, 200, "{method} {page}");
        }
        let stranger = app.http().get(page).send().await;
        let home = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", page).finish();
        assert_eq!((stranger.status, stranger.location()), (303, format!("/login?{home}").as_str()));
    }
    assert_eq!(app.row_counts().await, before);
}
