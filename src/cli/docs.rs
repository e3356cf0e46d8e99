//! `docs`: the guide, as it is compiled in.

use crate::{
    cli::{failure::CommandResult, print},
    domain::nearest::nearest,
    guide::{TOPICS, Topic, topic, topic_with},
};
use clap::{
    Arg, Args,
    builder::{PossibleValue, TypedValueParser},
    error::ErrorKind,
};
use serde_json::{Value, json};
use std::ffi::OsStr;

#[derive(Args)]
pub struct Docs {
    /// The page to print, as Markdown [default: a list of all]
    #[arg(value_parser = ATopic)]
    topic: Option<&'static Topic>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Docs {
    pub fn run(&self) -> CommandResult {
        match (self.topic, self.json) {
            (None, true) => print::json(&TOPICS.iter().map(described).collect::<Vec<_>>())?,
            (None, false) => {
                let rows: Vec<_> = TOPICS.iter().map(|topic| vec![topic.name.to_owned(), topic.about.to_owned()]).collect();
                print::table(&["TOPIC", "ABOUT"], &rows)?;
            }
            (Some(topic), true) => {
                let mut page = described(topic);
                page["markdown"] = topic.markdown.into();
                print::json(&page)?;
            }
            (Some(topic), false) => print::text(topic.markdown)?,
        }
        Ok(0)
    }
}

fn described(topic: &Topic) -> Value {
    json!({"topic": topic.name, "title": topic.title(), "about": topic.about})
}

/// Takes the name of a page; shells complete it.
#[derive(Clone)]
struct ATopic;

impl TypedValueParser for ATopic {
    type Value = &'static Topic;

    fn parse_ref(&self, command: &clap::Command, _: Option<&Arg>, value: &OsStr) -> Result<Self::Value, clap::Error> {
        let name = value.to_string_lossy();
        topic(&name).ok_or_else(|| {
            let meant = topic_with(&name).map(|topic| topic.name).or_else(|| nearest(&name, TOPICS.iter().map(|topic| topic.name)));
            let shown = print::escaped(&name, &[]);
            let said = format!("there is no page `{shown}`; did you mean `{}`? `countersign docs` lists all", meant.unwrap_or_default());
            command.clone().error(ErrorKind::InvalidValue, said)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(TOPICS.iter().map(|topic| PossibleValue::new(topic.name).help(topic.about))))
    }
}
