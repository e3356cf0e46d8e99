//! Codes: as people paste them, and as bots guess them.

use crate::support::*;
use countersign::{
    api::{claims::Registered, error::Error},
    config::settings::LoginHint,
    domain::{
        activity::EventKind,
        source::Source,
        throttle::{MAX_GUESSES_PER_HOUR, Throttle},
    },
    service::claims::decide::Decision,
    store::table::Table,
};

// As people paste them.

/// What comes along when a code is copied out of a chat, a mail or a terminal.
fn pasted(code: &str) -> Vec<String> {
    let wide: String = code.chars().map(|c| if c == '-' { '－' } else { char::from_u32(u32::from(c) + 0xFEE0).unwrap() }).collect();
    let (first, last) = code.split_once('-').unwrap();
    let mut texts = vec![wide.to_lowercase(), wide, format!("1. {code}"), format!("{first}\u{2011}{last}"), format!("{first}−{last}")];
    for inside in ["\u{a0}", "\u{200b}", "\u{ad}", "\u{2060}", "\u{feff}", "\u{200e}", "_", "/", "·", "\n", "\t"] {
        texts.push(format!("{first}{inside}{last}"));
        texts.push(code.chars().map(|c| format!("{c}{inside}")).collect());
    }
    for (before, after) in [
        ("", "\r\n"),
        ("", "."),
        ("\"", "\""),
        ("`", "`"),
        ("“", "”"),
        ("«", "»"),
        ("**", "**"),
        ("(", ")"),
        ("<", ">"),
        ("", ","),
        ("[", "]!"),
    ] {
        texts.push(format!("{before}{code}{after}"));
    }
    texts
}

#[tokio::test]
async fn f44_a_code_is_read_whatever_was_pasted_along_with_it() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    for text in pasted(agent.claim.user_code.expose()) {
        app.type_code(&human, &text).await.unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
    }
}

#[tokio::test]
async fn f44_a_pasted_code_works_typed_in_the_link_and_on_the_review_page() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    for (n, before_after) in [("\u{a0}", ")"), ("`", "`,"), ("", "**"), ("\u{200b}", "\u{200b}.\n")].into_iter().enumerate() {
        let agent = app.register().await;
        let code = agent.claim.user_code.expose();
        let text = format!("{}{code}{}", before_after.0, before_after.1);
        if n == 0 {
            assert_eq!(browser.submit_code(&text).await.status, 303);
            browser.approve(code).await;
            continue;
        }
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("code", &text).finish();
        browser.open(&format!("/claim?{query}")).await;
        assert!(browser.page.text().contains(code), "the field is filled in");
        let entered = browser.submit("/claim", &[("code", &text), ("same_code", "yes")]).await;
        assert_eq!(entered.status, 303, "{}", entered.text());
    }
    // Where it is typed again because something is risky.
    let agent = app.ask(asks(&["email:send"])).await.unwrap();
    let code = agent.claim.user_code.expose();
    browser.open(&format!("/claim?code={code}")).await;
    let entered = browser.submit("/claim", &[("code", code), ("same_code", "yes")]).await;
    let path = entered.location().to_owned();
    browser.open(&path).await;
    let decided = browser.submit(&path, &[("decision", "approve"), ("code", &format!("«{code}».")), ("password", PASSWORD)]).await;
    assert_eq!(decided.status, 303, "{}", decided.text());
}

#[tokio::test]
async fn f44_what_is_no_code_is_no_guess_and_says_so() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    for text in
        ["", " ", "WDJB", "WDJB-MJ", "WDJB-MJH", "WDJB-MJHT WDJB-MJHT", "my agent said so", "12345678", "👍", "ВДЖБ-МЖХТ", "3479-3479"]
    {
        browser.open("/claim").await;
        let page = browser.submit("/claim", &[("code", text)]).await;
        assert!(page.status == 400 && page.text().contains("The code has eight letters"), "{text:?}: {}", page.text());
    }
    let agent = app.register().await;
    browser.approve(agent.claim.user_code.expose()).await;
    app.poll(&agent).await.unwrap();
}

// As bots guess them.

async fn wrong_codes(app: &TestApp, of: impl AsRef<str>, age: i64, from: Source) -> Vec<Error> {
    let human = app.human_of_age(of.as_ref(), age, from).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(app.type_code(&human, WRONG_CODE).await.unwrap_err());
    }
    answers
}

#[tokio::test]
async fn a97_neighbours_behind_one_address_do_not_spoil_a_right_code() {
    for shared in [at("192.0.2.66"), v6(1, 1), Source::Hidden, at("127.0.0.1")] {
        let app = app().await;
        for n in 0..5 {
            wrong_codes(&app, format!("m{n}@example.net"), 48 * HOUR, shared).await;
            wrong_codes(&app, format!("y{n}@example.net"), 60, shared).await;
        }
        for age in [48 * HOUR, 60] {
            let neighbour = app.human_of_age(&format!("alice{age}@example.com"), age, shared).await;
            let agent = app.register().await;
            app.approve(&neighbour, &agent).await;
            app.poll(&agent).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a97_a_thousand_throw_away_accounts_do_not_spoil_a_right_code() {
    let app = app().await;
    for n in 0..1_000u32 {
        wrong_codes(&app, format!("g{n}@example.net"), 60, v6(n / 300, n)).await;
    }
    let fresh = app.human_of_age("fresh@example.com", 60, at("198.51.100.1")).await;
    let agent = app.register().await;
    app.approve(&fresh, &agent).await;
    app.poll(&agent).await.unwrap();
}

/// An application in which so many requests wait that the allowance of all is this small.
async fn crowded(app: &TestApp, aged: u64) {
    let waiting = MAX_GUESSES_PER_HOUR / 5 * 4 / aged;
    // Together, so that they share what a commit costs.
    let asked = (0..waiting).map(|n| app.service.claims.register(asks(&["audience:read"]), from(&format!("10.0.{}.{}", n >> 8, n & 255))));
    for registered in futures::future::join_all(asked).await {
        registered.unwrap();
    }
}

/// Two thousand requests wait; strangers have entered a hundred wrong codes, all there may be in that hour.
async fn guessed_at() -> TestApp {
    let app = app().await;
    crowded(&app, 100).await;
    let mut wrong = 0;
    for n in 0..12 {
        let answers = wrong_codes(&app, format!("g{n}@example.net"), 48 * HOUR, v6(n, 1)).await;
        wrong += answers.iter().filter(|answer| matches!(answer, Error::WrongCode)).count();
    }
    assert!((99..=101).contains(&wrong), "{wrong}");
    app
}

async fn fresh_code(app: &TestApp, agent: &Registered) -> String {
    app.advance(10);
    let attempt = app.service.claims.new_attempt(&token(agent), None, true).await.unwrap();
    attempt.attempt.user_code.expose().to_owned()
}

#[tokio::test]
async fn a97_past_the_brake_a_right_code_takes_a_fresh_one_and_nobody_is_refused() {
    let app = guessed_at().await;
    let alice = app.human_of_age("alice@example.com", 48 * HOUR, at("198.51.100.1")).await;
    let agent = app.register().await;
    assert_err!(app.enter(&alice, &agent).await, Error::FreshCodeNeeded);
    // Her agent is told to get another, and the first is worth nothing more.
    assert_err!(app.poll(&agent).await, Error::ExpiredToken { register: false });
    assert_err!(app.enter(&alice, &agent).await, Error::FreshCodeNeeded);
    let fresh = fresh_code(&app, &agent).await;
    let id = app.type_code(&alice, &fresh).await.unwrap();
    assert_eq!(id, agent.registration_id);
    let review = app.service.claims.review(&alice.session, id, alice.source).await.unwrap();
    app.decide(&alice, &review, everything(&review)).await.unwrap();
    app.poll(&agent).await.unwrap();
}

#[tokio::test]
async fn a97_an_agent_that_can_only_register_anew_gets_its_human_through_as_well() {
    let app = guessed_at().await;
    let alice = app.human_of_age("alice@example.com", 48 * HOUR, at("198.51.100.1")).await;
    let ask = || app.service.claims.register(asks(&["audience:read"]), from("198.51.100.1"));
    let first = ask().await.unwrap();
    assert_err!(app.enter(&alice, &first).await, Error::FreshCodeNeeded);
    let second = ask().await.unwrap();
    app.approve(&alice, &second).await;
    // A stranger's own request opens nobody else's.
    let mallory = app.human_of_age("mallory@example.net", 48 * HOUR, at("203.0.113.66")).await;
    let own = app.service.claims.register(asks(&["audience:read"]), from("203.0.113.66")).await.unwrap();
    assert_err!(app.enter(&mallory, &own).await, Error::FreshCodeNeeded);
    let other = ask().await.unwrap();
    assert_err!(app.enter(&mallory, &other).await, Error::FreshCodeNeeded);
}

#[tokio::test]
async fn a97_past_the_brake_right_and_wrong_codes_are_answered_and_charged_alike_and_no_use_later() {
    let app = guessed_at().await;
    let mallory = app.human_of_age("mallory@example.net", 48 * HOUR, at("203.0.113.66")).await;
    let mut answers = Vec::new();
    let agent = app.register().await;
    for n in 0..10 {
        let answer = if n % 2 == 0 { app.enter(&mallory, &agent).await } else { app.type_code(&mallory, WRONG_CODE).await };
        answers.push(serde_json::to_string(&answer.unwrap_err()).unwrap());
    }
    answers.dedup();
    assert_eq!(answers, [serde_json::to_string(&Error::FreshCodeNeeded).unwrap()]);
    assert_err!(app.enter(&mallory, &agent).await, Error::TooMany { .. });
    assert!(app.activity(mallory.account).await.contains(&EventKind::TooManyWrongCodes));
    // Neither to him nor to a friend, when the hour is over: the code that was right is dead.
    app.advance(HOUR - 120);
    let mallory = app.again(&mallory).await;
    for n in 0..12 {
        wrong_codes(&app, format!("h{n}@example.net"), 48 * HOUR, v6(n, 1)).await;
    }
    let agent = app.service.claims.register(asks(&["audience:read"]), from("198.51.100.1")).await.unwrap();
    let friend = app.human_of_age("friend@example.net", 48 * HOUR, at("203.0.113.67")).await;
    assert_err!(app.enter(&friend, &agent).await, Error::FreshCodeNeeded);
    app.advance(120);
    for guesser in [&mallory, &friend] {
        assert_err!(app.enter(guesser, &agent).await, Error::WrongCode);
    }
    let fresh = fresh_code(&app, &agent).await;
    let alice = app.human_of_age("alice@example.com", 48 * HOUR, at("198.51.100.1")).await;
    app.type_code(&alice, &fresh).await.unwrap();
}

#[tokio::test]
async fn a97_a_page_that_is_open_goes_on_past_the_brake() {
    let app = app().await;
    crowded(&app, 100).await;
    let alice = app.human_of_age("alice@example.com", 48 * HOUR, at("198.51.100.1")).await;
    let agent = app.register().await;
    app.enter(&alice, &agent).await.unwrap();
    for n in 0..12 {
        wrong_codes(&app, format!("g{n}@example.net"), 48 * HOUR, v6(n, 1)).await;
    }
    app.approve(&alice, &agent).await;
}

#[tokio::test]
async fn a97_one_48_uses_up_its_own_share_and_nobody_elses() {
    let app = app().await;
    crowded(&app, 1_000).await;
    let mut asked_for_more = 0;
    for n in 0..200 {
        let answers = wrong_codes(&app, format!("g{n}@example.net"), 48 * HOUR, v6(1, n)).await;
        asked_for_more += answers.iter().filter(|answer| matches!(answer, Error::FreshCodeNeeded)).count();
    }
    assert_eq!(asked_for_more, 2_000 - 250);
    let alice = app.human_of_age("alice@example.com", 48 * HOUR, v6(2, 1)).await;
    let agent = app.register().await;
    app.approve(&alice, &agent).await;
}

#[tokio::test]
async fn a97_a_human_over_mcp_gets_a_fresh_code_by_calling_again() {
    let app = guessed_at().await;
    let alice = app.human_of_age("alice@example.com", 48 * HOUR, at("198.51.100.1")).await;
    let agent = app.register().await;
    assert!(app.service.claims.has_live_code(agent.registration_id).await.unwrap());
    app.enter(&alice, &agent).await.unwrap_err();
    assert!(!app.service.claims.has_live_code(agent.registration_id).await.unwrap(), "an identical register_agent asks for the next code");
}

#[tokio::test]
async fn a97_the_page_says_what_to_do() {
    let app = guessed_at().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let agent = app.register().await;
    let page = browser.submit_code(agent.claim.user_code.expose()).await;
    assert!(page.status == 409 && page.text().contains("Ask your agent for a fresh code"), "{}", page.text());
    let fresh = fresh_code(&app, &agent).await;
    assert_eq!(browser.submit("/claim", &[("code", &fresh)]).await.status, 303);
}

#[tokio::test]
async fn a97_a_hint_that_binds_is_asked_of_the_second_code() {
    let app = app_with("claim.login_hint", "bind").await;
    assert_eq!(app.service.context.config.claim.login_hint, LoginHint::Bind);
    crowded(&app, 100).await;
    for n in 0..12 {
        wrong_codes(&app, format!("g{n}@example.net"), 48 * HOUR, v6(n, 1)).await;
    }
    let mallory = app.human_of_age("mallory@example.net", 48 * HOUR, at("203.0.113.66")).await;
    let ask = countersign::service::claims::register::NewRegistration {
        login_hint: Some("alice@example.com".to_owned()),
        ..asks(&["audience:read"])
    };
    let agent = app.ask(ask).await.unwrap();
    assert_err!(app.enter(&mallory, &agent).await, Error::FreshCodeNeeded);
}

#[tokio::test]
async fn a97_strangers_do_not_use_up_what_approving_takes() {
    let app = guessed_at().await;
    let human = app.human_of_age("alice@example.com", 48 * HOUR, v6(1, 1)).await;
    let agent = app.ask(asks(&["email:send"])).await.unwrap();
    app.service.claims.enter_code(&human.session, code(agent.claim.user_code.expose()), false, human.source).await.unwrap_err();
    let fresh = fresh_code(&app, &agent).await;
    let id = app.service.claims.enter_code(&human.session, code(&fresh), false, human.source).await.unwrap();
    let review = app.service.claims.review(&human.session, id, human.source).await.unwrap();
    assert!(review.needs_code);
    let decision = Decision { code: code(&fresh), ..everything(&review) };
    app.decide(&human, &review, decision).await.unwrap();
}

/// The odds, computed from the constants: how often strangers hit somebody's request, however many they are.
#[test]
fn a97_the_odds_stay_below_a_hit_in_ten_years() {
    const CODES: f64 = 25_600_000_000.0;
    const HOURS_A_YEAR: f64 = 8_766.0;
    let now = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 365);
    let account = |age: i64| countersign::domain::account::Account {
        id: countersign::domain::id::AccountId::new(now, [1; 16]),
        email: "g@example.net".parse().unwrap(),
        email_verified: false,
        password: None,
        operator: false,
        plan: "free".to_owned(),
        external_id: None,
        created_at: now - jiff::SignedDuration::from_hours(age),
        disabled_at: None,
    };
    for pending in [1_u64, 100, 1_000, 10_000, 100_000, 1_000_000] {
        let together = |age| u64::from(Throttle::shared_wrong_codes(&account(age), &v6(1, 1), now, pending)[0].max);
        // Straight away: what all accounts together may enter, and the one that is on its way when the allowance ends.
        let straight = (together(1) + together(48)) as f64;
        let years = CODES / (straight * pending as f64 * HOURS_A_YEAR);
        assert!(years > 10.0, "{pending} pending: a hit in {years:.1} years");
        // Past it: a /48 of day-old accounts, ten codes an hour each, two codes of one request.
        let guesses = 131_000.0 * 10.0;
        let halves = guesses * pending as f64 / CODES;
        let hits = halves * 10.0 / CODES;
        assert!(1.0 / (hits * HOURS_A_YEAR) > 10.0, "{pending} pending");
    }
}

// Registrations.

#[tokio::test]
async fn a98_a_48_registers_three_times_what_one_of_its_64s_may() {
    let app = app().await;
    let mut taken = 0;
    for n in 0..40 {
        let asked = app.service.claims.register(asks(&["audience:read"]), from(&format!("2001:db8:1:{n:x}::1"))).await;
        match asked {
            Ok(_) => taken += 1,
            Err(Error::TooMany { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(taken, 30);
    app.service.claims.register(asks(&["audience:read"]), from("2001:db8:2::1")).await.unwrap();
    let mut of_one = 0;
    for _ in 0..20 {
        of_one += u32::from(app.service.claims.register(asks(&["audience:read"]), from("2001:db8:3::1")).await.is_ok());
    }
    assert_eq!(of_one, 10);
}

#[tokio::test]
async fn a98_a_raised_48_has_what_it_was_given_and_a_raised_64_does_not_raise_its_48_less() {
    let app = app_with("limits.sources", "{\"2001:db8:1::/48\" = 50, \"2001:db8:2:5::/64\" = 40}").await;
    let mut taken = [0, 0];
    for n in 0..80 {
        taken[0] += u32::from(app.service.claims.register(asks(&["audience:read"]), from(&format!("2001:db8:1:{n:x}::1"))).await.is_ok());
        taken[1] += u32::from(app.service.claims.register(asks(&["audience:read"]), from("2001:db8:2:5::1")).await.is_ok());
    }
    assert_eq!(taken, [50, 40]);
}

#[tokio::test]
async fn a98_at_the_ceiling_who_asked_most_makes_room_and_an_honest_claim_lives_its_hour() {
    let app = build().set("limits.pending_registrations", "60").start().await;
    let alice = app.human_of_age("alice@example.com", 48 * HOUR, at("198.51.100.1")).await;
    let honest = app.service.claims.register(asks(&["audience:read"]), from("198.51.100.1")).await.unwrap();
    // Twenty-four addresses, ten requests each: four times what may wait.
    for minute in 0..50 {
        for bot in 0..24 {
            let _ = app.service.claims.register(asks(&["audience:read"]), from(&format!("203.0.113.{bot}"))).await;
            let _ = app.service.claims.register(asks(&["audience:read"]), from(&format!("2001:db8:1:{minute:x}{bot:x}::1"))).await;
        }
        app.advance_and_purge(60).await;
    }
    let fresh = app.service.claims.new_attempt(&token(&honest), None, true).await.unwrap();
    let alice = app.again(&alice).await;
    let id = app.type_code(&alice, fresh.attempt.user_code.expose()).await.unwrap();
    let review = app.service.claims.review(&alice.session, id, alice.source).await.unwrap();
    app.decide(&alice, &review, Decision { password: Some(password(PASSWORD)), ..everything(&review) }).await.unwrap();
    app.service.claims.poll(&token(&honest), None, at("198.51.100.1")).await.unwrap();
    app.advance_and_purge(2 * HOUR).await;
    let counts = app.row_counts().await;
    assert_eq!((counts[Table::Pending], counts[Table::CrowdedPending]), (0, 0), "nothing is left in the lists");
}
