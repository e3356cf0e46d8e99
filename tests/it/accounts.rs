//! Who humans are: set-up, sign-up, sign-in, sessions.

use crate::support::*;
use countersign::{
    api::error::Error,
    domain::{activity::EventKind, secret::SessionToken, source::Source},
    store::table::Table,
};

async fn sign_up(app: &TestApp, email: &str, from: Source) -> Result<SessionToken, Error> {
    app.service.accounts.sign_up(email, password(PASSWORD), from).await
}

async fn sign_in(app: &TestApp, email: &str, text: &str, from: Source) -> Result<SessionToken, Error> {
    app.service.accounts.sign_in(email, password(text), from).await
}

async fn is_signed_in(app: &TestApp, token: &SessionToken) -> bool {
    app.service.accounts.session(token).await.unwrap().is_some()
}

// Set-up.

#[tokio::test]
async fn a_setup_code_makes_the_operator_once() {
    let app = app().await;
    let (code, _) = app.service.accounts.offer_setup().await.unwrap().unwrap();
    let session = app.service.accounts.set_up(&code, "op@example.com", password(PASSWORD), Source::Local).await.unwrap();
    let (_, account) = app.service.accounts.session(&session).await.unwrap().unwrap();
    assert!(account.operator);
    assert!(!app.service.accounts.awaits_setup());
    assert_err!(app.service.accounts.set_up(&code, "op2@example.com", password(PASSWORD), Source::Local).await, Error::WrongCode);
    assert!(app.service.accounts.offer_setup().await.unwrap().is_none(), "there is an operator");
    let app = app.restart().await;
    assert!(app.service.accounts.offer_setup().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_with_the_setup_code_make_one_operator() {
    let app = app().await;
    let (code, _) = app.service.accounts.offer_setup().await.unwrap().unwrap();
    let (one, two) = futures::join!(
        app.service.accounts.set_up(&code, "one@example.com", password(PASSWORD), Source::Local),
        app.service.accounts.set_up(&code, "two@example.com", password(PASSWORD), Source::Local),
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(app.all_accounts().await.len(), 1);
}

#[tokio::test]
async fn a_slip_in_the_form_does_not_spend_the_setup_code() {
    let app = app().await;
    let (code, _) = app.service.accounts.offer_setup().await.unwrap().unwrap();
    let short = app.service.accounts.set_up(&code, "op@example.com", password("short"), Source::Local).await;
    assert_err!(short, Error::Invalid { field, .. } if field == "password");
    let email = app.service.accounts.set_up(&code, "nobody", password(PASSWORD), Source::Local).await;
    assert_err!(email, Error::Invalid { field, .. } if field == "email");
    app.service.accounts.set_up(&code, "op@example.com", password(PASSWORD), Source::Local).await.unwrap();
}

#[tokio::test]
async fn a_setup_code_lives_an_hour_and_ten_guesses() {
    let app = app().await;
    let (code, _) = app.service.accounts.offer_setup().await.unwrap().unwrap();
    for _ in 0..10 {
        assert_err!(app.service.accounts.set_up(WRONG_CODE, "op@example.com", password(PASSWORD), at("192.0.2.1")).await, Error::WrongCode);
    }
    let over = app.service.accounts.set_up(&code, "op@example.com", password(PASSWORD), at("192.0.2.1")).await;
    assert_err!(over, Error::TooMany { .. });
    app.advance(HOUR);
    let late = app.service.accounts.set_up(&code, "op@example.com", password(PASSWORD), at("192.0.2.2")).await;
    assert_err!(late, Error::WrongCode);
}

// Sign-up.

#[tokio::test]
async fn a_sign_up_signs_in_with_an_unverified_email() {
    let app = app().await;
    let token = sign_up(&app, "Alice@Example.com", Source::Local).await.unwrap();
    let (_, account) = app.service.accounts.session(&token).await.unwrap().unwrap();
    assert_eq!((account.email.as_str(), account.email_verified, account.operator), ("alice@example.com", false, false));
    assert_eq!(account.plan, "free");
}

#[tokio::test]
async fn one_email_is_one_account() {
    let app = app().await;
    sign_up(&app, "alice@example.com", Source::Local).await.unwrap();
    assert_err!(sign_up(&app, "ALICE@example.com", Source::Local).await, Error::Conflict { .. });
    assert_eq!(app.all_accounts().await.len(), 1);
}

#[tokio::test]
async fn sign_ups_are_five_an_hour_and_source() {
    let app = app().await;
    for n in 0..5 {
        sign_up(&app, &format!("a{n}@example.com"), at("192.0.2.1")).await.unwrap();
    }
    assert_err!(sign_up(&app, "a6@example.com", at("192.0.2.1")).await, Error::TooMany { .. });
    sign_up(&app, "a6@example.com", at("192.0.2.2")).await.unwrap();
    app.advance(HOUR);
    sign_up(&app, "a7@example.com", at("192.0.2.1")).await.unwrap();
}

#[tokio::test]
async fn closed_means_closed() {
    let app = app_with("signup", "closed").await;
    assert_err!(sign_up(&app, "alice@example.com", Source::Local).await, Error::Forbidden { .. });
}

#[tokio::test]
async fn passwords_have_ten_characters_to_256_bytes() {
    let app = app().await;
    let words: String = ["lamp", "goose", "river", "paper"].iter().cycle().take(60).copied().collect();
    for (text, fits) in [("xK9$mP2vL", false), ("xK9$mP2vLq", true), ("éàüöñçøåß", false), (&words[..256], true), (&words[..257], false)]
    {
        let made = app.service.accounts.create_account(&format!("a{}@example.com", text.len()), password(text), false, false).await;
        assert_eq!(made.is_ok(), fits, "{} characters", text.chars().count());
    }
}

// Sign-in.

#[tokio::test]
async fn an_unknown_account_and_a_wrong_password_look_the_same() {
    let app = app().await;
    let alice = app.human("alice@example.com").await;
    let disabled = app.human("gone@example.com").await;
    let now = app.service.context.runtime.now();
    app.edit(disabled.account, move |account| account.disabled_at = Some(now)).await;
    let mut answers = Vec::new();
    for (email, text) in
        [("alice@example.com", "something else"), ("nobody@example.com", PASSWORD), ("gone@example.com", PASSWORD), ("no e-mail", PASSWORD)]
    {
        answers.push(serde_json::to_string(&sign_in(&app, email, text, Source::Local).await.unwrap_err()).unwrap());
    }
    answers.dedup();
    assert_eq!(answers, [serde_json::to_string(&Error::WrongPassword).unwrap()]);
    assert!(app.activity(alice.account).await.contains(&EventKind::SignInRefused));
    sign_in(&app, "Alice@example.com", PASSWORD, Source::Local).await.unwrap();
}

#[tokio::test]
async fn an_overlong_password_is_a_wrong_one() {
    let app = app().await;
    app.human("alice@example.com").await;
    assert_err!(sign_in(&app, "alice@example.com", &"x".repeat(100_000), Source::Local).await, Error::WrongPassword);
}

#[tokio::test]
async fn sign_ins_are_ten_in_a_quarter_of_an_hour_for_account_and_source() {
    let app = app().await;
    app.human("alice@example.com").await;
    for _ in 0..10 {
        assert_err!(sign_in(&app, "alice@example.com", "something else", at("192.0.2.66")).await, Error::WrongPassword);
    }
    assert_err!(sign_in(&app, "alice@example.com", PASSWORD, at("192.0.2.66")).await, Error::TooMany { retry_after: 900, .. });
    sign_in(&app, "alice@example.com", PASSWORD, at("192.0.2.1")).await.unwrap();
    app.advance(900);
    sign_in(&app, "alice@example.com", PASSWORD, at("192.0.2.66")).await.unwrap();
}

#[tokio::test]
async fn unknown_accounts_are_limited_like_known_ones() {
    let app = app().await;
    for _ in 0..10 {
        assert_err!(sign_in(&app, "nobody@example.com", PASSWORD, at("192.0.2.66")).await, Error::WrongPassword);
    }
    assert_err!(sign_in(&app, "nobody@example.com", PASSWORD, at("192.0.2.66")).await, Error::TooMany { .. });
}

#[tokio::test]
async fn sign_ins_are_a_hundred_an_hour_and_source() {
    let app = app().await;
    for n in 0..100 {
        assert_err!(sign_in(&app, &format!("a{n}@example.com"), PASSWORD, at("192.0.2.66")).await, Error::WrongPassword);
    }
    assert_err!(sign_in(&app, "a100@example.com", PASSWORD, at("192.0.2.66")).await, Error::TooMany { .. });
    app.advance(900);
    assert_err!(sign_in(&app, "a101@example.com", PASSWORD, at("192.0.2.66")).await, Error::TooMany { .. });
}

// Sessions.

#[tokio::test]
async fn a_session_ends_half_an_hour_after_its_last_use() {
    let app = app().await;
    let token = sign_up(&app, "alice@example.com", Source::Local).await.unwrap();
    for _ in 0..4 {
        app.advance(29 * 60);
        assert!(is_signed_in(&app, &token).await);
    }
    app.advance(30 * 60);
    assert!(!is_signed_in(&app, &token).await);
}

#[tokio::test]
async fn a_session_ends_after_twelve_hours_of_use_and_its_row_is_purged() {
    let app = app().await;
    let token = sign_up(&app, "alice@example.com", Source::Local).await.unwrap();
    for _ in 0..47 {
        app.advance(15 * 60);
        assert!(is_signed_in(&app, &token).await);
    }
    app.advance(15 * 60);
    assert!(!is_signed_in(&app, &token).await);
    app.service.housekeeping.purge().await.unwrap();
    assert_eq!(app.row_counts().await[Table::Sessions], 0);
}

#[tokio::test]
async fn signing_out_ends_the_session_at_once() {
    let app = app().await;
    let token = sign_up(&app, "alice@example.com", Source::Local).await.unwrap();
    app.service.accounts.sign_out(&token).await.unwrap();
    assert!(!is_signed_in(&app, &token).await);
    app.service.accounts.sign_out(&token).await.unwrap();
}

#[tokio::test]
async fn a23_an_invented_session_is_never_adopted() {
    let app = app().await;
    let invented = SessionToken::new([1; 32]);
    assert!(!is_signed_in(&app, &invented).await);
    let token = sign_up(&app, "alice@example.com", Source::Local).await.unwrap();
    assert_ne!(token.expose(), invented.expose());
    assert!(!is_signed_in(&app, &invented).await);
}

#[tokio::test]
async fn each_sign_in_is_a_session_of_its_own() {
    let app = app().await;
    app.human("alice@example.com").await;
    let one = sign_in(&app, "alice@example.com", PASSWORD, Source::Local).await.unwrap();
    let two = sign_in(&app, "alice@example.com", PASSWORD, Source::Local).await.unwrap();
    app.service.accounts.sign_out(&one).await.unwrap();
    assert!(is_signed_in(&app, &two).await);
}

#[tokio::test]
async fn a_session_survives_a_restart() {
    let app = app().await;
    let token = sign_up(&app, "alice@example.com", Source::Local).await.unwrap();
    let app = app.restart().await;
    assert!(is_signed_in(&app, &token).await);
}

#[tokio::test]
async fn a_disabled_account_is_signed_out_everywhere() {
    let app = app().await;
    let token = sign_up(&app, "alice@example.com", Source::Local).await.unwrap();
    let (_, account) = app.service.accounts.session(&token).await.unwrap().unwrap();
    let now = app.service.context.runtime.now();
    app.edit(account.id, move |account| account.disabled_at = Some(now)).await;
    assert!(!is_signed_in(&app, &token).await);
}

#[tokio::test]
async fn a_form_token_is_its_cookies_alone() {
    let app = app().await;
    let token = app.service.accounts.form_token("ses_one");
    assert!(app.service.accounts.form_token_is_right("ses_one", &token));
    for (cookie, given) in [("ses_two", token.as_str()), ("ses_one", ""), ("", token.as_str())] {
        assert!(!app.service.accounts.form_token_is_right(cookie, given));
    }
}

#[tokio::test]
async fn limits_survive_a_restart() {
    let app = app().await;
    for _ in 0..10 {
        sign_in(&app, "nobody@example.com", PASSWORD, at("192.0.2.66")).await.unwrap_err();
    }
    let app = app.restart().await;
    assert_err!(sign_in(&app, "nobody@example.com", PASSWORD, at("192.0.2.66")).await, Error::TooMany { .. });
}

// Where a request came from.

#[tokio::test]
async fn a24_behind_a_proxy_nobody_named_a_caller_is_not_this_computer() {
    let (app, proxy) = (app().await, "127.0.0.1".parse().unwrap());
    let hidden = app.service.callers.source_of(proxy, &["203.0.113.66".parse().unwrap()]);
    assert_eq!((hidden, hidden.is_this_computer()), (Source::Hidden, false));
    assert!(app.service.callers.source_of(proxy, &[]).is_this_computer());
    let named = app_with("trusted_proxies", "[\"127.0.0.0/8\"]").await;
    assert_eq!(named.service.callers.source_of(proxy, &["203.0.113.66".parse().unwrap()]), at("203.0.113.66"));
}

#[tokio::test]
async fn all_of_loopback_is_one_source() {
    assert_eq!(at("127.0.0.1").rate_limit_key(), at("127.8.9.10").rate_limit_key());
    assert_eq!(at("127.0.0.1").rate_limit_key(), at("::1").rate_limit_key());
}
