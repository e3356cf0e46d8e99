//! `/docs/api`: what the OpenAPI document says, to read. There is nothing here that the document does not have.

use crate::{
    http::openapi::{
        document::Document,
        sample::{alternative, resolved, sample},
        terms::{Call, Pages},
    },
    web::{
        failure::PageResult,
        guide::{
            frame::{Here, framed},
            welcome::welcome,
        },
        layout::Width,
        session::Visitor,
    },
};
use axum::Extension;
use maud::{Markup, html};
use serde_json::Value;

pub async fn show(visitor: Visitor, Extension(document): Extension<Document>) -> PageResult {
    let content = pages(&visitor, &document).reference.clone();
    Ok(visitor.page_around(Width::Guide, "API reference", content))
}

/// What is written of the document, made when somebody first asks.
pub fn pages<'a>(visitor: &Visitor, document: &'a Document) -> &'a Pages {
    let config = &visitor.app.context.config;
    document.pages(config, |document| {
        let reader = Reader { document, key_env: &config.api.key_env };
        let groups = reader.groups();
        Pages {
            start: welcome(&reader.list(&groups)).into_string().into(),
            reference: framed(Here::Api, &[], "", &reader.content(&groups)).into_string().into(),
            calls: groups.iter().flat_map(|(_, operations)| operations).map(Operation::call).collect(),
        }
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Text in which what stands between backticks is code.
fn prose(value: &Value) -> Markup {
    let parts = text(value).split('`').enumerate();
    html! { @for (i, part) in parts { @if i % 2 == 1 { code { (part) } } @else { (part) } } }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// One call.
struct Operation<'a> {
    method: String,
    path: &'a str,
    says: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        text(&self.says["operationId"])
    }

    fn title(&self) -> Markup {
        html! { code { b { (self.method) } " " (self.path) } }
    }

    fn call(&self) -> Call {
        let about = text(&self.says["summary"]).replace('`', "");
        Call { id: self.id().to_owned(), title: format!("{} {}", self.method, self.path), about }
    }
}

struct Reader<'a> {
    document: &'a Value,
    key_env: &'a str,
}

impl<'a> Reader<'a> {
    fn server(&self) -> &'a str {
        text(&self.document["servers"][0]["url"])
    }

    fn content(&self, groups: &[(&str, Vec<Operation<'a>>)]) -> Markup {
        html! {
            h1 { "API reference" }
            p.lead { (prose(&self.document["info"]["description"])) }
            p { "All addresses start with " code { (self.server()) } ". The same for programs: " a href="/openapi.json" { "openapi.json" } " (OpenAPI 3.1)." }
            @for (_, scheme) in members(&self.document["components"]["securitySchemes"]) { p { (prose(&scheme["description"])) } }
            nav.toc aria-label="Calls" {
                @for (tag, operations) in groups {
                    h2 { (tag) }
                    ul {
                        @for one in operations { li { a href={ "#" (one.id()) } { (one.title()) } " " span.hint { (prose(&one.says["summary"])) } } }
                    }
                }
            }
            @for (tag, operations) in groups {
                section.calls aria-label=(tag) {
                    h2 { (tag) }
                    @for one in operations { (self.operation(one)) }
                }
            }
        }
    }

    /// Every call in one line. Each has the id it has on the reference, so that an older link to `/docs#call` finds it.
    fn list(&self, groups: &[(&str, Vec<Operation<'a>>)]) -> Markup {
        html! {
            section.toc aria-label="Calls" {
                @for (tag, operations) in groups {
                    h2 { (tag) }
                    ul {
                        @for one in operations {
                            li id=(one.id()) { a href={ "/docs/api#" (one.id()) } { (one.title()) } " " span.hint { (prose(&one.says["summary"])) } }
                        }
                    }
                }
            }
        }
    }

    /// Calls by tag, in the order of the document's tags, as far as this deployment has some.
    fn groups(&self) -> Vec<(&'a str, Vec<Operation<'a>>)> {
        let operations = |tag: &str| -> Vec<_> {
            members(&self.document["paths"])
                .flat_map(|(path, item)| members(item).map(move |(method, says)| Operation { method: method.to_uppercase(), path, says }))
                .filter(|one| one.says["tags"][0] == tag)
                .collect()
        };
        items(&self.document["tags"])
            .iter()
            .map(|tag| text(&tag["name"]))
            .map(|tag| (tag, operations(tag)))
            .filter(|(_, calls)| !calls.is_empty())
            .collect()
    }

    fn operation(&self, one: &Operation<'a>) -> Markup {
        let responses: Vec<_> = members(&one.says["responses"]).collect();
        html! {
            article.panel id=(one.id()) {
                h3 { (one.title()) }
                p { (prose(&one.says["summary"])) ". " (self.key_needed(one)) }
                @if !items(&one.says["parameters"]).is_empty() {
                    h4 { "Parameters" }
                    ul.fields {
                        @for parameter in items(&one.says["parameters"]) {
                            (self.field(text(&parameter["name"]), &parameter["schema"], parameter["required"] == true, text(&parameter["in"])))
                        }
                    }
                }
                @if let Some((kinds, media)) = body(one) {
                    h4 { "Body" }
                    p.hint { (kinds) }
                    (self.fields(&media["schema"]))
                }
                h4 { "Example" }
                pre.copy tabindex="0" { code { (self.curl(one)) } }
                h4 { "Answers" }
                @for (status, response) in responses { (self.response(status, response)) }
            }
        }
    }

    fn key_needed(&self, one: &Operation) -> Markup {
        let requirements = items(&one.says["security"]);
        let scopes: Vec<&str> = requirements.iter().flat_map(|one| items(&one["bearer"])).map(text).collect();
        html! {
            @if requirements.is_empty() { "Needs no key." }
            @else if requirements.iter().any(|one| members(one).next().is_none()) { "A key may be sent and need not." }
            @else if scopes.is_empty() { "Needs a key." }
            @else { "Needs a key with " @for scope in scopes { code { (scope) } } "." }
        }
    }

    /// A shell line that makes the call.
    fn curl(&self, one: &Operation) -> String {
        let mut path = one.path.to_owned();
        for parameter in items(&one.says["parameters"]).iter().filter(|parameter| parameter["in"] == "path") {
            path = path.replace(&format!("{{{}}}", text(&parameter["name"])), text(&sample(self.document, &parameter["schema"])));
        }
        let mut line = format!("curl {}{path}", self.server());
        if one.method != "GET" && !(one.method == "POST" && body(one).is_some()) {
            line.push_str(&format!(" -X {}", one.method));
        }
        if items(&one.says["security"]).first().is_some_and(|first| first.get("bearer").is_some()) {
            line.push_str(&format!(" \\\n  -H \"Authorization: Bearer ${}\"", self.key_env));
        }
        if let Some((_, media)) = body(one) {
            line.push_str(&format!(" \\\n  -H 'Content-Type: application/json' \\\n  -d '{}'", pretty(&media["example"])));
        }
        line
    }

    fn response(&self, status: &str, response: &'a Value) -> Markup {
        let media = members(&response["content"]).next();
        let examples: Vec<_> = media.into_iter().flat_map(|(_, media)| members(&media["examples"])).collect();
        html! {
            details.answer open[status.starts_with('2')] {
                summary {
                    b { (status) } " " (text(&response["description"]))
                    @for (code, _) in &examples { " " code { (code) } }
                }
                @if let Some((kind, media)) = media {
                    p.hint { (kind) }
                    @if let Some(example) = media.get("example") {
                        (self.fields(&media["schema"]))
                        pre.copy tabindex="0" { code { (pretty(example)) } }
                    }
                    @for (_, example) in &examples { pre.copy tabindex="0" { code { (pretty(&example["value"])) } } }
                }
            }
        }
    }

    /// An object's members, those of the objects in it too.
    fn fields(&self, schema: &'a Value) -> Markup {
        let mut found = Vec::new();
        self.collect("", schema, &mut found);
        html! {
            @if !found.is_empty() {
                ul.fields { @for (name, schema, required) in found { (self.field(&name, schema, required, "")) } }
            }
        }
    }

    fn collect(&self, within: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value, bool)>) {
        let schema = resolved(self.document, alternative(schema).unwrap_or(schema));
        if schema["type"] == "array" {
            return self.collect(&format!("{}[].", within.trim_end_matches('.')), &schema["items"], found);
        }
        for (name, property) in members(&schema["properties"]) {
            let path = format!("{within}{name}");
            found.push((path.clone(), property, schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name))));
            self.collect(&format!("{path}."), property, found);
        }
    }

    fn field(&self, name: &str, schema: &Value, required: bool, place: &str) -> Markup {
        let says = schema.get("description").or_else(|| resolved(self.document, schema).get("description"));
        html! {
            li {
                code { (name) } " "
                span.hint { (self.kind(schema)) @if !place.is_empty() { ", in the " (place) } @if required { ", required" } }
                @if let Some(says) = says { p { (prose(says)) } }
            }
        }
    }

    /// What values a schema takes, in words.
    fn kind(&self, schema: &Value) -> String {
        let schema = resolved(self.document, schema);
        if let Some(constant) = schema.get("const") {
            return constant.to_string();
        }
        if let Some(values) = schema["enum"].as_array() {
            return values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        }
        if let Some(several) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
            return several.iter().map(|one| self.kind(one)).collect::<Vec<_>>().join(" or ");
        }
        if schema["type"] == "array" {
            return format!("list of {}", self.kind(&schema["items"]));
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            several => items(several).iter().map(text).collect(),
        };
        let mut words = types.join(" or ");
        if schema["format"] == "date-time" {
            words = words.replace("string", "time");
        }
        if let (Some(from), Some(to)) = (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
            words.push_str(&format!(", {from} to {to}"));
        }
        words
    }
}

/// The media types a call takes, and the first of them.
fn body<'a>(one: &Operation<'a>) -> Option<(String, &'a Value)> {
    let content = one.says["requestBody"]["content"].as_object()?;
    let kinds = content.keys().map(String::as_str).collect::<Vec<_>>().join(" or ");
    content.values().next().map(|media| (kinds, media))
}
