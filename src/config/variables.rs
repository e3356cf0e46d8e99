//! Variables of the environment that start like ours: settings, Kubernetes' own, and what somebody else meant by them.

use crate::domain::nearest::nearest;

/// What the variables of all settings begin with.
pub const PREFIX: &str = "COUNTERSIGN_";

/// `COUNTERSIGN_…` variables that are no settings.
const NOT_SETTINGS: [&str; 5] = ["API_KEY", "CONFIG", "DATA", "LOG", "SERVER"];

/// What a variable is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Meant {
    /// A setting, or what was meant to be one, by its dotted path.
    Setting(String),
    /// A file that holds a setting.
    FileOf(String),
    /// Nothing of ours: another program's.
    Others,
    /// Nothing we know, and nothing like a setting.
    Unknown,
}

/// `None`: it does not start like ours.
pub fn meant(name: &str, value: &str, known: &[&str]) -> Option<Meant> {
    let rest = name.strip_prefix(PREFIX)?;
    if NOT_SETTINGS.contains(&rest) || is_of_kubernetes(rest, value) {
        return Some(Meant::Others);
    }
    let path = rest.to_ascii_lowercase().replace("__", ".");
    let is_ours = |path: &str| {
        let first = path.split('.').next().unwrap_or_default();
        let below = path != first && known.iter().any(|known| known.split('.').next() == Some(first));
        known.contains(&path) || below || is_near(path, known)
    };
    if known.contains(&path.as_str()) {
        return Some(Meant::Setting(path));
    }
    Some(match path.strip_suffix("_file") {
        Some(path) if is_ours(path) => Meant::FileOf(path.to_owned()),
        _ if is_ours(&path) || known.iter().any(|known| known.split('.').next() == Some(path.as_str())) => Meant::Setting(path),
        _ => Meant::Unknown,
    })
}

/// A slip of the pen away: two letters of a longer name, one of a short one.
fn is_near(path: &str, known: &[&str]) -> bool {
    let slips = |known: &str| strsim::damerau_levenshtein(known, path);
    nearest(path, known.iter().copied()).is_some_and(|known| slips(known) <= 2 && slips(known) * 3 <= path.len())
}

/// What Kubernetes gives every container for each Service of its namespace, ours among them if it is called `countersign` or
/// `countersign-…`: `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_SERVICE_PORT_<NAME>`, and as Docker's links were `…_PORT` and
/// `…_PORT_<n>_<PROTOCOL>` with `_PROTO`, `_PORT`, `_ADDR`.
fn is_of_kubernetes(rest: &str, value: &str) -> bool {
    let named = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let below_service =
        |shape: &str| rest == shape || rest.strip_suffix(shape).is_some_and(|service| service.ends_with('_') && named(service));
    let port_of = |tail: &str| {
        let (number, protocol) = tail.split_once('_').unwrap_or((tail, ""));
        let protocol = protocol.split_once('_').map_or((protocol, None), |(protocol, what)| (protocol, Some(what)));
        number.parse::<u16>().is_ok()
            && ["TCP", "UDP", "SCTP"].contains(&protocol.0)
            && protocol.1.is_none_or(|what| ["PROTO", "PORT", "ADDR"].contains(&what))
    };
    let after = |mark: &str| {
        let parts = rest.match_indices(mark).filter(|(at, _)| *at == 0 || rest.as_bytes()[at - 1] == b'_');
        parts.map(|(at, _)| &rest[at + mark.len()..]).collect::<Vec<_>>()
    };
    below_service("SERVICE_HOST")
        || below_service("SERVICE_PORT")
        || after("SERVICE_PORT_").into_iter().any(named)
        // A number alone was meant by somebody.
        || (below_service("PORT") && value.contains("://"))
        || after("PORT_").into_iter().any(port_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 7] = ["service_name", "listen", "hosts", "public_url", "claim.interval", "secret_file", "sessions.publishable_key"];

    #[test]
    fn f32_what_kubernetes_gives_every_container_is_left_alone() {
        for (name, value) in [
            ("SERVICE_HOST", "10.96.1.7"),
            ("SERVICE_PORT", "4080"),
            ("SERVICE_PORT_HTTP", "4080"),
            ("SERVICE_PORT_HTTP_2", "4080"),
            ("PORT", "tcp://10.96.1.7:4080"),
            ("PORT_4080_TCP", "tcp://10.96.1.7:4080"),
            ("PORT_4080_TCP_PROTO", "tcp"),
            ("PORT_53_UDP_PORT", "53"),
            ("PORT_4080_TCP_ADDR", "fd00::7"),
            ("WEB_SERVICE_HOST", "10.96.1.7"),
            ("WEB_SERVICE_PORT_HTTPS", "443"),
            ("WEB_PORT", "tcp://10.96.1.8:443"),
            ("WEB_2_PORT_443_TCP_ADDR", "10.96.1.8"),
        ] {
            assert_eq!(meant(&format!("{PREFIX}{name}"), value, &KNOWN), Some(Meant::Others), "{name}");
            assert!(!is_of_kubernetes("SERVICE_NAME", value) && !is_of_kubernetes("LISTEN", value));
        }
    }

    #[test]
    fn f32_only_what_is_like_a_setting_is_one() {
        let meant = |name: &str| meant(&format!("{PREFIX}{name}"), "8080", &KNOWN).unwrap();
        for name in ["VERSION", "HOME", "URL", "BIN", "PORT", "PORT_HTTP", "PORT_4080_TCP_X", "IMAGE", "NAMESPACE", "ENV_FILE", "LOG_FILE"]
        {
            assert_eq!(meant(name), Meant::Unknown, "{name}");
        }
        for (name, path) in [
            ("SERVCE_NAME", "servce_name"),
            ("PUBLIC_URI", "public_uri"),
            ("HOST", "host"),
            ("CLAIM_INTERVAL", "claim_interval"),
            ("CLAIM__INTERVALL", "claim.intervall"),
            ("CLAIM__WHATEVER", "claim.whatever"),
            ("CLAIM", "claim"),
            ("SECRET_FILE", "secret_file"),
        ] {
            assert_eq!(meant(name), Meant::Setting(path.to_owned()), "{name}");
        }
        assert_eq!(meant("SESSIONS__PUBLISHABLE_KEY_FILE"), Meant::FileOf("sessions.publishable_key".to_owned()));
        assert_eq!(meant("PUBLIC_URI_FILE"), Meant::FileOf("public_uri".to_owned()));
    }
}
