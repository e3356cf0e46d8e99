//! The guide: Markdown files compiled in, so that every copy of the program brings the manual of its own version.
//! Servers show it at `/docs`, `countersign docs TOPIC` prints it, and on GitHub the files are read as they are.

/// One page.
#[derive(Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name in addresses and on the command line, and of its file.
    pub name: &'static str,
    /// What one finds there, in one line.
    pub about: &'static str,
    /// The file as it is; its first line is the page's title.
    pub markdown: &'static str,
}

impl Topic {
    /// The title: the first line, without its mark.
    pub fn title(&self) -> &'static str {
        self.markdown.lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

macro_rules! topics {
    ($($name:literal: $about:literal,)*) => {
        /// All pages, in the order to read them.
        pub const TOPICS: &[Topic] = &[$(Topic { name: $name, about: $about, markdown: include_str!(concat!("guide/", $name, ".md")) }),*];
    };
}

topics! {
    "concepts": "What the words mean, and how a key is asked for, approved and delivered",
    "operating": "Installing, running as a service, proxies, your own users, upgrades",
    "configuration": "Every setting: its default and what it does",
    "command-line": "Every command, exit codes, how stored keys are used",
    "http": "Every call, errors, verification, retries, rotation, forward-auth",
    "mcp": "Connecting clients, the five tools, where an agent's key is kept",
    "security-model": "What is protected, how, and what is not",
    "limits": "What one client may take, and the arithmetic of guessing codes",
    "durability-and-backup": "What survives a crash, backup, restore, rotating the server secret",
    "performance": "Measurements, beside a bare server that does the least there is to do",
    "conformance-and-divergences": "The standards this follows, and where it departs from them",
    "troubleshooting": "Symptoms, causes and what to do",
    "contributing": "The repository, its tests and its rules",
    "changelog": "What changed",
}

macro_rules! samples {
    ($($name:literal,)*) => {
        /// Files of the repository that pages link to, by their names; served and linked as plain text.
        pub const SAMPLES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../tests/clients/", $name)))),*];
    };
}

samples! {
    "nginx.conf",
    "caddy.Caddyfile",
    "traefik.yaml",
    "envoy.yaml",
}

/// The page of that name.
pub fn topic(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// The first page whose name holds a word: `backup` is in `durability-and-backup`.
pub fn topic_with(word: &str) -> Option<&'static Topic> {
    let word = word.trim().to_ascii_lowercase();
    TOPICS.iter().find(|topic| word.len() > 2 && topic.name.contains(&word))
}
