//! One entry of a client's file, in whichever layout, with its variables replaced.

use crate::{
    cli::{
        clients::Client,
        mcp_config::variables::{Expanded, Place},
    },
    domain::{
        pasted::{self, Said},
        place::{self, NoPath},
    },
};
use serde_json::{Map, Value};
use std::path::Path;

/// What was found, and what to do about it.
pub type Wrong = (String, &'static str);

pub struct Entry<'a> {
    place: &'a Place,
    written: &'a Value,
}

pub enum Start {
    Program {
        command: String,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        folder: Option<String>,
    },
    /// `shown`: as it stands in the file, where a variable may be a secret.
    Server {
        url: String,
        shown: String,
        sse: bool,
        headers: Vec<(String, String)>,
        left_out: Vec<String>,
    },
}

const VARIABLE: &str = "set it where the client is started, too, or write what it stands for";

impl<'a> Entry<'a> {
    pub fn new(place: &'a Place, written: &'a Value) -> Self {
        Self { place, written }
    }

    /// The command and its arguments as they stand there: side by side, in one list (opencode), in one object (Zed, once).
    fn words(&self) -> (Option<&'a str>, Option<Vec<&'a str>>) {
        fn texts(value: &Value) -> Option<Vec<&str>> {
            value.as_array()?.iter().map(Value::as_str).collect()
        }
        match &self.written["command"] {
            Value::Array(_) => {
                let words = texts(&self.written["command"]).unwrap_or_default();
                (words.first().copied(), words.get(1..).map(<[_]>::to_vec))
            }
            command @ Value::Object(_) => (command["path"].as_str(), texts(&command["args"])),
            command => (command.as_str(), texts(&self.written["args"])),
        }
    }

    fn tables(&self, names: &[&str]) -> impl Iterator<Item = (&'a String, &'a str)> {
        let own = names.iter().map(|name| &self.written[*name]).collect::<Vec<_>>();
        let inner = names.iter().map(|name| &self.written["command"][*name]).collect::<Vec<_>>();
        let all = own.into_iter().chain(inner).filter_map(Value::as_object).flat_map(Map::iter);
        all.filter_map(|(name, value)| Some((name, value.as_str()?)))
    }

    fn address(&self) -> Option<(&'static str, &'a str)> {
        Client::addresses(self.place.owner).iter().find_map(|name| Some((*name, self.written[*name].as_str()?)))
    }

    pub fn is_ours(&self, name: &str) -> bool {
        let command = self.words().0.map(|command| self.place.expand(command).text);
        let stem = command.as_deref().and_then(|command| Path::new(command).file_stem());
        name.starts_with("countersign") || stem.is_some_and(|stem| stem == "countersign")
    }

    /// Whether a client would open it as an event stream (MCP 2024-11-05).
    pub fn is_sse(&self) -> bool {
        let kind = &self.written["type"];
        *kind == "sse" || (kind.is_null() && self.address().is_some_and(|(name, url)| name == "url" && url.ends_with("/sse")))
    }

    /// What carries a key, by its name.
    fn carried(&self) -> impl Iterator<Item = (&'a String, &'a str)> {
        let carries = |name: &str| ["authorization", "x-api-key", "countersign_api_key"].contains(&name.to_ascii_lowercase().as_str());
        self.tables(&["headers", "http_headers", "env", "environment"]).filter(move |(name, _)| carries(name))
    }

    /// Whether a key stands where a variable should: in what carries one, or, by its looks, anywhere.
    pub fn has_key(&self) -> bool {
        let whole = self.written.to_string();
        let is_key = |value: &str| matches!(pasted::said(&self.place.expand(value).literal), Said::Token(_));
        self.carried().any(|(_, value)| is_key(value)) || ["cs_live_", "cs_test_"].iter().any(|head| whole.contains(head))
    }

    /// What should carry a key and holds a word for nothing.
    pub fn unfilled(&self) -> Option<&'a String> {
        let unfilled = |value: &str| pasted::said(value) == Said::Nothing && !pasted::bare(value).is_empty();
        self.carried().find(|(_, value)| unfilled(value)).map(|(name, _)| name)
    }

    /// What the client would do with it.
    pub fn start(&self) -> Result<Start, Wrong> {
        let (command, arguments) = self.words();
        match (command, self.address()) {
            (Some(command), None) => self.program(command, arguments),
            (None, Some((_, url))) => self.server(url),
            _ => {
                let names = Client::addresses(self.place.owner).join(" or ");
                Err((format!("it has neither a command nor a {names}, or both"), "see `countersign connect`"))
            }
        }
    }

    fn program(&self, command: &str, arguments: Option<Vec<&str>>) -> Result<Start, Wrong> {
        let command = self.known(command)?;
        if !Path::new(&command).is_absolute() {
            return Err((format!("{command} is no absolute path"), "write the absolute path: a client's PATH is not your shell's"));
        }
        if !Path::new(&command).exists() {
            let todo = "install it there, or write the path it has (`command -v countersign`)";
            return Err((format!("there is no such program as {command}"), todo));
        }
        let arguments = arguments.filter(|words| words.contains(&"mcp"));
        let arguments = arguments.ok_or(("its args don't say \"mcp\"".to_owned(), "see `countersign connect`"))?;
        let arguments = arguments.into_iter().map(|word| self.known(word)).collect::<Result<_, _>>()?;
        let mut environment = self
            .tables(&["env", "environment"])
            .map(|(name, value)| Ok((name.clone(), self.whole(value)?)))
            .collect::<Result<Vec<_>, Wrong>>()?;
        // Codex hands on what is named here.
        let handed_on = self.written["env_vars"].as_array().into_iter().flatten().filter_map(Value::as_str);
        environment.extend(handed_on.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))));
        let folder = self.written["cwd"].as_str().map(|folder| self.known(folder)).transpose()?;
        Ok(Start::Program { command, arguments, environment, folder })
    }

    fn server(&self, written: &str) -> Result<Start, Wrong> {
        let url = self.known(written)?;
        let (mut headers, mut left_out) = (Vec::new(), Vec::new());
        for (name, value) in self.tables(&["headers", "http_headers"]) {
            let Expanded { text, missing, .. } = self.place.expand(value);
            if missing.is_empty() {
                headers.push((name.clone(), text));
            }
            left_out.extend(missing);
        }
        // Codex names variables.
        let bearer = self.written["bearer_token_env_var"].as_str().map(|name| ("authorization", "Bearer ", name));
        let named = self.tables(&["env_http_headers"]).map(|(header, name)| (header.as_str(), "", name));
        for (header, scheme, name) in bearer.into_iter().chain(named) {
            match std::env::var(name) {
                Ok(value) => headers.push((header.to_owned(), format!("{scheme}{value}"))),
                Err(_) => left_out.push(format!("the variable {name} is not set here")),
            }
        }
        Ok(Start::Server { url, shown: written.to_owned(), sse: self.is_sse(), headers, left_out })
    }

    /// A text whose variables are all known.
    fn whole(&self, written: &str) -> Result<String, Wrong> {
        let Expanded { text, missing, .. } = self.place.expand(written);
        match missing.first() {
            None => Ok(text),
            Some(missing) => Err((format!("{written} can't be checked: {missing}"), VARIABLE)),
        }
    }

    /// The same of a text that is used as it is: what is still a variable in it is one that nobody replaces.
    fn known(&self, written: &str) -> Result<String, Wrong> {
        let text = self.whole(written)?;
        if place::check(&text) == Err(NoPath::Variable) {
            let owner = self.place.owner.map_or("clients with such a file", Client::name);
            return Err((
                format!("{written} is handed on as it stands: {owner} would not replace the variable in it"),
                "write what it stands for",
            ));
        }
        Ok(text)
    }
}
