//! The human's side: entering codes, looking, deciding.

use crate::support::*;
use countersign::{
    api::{claims::Registered, error::Error},
    config::values::Lifetime,
    domain::{activity::EventKind, environment::Environment, registration::transitions::Registration, source::Source},
    service::claims::{decide::Decision, register::NewRegistration},
    store::table::Table,
};

// Wrong codes charge the guesser.

#[tokio::test]
async fn a12_the_eleventh_wrong_code_stops_its_account_and_nobody_else() {
    let app = app().await;
    let (alice, mallory) = (app.human("alice@example.com").await, app.human_of_age("m@example.net", 48 * HOUR, at("192.0.2.66")).await);
    let agent = app.register().await;
    for _ in 0..10 {
        assert_err!(app.type_code(&mallory, WRONG_CODE).await, Error::WrongCode);
    }
    assert_err!(app.type_code(&mallory, WRONG_CODE).await, Error::TooMany { retry_after: 3600, .. });
    assert_err!(app.enter(&mallory, &agent).await, Error::TooMany { .. });
    assert!(app.activity(mallory.account).await.contains(&EventKind::TooManyWrongCodes));
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { .. });
    app.approve(&alice, &agent).await;
    app.poll(&agent).await.unwrap();
}

#[tokio::test]
async fn a12_the_stopped_account_may_go_on_an_hour_later() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    for _ in 0..11 {
        app.type_code(&human, WRONG_CODE).await.unwrap_err();
    }
    app.advance(HOUR);
    let (agent, human) = (app.register().await, app.again(&human).await);
    app.enter(&human, &agent).await.unwrap();
}

#[tokio::test]
async fn a80_a_thousand_guessers_do_not_lock_the_rightful_human_out() {
    let app = app().await;
    let alice = app.human("alice@example.com").await;
    let agent = app.register().await;
    for n in 0..1000u32 {
        let guesser =
            app.human_of_age(&format!("g{n}@example.net"), i64::from(n % 2) * 48 * HOUR, at(&format!("2001:db8:0:{n:x}::1"))).await;
        assert_err!(app.type_code(&guesser, WRONG_CODE).await, Error::WrongCode | Error::TooMany { .. });
    }
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { .. });
    app.approve(&alice, &agent).await;
    app.poll(&agent).await.unwrap();
}

// Codes.

#[tokio::test]
async fn a14_codes_are_read_without_case_spaces_and_dashes() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let code = agent.claim.user_code.expose().to_owned();
    let spaced = format!(" {} ", code.replace('-', "").to_lowercase().chars().map(|c| format!("{c} ")).collect::<String>());
    for text in [code.to_lowercase(), code.replace('-', ""), code.replace('-', " "), code.replace('-', "\u{2013}"), spaced] {
        app.type_code(&human, &text).await.unwrap();
    }
}

#[tokio::test]
async fn a15_wrong_expired_and_bound_codes_look_the_same() {
    let app = app().await;
    let expired = app.register().await;
    app.advance(600);
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let (bound, decided) = (app.register().await, app.register().await);
    app.enter(&alice, &bound).await.unwrap();
    app.approve(&alice, &decided).await;
    let mut answers = Vec::new();
    for text in
        [expired.claim.user_code.expose(), bound.claim.user_code.expose(), decided.claim.user_code.expose(), WRONG_CODE, "AAAA-EEEE"]
    {
        answers.push(serde_json::to_string(&app.type_code(&bob, text).await.unwrap_err()).unwrap());
    }
    answers.dedup();
    assert_eq!(answers, [serde_json::to_string(&Error::WrongCode).unwrap()]);
}

#[tokio::test]
async fn a16_a_code_is_dead_after_the_decision() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (approved, denied) = (app.register().await, app.register().await);
    app.approve(&human, &approved).await;
    app.deny(&human, &denied).await.unwrap();
    for agent in [&approved, &denied] {
        assert_err!(app.enter(&human, agent).await, Error::WrongCode);
    }
}

#[tokio::test]
async fn a20_a_bound_code_is_nobody_elses() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let agent = app.register().await;
    let review = app.reviewed(&alice, &agent).await;
    let id = review.registration;
    assert_err!(app.enter(&bob, &agent).await, Error::WrongCode);
    assert_err!(app.service.claims.review(&bob.session, id, bob.source).await, Error::WrongCode);
    assert_err!(app.decide(&bob, &review, everything(&review)).await, Error::WrongCode);
    assert_err!(app.service.claims.deny(&bob.session, id, false, bob.source).await, Error::WrongCode);
    assert_err!(app.service.claims.deny(&bob.session, id, true, bob.source).await, Error::WrongCode);
    assert_err!(app.service.claims.release(&bob.session, id).await, Error::WrongCode);
    assert_err!(app.service.claims.decision(&bob.session, id).await, Error::WrongCode);
    app.decide(&alice, &review, everything(&review)).await.unwrap();
    assert_err!(app.service.claims.decision(&bob.session, id).await, Error::WrongCode);
}

#[tokio::test]
async fn a20_looking_at_an_unbound_registration_binds_nothing() {
    let app = app().await;
    let bob = app.human("bob@example.com").await;
    let agent = app.register().await;
    assert_err!(app.service.claims.review(&bob.session, agent.registration_id, bob.source).await, Error::WrongCode);
    assert_err!(app.service.claims.deny(&bob.session, agent.registration_id, false, bob.source).await, Error::WrongCode);
    assert!(matches!(app.stored(agent.registration_id).await, Some(Registration::Pending { attempt, .. }) if attempt.bound_to.is_none()));
}

#[tokio::test]
async fn given_back_a_code_may_be_entered_by_somebody_else() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let agent = app.register().await;
    let id = app.enter(&bob, &agent).await.unwrap();
    app.service.claims.release(&bob.session, id).await.unwrap();
    assert_err!(app.service.claims.deny(&bob.session, id, false, bob.source).await, Error::WrongCode);
    app.approve(&alice, &agent).await;
    assert!(app.poll(&agent).await.unwrap().approved_by.starts_with("a•••"));
}

// Binding hints.

async fn ask_for(app: &TestApp, hint: &str) -> Registered {
    app.ask(NewRegistration { login_hint: Some(hint.to_owned()), ..asks(&["audience:read"]) }).await.unwrap()
}

#[tokio::test]
async fn a21_a_displayed_hint_at_another_account_is_noted() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let agent = ask_for(&app, "alice@example.com").await;
    assert_eq!(app.reviewed(&bob, &agent).await.hint_is_another.as_deref(), Some("alice@example.com"));
    let agent = ask_for(&app, "Alice@example.com").await;
    assert_eq!(app.reviewed(&alice, &agent).await.hint_is_another, None);
}

#[tokio::test]
async fn a21_a_binding_hint_refuses_others_and_leaves_the_code_to_the_hinted() {
    let app = app_with("claim.login_hint", "bind").await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    for human in [&alice, &bob] {
        app.edit(human.account, |account| account.email_verified = true).await;
    }
    let agent = ask_for(&app, "alice@example.com").await;
    assert_err!(app.enter(&bob, &agent).await, Error::Forbidden { .. });
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { .. });
    app.approve(&alice, &agent).await;
    app.poll(&agent).await.unwrap();
}

#[tokio::test]
async fn a21_a_binding_hint_wants_a_verified_email() {
    let app = app_with("claim.login_hint", "bind").await;
    let alice = app.human("alice@example.com").await;
    let agent = ask_for(&app, "alice@example.com").await;
    assert_err!(app.enter(&alice, &agent).await, Error::Forbidden { .. });
    app.edit(alice.account, |account| account.email_verified = true).await;
    app.approve(&alice, &agent).await;
}

#[tokio::test]
async fn a79_with_binding_hints_a_registration_without_one_is_anybodys() {
    let app = app_with("claim.login_hint", "bind").await;
    let bob = app.human("bob@example.com").await;
    let agent = app.register().await;
    app.approve(&bob, &agent).await;
}

// What is shown.

#[tokio::test]
async fn the_review_shows_who_asks_for_what_from_where() {
    let app = app().await;
    let alice = app.human_of_age("alice@example.com", 48 * HOUR, at("192.0.2.1")).await;
    let ask = asks(&["audience:read", "email:send", "nope:nope"]);
    let agent = app.service.claims.register(ask, from("198.51.100.9")).await.unwrap();
    let review = app.reviewed(&alice, &agent).await;
    assert_eq!(review.agent_name, "Claude");
    let titles: Vec<_> = review.scopes.iter().map(|shown| shown.title.as_str()).collect();
    assert_eq!(titles, ["View subscribers, tags and segments", "Send e-mails to subscribers"]);
    assert_eq!((review.asked_from, review.you_are_at, review.elsewhere), (at("198.51.100.9"), at("192.0.2.1"), true));
    assert_eq!((review.first_agent, review.first_of_this_name, review.flagged), (true, true, false));
    assert_eq!(review.lifetime.map(|lifetime| lifetime.as_hours()), Some(90 * 24));
    assert_eq!(review.ignored, ["nope:nope"]);
}

#[tokio::test]
async fn a_second_agent_is_no_first() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    app.delivered(&human, &["audience:read"]).await;
    let agent = app.register().await;
    let review = app.reviewed(&human, &agent).await;
    assert_eq!((review.first_agent, review.first_of_this_name, review.elsewhere), (false, false, false));
}

#[tokio::test]
async fn a04_a_name_with_lookalikes_is_marked() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.ask(NewRegistration { agent_name: "C\u{217c}aude".to_owned(), ..asks(&["audience:read"]) }).await.unwrap();
    assert!(app.reviewed(&human, &agent).await.name_has_lookalikes);
}

#[tokio::test]
async fn a24_a_disowned_source_is_flagged_for_a_day() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let who = from("198.51.100.9");
    let agent = app.service.claims.register(asks(&["audience:read"]), who).await.unwrap();
    let id = app.enter(&alice, &agent).await.unwrap();
    app.service.claims.deny(&alice.session, id, true, alice.source).await.unwrap();
    assert_err!(app.poll(&agent).await, Error::AccessDenied);
    assert!(app.activity(alice.account).await.iter().any(|what| matches!(what, EventKind::Disowned { .. })));
    let again = app.service.claims.register(asks(&["audience:read"]), who).await.unwrap();
    assert!(app.reviewed(&bob, &again).await.flagged);
    app.advance(24 * HOUR);
    let bob = app.again(&bob).await;
    let later = app.service.claims.register(asks(&["audience:read"]), who).await.unwrap();
    assert!(!app.reviewed(&bob, &later).await.flagged);
}

// Deciding.

#[tokio::test]
async fn a27_denied_is_final() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let review = app.reviewed(&human, &agent).await;
    app.service.claims.deny(&human.session, review.registration, false, human.source).await.unwrap();
    assert_err!(app.decide(&human, &review, everything(&review)).await, Error::AlreadyDecided);
    assert_err!(app.poll(&agent).await, Error::AccessDenied);
    assert_eq!(app.row_counts().await[Table::Keys], 0, "no key");
}

#[tokio::test]
async fn a26_the_second_approval_is_told_that_it_was_decided() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let review = app.reviewed(&human, &agent).await;
    app.decide(&human, &review, everything(&review)).await.unwrap();
    assert_err!(app.decide(&human, &review, everything(&review)).await, Error::AlreadyDecided);
    assert_err!(app.service.claims.deny(&human.session, review.registration, false, human.source).await, Error::AlreadyDecided);
    app.poll(&agent).await.unwrap();
}

#[tokio::test]
async fn a28_a_decision_over_something_else_than_was_shown_is_refused() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (agent, other) = (app.register().await, app.register().await);
    let (review, elsewhere) = (app.reviewed(&human, &agent).await, app.reviewed(&human, &other).await);
    for digest in [String::new(), "x".repeat(43), elsewhere.digest] {
        assert_err!(app.decide(&human, &review, Decision { digest, ..everything(&review) }).await, Error::ReviewChanged);
    }
    app.decide(&human, &review, everything(&review)).await.unwrap();
}

#[tokio::test]
async fn a28_a_changed_configuration_is_a_change_of_what_was_shown() {
    for (path, value) in
        [("claim.key_ttl", "1d"), ("keys.offered_environments", r#"["live", "test"]"#), ("scopes.audience:read.title", "Read everything")]
    {
        let app = app().await;
        let human = app.human("alice@example.com").await;
        let agent = app.register().await;
        let review = app.reviewed(&human, &agent).await;
        let app = app.restart_with(&[(path, value)]).await;
        assert_err!(app.decide(&human, &review, everything(&review)).await, Error::ReviewChanged);
    }
}

#[tokio::test]
async fn a29_a_scope_that_was_not_shown_is_refused() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let review = app.reviewed(&human, &agent).await;
    for hidden in ["email:send", "keys:write", "nope:nope"] {
        let scopes = vec!["audience:read".to_owned(), hidden.to_owned()];
        let answer = app.decide(&human, &review, Decision { scopes, ..everything(&review) }).await;
        assert_err!(answer, Error::Invalid { field, .. } if field == "scopes");
    }
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { .. });
}

#[tokio::test]
async fn scopes_can_be_dropped_but_not_all() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.ask(asks(&["audience:read", "campaign:write"])).await.unwrap();
    let review = app.reviewed(&human, &agent).await;
    let none = Decision { scopes: vec![], ..everything(&review) };
    assert_err!(app.decide(&human, &review, none).await, Error::Invalid { field, .. } if field == "scopes");
    let one = Decision { scopes: vec!["campaign:write".to_owned()], ..everything(&review) };
    app.decide(&human, &review, one).await.unwrap();
    assert_eq!(app.poll(&agent).await.unwrap().scope.to_string(), "campaign:write");
}

#[tokio::test]
async fn the_lifetime_can_be_shortened_and_never_lengthened() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let review = app.reviewed(&human, &agent).await;
    for seconds in [0, -1, 59, 91 * 24 * HOUR, i64::MAX] {
        let answer = app.decide(&human, &review, Decision { lifetime: Some(seconds), ..everything(&review) }).await;
        assert_err!(answer, Error::Invalid { field, .. } if field == "lifetime");
    }
    app.decide(&human, &review, Decision { lifetime: Some(3600), ..everything(&review) }).await.unwrap();
    let key = app.poll(&agent).await.unwrap();
    assert_eq!(key.expires_in, Some(3600));
    app.advance(3600);
    assert_err!(app.call(key.access_token.expose()).await, Error::Unauthorized { .. });
}

#[tokio::test]
async fn the_environment_is_one_of_those_offered() {
    let app = app_with("keys.offered_environments", r#"["live", "test"]"#).await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let review = app.reviewed(&human, &agent).await;
    app.decide(&human, &review, Decision { environment: Some(Environment::Test), ..everything(&review) }).await.unwrap();
    assert!(app.poll(&agent).await.unwrap().access_token.expose().starts_with("cs_test_"));
}

#[tokio::test]
async fn an_environment_that_is_not_offered_can_not_be_chosen() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let review = app.reviewed(&human, &agent).await;
    let answer = app.decide(&human, &review, Decision { environment: Some(Environment::Test), ..everything(&review) }).await;
    assert_err!(answer, Error::Invalid { field, .. } if field == "environment");
}

#[tokio::test]
async fn a_decision_comes_while_the_code_lives() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let review = app.reviewed(&human, &agent).await;
    app.advance(600);
    assert_err!(app.decide(&human, &review, everything(&review)).await, Error::WrongCode);
    assert_err!(app.service.claims.deny(&human.session, review.registration, false, human.source).await, Error::WrongCode);
}

#[tokio::test]
async fn approvals_not_yet_picked_up_count_against_the_limit_of_keys() {
    let app = app_with("keys.max_active_per_account", "1").await;
    let human = app.human("alice@example.com").await;
    let (first, second) = (app.register().await, app.register().await);
    app.approve(&human, &first).await;
    let review = app.reviewed(&human, &second).await;
    assert_err!(app.decide(&human, &review, everything(&review)).await, Error::Conflict { .. });
    app.poll(&first).await.unwrap();
    assert_err!(app.decide(&human, &review, everything(&review)).await, Error::Conflict { .. });
}

// What is risky takes the code typed and a fresh sign-in.

/// Enters the code by following a link that carried it.
async fn followed(app: &TestApp, human: &Human, agent: &Registered) -> countersign::service::claims::review::Review {
    let given = code(agent.claim.user_code.expose());
    let id = app.service.claims.enter_code(&human.session, given, false, human.source).await.unwrap();
    app.service.claims.review(&human.session, id, human.source).await.unwrap()
}

/// An account that has approved an agent before.
async fn experienced(app: &TestApp) -> Human {
    let human = app.human("alice@example.com").await;
    app.delivered(&human, &["audience:read"]).await;
    human
}

#[tokio::test]
async fn a_harmless_request_of_a_known_account_needs_neither_code_nor_password() {
    let app = app().await;
    let human = experienced(&app).await;
    app.advance(HOUR / 3);
    let agent = app.register().await;
    let review = followed(&app, &human, &agent).await;
    assert_eq!((review.needs_code, review.needs_password), (false, false));
    app.decide(&human, &review, everything(&review)).await.unwrap();
}

/// A link was followed: without the code, and with a wrong one, nothing is approved.
async fn the_code_must_be_typed(app: &TestApp, human: &Human, agent: &Registered) {
    let review = followed(app, human, agent).await;
    assert!(review.needs_code);
    assert_err!(app.decide(human, &review, everything(&review)).await, Error::Invalid { field, .. } if field == "code");
    let wrong = Decision { code: code(WRONG_CODE), ..everything(&review) };
    assert_err!(app.decide(human, &review, wrong).await, Error::WrongCode);
    assert_err!(app.poll(agent).await, Error::AuthorizationPending { .. });
    let right = Decision { code: code(agent.claim.user_code.expose()), ..everything(&review) };
    app.decide(human, &review, right).await.unwrap();
}

#[tokio::test]
async fn a24_a_first_agent_takes_the_typed_code() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    the_code_must_be_typed(&app, &human, &agent).await;
}

#[tokio::test]
async fn a24_a_risky_or_management_scope_takes_the_typed_code() {
    for scope in ["email:send", "keys:read", "keys:revoke"] {
        let app = app().await;
        let human = experienced(&app).await;
        let agent = app.ask(asks(&["audience:read", scope])).await.unwrap();
        the_code_must_be_typed(&app, &human, &agent).await;
    }
}

#[tokio::test]
async fn a24_an_unlimited_lifetime_takes_the_typed_code() {
    let app = app_with("claim.key_ttl", "none").await;
    assert_eq!(app.service.context.config.claim.key_ttl, Lifetime(None));
    let human = experienced(&app).await;
    let agent = app.register().await;
    the_code_must_be_typed(&app, &human, &agent).await;
}

#[tokio::test]
async fn a24_what_is_risky_takes_the_password_again_five_minutes_after_the_sign_in() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.ask(asks(&["email:send"])).await.unwrap();
    app.advance(299);
    assert!(!app.reviewed(&human, &agent).await.needs_password);
    app.advance(1);
    let review = app.reviewed(&human, &agent).await;
    assert!(review.needs_password);
    assert_err!(app.decide(&human, &review, everything(&review)).await, Error::PasswordNeeded);
    let wrong = Decision { password: Some(password("something else")), ..everything(&review) };
    assert_err!(app.decide(&human, &review, wrong).await, Error::WrongPassword);
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { .. });
    let right = Decision { password: Some(password(PASSWORD)), ..everything(&review) };
    app.decide(&human, &review, right).await.unwrap();
}

#[tokio::test]
async fn guessing_the_password_on_the_review_page_is_limited() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.advance(300);
    let review = app.reviewed(&human, &agent).await;
    for _ in 0..10 {
        let wrong = Decision { password: Some(password("something else")), ..everything(&review) };
        assert_err!(app.decide(&human, &review, wrong).await, Error::WrongPassword);
    }
    let right = Decision { password: Some(password(PASSWORD)), ..everything(&review) };
    assert_err!(app.decide(&human, &review, right).await, Error::TooMany { .. });
}

#[tokio::test]
async fn a_disabled_account_decides_nothing() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let review = app.reviewed(&human, &agent).await;
    let now = app.service.context.runtime.now();
    app.edit(human.account, move |account| account.disabled_at = Some(now)).await;
    assert_err!(app.decide(&human, &review, everything(&review)).await, Error::SignInNeeded);
    assert_err!(app.service.claims.deny(&human.session, review.registration, false, Source::Local).await, Error::SignInNeeded);
}

#[tokio::test]
async fn a80_strangers_guesses_do_not_lock_the_operator_out_on_the_first_day() {
    let app = app().await;
    let operator = app.human("operator@example.com").await;
    app.edit(operator.account, |account| account.operator = true).await;
    for stranger in 0..30 {
        let human = app.human_of_age(&format!("stranger{stranger}@example.com"), 60, at(&format!("198.51.100.{stranger}"))).await;
        for _ in 0..10 {
            let _ = app.type_code(&human, WRONG_CODE).await;
        }
    }
    let agent = app.register().await;
    app.enter(&operator, &agent).await.unwrap();
}

#[tokio::test]
async fn a_request_disowned_on_this_computer_does_not_mark_this_computer() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (first, second) = (app.register().await, app.register().await);
    let review = app.reviewed(&human, &first).await;
    app.service.claims.deny(&human.session, review.registration, true, at("127.0.0.1")).await.unwrap();
    assert!(!app.reviewed(&human, &second).await.flagged);
}
