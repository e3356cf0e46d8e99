//! The known name that was meant by one that is not known.

/// What other products call a thing, in lower case and without separators, and what it is called here. Where spelling
/// says another thing than sense, sense is right.
const MEANINGS: [(&[&str], &[&str]); 9] = [
    (
        &["scope", "scopes"],
        &[
            "scp",
            "scps",
            "permission",
            "permissions",
            "perms",
            "requiredscope",
            "requiredscopes",
            "requiredpermissions",
            "role",
            "roles",
            "ability",
            "abilities",
            "privileges",
            "rights",
            "claims",
            "authorities",
            "grants",
            "authorization",
        ],
    ),
    (&["environment"], &["env", "envs", "environments", "mode", "stage", "livemode", "testmode", "sandbox"]),
    (&["cost"], &["credits", "credit", "weight", "amount", "units", "tokens", "remaining", "quantity", "usage", "points"]),
    (&["key", "token"], &["apikey", "secret", "secretkey", "token", "accesstoken", "credential", "bearer", "value"]),
    (&["expires_in"], &["expires", "expiry", "expiration", "expiresat", "expiresafter", "exp", "ttl", "lifetime", "validfor", "duration"]),
    (
        &["requests_per_minute"],
        &["ratelimit", "ratelimits", "limit", "limits", "rpm", "quota", "ratelimitperminute", "requestsperminute", "maxrequests"],
    ),
    (&["disabled"], &["enabled", "active", "isactive", "isenabled", "suspended", "paused", "revoked", "deleted"]),
    (&["grace_seconds"], &["grace", "graceperiod", "overlap", "expireoldin", "keepold", "oldexpiresin", "gracems"]),
    (&["agent_name", "name"], &["clientname", "agent", "label", "title", "displayname", "description", "name"]),
];

/// The name among `known` that another product's name stands for, or else is written most like it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    let plain = |name: &str| name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).collect::<String>().to_lowercase();
    let asked = plain(name);
    let same = known.iter().find(|known| plain(known) == asked);
    let meant = || {
        let ours = MEANINGS.iter().filter(|(_, theirs)| theirs.contains(&asked.as_str())).flat_map(|(ours, _)| *ours);
        ours.filter_map(|ours| known.iter().find(|known| *known == ours)).next()
    };
    let written = || known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    same.or_else(meant).or_else(written).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sense_goes_before_spelling() {
        let verify = ["key", "scope", "environment", "cost"];
        for (name, meant) in [
            ("Scope", "scope"),
            ("scopes", "scope"),
            ("permissions", "scope"),
            ("requiredScopes", "scope"),
            ("required_scopes", "scope"),
            ("scpe", "scope"),
            ("env", "environment"),
            ("environments", "environment"),
            ("enviroment", "environment"),
            ("credits", "cost"),
            ("apiKey", "key"),
            ("kye", "key"),
            ("COST", "cost"),
        ] {
            assert_eq!(nearest(name, verify), Some(meant), "{name}");
        }
        assert_eq!(nearest("expiresAt", ["name", "scopes", "expires_in"]), Some("expires_in"));
        assert_eq!(nearest("label", ["name", "scopes"]), Some("name"));
        assert_eq!(nearest("anything", []), None);
    }
}
