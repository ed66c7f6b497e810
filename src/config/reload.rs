//! The configuration read again while the program runs: what can change does, what cannot stays as it was and
//! is named.

use std::sync::Arc;

use toml::Table;

use super::layers::Layers;
use super::load::meant;
use super::problem::Problems;
use super::{Config, NewSecret, Sources};

/// What a start is needed for: sockets that are bound, files and connections that are open, the keys that all that is
/// stored hangs on, and tables whose size is fixed when they are made. Everything else takes effect while the program
/// runs.
const FIXED: &[(&str, &str)] = &[
    ("", "secret"),
    ("", "secret_file"),
    ("", "former_secret_files"),
    ("admin", "address"),
    ("listen", "address"),
    ("listen", "more"),
    ("listen", "redirect_http"),
    ("listen", "socket_mode"),
    ("listen", "workers"),
    ("log", "format"),
    ("session", "cache_entries"),
    ("store", "connections"),
    ("store", "migrate"),
    ("store", "url"),
    ("store", "url_file"),
];

/// Reads the configuration again, and names the keys that have changed but stay as they were until the next
/// start. The whole of what is given must be good by itself, and so must be what comes of it now.
///
/// # Errors
/// Everything that is wrong with it; then nothing has changed.
pub fn reload(sources: &Sources, running: &Config) -> Result<(Config, Vec<String>), Problems> {
    let sources = &Sources {
        file: sources.file.clone(),
        env: sources.env.clone(),
        flags: sources.flags.clone(),
        new_secret: NewSecret::Leave,
    };
    let read = || {
        let mut problems = Problems::default();
        let layers = Layers::read(sources, &mut problems);
        (layers, problems)
    };
    let (layers, problems) = read();
    let whole = meant(layers, problems, sources, |_, _| {})?;
    let (mut layers, problems) = read();
    let mut waiting = keep(&mut layers.table, &running.given.values);
    let refilled = refilled(&whole, running);
    let mut config = if waiting.is_empty() { whole } else { meant(layers, problems, sources, |_, _| {})? };
    for key in refilled {
        if !waiting.contains(&key) {
            waiting.push(key);
        }
    }
    config.secret = Arc::clone(&running.secret);
    config.store = running.store.clone();
    Ok((config, waiting))
}

/// The keys of what comes from a file and cannot change, if it is not what it was: the key may be the same, and the file
/// hold something else.
fn refilled(new: &Config, running: &Config) -> Vec<String> {
    // One that nobody gave is kept beside the store, and changes with it.
    let given = ["secret", "secret_file"].iter().any(|key| new.given.values.contains_key(*key));
    let moved = !given && new.store.database != running.store.database;
    let same = [
        ("", "secret", moved || new.secret.is(&running.secret)),
        ("", "former_secret_files", new.secret.came_after_the_same_as(&running.secret)),
        ("store", "url", new.store.database == running.store.database),
    ];
    let key = |&(section, key, _): &(&str, &str, bool)| {
        let file = format!("{key}_file");
        let from_file = within(&new.given.values, section).is_some_and(|table| table.contains_key(&file));
        named(section, if from_file { &file } else { key })
    };
    same.iter().filter(|(_, _, same)| !same).map(key).collect()
}

/// Puts back what cannot change, and names it.
fn keep(new: &mut Table, running: &Table) -> Vec<String> {
    let mut waiting = Vec::new();
    for &(section, key) in FIXED {
        let before = within(running, section).and_then(|table| table.get(key));
        if within(new, section).and_then(|table| table.get(key)) == before {
            continue;
        }
        let table = match section {
            "" => Some(&mut *new),
            _ => new.entry(section).or_insert_with(|| Table::new().into()).as_table_mut(),
        };
        let Some(table) = table else { continue };
        match before {
            Some(value) => table.insert(key.to_owned(), value.clone()),
            None => table.remove(key),
        };
        waiting.push(named(section, key));
    }
    waiting
}

/// A key with its section, as it is reported.
fn named(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// A section; `""` is what stands before all of them.
fn within<'t>(table: &'t Table, section: &str) -> Option<&'t Table> {
    if section.is_empty() { Some(table) } else { table.get(section)?.as_table() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().expect("TOML")
    }

    #[test]
    fn what_cannot_change_is_put_back_and_named_once() {
        let running = table("secret = \"a\"\n[listen]\naddress = \"x\"\n[log]\nlevel = \"info\"\n");
        let mut new = table(
            "secret = \"b\"\npaths = [\"/a\"]\n[listen]\naddress = \"y\"\nworkers = 3\nproxy_protocol = \"required\"\n\
             [log]\nlevel = \"debug\"\nformat = \"json\"\n[[rules]]\npath = \"/x\"\n[tls]\ncertificate = \"c\"\n",
        );
        let waiting = keep(&mut new, &running);
        assert_eq!(waiting, ["secret", "listen.address", "listen.workers", "log.format"]);
        let left = "secret = \"a\"\npaths = [\"/a\"]\n[listen]\naddress = \"x\"\nproxy_protocol = \"required\"\n\
                    [log]\nlevel = \"debug\"\n[[rules]]\npath = \"/x\"\n[tls]\ncertificate = \"c\"\n";
        assert_eq!(new, table(left));
        assert!(keep(&mut new, &running).is_empty(), "the second time nothing has changed");
    }

    #[test]
    fn what_is_left_out_now_is_put_back_too() {
        let running = table("[store]\nurl = \"sqlite:a\"\n[admin]\naddress = \"x\"\n");
        let mut new = Table::new();
        assert_eq!(keep(&mut new, &running), ["admin.address", "store.url"]);
        assert_eq!(new, running);
    }

    #[test]
    fn every_key_that_is_fixed_is_one_that_there_is() {
        for &(section, key) in FIXED {
            let known = crate::config::file::keys(section).expect("a section");
            assert!(known.contains(&key), "{section}.{key}");
        }
    }
}
