//! The nginx servers of `forward`: the app, the baseline, and those who ask before they let through.

use std::error::Error;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::servers::process::{self, Cores, Process};
use crate::servers::tls::Certificate;

/// Bytes of an answer that a client does not read.
const LARGE: usize = 1024 * 1024;

/// Starts an nginx in `folder` that serves what `server` writes for its address.
pub(crate) fn start(
    folder: &Path,
    cores: Cores<'_>,
    workers: usize,
    server: impl FnOnce(SocketAddr) -> io::Result<String>,
) -> Result<Process, Box<dyn Error>> {
    let address = process::free_address()?;
    // `user` keeps the workers of a root-owned master able to read this directory; other masters ignore it.
    // No connection is closed for its age: a closed connection would be a difference in work between two
    // proxies.
    let configuration = format!(
        "daemon off; user root; worker_processes {workers}; pid nginx.pid; error_log stderr error;\n\
         events {{ worker_connections 16384; }}\n\
         http {{\n\
         access_log off; sendfile on; tcp_nopush on; default_type text/plain;\n\
         keepalive_timeout 1h; keepalive_requests 1000000000;\n\
         client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
         uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
         proxy_http_version 1.1;\n\
         {}\n\
         }}\n",
        server(address)?
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let prefix = folder.as_os_str();
    let command = [
        "nginx".as_ref(),
        "-e".as_ref(),
        "stderr".as_ref(),
        "-p".as_ref(),
        prefix,
        "-c".as_ref(),
        file.as_os_str(),
    ];
    Process::start(cores, folder, address, command)
}

/// The app: `answer` bytes at every path but `/large`, where there are [`LARGE`].
pub(crate) fn app(folder: &Path, address: SocketAddr, answer: usize) -> io::Result<String> {
    let body = |length: usize| "0123456789abcdef".repeat(length / 16);
    fs::write(folder.join("large"), body(LARGE))?;
    let answer = if answer <= 1024 {
        format!("return 200 \"{}\";", body(answer))
    } else {
        fs::write(folder.join("body"), body(answer))?;
        "try_files /body =404;".to_owned()
    };
    Ok(format!(
        "open_file_cache max=8; server {{ listen {address}; root {};\n\
         location / {{ {answer} }} location = /large {{ }} }}",
        folder.display()
    ))
}

/// `listen`, and under TLS what belongs to it: the versions of today, for the default of nginx 1.22 lacks 1.3.
fn listen(address: SocketAddr, http2: bool, certificate: Option<&Certificate>) -> String {
    let Some(certificate) = certificate else { return format!("listen {address};") };
    format!(
        "listen {address} ssl{};\n\
         ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
        if http2 { " http2" } else { "" },
        certificate.chain.display(),
        certificate.key.display()
    )
}

/// `proxy_pass` and nothing else.
pub(crate) fn proxy(
    address: SocketAddr,
    upstream: SocketAddr,
    http2: bool,
    certificate: Option<&Certificate>,
) -> String {
    format!(
        "upstream app {{ server {upstream}; keepalive 1024; keepalive_requests 1000000000; }}\n\
         server {{ {} location / {{\n\
         proxy_pass http://app; proxy_set_header Host $http_host; proxy_set_header Connection \"\";\n\
         }} }}",
        listen(address, http2, certificate)
    )
}

/// Says yes to everybody without a look.
pub(crate) fn yes(address: SocketAddr) -> String {
    format!("server {{ listen {address}; location / {{ add_header X-User-Id u1; return 204; }} }}")
}

/// How nginx asks: an answer that needs no question, and as the documentation has it.
pub(crate) const UNSEEN: &str = "proxy_pass http://auth;";
pub(crate) const SESSION: &str = "proxy_pass http://auth/auth/verify/nginx; proxy_set_header Host $http_host;\n\
    proxy_set_header X-Forwarded-For $remote_addr;\n\
    proxy_set_header X-Original-Method $request_method; proxy_set_header X-Original-URI $request_uri;";

/// `proxy_pass`, once who is at `authority` has said yes.
pub(crate) fn auth_request(
    address: SocketAddr,
    upstream: SocketAddr,
    authority: SocketAddr,
    question: &str,
) -> String {
    format!(
        "upstream app {{ server {upstream}; keepalive 1024; keepalive_requests 1000000000; }}\n\
         upstream auth {{ server {authority}; keepalive 1024; keepalive_requests 1000000000; }}\n\
         server {{ listen {address};\n\
         location / {{\n\
         auth_request /_auth; auth_request_set $user_id $upstream_http_x_user_id;\n\
         proxy_pass http://app; proxy_set_header Host $http_host; proxy_set_header Connection \"\";\n\
         proxy_set_header X-User-Id $user_id;\n\
         }}\n\
         location = /_auth {{\n\
         internal; {question} proxy_set_header Connection \"\";\n\
         proxy_pass_request_body off; proxy_set_header Content-Length \"\";\n\
         }} }}"
    )
}
