//! The demonstration: a small app, the settings with which Sidegate stands in front of it, and what to try.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use self::provider::Bound;
use crate::id::RowId;

pub mod app;
mod listen;
pub mod provider;

/// The header that carries the user's id.
const USER_ID: &str = "x-user-id";
/// The header that carries the address.
const USER_EMAIL: &str = "x-user-email";
/// The header that carries the display name.
const USER_NAME: &str = "x-user-name";

/// Where the demo keeps its database.
pub struct Directory {
    path: PathBuf,
    temporary: bool,
}

impl Directory {
    /// `given`, made if it is not there, or else a new one in `temporary`, which is removed when this is
    /// dropped.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(given: Option<&Path>, temporary: &Path) -> io::Result<Self> {
        // Others have no business with password hashes, not even in a demo.
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        let Some(given) = given else {
            let name: String = RowId::random().as_str().chars().take(8).collect();
            let path = temporary.join(format!("sidegate-demo-{name}"));
            builder.create(&path)?;
            return Ok(Self { path, temporary: true });
        };
        builder.recursive(true).create(given)?;
        Ok(Self { path: given.to_owned(), temporary: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the configuration, which only this user can read: it holds a secret.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn configure(&self, text: &str) -> io::Result<PathBuf> {
        let path = self.path.join("demo.toml");
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?
            .write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the demo's directory cannot be removed");
        }
    }
}

/// The text of the configuration, over which the environment of the process may lay other values.
pub fn configuration(origin: &str, provider: &Bound) -> String {
    format!(
        "\
# How the demo is configured; it is written anew at each start.

[public]
url = \"{origin}\"
name = \"Sidegate demo\"

[identity]
email = \"{USER_EMAIL}\"
name = \"{USER_NAME}\"

[mail]
transport = \"catcher\"

[limits]
drain = \"2s\"

[log]
level = \"warn\"

{}",
        provider.toml()
    )
}

/// What is told to whoever started the demo: where to look, and commands that can be pasted into a shell.
pub fn invitation(origin: &str, mount: &str, issuer: &str, directory: &Directory) -> String {
    let jar = quoted(&directory.path().join("cookies").display().to_string());
    let curl = "curl -sw ' %{http_code}\\n'";
    let json = "-H 'content-type: application/json'";
    let account = "\"email\":\"ada@example.com\",\"password\":\"plum kettle orbit\"";
    let id_only = "sed 's/.*\"id\":\"\\([^\"]*\\)\".*/\\1/'";
    let token =
        format!("curl -s {origin}{mount}/dev/mail | grep -o 'token=[-_A-Za-z0-9]*' | head -n1 | cut -c7-");
    let password = "\\\"password\\\":\\\"plum kettle orbit\\\"";
    let place = directory.path().display();
    let kept = if directory.temporary { "removed at the end" } else { "kept" };
    format!(
        "\
Sidegate stands in front of a small tasks app. Open

    {origin}/

and make an account, or continue with the demo provider, an identity provider of three people without
passwords. Or paste these lines into another terminal. No mail leaves this machine: what would be sent is
shown at {origin}{mount}/dev/mail

Make an account:

    {curl} {json} -d '{{\"name\":\"Ada\",{account}}}' {origin}{mount}/sign-up/email

Prove the address with the link that was mailed to her:

    {curl} {json} -d \"{{\\\"token\\\":\\\"$({token})\\\",{password}}}\" {origin}{mount}/verify-email

Sign in; the session goes to a cookie jar, the user id to ME:

    ME=$(curl -s -c {jar} {json} -d '{{{account}}}' {origin}{mount}/sign-in/email | {id_only}); echo \"$ME\"

Her own tasks, from the app:

    {curl} -b {jar} {origin}/api/$ME/tasks

Another user's tasks: 403, and the app never hears of it:

    {curl} -b {jar} {origin}/api/another-user/tasks

No session, but the header that the app believes: 401, for only Sidegate may write it:

    {curl} -H \"x-user-id: $ME\" {origin}/api/$ME/tasks

Users, sessions and the configuration (demo.toml) are in {place} ({kept}), tasks in memory.
The identity provider is {issuer}. Ctrl-C ends the demo.
"
    )
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_is_private_and_goes_with_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = Directory::open(None, &std::env::temp_dir()).expect("a directory");
        let path = directory.path().to_owned();
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::write(path.join("file"), "x").expect("written");
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_reaches_the_shell_as_one_word() {
        assert_eq!(quoted("/tmp/a-b.c"), "/tmp/a-b.c");
        assert_eq!(quoted("/tmp/it's here"), r"'/tmp/it'\''s here'");
    }
}
