//! From a table of values to the shape of the file, noting every unknown key and every wrong type.

use std::collections::HashSet;

use serde_path_to_error::Segment;
use toml::Value;

use super::file::{self, Raw};
use super::layers::{self, Layers};
use super::problem::{Place, Problems};

/// What a list is called in a remedy.
const A_LIST: &str = "a list, [\"…\", \"…\"]";

/// The sections that stand in a file as often as wanted.
const REPEATED: &[&str] = &["rules", "providers", "tls.more"];

/// Reads the shape. What does not fit is noted and left out, and then the rest is read again, so
/// that one run finds everything.
pub(super) fn shape(layers: &mut Layers, problems: &mut Problems) -> Raw {
    let mut read_as_toml = HashSet::new();
    loop {
        whole_sections(&mut layers.table, ("", ""), problems);
        let mut unknown = Vec::new();
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(dotted(&path.to_string()));
        let values = serde_ignored::Deserializer::new(layers.table.clone(), &mut note);
        let error = match serde_path_to_error::deserialize(values) {
            Ok(raw) => {
                for key in unknown {
                    problems.add(key.as_str(), "is not a key that is known here", layers::meant(&key));
                }
                return raw;
            }
            Err(error) => error,
        };
        let segments: Vec<&Segment> = error.path().iter().collect();
        let key = segments.iter().fold(String::new(), |key, segment| match segment {
            Segment::Map { key: name } => layers::join(&key, name),
            Segment::Seq { index } => format!("{key}[{index}]"),
            Segment::Enum { .. } | Segment::Unknown => key,
        });
        let wanted = wanted(error.inner().message());
        let shown = describe(value_at(&layers.table, &segments), &key, problems);
        let from_variable = matches!(layers.places.of(&key), Some(Place::Variable(_)));
        let Some((holder, name)) = holder(&mut layers.table, &segments) else {
            problems.add(key, "cannot be read", "compare it with config.example.toml");
            return Raw::default();
        };
        // A variable is text until the shape asks for a number, a truth value or a list.
        match holder.get(&name) {
            Some(Value::String(text)) if from_variable && read_as_toml.insert(key.clone()) => {
                let value = value_of(text, wanted == A_LIST);
                holder.insert(name, value);
            }
            _ => {
                holder.remove(&name);
                problems.add(key, format!("{shown} does not fit"), format!("write {wanted}"));
            }
        }
    }
}

/// Takes out, and notes, what stands as a list where a section should: its values would be taken one after the other
/// for those of the keys, and no key would be unknown.
fn whole_sections(table: &mut toml::Table, (path, of): (&str, &str), problems: &mut Problems) {
    table.retain(|name, value| {
        // As it is called where it stands, and as it is known.
        let (path, section) = (layers::join(path, name), layers::join(of, name));
        let repeated = REPEATED.contains(&section.as_str());
        let mut lists = match value {
            _ if file::keys(&section).is_none() => return true,
            Value::Table(inner) => {
                whole_sections(inner, (&path, &section), problems);
                return true;
            }
            Value::Array(list) => list.iter_mut().enumerate(),
            _ => return true,
        };
        let (what, remedy) = if repeated {
            let whole = lists.all(|(i, each)| match each {
                Value::Table(inner) => {
                    whole_sections(inner, (&format!("{path}[{i}]"), &section), problems);
                    true
                }
                other => !other.is_array(),
            });
            if whole {
                return true;
            }
            ("holds a list", format!("write a section `[[{section}]]` for each"))
        } else {
            ("is a list", format!("write one section `[{section}]`"))
        };
        problems.add(path, what, remedy);
        false
    });
}

/// `rules.2.path` as `rules[2].path`.
fn dotted(path: &str) -> String {
    let mut out = String::new();
    for part in path.split('.') {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            out.push('[');
            out.push_str(part);
            out.push(']');
        } else {
            out = layers::join(&out, part);
        }
    }
    out
}

/// The innermost table on the way to a value, and the name in it that leads there. Removing that
/// name never moves the elements of a list, so that later problems keep their index.
fn holder<'a>(table: &'a mut toml::Table, path: &[&Segment]) -> Option<(&'a mut toml::Table, String)> {
    let at = path.iter().rposition(|s| matches!(s, Segment::Map { .. }))?;
    let Segment::Map { key } = path[at] else { return None };
    let mut table = table;
    let mut steps = path[..at].iter().peekable();
    while let Some(step) = steps.next() {
        let Segment::Map { key } = step else { return None };
        let mut value = table.get_mut(key)?;
        while let Some(Segment::Seq { index }) = steps.peek() {
            value = value.as_array_mut()?.get_mut(*index)?;
            steps.next();
        }
        table = value.as_table_mut()?;
    }
    table.contains_key(key).then(|| (table, key.clone()))
}

fn value_at<'a>(table: &'a toml::Table, path: &[&Segment]) -> Option<&'a Value> {
    let Some((Segment::Map { key }, rest)) = path.split_first() else { return None };
    rest.iter().try_fold(table.get(key)?, |value, step| match step {
        Segment::Map { key } => value.get(key),
        Segment::Seq { index } => value.get(index),
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}

/// A value for a problem. Secrets are text and asked for as text, so that text that does not fit
/// is none of them, unless it stands where a whole section should.
fn describe(value: Option<&Value>, key: &str, problems: &Problems) -> String {
    match value {
        Some(Value::Table(_)) => "a table".to_owned(),
        Some(Value::Array(_)) => "a list".to_owned(),
        Some(Value::String(text)) if file::keys(key).is_none() => problems.quote(key, text),
        Some(Value::Integer(_) | Value::Float(_)) => "a number".to_owned(),
        Some(Value::Boolean(_)) => "a truth value".to_owned(),
        _ => "its value (not shown)".to_owned(),
    }
}

/// What to write instead, from what serde expected. The text before that shows the value and is dropped.
fn wanted(message: &str) -> &str {
    let expected = message.rsplit_once(", expected ").map_or("", |(_, expected)| expected).trim_end();
    match expected {
        "" => "it as in config.example.toml",
        "u32" | "u64" | "usize" | "i64" => "a whole number, not negative",
        "a boolean" => "true or false",
        "a string" | "string only" => "text in quotes",
        "a sequence" => A_LIST,
        structure if structure.starts_with("struct ") => "a section, `[name]`, and its keys below",
        other => other,
    }
}

/// A variable's text as TOML would read it, and else as a list with commas where one is wanted.
fn value_of(text: &str, list: bool) -> Value {
    match text.parse() {
        Ok(value) => value,
        Err(_) if list => text.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>().into(),
        Err(_) => Value::String(text.to_owned()),
    }
}
