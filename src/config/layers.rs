//! Where values come from: the file, over it the environment, over that the flags; and what came from where.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::problem::{Place, Problems};
use super::{Flags, Sources, file};

/// What environment variables of ours start with.
const PREFIX: &str = "SIDEGATE_";
/// Ours as well, but read by the command line.
const CONFIG_VARIABLE: &str = "CONFIG";

/// The values of all sources laid over each other.
#[derive(Default)]
pub(super) struct Layers {
    pub(super) table: Table,
    /// There is a file, and what it says cannot be told.
    pub(super) unreadable: bool,
    pub(super) places: Places,
}

/// What a configuration was made of.
#[derive(Default)]
pub(super) struct Given {
    /// They hold secrets, and are only compared.
    pub(super) values: Table,
    pub(super) places: Places,
}

/// Which key was given where.
#[derive(Default)]
pub(super) struct Places(HashMap<String, Place>);

impl Layers {
    /// File, environment and flags.
    pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Self {
        let mut layers = Self::default();
        if let Some(file) = &sources.file {
            let name = file.display().to_string();
            match std::fs::read_to_string(file) {
                Ok(text) => layers = Self::file(&name, &text, problems),
                Err(error) => {
                    layers.unreadable = true;
                    let (what, remedy) = unreadable(&error);
                    problems.add("", format!("{name} {what}"), remedy);
                }
            }
        }
        layers.expand(&sources.env, problems);
        layers.environment(&sources.env, problems);
        let Flags { upstream, listen, store } = &sources.flags;
        for (flag, path, value) in [
            ("--upstream", ["upstream", "url"], upstream),
            ("--listen", ["listen", "address"], listen),
            ("--store", ["store", "url"], store),
        ] {
            if let Some(value) = value {
                layers.set(&path, value, Place::Flag(flag), problems);
            }
        }
        layers
    }

    /// The file's text; `name` is what problems call it.
    pub(super) fn file(name: &str, text: &str, problems: &mut Problems) -> Self {
        // Counted once: a file may have ten thousand rules, and each key has a line.
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line = |at: usize| Place::Line(name.to_owned(), 1 + ends.partition_point(|end| *end < at));
        let (tree, errors) = DeTable::parse_recoverable(text);
        let span = |error: &toml::de::Error| error.span().unwrap_or_default();
        for error in &errors {
            let twice = error.message() == "duplicate key";
            let (what, remedy) = match text.get(span(error)).filter(|key| twice && key.lines().count() == 1) {
                Some(key) => (format!("{key} is there twice"), "remove one"),
                None => (format!("is not TOML here: {}", error.message()), "correct the syntax"),
            };
            problems.add_at(line(span(error).start.min(text.len())), "", what, remedy);
        }
        let mut layers = Self { unreadable: !errors.is_empty(), ..Self::default() };
        note_lines(tree.get_ref(), "", &line, &mut layers.places.0);
        if errors.is_empty() {
            // Integers may still be out of range: the tree keeps them as text.
            match text.parse::<Table>() {
                Ok(table) => layers.table = table,
                Err(error) => {
                    layers.unreadable = true;
                    let place = line(span(&error).start.min(text.len()));
                    let on_it =
                        layers.places.0.iter().filter(|(_, noted)| **noted == place).map(|(key, _)| key);
                    let key = on_it.max_by_key(|key| key.len()).cloned().unwrap_or_default();
                    problems.add_at(
                        place,
                        &key,
                        "holds a number that TOML does not allow",
                        "write a smaller one",
                    );
                }
            }
        }
        layers
    }

    /// Replaces `${NAME}` in every string by what the environment says; `$${` stays `${`.
    pub(super) fn expand(&mut self, env: &[(OsString, OsString)], problems: &mut Problems) {
        for (key, value) in &mut self.table {
            Self::expand_value(key, value, env, problems);
        }
    }

    fn expand_value(path: &str, value: &mut Value, env: &[(OsString, OsString)], problems: &mut Problems) {
        match value {
            Value::String(text) if text.contains("${") => match expand(text, env) {
                Ok(expanded) => {
                    *text = expanded;
                    problems.hide(path);
                }
                Err(what) => problems.add(path, what, "set the variable, or write `$${` for a plain `${`"),
            },
            Value::Array(list) => {
                for (i, value) in list.iter_mut().enumerate() {
                    Self::expand_value(&format!("{path}[{i}]"), value, env, problems);
                }
            }
            Value::Table(table) => {
                for (key, value) in table {
                    Self::expand_value(&join(path, key), value, env, problems);
                }
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => {}
        }
    }

    /// Lays `SIDEGATE_SECTION__KEY` variables over the file.
    pub(super) fn environment(&mut self, env: &[(OsString, OsString)], problems: &mut Problems) {
        for (name, value) in env {
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            let lower = rest.to_ascii_lowercase();
            let path: Vec<&str> = lower.split("__").collect();
            if rest == CONFIG_VARIABLE || (path.len() == 1 && of_a_kubernetes_service(rest)) {
                continue;
            }
            // Not the same as none: an empty secret that counted as none would be made anew in silence.
            let empty = if value.is_empty() { " (empty; unset it if nothing is meant)" } else { "" };
            let place = Place::Variable(format!("{PREFIX}{rest}{empty}"));
            match value.to_str() {
                Some(value) => self.set(&path, value, place, problems),
                None => {
                    problems.add_at(place, &path.join("."), "is not UTF-8", "correct the variable's value");
                }
            }
        }
    }

    /// Lays one value over what is there. `x` and `x_file` are two ways to say one thing, so the
    /// one that is laid over replaces the other.
    pub(super) fn set(&mut self, path: &[&str], value: &str, place: Place, problems: &mut Problems) {
        let Some((last, parents)) = path.split_last() else { return };
        let key = path.join(".");
        let mut table = &mut self.table;
        for parent in parents {
            let entry = table.entry(*parent).or_insert_with(|| Value::Table(Table::new()));
            match entry {
                Value::Table(inner) => table = inner,
                _ => {
                    return problems.add_at(
                        place,
                        &key,
                        "has no section to stand in",
                        "name a key of a section",
                    );
                }
            }
        }
        let twin = last.strip_suffix("_file").map_or_else(|| format!("{last}_file"), str::to_owned);
        let twin_key =
            path[..path.len() - 1].iter().rev().fold(twin.clone(), |key, parent| format!("{parent}.{key}"));
        let same_layer = |a: &Place| std::mem::discriminant(a) == std::mem::discriminant(&place);
        if !self.places.0.get(&twin_key).is_some_and(same_layer) {
            table.remove(&twin);
        }
        table.insert((*last).to_owned(), Value::String(value.to_owned()));
        self.places.0.insert(key, place);
    }
}

impl Places {
    /// Where the value of `key`, or else the table that would hold it, or something in it was given.
    pub(super) fn of(&self, key: &str) -> Option<Place> {
        let mut holder = Some(key);
        while let Some(at) = holder {
            if let Some(place) = self.0.get(at) {
                return Some(place.clone());
            }
            holder = at.rfind(['.', '[']).map(|end| &at[..end]);
        }
        let within = |held: &&String| held.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        self.0.get(self.0.keys().filter(within).min()?).cloned()
    }
}

/// Why the file cannot be read, and what to do about it.
fn unreadable(error: &io::Error) -> (String, &'static str) {
    let remedy = match error.kind() {
        ErrorKind::InvalidData => return ("is not UTF-8".to_owned(), "save it as UTF-8"),
        ErrorKind::NotFound => "name one that is there, by --config or SIDEGATE_CONFIG",
        ErrorKind::PermissionDenied => "let the user that Sidegate runs as read it",
        ErrorKind::IsADirectory => "name the file in it",
        _ => "name another file by --config or SIDEGATE_CONFIG",
    };
    (format!("cannot be read: {error}"), remedy)
}

/// `${NAME}` replaced; the error says what is wrong without showing a value.
fn expand(text: &str, env: &[(OsString, OsString)]) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            let _ = write!(out, "{before}${{");
            rest = after;
            continue;
        }
        let (name, tail) = after.split_once('}').ok_or("opens `${` and never closes it")?;
        let value = env.iter().find(|(n, _)| n == name).map(|(_, value)| value);
        let value =
            value.ok_or_else(|| format!("names the environment variable {name:?}, which is not set"))?;
        out.push_str(before);
        out.push_str(value.to_str().ok_or_else(|| format!("names {name:?}, whose value is not UTF-8"))?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// Kubernetes gives every pod `<SERVICE>_SERVICE_HOST`, `<SERVICE>_PORT_80_TCP` and so on, which for a
/// service called `sidegate` begin as ours do.
fn of_a_kubernetes_service(rest: &str) -> bool {
    rest.ends_with("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest.split('_').any(|word| word == "PORT")
}

fn note_lines(
    table: &DeTable<'_>,
    path: &str,
    line: &impl Fn(usize) -> Place,
    places: &mut HashMap<String, Place>,
) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        places.insert(path.clone(), line(key.span().start));
        match value.get_ref() {
            DeValue::Table(inner) => note_lines(inner, &path, line, places),
            DeValue::Array(list) => {
                for (i, value) in list.iter().enumerate() {
                    let path = format!("{path}[{i}]");
                    places.insert(path.clone(), line(value.span().start));
                    if let DeValue::Table(inner) = value.get_ref() {
                        note_lines(inner, &path, line, places);
                    }
                }
            }
            _ => {}
        }
    }
}

/// `section.key`, or `key` at the top level.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The key that was probably meant, and else what the table knows.
pub(super) fn meant(path: &str) -> String {
    let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
    let key = key.to_ascii_lowercase();
    let key = key.as_str();
    // `providers[1].claims` is one of `providers.claims`.
    let section: String =
        table.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect();
    let known = file::keys(&section).unwrap_or_default();
    let near = |known: &&&str| strsim::damerau_levenshtein(key, known) <= 1 + key.len() / 4;
    let nearest = |list: &'static [&'static str]| {
        list.iter().filter(near).min_by_key(|known| strsim::damerau_levenshtein(key, known))
    };
    if let Some(name) = nearest(known) {
        return format!("did you mean `{}`?", join(table, name));
    }
    let elsewhere = file::keys("").unwrap_or_default().iter();
    if let Some(other) = elsewhere.filter(|s| file::keys(s).is_some_and(|keys| keys.contains(&key))).min() {
        return format!("did you mean `{other}.{key}`?");
    }
    if let Some(name) = file::keys("").unwrap_or_default().iter().find(|name| **name == key) {
        return format!("did you mean `{name}` at the top level, above every [section]?");
    }
    format!("remove it, or use one of: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_not_read_the_file_is_not_told_to_name_another() {
        let (what, remedy) = unreadable(&ErrorKind::PermissionDenied.into());
        assert!(what.starts_with("cannot be read: ") && remedy.contains("user"), "{remedy}");
    }
}
