//! Secrets from files, and the one root secret that is made when none is given.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::problem::Problems;
use super::{Database, NewSecret};
use crate::secret::{RootSecret, random};

/// Permission bits that a secret file must not have: all of others', and more than reading for
/// the group. A group may read because that is how Kubernetes hands a secret to a user other than root.
const TOO_OPEN: u32 = 0o037;
/// Longest secret file that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// One secret that is given as `key` or as `key_file`.
pub(super) fn given(
    key: &str,
    value: Option<String>,
    file: Option<&str>,
    problems: &mut Problems,
) -> Option<Zeroizing<String>> {
    let file_key = format!("{key}_file");
    match (value.map(Zeroizing::new), file) {
        (Some(_), Some(_)) => {
            problems.add(file_key, format!("is given beside `{key}`"), "keep one of the two");
            None
        }
        (Some(value), None) => Some(value),
        (None, Some(file)) => match read(Path::new(file)) {
            Ok(text) => Some(text),
            Err(Unreadable { what, remedy }) => {
                problems.add(file_key, what, remedy);
                None
            }
        },
        (None, None) => None,
    }
}

/// Why a secret file cannot be used.
struct Unreadable {
    what: String,
    remedy: String,
}

/// The text of a secret file without the line end that editors add.
fn read(path: &Path) -> Result<Zeroizing<String>, Unreadable> {
    let fail = |what: String, remedy: &str| Unreadable { what, remedy: remedy.to_owned() };
    let io = |error: std::io::Error| {
        fail(format!("{} cannot be read: {error}", path.display()), "name a file that this user can read")
    };
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if meta.is_dir() {
        return Err(fail(format!("{} is a directory", path.display()), "name the file in it"));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & TOO_OPEN != 0 {
        let what = format!("{} is open to other users (mode {mode:o})", path.display());
        return Err(fail(what, "chmod 600 (or mount it with mode 0400 or 0440)"));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > LONGEST {
        return Err(fail(format!("{} is longer than 64 KiB", path.display()), "name the right file"));
    }
    let line_end = text.len() - text.trim_end_matches(['\r', '\n']).len();
    let end = text.len() - line_end;
    text.truncate(end);
    Ok(text)
}

/// The root secret from its text.
pub(super) fn root(key: &str, text: &str, problems: &mut Problems) -> Option<RootSecret> {
    let secret = RootSecret::new(text.as_bytes().to_vec());
    if secret.is_none() {
        let what = format!("has {} bytes, and at least {} are needed", text.len(), RootSecret::SHORTEST);
        problems.add(key, what, "make one with `openssl rand -base64 32`");
    }
    secret
}

/// Root secrets that were in use before `own`.
pub(super) fn former(files: &[String], own: Option<&RootSecret>, problems: &mut Problems) -> Vec<RootSecret> {
    let mut one = |(place, file): (usize, &String)| {
        let key = format!("former_secret_files[{place}]");
        let secret = match read(Path::new(file)) {
            Ok(text) => root(&key, &text, problems)?,
            Err(Unreadable { what, remedy }) => {
                problems.add(key, what, remedy);
                return None;
            }
        };
        if own.is_some_and(|own| own.is(&secret)) {
            problems.add(key, "is the secret that is in use", "name the one before, or leave it out");
        }
        Some(secret)
    };
    files.iter().enumerate().filter_map(&mut one).collect()
}

/// Where a root secret that we made is kept: beside the SQLite file, which is what it belongs
/// to; with PostgreSQL, beside the configuration file.
pub(super) fn home(database: &Database, config_file: Option<&Path>) -> PathBuf {
    match database {
        Database::Sqlite(file) => {
            let mut name = file.clone().into_os_string();
            name.push(".secret");
            name.into()
        }
        Database::Postgres(_) => {
            config_file.and_then(Path::parent).unwrap_or(Path::new("")).join("sidegate.secret")
        }
    }
}

/// A secret for as long as the rest is checked.
pub(super) fn stand_in() -> RootSecret {
    RootSecret::new(RootSecret::generate().into_bytes()).expect("a generated secret is long enough")
}

/// The root secret that was kept at `home`, or a new one, which is then kept there if `new` says so.
pub(super) fn kept_or_new(home: &Path, new: NewSecret) -> Result<RootSecret, Problems> {
    let mut problems = Problems::default();
    let text = match (home.exists(), new) {
        (false, NewSecret::Leave) => return Ok(stand_in()),
        (false, NewSecret::Keep) => {
            let fresh = Zeroizing::new(RootSecret::generate());
            match keep(&fresh, home) {
                Ok(()) => Ok(fresh),
                // Another process was quicker; its secret counts.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => read(home),
                Err(error) => Err(Unreadable {
                    what: format!(
                        "is not given, and a new one cannot be kept at {}: {error}",
                        home.display()
                    ),
                    remedy: "give `secret_file`, or let this user write there".to_owned(),
                }),
            }
        }
        (true, _) => read(home),
    };
    let secret = match text {
        Ok(text) => root("secret", &text, &mut problems),
        Err(Unreadable { what, remedy }) => {
            problems.add("secret", what, remedy);
            None
        }
    };
    secret.ok_or(problems)
}

/// Writes the whole text under another name first: who finds a file at `home` finds all of it,
/// also after a crash, and a link is never made over a file that is there.
fn keep(text: &str, home: &Path) -> std::io::Result<()> {
    let mut draft = home.as_os_str().to_owned();
    draft.push(format!(".{:016x}", u64::from_ne_bytes(random())));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written =
        writeln!(file, "{text}").and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&draft, home));
    fs::remove_file(&draft)?;
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::secret::Purpose;

    fn mark(secret: &RootSecret) -> [u8; 32] {
        secret.key(Purpose::Device).mac(b"the same secret?")
    }

    #[test]
    fn a_new_secret_is_kept_for_its_owner_only_and_found_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("x.db.secret");
        let first = kept_or_new(&home, NewSecret::Keep).expect("kept");
        assert_eq!(fs::metadata(&home).expect("kept").permissions().mode() & 0o777, 0o600);
        let second = kept_or_new(&home, NewSecret::Keep).expect("found");
        let looked_at = kept_or_new(&home, NewSecret::Leave).expect("found");
        assert!(mark(&first) == mark(&second) && mark(&first) == mark(&looked_at));
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_secret_is_not_kept_over_one_that_another_process_kept_meanwhile() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("x.db.secret");
        keep("the first", &home).expect("kept");
        assert_eq!(keep("the second", &home).map_err(|e| e.kind()), Err(ErrorKind::AlreadyExists));
        assert_eq!(fs::read_to_string(&home).expect("kept"), "the first\n");
    }

    #[test]
    fn looking_makes_no_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("x.db.secret");
        assert!(kept_or_new(&home, NewSecret::Leave).is_ok());
        assert!(!home.exists());
    }

    #[test]
    fn a_kept_secret_that_is_cut_off_is_not_used() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("x.db.secret");
        keep("short", &home).expect("kept");
        assert!(kept_or_new(&home, NewSecret::Keep).is_err());
    }

    #[test]
    fn a_secret_file_that_others_can_read_is_refused_and_its_text_not_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        fs::write(&path, "0123456789abcdef0123456789abcdef\n").expect("written");
        for (mode, fine) in [(0o644, false), (0o604, false), (0o660, false), (0o600, true), (0o440, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode set");
            let mut problems = Problems::default();
            let found = given("secret", None, path.to_str(), &mut problems);
            assert_eq!(found.is_some(), fine, "{mode:o}");
            assert_eq!(problems.about("secret_file"), !fine, "{mode:o}");
            assert!(!problems.to_string().contains("0123"));
        }
    }
}
