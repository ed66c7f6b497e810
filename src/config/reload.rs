//! The configuration read again while the program runs: what can change does, what cannot stays as it was and
//! is named.

use std::sync::Arc;

use toml::Table;

use super::layers::Layers;
use super::problem::Problems;
use super::{Config, NewSecret, Sources, meant};

/// What takes effect while the program runs: sections, and keys of sections. Everything else is fixed at the
/// start: addresses, the store and the secrets, what sessions and tokens were promised when they were made, and
/// what jobs work with.
const RELOADED: &[&str] = &[
    "access",
    "accounts",
    "geo",
    "limits",
    "log.access",
    "log.level",
    "providers",
    "forward_auth",
    "proxies",
    "public.name",
    "rules",
    "sign_up",
    "tls.certificate",
    "tls.hsts",
    "tls.hsts_preload",
    "tls.hsts_subdomains",
    "tls.key",
    "tls.more",
    "unusual",
    "upstream",
];

/// What is fixed all the same: connections are counted from the start on.
const FIXED: &[&str] = &["limits.connections", "limits.connections_per_address", "limits.uncounted"];

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
    let whole = meant(layers, problems, sources)?;
    let (mut layers, problems) = read();
    let waiting = keep(&mut layers.table, &running.given.0);
    let mut config = if waiting.is_empty() { whole } else { meant(layers, problems, sources)? };
    config.secret = Arc::clone(&running.secret);
    Ok((config, waiting))
}

/// Puts back what cannot change, and names it.
fn keep(new: &mut Table, running: &Table) -> Vec<String> {
    let mut waiting = Vec::new();
    let names: Vec<String> = new.keys().chain(running.keys()).cloned().collect();
    for name in names {
        let fixed_within =
            FIXED.iter().any(|path| path.strip_prefix(&*name).is_some_and(|rest| rest.starts_with('.')));
        let reloaded = RELOADED.contains(&name.as_str());
        if (reloaded && !fixed_within) || new.get(&name) == running.get(&name) {
            continue;
        }
        // A site is encrypted here or elsewhere: with the one goes the address that browsers know.
        let whole = name == "tls" && new.contains_key(&name) != running.contains_key(&name);
        let section = |table: &Table| table.get(&name).map(|value| value.as_table().cloned());
        match (section(new), section(running)) {
            (Some(None), _) | (_, Some(None)) => {
                put_back(new, running, &name);
                waiting.push(name);
            }
            _ if whole => {
                put_back(new, running, &name);
                waiting.push(name);
            }
            (inner, before) => {
                let mut inner = inner.flatten().unwrap_or_default();
                let before = before.flatten().unwrap_or_default();
                let keys: Vec<String> = inner.keys().chain(before.keys()).cloned().collect();
                for key in keys {
                    let path = format!("{name}.{key}");
                    let may =
                        (reloaded || RELOADED.contains(&path.as_str())) && !FIXED.contains(&path.as_str());
                    if !may && inner.get(&key) != before.get(&key) {
                        put_back(&mut inner, &before, &key);
                        waiting.push(path);
                    }
                }
                new.insert(name, inner.into());
            }
        }
    }
    waiting
}

fn put_back(new: &mut Table, running: &Table, key: &str) {
    match running.get(key) {
        Some(value) => new.insert(key.to_owned(), value.clone()),
        None => new.remove(key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().expect("TOML")
    }

    #[test]
    fn what_cannot_change_is_put_back_and_named_once() {
        let running = table(
            "secret = \"a\"\n[listen]\naddress = \"x\"\n[log]\nlevel = \"info\"\n[mail.smtp]\nhost = \"a\"\n",
        );
        let mut new = table(
            "secret = \"b\"\npaths = [\"/a\"]\n[listen]\naddress = \"y\"\nworkers = 3\n\
             [log]\nlevel = \"debug\"\nformat = \"json\"\n[[rules]]\npath = \"/x\"\n[tls]\ncertificate = \"c\"\n",
        );
        let mut waiting = keep(&mut new, &running);
        waiting.sort();
        let expected =
            ["listen.address", "listen.workers", "log.format", "mail.smtp", "paths", "secret", "tls"];
        assert_eq!(waiting, expected);
        let left = "secret = \"a\"\n[listen]\naddress = \"x\"\n[log]\nlevel = \"debug\"\n\
                    [[rules]]\npath = \"/x\"\n[mail.smtp]\nhost = \"a\"\n";
        assert_eq!(new, table(left));
        let mut limits = table("[limits]\nconnections = 5\nbody = 1\n");
        assert_eq!(keep(&mut limits, &table("[limits]\nbody = 2\n")), ["limits.connections"]);
        assert_eq!(limits, table("[limits]\nbody = 1\n"));
        assert!(keep(&mut new, &running).is_empty(), "the second time nothing has changed");
    }

    #[test]
    fn certificates_change_and_who_must_show_one_does_not() {
        let running = table("[tls]\ncertificate = \"a\"\nkey = \"b\"\n");
        let mut new = table("[tls]\ncertificate = \"c\"\nkey = \"d\"\nclient_ca = \"e\"\n");
        assert_eq!(keep(&mut new, &running), ["tls.client_ca"]);
        assert_eq!(new, table("[tls]\ncertificate = \"c\"\nkey = \"d\"\n"));
    }
}
