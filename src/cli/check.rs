//! `sidegate check`: reads the configuration, tells what is wrong with it or what it comes to, and changes
//! nothing.

use std::io::{self, Write};

use super::{Failure, Settings};
use crate::config::mail::Transport;
use crate::config::tls::Tls;
use crate::config::trace::Trace;
use crate::config::units::{Size, Span};
use crate::config::upstream::{Health, Protocol, Upstream, UpstreamTls};
use crate::config::{Config, Database, NewSecret};

pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let config = settings.load_whole(NewSecret::Leave)?;
    print(&config, &mut io::stdout().lock())
        .map_err(|error| Failure::Other(format!("writing the report: {error}")))
}

fn print(config: &Config, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "public     {} ({:?})", config.public.origin, config.public.name)?;
    for place in &config.listen.places {
        writeln!(out, "listen     {place} with {} workers", config.listen.workers)?;
    }
    if let Some(address) = config.listen.redirect_http {
        writeln!(out, "listen     {address}, leading to {}", config.public.origin)?;
    }
    if let Some(tls) = &config.tls {
        encrypted(tls, out)?;
    }
    if let Some(address) = config.admin {
        writeln!(out, "admin      {address}")?;
    }
    for network in &config.proxies.trusted {
        writeln!(out, "proxies    {network} is believed")?;
    }
    if config.forward_auth {
        writeln!(out, "proxies    may ask what they should let through (forward-auth)")?;
    }
    upstream(&config.upstream, out)?;
    if let Some(Trace { target, path, share, service, .. }) = &config.trace {
        writeln!(out, "trace      {share} of all traces to {target}{path}, as {service}")?;
    }
    match &config.store.database {
        Database::Sqlite(path) => writeln!(out, "store      SQLite, {}", path.display())?,
        Database::Postgres(_) => {
            writeln!(out, "store      PostgreSQL, {} connections", config.store.connections)?;
        }
    }
    writeln!(out, "endpoints  {}", config.paths.join(", "))?;
    writeln!(out, "sign-up    {}", if config.sign_up.open { "open to everyone" } else { "closed" })?;
    match &config.mail {
        Some(mail) => writeln!(out, "mail       from {}, {}", mail.from.address, transport(&mail.transport))?,
        None => writeln!(out, "mail       not configured: none is sent")?,
    }
    let session = &config.session;
    let (idle, absolute) = (Span(session.idle), Span(session.absolute));
    writeln!(out, "sessions   end after {idle} without use, and {absolute} after sign-in")?;
    let body = config.limits.body;
    let body = if body == u64::MAX { "unlimited".to_owned() } else { format!("up to {}", Size(body)) };
    writeln!(out, "bodies     {body}")?;
    for (fact, names) in [
        ("user id", &config.identity.user_id),
        ("email", &config.identity.email),
        ("name", &config.identity.name),
        ("groups", &config.identity.groups),
    ] {
        if !names.is_empty() {
            writeln!(out, "identity   {fact} in {}", names.join(", "))?;
        }
    }
    for rule in &config.access.rules {
        let methods: Vec<&str> = rule.methods.iter().map(http::Method::as_str).collect();
        let methods = if methods.is_empty() { "any method".to_owned() } else { methods.join(" ") };
        let name = rule.name.as_ref().map_or_else(String::new, |name| format!(", called {name}"));
        writeln!(out, "rule       {} {} ({methods}){name}", rule.pattern, rule.access)?;
    }
    writeln!(out, "rule       everything else: required")?;
    writeln!(out, "unusual    {}", config.unusual.mode)?;
    for danger in &config.dangers {
        writeln!(out, "DANGER     {danger}")?;
    }
    writeln!(out, "The configuration is good.")
}

/// Towards clients.
fn encrypted(tls: &Tls, out: &mut impl Write) -> io::Result<()> {
    for files in &tls.certificates {
        writeln!(out, "tls        {}", files.certificate.display())?;
    }
    if let Some(authorities) = &tls.client_ca {
        let must = if tls.client_required { "must" } else { "may" };
        writeln!(out, "tls        clients {must} show a certificate of {}", authorities.display())?;
    }
    if let Some(lists) = &tls.client_crl {
        writeln!(out, "tls        those of clients are refused that {} lists", lists.display())?;
    }
    Ok(())
}

/// Where the app is, how it is known and how it is watched.
fn upstream(upstream: &Upstream, out: &mut impl Write) -> io::Result<()> {
    let spoken = match upstream.protocol {
        Protocol::Http1 => "",
        Protocol::H2 | Protocol::H2c => " by HTTP/2",
        Protocol::Auto => " by HTTP/2 or HTTP/1.1, as it prefers",
    };
    for target in &upstream.targets {
        writeln!(out, "upstream   {target}{spoken}")?;
    }
    let UpstreamTls { ca_file, server_name, client } = &upstream.tls;
    if let Some(name) = server_name {
        writeln!(out, "upstream   shows a certificate for {name}")?;
    }
    if let Some(authorities) = ca_file {
        writeln!(out, "upstream   shows a certificate of {}", authorities.display())?;
    }
    if let Some(files) = client {
        writeln!(out, "upstream   is shown {}", files.certificate.display())?;
    }
    if let Some(Health { path, host, interval, healthy, unhealthy, .. }) = &upstream.health {
        let every = Span(*interval);
        writeln!(out, "upstream   is asked for {path} at {host} every {every}")?;
        writeln!(out, "upstream   is ill after {unhealthy} bad answers, and well after {healthy} good ones")?;
    }
    Ok(())
}

fn transport(transport: &Transport) -> String {
    match transport {
        Transport::Smtp(smtp) => format!("by {} port {}", smtp.host, smtp.port),
        Transport::Catcher => "kept in memory (catcher)".to_owned(),
    }
}
