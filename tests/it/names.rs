//! Names that people and programs choose: what can be read is taken, and nothing is drawn over what stands beside it.

use crate::support::*;
use countersign::{
    api::error::Error,
    domain::name::{InvalidName, Name},
    service::keys::edit::Edit,
    store::{access::Order, error::StoreError, table::Table},
};
use proptest::prelude::*;
use serde_json::json;

const MARKS: &str = "\u{300}\u{301}\u{302}\u{303}\u{304}\u{306}\u{307}\u{308}\u{30a}\u{30b}";

/// Characters nobody sees, or that change how others are shown; in categories a list would forget.
const DECEPTIVE: [char; 34] = [
    '\0',
    '\u{1b}',
    '\u{7f}',
    '\u{85}',
    '\u{ad}',
    '\u{34f}',
    '\u{600}',
    '\u{61c}',
    '\u{6dd}',
    '\u{115f}',
    '\u{17b4}',
    '\u{180e}',
    '\u{200b}',
    '\u{200e}',
    '\u{2028}',
    '\u{2029}',
    '\u{202e}',
    '\u{2066}',
    '\u{2800}',
    '\u{3164}',
    '\u{e000}',
    '\u{feff}',
    '\u{fff9}',
    '\u{fffd}',
    '\u{ffff}',
    '\u{110bd}',
    '\u{13430}',
    '\u{1bca0}',
    '\u{1d159}',
    '\u{1d173}',
    '\u{e0001}',
    '\u{e0041}',
    '\u{f0000}',
    '\u{10ffff}',
];

fn refused(name: &str) -> bool {
    name.parse::<Name>().is_err()
}

#[test]
fn a104_nothing_invisible_or_unassigned_is_part_of_a_name() {
    for c in DECEPTIVE {
        for name in [format!("{c}Claude"), format!("Cla{c}ude"), format!("Claude{c}"), c.to_string()] {
            let trimmed = name.trim() == "Claude";
            assert!(trimmed || refused(&name), "U+{:04X} in {name:?}", c as u32);
        }
    }
    // Not one of these is named above.
    for c in ('\u{80}'..='\u{10ffff}').filter(|&c| (0xfdd0..0xfdf0).contains(&(c as u32)) || c as u32 & 0xfffe == 0xfffe) {
        assert!(refused(&format!("a{c}b")), "U+{:04X} is no character", c as u32);
    }
}

#[test]
fn a104_a_letter_carries_two_marks_and_nothing_else_does() {
    for name in ["Ha\u{300} No\u{302}\u{323}i", "हिन्दी", "ที่นี่", "བརྒྱུད", "ကြောင့်", "שָּׁלוֹם", "مُحَمَّد"]
    {
        assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
    }
    for name in [
        "\u{301}Claude",
        "Cl \u{301}aude",
        "a\u{300}\u{301}\u{302}",
        "a\u{301}\u{301}",
        "ก\u{e49}\u{e49}",
        "\u{20dd}",
        "a\u{20dd}\u{20de}\u{20df}",
    ] {
        assert_eq!(name.parse::<Name>(), Err(InvalidName::Character), "{name:?}");
    }
    assert!(refused(&format!("Claude{}", MARKS.repeat(6).chars().take(58).collect::<String>())));
}

#[test]
fn f45_emoji_and_joiners_are_text_where_keyboards_and_scripts_put_them() {
    let joined = [
        "Deploy \u{2699}\u{fe0f}",
        "\u{1f469}\u{200d}\u{1f4bb}",
        "\u{1f469}\u{1f3fd}\u{200d}\u{1f4bb} CI",
        "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}",
        "Stage 1\u{fe0f}\u{20e3}",
        "می\u{200c}خواهم",
        "क्\u{200d}षेत्र",
        "ක්\u{200d}රියා",
    ];
    for name in joined {
        assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
        assert_eq!(Name::of_agent(name), Err(InvalidName::Character), "an agent's own name stays plain");
    }
    let alone = [
        "\u{fe0f}",
        "a\u{fe0f}",
        "\u{2699}\u{fe0f}\u{fe0f}",
        "1\u{fe0f}",
        "1\u{fe0f}2",
        "Claude\u{fe0e}",
        "\u{200d}",
        "\u{1f469}\u{200d}",
        "\u{200d}\u{1f469}",
        "\u{1f469}\u{200d}\u{200d}\u{1f4bb}",
        "Cla\u{200d}ude",
        "Cla\u{200c}ude",
        "می\u{200c}\u{200c}خواهم",
        "می\u{200c}",
        "می\u{200c} خواهم",
        "ی\u{200c}a",
        "\u{1f469}\u{200d}a",
        "\u{1f3f4}\u{e0067}\u{e007f}",
    ];
    for name in alone {
        assert!(refused(name), "{name:?}");
    }
}

#[test]
fn spaces_are_plain_ones() {
    for space in ['\u{a0}', '\u{1680}', '\u{2003}', '\u{202f}', '\u{205f}', '\u{3000}'] {
        assert_eq!(format!("{space}Production{space}server").parse::<Name>().unwrap().as_str(), "Production server");
    }
}

#[tokio::test]
async fn a104_every_door_asks_the_same_of_a_name() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let parent = app.key(&human, &["keys:write", "audience:read"]).await;
    let made = |body: serde_json::Value| {
        let call = app.http().post("/v1/keys").bearer(parent.key.expose()).json(&body);
        async { call.send().await }
    };
    for bad in [format!("x{MARKS}"), "x\u{e000}".to_owned(), "x\u{1bca0}".to_owned(), "x\u{ffff}".to_owned()] {
        let http = app.http();
        let asked = http.register(json!({"type": "service_auth", "agent_name": bad, "scope": "audience:read"})).await;
        assert_eq!(asked.status, 400, "{bad:?}");
        let refused = made(json!({"name": bad, "scopes": ["audience:read"]})).await;
        assert_eq!(refused.status, 400, "{bad:?}");
        let edit = Edit { name: Some(bad.clone()), ..Edit::default() };
        assert_err!(app.service.keys.edit_key(&human.actor(), parent.view.id, edit, human.source).await, Error::Invalid { .. });
        assert_err!(
            app.service.keys.revoke_key(&human.actor(), parent.view.id, Some(bad.clone()), human.source).await,
            Error::Invalid { .. }
        );
        let config = |text: String| {
            let file = Some(("countersign.toml".into(), text));
            countersign::config::settings::Config::load(&countersign::config::load::Sources { file, ..Default::default() }).map(drop)
        };
        let quoted = serde_json::to_string(&bad).unwrap();
        assert!(config(format!("service_name = {quoted}")).unwrap_err().to_string().contains("service_name"));
        assert!(config(format!("[plans.{quoted}]\nrequests_per_minute = 1\n[plans.free]\nrequests_per_minute = 1")).is_err());
        assert!(config(format!("[scopes]\n\"a:b\" = {{ title = {quoted}, risk = \"low\" }}")).unwrap_err().to_string().contains("a:b"));
    }
    let made = made(json!({"name": "Deploy \u{2699}\u{fe0f}", "scopes": ["audience:read"]})).await;
    assert_eq!(made.json()["data"]["name"], "Deploy \u{2699}\u{fe0f}");
    let asked = json!({"type": "service_auth", "agent_name": "Claude \u{2699}\u{fe0f}", "scope": "audience:read"});
    assert_eq!(app.http().register(asked).await.status, 400, "an agent's own name stays plain");
}

/// Puts this name into every row that says "Claude", as a program of an earlier version left it.
async fn renamed(app: &TestApp, name: &str) {
    let name = serde_json::to_string(name).unwrap();
    app.store
        .write(move |rows| {
            for &table in Table::ALL {
                for (key, value) in rows.scan(table, &[], None, Order::Ascending, 1000)? {
                    let text = String::from_utf8_lossy(&value);
                    if text.contains("\"Claude\"") {
                        rows.put(table, &key, text.replace("\"Claude\"", &name).into_bytes());
                    }
                }
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a104_what_was_stored_before_is_shown_and_draws_over_nothing() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let account = app.service.accounts.account_by_email("alice@example.com").await.unwrap().id;
    let human = app.human_again(account).await;
    app.delivered(&human, &["audience:read"]).await;
    let stored = format!("Cla\u{e000}ude\u{1bca0}\u{202e}{}\u{feff}", MARKS.repeat(5));
    renamed(&app, &stored).await;
    let agents = app.service.claims.list_agents(&human.actor(), None, None, None).await.unwrap().agents;
    let keys =
        app.service.keys.list_keys(&human.actor(), None, &countersign::service::keys::list::KeyFilter::default()).await.unwrap().keys;
    let shown = "Cla□ude□□\u{300}\u{301}□";
    assert_eq!((agents[0].agent_name.as_str(), keys[0].name.contains(shown)), (shown, true), "{}", keys[0].name);
    for page in ["/settings/agents", "/settings/keys", "/activity"] {
        let text = browser.open(page).await.text();
        assert!(text.contains(&format!("<bdi>{shown}</bdi>")), "{page}: {text}");
        assert!(!text.contains('\u{e000}') && !text.contains('\u{302}'), "{page}");
    }
    app.service.claims.revoke_agent(&human.actor(), agents[0].id, human.source).await.unwrap();
}

proptest! {
    #[test]
    fn what_is_shown_of_any_stored_name_could_be_typed(text in any::<Vec<char>>(), marks in "[\u{300}-\u{310}\u{fe0f}\u{200c}\u{200d}\u{20e3}1ي⚙👩 ]{0,40}") {
        for text in [text.into_iter().take(40).collect::<String>(), marks] {
            let shown = Name::from(text.clone());
            prop_assert!(shown.as_str().trim().is_empty() || shown.as_str().parse::<Name>().is_ok(), "{text:?} is shown as {shown:?}");
            if let Ok(read) = text.parse::<Name>() {
                prop_assert_eq!(Name::from(String::from(read.clone())), read);
            }
        }
    }
}
