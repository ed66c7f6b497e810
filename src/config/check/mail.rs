//! Mail: addresses that nobody misreads, a server that is spoken to in secret, caps that hold.

use std::net::IpAddr;

use email_address::{EmailAddress, Options};
use url::Url;
use zeroize::Zeroizing;

use super::between;
use crate::config::Public;
use crate::config::file::{RawMail, RawSmtp, RawTransport};
use crate::config::host::bare;
use crate::config::listen::Listen;
use crate::config::mail::{Login, Mail, Mailbox, Smtp, Tls, Transport};
use crate::config::problem::Problems;
use crate::config::provider::is_loopback;
use crate::config::units::Span;

/// Longest name beside an address, in characters.
const LONGEST_NAME: usize = 100;
/// Longest password at the mail server, in bytes.
const LONGEST_LOGIN: usize = 512;
/// `local@domain`; a mail server in the same machine may be called `localhost`.
const GRAMMAR: Options =
    Options { minimum_sub_domains: 1, allow_domain_literal: false, allow_display_text: false };
/// What an address is to look like.
const EXAMPLE: &str = "write \"Example <no-reply@example.com>\"";

/// Nothing in the section: no mail.
pub(super) fn mail(
    raw: &RawMail,
    (listen, public): (&Listen, &Public),
    p: &mut Problems,
    dangers: &mut Vec<String>,
) -> Option<Mail> {
    if *raw == RawMail::default() {
        return None;
    }
    between(p, "mail.per_recipient", raw.per_recipient, 2, 1_000_000);
    between(p, "mail.in_all", raw.in_all, 2, 100_000_000);
    between(p, "mail.give_up_after", raw.give_up_after, Span::minutes(1), Span::days(7));
    // Mails to one address are counted over the lines of an hour.
    between(p, "mail.keep_sent", raw.keep_sent, Span::minutes(60), Span::days(400));
    let reply_to = raw.reply_to.as_deref().and_then(|text| mailbox("mail.reply_to", text, p));
    let (transport, from) = match raw.transport.unwrap_or(RawTransport::Smtp) {
        RawTransport::Smtp => (Transport::Smtp(smtp(&raw.smtp, p)), None),
        RawTransport::Catcher => {
            catcher(raw, public, p);
            let near = Url::parse(&public.origin).is_ok_and(|url| is_loopback(&url));
            if !listen.only_here() || !near {
                dangers.push(
                    "mail.transport: the catcher shows every mail to everyone who can reach us".to_owned(),
                );
            }
            (Transport::Catcher, Some("no-reply@localhost"))
        }
    };
    let given = raw.from.as_deref().or(from);
    if given.is_none() && !p.about("mail.from") {
        p.add("mail.from", "is not given", EXAMPLE);
    }
    let from = given.and_then(|text| mailbox("mail.from", text, p));
    let mut from = from.unwrap_or(Mailbox { name: None, address: String::new() });
    if from.name.is_none() {
        from.name = Some(public.name.clone());
    }
    Some(Mail {
        from,
        reply_to,
        transport,
        per_recipient: raw.per_recipient,
        in_all: raw.in_all,
        give_up_after: raw.give_up_after.0,
        keep_sent: raw.keep_sent.0,
    })
}

/// Whoever opens its page reads everybody's mails, with the links that open accounts.
fn catcher(raw: &RawMail, public: &Public, p: &mut Problems) {
    if public.https {
        p.add(
            "mail.transport",
            "is \"catcher\", which shows everybody's mails to everybody, while `public.url` is https",
            "name a mail server under [mail.smtp]; the catcher is for development",
        );
    }
    if raw.smtp != RawSmtp::default() {
        p.add("mail.smtp", "is given beside `mail.transport = \"catcher\"`", "keep one of the two");
    }
}

/// `Name <address>` or `address`.
fn mailbox(key: &str, text: &str, p: &mut Problems) -> Option<Mailbox> {
    let (name, address) = match text.trim().split_once('<') {
        Some((name, rest)) => (name.trim().trim_matches('"').trim(), rest.strip_suffix('>').unwrap_or("")),
        None => ("", text.trim()),
    };
    let odd = |c: char| c.is_control() || "<>,;".contains(c);
    if name.chars().count() > LONGEST_NAME || name.contains(odd) || address.contains(odd) {
        p.add(key, "holds more than one name and one address", EXAMPLE);
        return None;
    }
    if !address.is_ascii() || EmailAddress::parse_with_options(address, GRAMMAR).is_err() {
        p.add(key, "is no address", EXAMPLE);
        return None;
    }
    let name = Some(name.to_owned()).filter(|name| !name.is_empty());
    Some(Mailbox { name, address: address.to_owned() })
}

fn smtp(raw: &RawSmtp, p: &mut Problems) -> Smtp {
    between(p, "mail.smtp.timeout", raw.timeout, Span::seconds(1), Span::minutes(10));
    between(p, "mail.smtp.connections", raw.connections, 1, 64);
    let key = "mail.smtp.host";
    let host = raw.host.as_deref().unwrap_or_default().trim();
    let bare = bare(host);
    let address: Option<IpAddr> = bare.parse().ok();
    let named = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if raw.host.is_none() {
        if !p.about(key) {
            p.add(key, "is not given", "name the mail server, or set `mail.transport = \"catcher\"`");
        }
    } else if address.is_none() && !named {
        p.add(key, "is no host name and no address", "write \"smtp.example.com\", and the port under `port`");
    }
    let near = address.map_or(bare == "localhost" || bare.ends_with(".localhost"), |ip| ip.is_loopback());
    if raw.tls == Tls::None && !near && !p.about(key) {
        p.add(
            "mail.smtp.tls",
            "is \"none\", so that everyone on the way can read links and codes",
            "write \"implicit\" or \"starttls\"; \"none\" is for a server on loopback",
        );
    }
    let port = raw.port.unwrap_or(match raw.tls {
        Tls::Implicit => 465,
        Tls::StartTls => 587,
        Tls::None => 25,
    });
    if port == 0 {
        p.add("mail.smtp.port", "is 0", "write 465, or 587 with tls = \"starttls\"");
    }
    // RFC 8314 §3.3: on one of them TLS comes first, on the other after a greeting; the wrong one waits in vain.
    for (tls, other, remedy) in [
        (Tls::Implicit, 587, "write 465, or tls = \"starttls\""),
        (Tls::StartTls, 465, "write 587, or tls = \"implicit\""),
    ] {
        if (raw.tls, port) == (tls, other) {
            p.add("mail.smtp.port", format!("{port} is the port of the other `mail.smtp.tls`"), remedy);
        }
    }
    Smtp {
        host: bare.to_owned(),
        port,
        tls: raw.tls,
        login: login(raw, p),
        ca_file: raw.ca_file.as_ref().map(Into::into),
        authorities: Vec::new(),
        timeout: raw.timeout.0,
        connections: raw.connections,
    }
}

fn login(raw: &RawSmtp, p: &mut Problems) -> Option<Login> {
    let (name, secret) = ("mail.smtp.username", "mail.smtp.password");
    match (&raw.username, &raw.password) {
        (Some(username), Some(password)) => {
            for (key, text) in [(name, username), (secret, password)] {
                let fits = |text: &String| !text.is_empty() && text.len() <= LONGEST_LOGIN;
                if !fits(text) || text.chars().any(char::is_control) {
                    p.add(
                        key,
                        "is empty, too long, or holds a control character",
                        "write it as given to you",
                    );
                }
            }
            Some(Login { username: username.clone(), password: Zeroizing::new(password.clone()) })
        }
        (Some(_), None) => {
            if !p.about(secret) && !p.about("mail.smtp.password_file") {
                p.add(secret, "is not given beside `username`", "give `password_file`");
            }
            None
        }
        (None, Some(_)) => {
            p.add(name, "is not given beside the password", "write the user name at the mail server");
            None
        }
        (None, None) => None,
    }
}
