//! What holds for every input: texts read back as what they print, nothing panics a parser, and no order of
//! transitions gives a second key.

use crate::support::*;
use countersign::{
    config::{load::Sources, settings::Config, values::Ttl},
    domain::{
        digest::Digest,
        environment::Environment,
        id::{AccountId, AttemptId, EventId, GrantId, KeyId, RegistrationId},
        key_format::{Body, KeyFormat},
        key_stream::KeyStream,
        name::{Email, Name},
        pkce::CodeChallenge,
        registration::{
            poll::{NextStep, Poll},
            request::{Approval, Attempt, Pickup, RegistrationRequest},
            transitions::Registration,
        },
        scope::{Scope, ScopeSet},
        secret::{ApiKey, ClaimHandle, ClaimToken, CodeVerifier, PickupToken, SessionToken},
        server_secret::Purpose,
        source::Source,
        user_code::UserCode,
    },
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn formats() -> impl Strategy<Value = KeyFormat> {
    let body = prop_oneof![Just(Body::Checksummed), Just(Body::Random), Just(Body::Hex40)];
    ("[a-z0-9_]{1,24}", body, any::<bool>()).prop_map(|(prefix, body, environments)| KeyFormat { prefix, body, environments })
}

fn environments() -> impl Strategy<Value = Environment> {
    prop_oneof![Just(Environment::Live), Just(Environment::Test)]
}

fn scopes() -> impl Strategy<Value = Scope> {
    "[a-z0-9._-]{1,20}:[a-z0-9._-]{1,20}".prop_map(|text| text.parse().unwrap())
}

macro_rules! ids_read_back {
    ($($id:ident),+) => {
        proptest! {
            #![proptest_config(cases(128))]
            #[test]
            fn an_id_reads_back_as_itself(ms in 0i64..253_402_207_200_000, random: [u8; 16], junk: String) {
                let now = Timestamp::from_millisecond(ms).unwrap();
                $(
                    let id = $id::new(now, random);
                    let text = id.to_string();
                    prop_assert!(text.starts_with($id::PREFIX));
                    prop_assert_eq!(text.parse::<$id>(), Ok(id));
                    prop_assert_eq!(serde_json::from_str::<$id>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
                    prop_assert!(text.to_uppercase().parse::<$id>().is_err(), "one spelling only");
                    let longer = text + "0";
                    prop_assert!(longer.parse::<$id>().is_err());
                    let _ = junk.parse::<$id>();
                    let _ = format!("{}{junk}", $id::PREFIX).parse::<$id>();
                )+
            }
        }
    };
}

ids_read_back!(RegistrationId, AttemptId, GrantId, KeyId, AccountId, EventId);

macro_rules! tokens_read_back {
    ($($token:ident),+) => {
        proptest! {
            #![proptest_config(cases(128))]
            #[test]
            fn a_token_reads_back_as_itself(random: [u8; 32], junk: String) {
                $(
                    let token = $token::new(random);
                    let read = $token::parse(token.expose());
                    prop_assert_eq!(read.as_ref().map(|t| t.expose()), Some(token.expose()));
                    let longer = token.expose().to_owned() + "A";
                    prop_assert!($token::parse(&longer).is_none());
                    let _ = $token::parse(&junk);
                )+
            }
        }
    };
}

tokens_read_back!(ClaimToken, PickupToken, SessionToken, ClaimHandle);

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_user_code_reads_back_as_itself_however_it_is_typed(bytes in prop::collection::vec(0u8..240, 8)) {
        let mut bytes = bytes.into_iter();
        let code = UserCode::new(|| bytes.next().unwrap());
        let text = code.expose();
        prop_assert!(text.len() == 9 && text.bytes().all(|b| b == b'-' || b"BCDFGHJKLMNPQRSTVWXZ".contains(&b)));
        for typed in [text.clone(), text.to_lowercase(), text.replace('-', ""), text.replace('-', " "), format!(" {text} ")] {
            prop_assert_eq!(typed.parse::<UserCode>(), Ok(code.clone()));
        }
    }

    #[test]
    fn what_reads_as_a_code_is_one(text in ".{0,12}") {
        if let Ok(code) = text.parse::<UserCode>() {
            prop_assert_eq!(code.expose().parse::<UserCode>(), Ok(code));
        }
    }

    #[test]
    fn a_key_of_any_format_reads_back_as_itself(format in formats(), environment in environments(), random: [u8; 32]) {
        let (key, shown) = format.make(environment, &mut KeyStream::fresh(random));
        let read = ApiKey::presented(key.expose()).unwrap();
        prop_assert_eq!(read.expose(), key.expose());
        prop_assert!(format.could_be(&read));
        prop_assert!(key.expose().starts_with(&shown));
        prop_assert_eq!(format.shown(&read), Some(shown.as_str()));
        prop_assert!(shown.len() + 24 <= key.expose().len(), "what is shown is a small part");
        let (again, _) = format.make(environment, &mut KeyStream::fresh(random));
        prop_assert_eq!(again.expose(), key.expose(), "the same stream gives the same key");
    }

    #[test]
    fn a47_a_checksummed_key_with_one_changed_character_is_refused(
        environment in environments(), random: [u8; 32], place: prop::sample::Index, other in 0x21u8..0x7f,
    ) {
        let format = KeyFormat { prefix: "cs".to_owned(), body: Body::Checksummed, environments: true };
        let (key, _) = format.make(environment, &mut KeyStream::fresh(random));
        let mut bytes = key.expose().as_bytes().to_vec();
        let place = place.index(bytes.len());
        prop_assume!(bytes[place] != other);
        bytes[place] = other;
        let mistyped = ApiKey::presented(std::str::from_utf8(&bytes).unwrap()).unwrap();
        prop_assert!(!format.could_be(&mistyped));
    }

    #[test]
    fn a_key_of_another_format_or_length_is_refused(random: [u8; 32], environment in environments(), cut in 1usize..30) {
        let made = |prefix: &str, body| KeyFormat { prefix: prefix.to_owned(), body, environments: true };
        let ours = made("cs", Body::Checksummed);
        for other in [made("mgp", Body::Checksummed), made("cs", Body::Random), made("cs", Body::Hex40)] {
            let (key, _) = other.make(environment, &mut KeyStream::fresh(random));
            prop_assert!(!ours.could_be(&key));
        }
        let (key, _) = ours.make(environment, &mut KeyStream::fresh(random));
        prop_assert!(!ours.could_be(&ApiKey::presented(&key.expose()[..key.expose().len() - cut]).unwrap()));
        let longer = key.expose().to_owned() + "0";
        prop_assert!(!ours.could_be(&ApiKey::presented(&longer).unwrap()));
    }

    #[test]
    fn scopes_read_back_as_themselves(set in prop::collection::btree_set(scopes(), 0..20)) {
        let set: ScopeSet = set.into_iter().collect();
        prop_assert_eq!(ScopeSet::parse(&set.to_string()), Ok(set.clone()));
        prop_assert_eq!(serde_json::from_str::<ScopeSet>(&serde_json::to_string(&set).unwrap()).unwrap(), set.clone());
        for scope in set.iter() {
            prop_assert_eq!(&scope.to_string().parse::<Scope>().unwrap(), scope);
        }
    }

    #[test]
    fn a_name_that_is_taken_reads_back_as_itself(text in "\\PC{0,70}") {
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(name.to_string().parse::<Name>(), Ok(name.clone()));
            prop_assert!((1..=64).contains(&name.as_str().chars().count()));
            prop_assert!(!name.as_str().chars().any(char::is_control));
        }
    }

    #[test]
    fn an_email_reads_back_as_itself_without_case(text in "[A-Za-z0-9._+-]{1,20}@[A-Za-z0-9]{1,10}(\\.[A-Za-z]{2,5}){0,2}") {
        let email: Email = text.parse().unwrap();
        prop_assert_eq!(email.to_string().parse::<Email>(), Ok(email.clone()));
        prop_assert_eq!(text.to_uppercase().parse::<Email>(), Ok(email.clone()));
        let masked = email.masked();
        prop_assert!(email.as_str().split('@').next().unwrap().len() < 3 || !masked.contains(email.as_str()));
    }

    #[test]
    fn a_verifier_meets_its_own_challenge_only(one: [u8; 32], two: [u8; 32]) {
        prop_assume!(one != two);
        let (one, two) = (CodeVerifier::new(one), CodeVerifier::new(two));
        let challenge = CodeChallenge::parse(one.challenge().as_str()).unwrap();
        prop_assert!(challenge.met_by(&CodeVerifier::parse(one.expose()).unwrap()));
        prop_assert!(!challenge.met_by(&two));
    }

    #[test]
    fn a_length_of_time_reads_back_as_itself(seconds in 1i64..316_000_000) {
        let ttl = Ttl(SignedDuration::from_secs(seconds));
        let text = serde_json::to_value(ttl).unwrap();
        prop_assert_eq!(text.as_str().unwrap().parse::<Ttl>(), Ok(ttl));
    }

    #[test]
    fn no_text_panics_a_parser(text: String) {
        let _ = text.parse::<UserCode>();
        let _ = text.parse::<Scope>();
        let _ = ScopeSet::parse(&text);
        let _ = text.parse::<Name>();
        let _ = text.parse::<Email>().map(|email| email.masked());
        let _ = text.parse::<Environment>();
        let _ = text.parse::<Ttl>();
        let _ = CodeVerifier::parse(&text).map(|verifier| verifier.challenge());
        let _ = CodeChallenge::parse(&text);
        let _ = serde_json::from_value::<Digest>(serde_json::Value::String(text.clone()));
        if let Some(key) = ApiKey::presented(&text) {
            for body in [Body::Checksummed, Body::Random, Body::Hex40] {
                for environments in [true, false] {
                    let _ = KeyFormat { prefix: "cs".to_owned(), body, environments }.could_be(&key);
                }
            }
        }
    }

    #[test]
    fn nothing_that_looks_like_a_key_panics_its_parser(body in "[!-~]{0,60}") {
        for head in ["cs_live_", "cs_test_", "cs_"] {
            let Some(key) = ApiKey::presented(&format!("{head}{body}")) else { continue };
            for form in [Body::Checksummed, Body::Random, Body::Hex40] {
                for environments in [true, false] {
                    let _ = KeyFormat { prefix: "cs".to_owned(), body: form, environments }.could_be(&key);
                }
            }
        }
    }

    #[test]
    fn no_file_panics_the_configuration(text in "\\PC{0,200}", junk: String) {
        let load = |text: String| Config::load(&Sources { file: Some(("f".into(), text)), ..Sources::default() });
        let _ = load(text);
        let _ = load(junk);
    }

    #[test]
    fn no_setting_panics_the_configuration(settings in prop::collection::vec((names(), values()), 0..6), insecure: bool) {
        let environment: Vec<_> = settings.iter().map(|(name, value)| (format!("COUNTERSIGN_{name}"), value.clone())).collect();
        let _ = Config::load(&Sources { environment, insecure, ..Sources::default() });
        let text: String = settings.iter().map(|(name, value)| format!("{} = {value}\n", name.to_lowercase().replace("__", "."))).collect();
        let _ = Config::load(&Sources { file: Some(("f".into(), text)), insecure, ..Sources::default() });
    }
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "SERVICE_NAME",
            "LISTEN",
            "PUBLIC_URL",
            "PAGES_URL",
            "ENVIRONMENT",
            "PROFILE",
            "SIGNUP",
            "TRUSTED_PROXIES",
            "KEYS",
            "KEYS__PREFIX",
            "KEYS__FORMAT",
            "KEYS__OFFERED_ENVIRONMENTS",
            "CLAIM",
            "CLAIM__CODE_TTL",
            "CLAIM__INTERVAL",
            "CLAIM__KEY_TTL",
            "CLAIM__GRANTABLE",
            "CLAIM__INTERVAL__X",
            "LIMITS__SOURCES",
            "PLANS",
            "PLANS__FREE",
            "SCOPES",
            "STORE__URL",
            "API__TRY",
            "",
            "__",
            "_FILE",
            "SECRET_FILE_FILE",
            "BRAND__ACCENT",
        ])
        .prop_map(str::to_owned),
        "[A-Z_]{0,20}",
    ]
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            "0",
            "-1",
            "5",
            "99999999999999999999",
            "true",
            "1.5",
            "nan",
            "[]",
            "{}",
            "{ a = 1 }",
            "[\"live\", \"live\"]",
            "'10m'",
            "10m",
            "90d",
            "P1Y",
            "-PT5S",
            "9223372036854775807s",
            "none",
            "http://127.0.0.1:4080",
            "http://[::1]:4080",
            "https://x.example",
            "https://\u{1f980}.example",
            "http://",
            "0.0.0.0:0",
            "[::]:65535",
            "\"",
            "\n",
            "{ \"10.0.0.0/8\" = 5 }",
            "{ requests_per_minute = 4294967295 }",
            "sled:",
            "/",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,30}",
    ]
}

// The state machine, under any order of events.

#[derive(Debug, Clone)]
enum Event {
    Wait(i64),
    NewAttempt,
    Bind(usize),
    Release(usize),
    Approve(usize, Vec<&'static str>),
    Deny(usize),
    Deliver,
    OfferPickup,
    EndRedelivery,
    Slow,
    Sweep,
    Poll,
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0usize..2;
    let chosen = prop::sample::subsequence(vec!["audience:read", "campaign:write", "email:send"], 0..=3);
    prop_oneof![
        3 => prop::sample::select(vec![1, 5, 10, 30, 60, 120, 300, 599, 600, 1800, 3600, 4200, 86_400]).prop_map(Event::Wait),
        2 => Just(Event::NewAttempt),
        4 => who.clone().prop_map(Event::Bind),
        1 => who.clone().prop_map(Event::Release),
        4 => (who.clone(), chosen).prop_map(|(who, scopes)| Event::Approve(who, scopes)),
        1 => who.prop_map(Event::Deny),
        3 => Just(Event::Deliver),
        1 => Just(Event::OfferPickup),
        1 => Just(Event::EndRedelivery),
        1 => Just(Event::Slow),
        2 => Just(Event::Sweep),
        4 => Just(Event::Poll),
    ]
}

/// A registration under test, with what the outside has seen of it.
struct Watched {
    registration: Registration,
    now: Timestamp,
    drawn: u8,
    keys: Vec<KeyId>,
    bound: Option<AccountId>,
    last_answer: Option<Poll>,
}

fn digest(n: u8) -> Digest {
    server_secret().hash(Purpose::UserCode, &[n])
}

fn account(n: usize) -> AccountId {
    AccountId::new(Timestamp::UNIX_EPOCH, [n as u8 + 1; 16])
}

fn set(scopes: &[&str]) -> ScopeSet {
    scopes.iter().map(|scope| scope.parse().unwrap()).collect()
}

impl Watched {
    fn new(challenge: bool) -> Self {
        let now = Timestamp::from_second(1_795_262_400).unwrap();
        let request = RegistrationRequest {
            id: RegistrationId::new(now, [0; 16]),
            created_at: now,
            expires_at: now + SignedDuration::from_hours(1),
            agent_name: "Claude".parse().unwrap(),
            scopes: set(&["audience:read", "campaign:write"]),
            ignored: Vec::new(),
            login_hint: None,
            environment: Environment::Live,
            source: Source::Local,
            before: 0,
            claim_token: digest(0),
            challenge: challenge.then(|| verifier().challenge()),
            handle: None,
        };
        let mut this = Self {
            registration: Registration::Expired { request: request.clone() },
            now,
            drawn: 0,
            keys: vec![],
            bound: None,
            last_answer: None,
        };
        this.registration = Registration::open(request, this.attempt(), 5);
        this
    }

    fn draw(&mut self) -> u8 {
        self.drawn = self.drawn.wrapping_add(1);
        self.drawn
    }

    fn attempt(&mut self) -> Attempt {
        let n = self.draw();
        Attempt {
            id: AttemptId::new(self.now, [n; 16]),
            code: digest(n),
            started_at: self.now,
            expires_at: self.now + SignedDuration::from_mins(10),
            number: 1,
            bound_to: None,
            typed: false,
        }
    }

    fn approval(&mut self, who: usize, scopes: &[&str]) -> Approval {
        Approval {
            grant: GrantId::new(self.now, [self.draw(); 16]),
            account: account(who),
            at: self.now,
            scopes: set(scopes),
            environment: Environment::Live,
            key_lifetime: None,
            format: KeyFormat { prefix: "cs".to_owned(), body: Body::Checksummed, environments: true },
            salt: self.registration.request().challenge.as_ref().map(|_| [self.drawn; 32]),
        }
    }

    fn answer(&self) -> Poll {
        let verifier = self.registration.request().challenge.as_ref().map(|_| verifier());
        self.registration.poll(verifier.as_ref(), false, self.now)
    }

    /// Lets one thing happen. `false` once the registration is forgotten.
    fn happens(&mut self, event: &Event) -> bool {
        let (before, now) = (self.registration.clone(), self.now);
        match event {
            Event::Wait(seconds) => self.now += SignedDuration::from_secs(*seconds),
            Event::NewAttempt => {
                let fresh = self.attempt();
                if let Ok(next) = before.new_attempt(fresh, now) {
                    self.registration = next;
                    self.bound = None;
                }
            }
            Event::Bind(who) => {
                if let Ok(next) = before.bind(account(*who), true, now) {
                    assert!(self.bound.is_none_or(|bound| bound == account(*who)), "a bound code is nobody else's");
                    self.registration = next;
                    self.bound = Some(account(*who));
                }
            }
            Event::Release(who) => {
                if let Ok(next) = before.release(account(*who), now) {
                    assert_eq!(self.bound, Some(account(*who)));
                    self.registration = next;
                    self.bound = None;
                }
            }
            Event::Approve(who, scopes) => {
                let approval = self.approval(*who, scopes);
                if let Ok(next) = before.approve(approval, now) {
                    assert_eq!(self.bound, Some(account(*who)), "only who entered the code decides");
                    self.registration = next;
                }
            }
            Event::Deny(who) => {
                if let Ok(next) = before.deny(account(*who), now) {
                    assert_eq!(self.bound, Some(account(*who)), "only who entered the code decides");
                    self.registration = next;
                }
            }
            Event::Deliver => {
                let key = KeyId::new(now, [self.draw(); 16]);
                let asked = self.answer();
                if let Ok(next) = before.deliver(key, None, now) {
                    assert_eq!(asked, Poll::Deliver, "what is delivered is what a poll would have been told");
                    self.keys.push(key);
                    self.registration = next;
                }
            }
            Event::OfferPickup => {
                let pickup = Pickup { token: digest(self.draw()), expires_at: now + SignedDuration::from_mins(2) };
                if let Ok(next) = before.offer_pickup(pickup, now) {
                    self.registration = next;
                }
            }
            Event::EndRedelivery => self.registration = before.end_redelivery(),
            Event::Slow => self.registration = before.slowed(),
            Event::Sweep => match before.sweep(now) {
                Some(next) => {
                    assert!(next.due_at() > now, "a swept registration is not due again at once");
                    self.registration = next;
                }
                None => return false,
            },
            Event::Poll => {}
        }
        true
    }

    fn check(&mut self) {
        assert!(self.keys.len() <= 1, "two keys");
        match &self.registration {
            Registration::Approved { request, approval, .. } | Registration::Delivered { request, approval, .. } => {
                assert!(approval.scopes.is_subset(&request.scopes), "granted what was not asked for");
            }
            Registration::Pending { interval, .. } => assert!((5..=60).contains(interval)),
            Registration::Denied { .. } => assert!(self.keys.is_empty(), "a key, and denied"),
            Registration::Expired { .. } => assert!(self.keys.is_empty(), "a key, and expired"),
        }
        let answer = self.answer();
        if let Poll::Again { key, .. } = &answer {
            assert_eq!(Some(key), self.keys.first(), "another key than was delivered");
        }
        let terminal = |poll: &Poll| matches!(poll, Poll::Denied | Poll::Spent | Poll::Expired(NextStep::Register));
        if let Some(last) = self.last_answer.take().filter(terminal) {
            assert_eq!(last, answer, "a terminal answer changed");
        }
        self.last_answer = Some(answer);
    }
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn no_order_of_events_gives_a_second_key_or_one_after_a_denial(challenge: bool, events in prop::collection::vec(event(), 1..40)) {
        let mut watched = Watched::new(challenge);
        for event in &events {
            if !watched.happens(event) {
                break;
            }
            watched.check();
        }
    }
}

#[test]
fn the_order_of_events_that_delivers_is_among_those_tried() {
    let mut watched = Watched::new(false);
    for event in [Event::Bind(0), Event::Approve(0, vec!["audience:read"]), Event::Deliver, Event::Deliver] {
        watched.happens(&event);
        watched.check();
    }
    assert_eq!(watched.keys.len(), 1);
}
