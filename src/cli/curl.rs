//! `curl`: the real curl, with a stored key that reaches it through stdin and may go to one origin only.
//!
//! Only options known not to move the key elsewhere are passed on. A list of forbidden ones would miss the next
//! release's, and one can't tell an option's value from a URL without knowing the option.

use crate::{
    cli::{
        exec::exit_code,
        failure::{CommandResult, Failure},
        mask::masked,
        print,
        settings::{Global, Settings},
        stored_keys::{Stored, Wanted, no_key},
    },
    domain::id::KeyId,
    local_keys::keys::StoredKey,
};
use clap::Args;
use std::{io::IsTerminal, process::Stdio};
use tokio::io::AsyncWriteExt;
use zeroize::Zeroizing;

#[derive(Args)]
pub struct Curl {
    /// Use this stored key [default: the one stored last, where one client alone has keys]
    #[arg(long, value_name = "ID")]
    key: Option<KeyId>,
    /// Use only keys of this profile
    #[arg(long)]
    profile: Option<String>,
    /// curl's own arguments; the URL may be a path, such as /v1/projects
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Options without a value that are passed on.
const FLAGS: [&str; 28] = [
    "compressed",
    "create-dirs",
    "disable-epsv",
    "fail",
    "fail-early",
    "fail-with-body",
    "get",
    "globoff",
    "head",
    "http1.1",
    "http2",
    "include",
    "ipv4",
    "ipv6",
    "location",
    "no-buffer",
    "no-progress-meter",
    "parallel",
    "path-as-is",
    "progress-bar",
    "raw",
    "remote-header-name",
    "remote-name",
    "retry-all-errors",
    "retry-connrefused",
    "show-error",
    "show-headers",
    "silent",
];

/// Options with a value that are passed on.
const VALUED: [&str; 32] = [
    "connect-timeout",
    "continue-at",
    "cookie",
    "cookie-jar",
    "data",
    "data-ascii",
    "data-binary",
    "data-raw",
    "data-urlencode",
    "dump-header",
    "form",
    "form-string",
    "header",
    "json",
    "limit-rate",
    "max-filesize",
    "max-redirs",
    "max-time",
    "output",
    "output-dir",
    "range",
    "referer",
    "request",
    "retry",
    "retry-delay",
    "retry-max-time",
    "speed-limit",
    "speed-time",
    "upload-file",
    "url-query",
    "user-agent",
    "write-out",
];

const SHORT_FLAGS: &str = "sSfiILGOJN#46gZ";
const SHORT_VALUED: &str = "dHXomAFerTCDbcwyY";

/// curl's exit code when nobody listens.
const COULD_NOT_CONNECT: u8 = 7;

/// Why an option is not passed on.
fn refusal(option: &str) -> String {
    let why = match option {
        "K" | "config" => "stdin already carries the key to curl, and a second configuration could send it anywhere",
        "url" | "next" | ":" => "give one URL as an argument, so that its origin can be checked",
        "x" | "proxy" | "preproxy" | "socks4" | "socks4a" | "socks5" | "socks5-hostname" | "proxy-header" | "U" | "proxy-user" => {
            "a proxy could read the key"
        }
        "connect-to" | "resolve" | "unix-socket" | "abstract-unix-socket" | "doh-url" | "dns-servers" | "interface" => {
            "the key would go to another machine than the URL says"
        }
        "location-trusted" => "a redirect would take the key to another host; -L follows without it",
        "v" | "verbose" | "trace" | "trace-ascii" | "trace-config" | "libcurl" | "stderr" => {
            "it would print the key; -i shows the response's headers"
        }
        "k" | "insecure" => "anybody on the way could read the key",
        "u" | "user" | "oauth2-bearer" | "n" | "netrc" => "the stored key is the credential here",
        _ => "only options known to keep the key where it belongs are passed on",
    };
    let dashes = if option.chars().count() == 1 { "-" } else { "--" };
    format!("{dashes}{option} is not passed to curl: {why}")
}

impl Curl {
    pub async fn run(self, global: &Global) -> CommandResult {
        let Settings { config, data } = global.load(&[], false)?;
        let (args, urls) = sorted(&self.args).map_err(Failure::Usage)?;
        let stored = Stored::open(&data).await;
        let origin = urls.iter().find(|url| url.contains("://")).and_then(|url| url::Url::parse(url).ok());
        let origin = origin.map(|url| url.origin().ascii_serialization());
        let wanted = Wanted { id: self.key, profile: self.profile.as_deref(), url: origin.as_deref() };
        let issued = stored.chosen(&wanted, &config.public_url)?;
        if !stored.works(&issued).await? {
            return Err(no_key(&issued.origin));
        }
        let credential = stored.placed(issued.clone())?;
        let targets = urls.iter().map(|url| target(url, &issued, &credential)).collect::<Result<Vec<_>, _>>()?;

        // `-q` first: a ~/.curlrc must not add a proxy, a trace or a second URL.
        let mut child = tokio::process::Command::new("curl")
            .args(["-q", "--config", "-"])
            .args(&args)
            .args(&targets)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::failed(format!("can't run curl: {error}; is it installed?")))?;
        // A redirect may not leave the web; a request in the clear stays off the environment's proxies.
        let mut lines = Zeroizing::new(String::with_capacity(512));
        lines.push_str("proto = \"=http,https\"\nproto-redir = \"=http,https\"\n");
        if targets.iter().any(|url| url.starts_with("http:")) {
            lines.push_str("noproxy = \"*\"\n");
        }
        // Between curl and a terminal stands a pipe: it is to behave as if it did not.
        if std::io::stdout().is_terminal() {
            lines.push_str("no-buffer\n");
            if !writes_a_file(&args) {
                lines.push_str("no-progress-meter\n");
            }
        }
        lines.push_str("oauth2-bearer = \"");
        lines.push_str(credential.key.expose());
        lines.push_str("\"\n");
        // An API may echo what it was sent, in a body, a header or an error.
        let output = masked(&mut child, &credential);
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(lines.as_bytes()).await?;
        }
        let code = exit_code(child.wait().await?);
        let _ = output.await;
        if code == COULD_NOT_CONNECT {
            print::note(&format!(
                "countersign: nothing answers at {}; on this computer, start it with `countersign`",
                credential.api_origin
            ));
        }
        Ok(code)
    }
}

/// Whether curl writes what it receives into a file itself, and so shows how far it got.
fn writes_a_file(args: &[String]) -> bool {
    let short = |arg: &String| arg.starts_with('-') && !arg.starts_with("--") && arg.contains(['o', 'O']);
    args.iter().any(|arg| short(arg) || ["--output", "--remote-name"].contains(&arg.as_str()))
}

/// The URL to ask: a path at the key's own service, or a URL whose origin is literally the key's; or was, when `issued`.
fn target(url: &str, issued: &StoredKey, key: &StoredKey) -> Result<String, Failure> {
    if url.starts_with('/') && !url.starts_with("//") {
        return Ok(format!("{}{url}", key.api_origin.trim_end_matches('/')));
    }
    let places = [
        (&key.origin, &key.origin),
        (&key.api_origin, &key.api_origin),
        (&issued.origin, &key.origin),
        (&issued.api_origin, &key.api_origin),
    ];
    for (known, now) in places {
        // Compared as text, so that no two parsers can read the host differently.
        let rest = url.strip_prefix(known.trim_end_matches('/')).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
        let Some(rest) = rest else { continue };
        if known != now {
            print::note(&format!("countersign: {known} is at {now} now"));
        }
        return Ok(format!("{}{rest}", now.trim_end_matches('/')));
    }
    let both = if key.origin == key.api_origin { key.origin.clone() } else { format!("{} or {}", key.origin, key.api_origin) };
    Err(Failure::NotAllowed(format!("{url} is not at {both}: {}… goes only to the origin it was issued for", key.prefix)))
}

/// Tells options and their values from URLs; refuses what is not known to be safe.
fn sorted(args: &[String]) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut passed, mut urls) = (Vec::new(), Vec::new());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if let Some(name) = arg.strip_prefix("--") {
            if !FLAGS.contains(&name) && !VALUED.contains(&name) {
                return Err(refusal(name));
            }
            passed.push(arg.clone());
            if VALUED.contains(&name) {
                passed.push(value(name, rest.next())?);
            }
        } else if arg.len() > 1 && arg.starts_with('-') {
            let letters = &arg[1..];
            passed.push(arg.clone());
            for (at, letter) in letters.char_indices() {
                if SHORT_FLAGS.contains(letter) {
                    continue;
                }
                if !SHORT_VALUED.contains(letter) {
                    return Err(refusal(&letter.to_string()));
                }
                let glued = &letters[at + letter.len_utf8()..];
                if glued.is_empty() {
                    passed.push(value(&letter.to_string(), rest.next())?);
                } else {
                    value(&letter.to_string(), Some(&glued.to_owned()))?;
                }
                break;
            }
        } else {
            urls.push(arg.clone());
        }
    }
    if urls.is_empty() {
        return Err("there is no URL: give a path, such as /v1/projects, or a URL of the key's service".to_owned());
    }
    Ok((passed, urls))
}

fn value(option: &str, value: Option<&String>) -> Result<String, String> {
    let value = value.ok_or_else(|| format!("the option {option} needs a value"))?;
    let reads_stdin = match option {
        "T" | "upload-file" => value == "-" || value == ".",
        "d" | "data" | "data-ascii" | "data-binary" | "json" | "H" | "header" | "w" | "write-out" => value == "@-",
        "data-urlencode" | "F" | "form" | "url-query" => value.ends_with("@-") || value.ends_with("<-"),
        _ => false,
    };
    if reads_stdin {
        return Err("stdin carries the key to curl: put the body into a file and name that, as in -d @FILE".to_owned());
    }
    Ok(value.clone())
}
