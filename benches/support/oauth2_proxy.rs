//! oauth2-proxy, with somebody who is signed in there by a file of passwords.

use std::env;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::servers::process::{self, Cores, Process};
use crate::servers::running::Client;

const COOKIE: &str = "_oauth2_proxy=";

/// Where the program is: as said, or in `PATH`.
pub(crate) fn found(said: Option<&Path>) -> Option<PathBuf> {
    said.map(Path::to_owned).or_else(|| {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|folder| folder.join("oauth2-proxy")).find(|file| file.is_file())
    })
}

/// Starts it in front of `app` and signs somebody in there: the process, and the cookie.
///
/// It tells the app who is asking, as it does by default, and logs no requests, as nobody does here. The provider is
/// never asked.
pub(crate) fn start(
    (program, folder): (&Path, &Path),
    (cores, workers): (Cores<'_>, usize),
    app: SocketAddr,
) -> Result<(Process, String), Box<dyn Error>> {
    let passwords = folder.join("passwords");
    fs::write(&passwords, format!("ada:{}\n", bcrypt::hash("vexed quarry lamp", 4)?))?;
    let address = process::free_address()?;
    let program = std::path::absolute(program)?;
    let command = [
        "env".to_owned(),
        format!("GOMAXPROCS={workers}"),
        program.display().to_string(),
        format!("--http-address={address}"),
        format!("--upstream=http://{app}/"),
        format!("--htpasswd-file={}", passwords.display()),
        "--display-htpasswd-form=true".to_owned(),
        "--provider=github".to_owned(),
        "--client-id=bench".to_owned(),
        "--client-secret=bench".to_owned(),
        "--cookie-secret=0123456789abcdef0123456789abcdef".to_owned(),
        "--cookie-secure=false".to_owned(),
        "--email-domain=*".to_owned(),
        "--request-logging=false".to_owned(),
        "--auth-logging=false".to_owned(),
    ];
    let process = Process::start(cores, folder, address, command)?;
    let mut ada = Client::connect(address)?;
    let answer = ada.submit("/oauth2/sign_in", "username=ada&password=vexed+quarry+lamp")?;
    let cookies = answer.cookies();
    let cookie = cookies.split("; ").find(|cookie| cookie.starts_with(COOKIE));
    let cookie = cookie.ok_or_else(|| format!("oauth2-proxy signs nobody in:\n{}", answer.head))?;
    Ok((process, cookie.to_owned()))
}
