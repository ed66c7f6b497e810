//! An e-mail address in its one canonical form: normalised first, then judged, then used everywhere.
//!
//! The order is the point: an address that is judged and normalised afterwards can change its
//! meaning in between (GHSA-7rqj-j65f-68wh: a full-width `＠` that becomes `@`).

use std::fmt;

use email_address::{EmailAddress, Options};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use url::Host;

use crate::refusal::Refusal;

/// Longest address, in bytes (RFC 5321 §4.5.3.1.3 less the two brackets).
const LONGEST: usize = 254;

/// What an address may look like: `local@host.tld`, no name beside it, no `[literal]`.
const GRAMMAR: Options =
    Options { minimum_sub_domains: 2, allow_domain_literal: false, allow_display_text: false };

/// One address of one mailbox: lower case, NFC, the domain in its ASCII form. It is what is
/// compared, stored, counted and written to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Email(String);

impl Email {
    /// Reads what somebody typed; `InvalidEmail` unless it is exactly one address that every
    /// reader reads in the same way.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        Self::canonical(text).ok_or(Refusal::InvalidEmail)
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What [`mailbox()`] says of it.
    pub fn mailbox(&self) -> String {
        mailbox(&self.0)
    }

    fn canonical(text: &str) -> Option<Self> {
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return None;
        }
        let text: String = text.nfc().collect::<String>().to_lowercase().nfc().collect();
        // A mail server that folds compatibility forms would deliver it to somebody else.
        if !text.nfkc().eq(text.chars()) {
            return None;
        }
        let (local, domain) = text.split_once('@')?;
        if domain.contains('@') || !plain_local(local) || !plain_domain(domain) {
            return None;
        }
        let Ok(Host::Domain(domain)) = Host::parse(domain) else { return None };
        let address = format!("{local}@{domain}");
        let sound = address.len() <= LONGEST
            && plain_domain(&domain)
            && EmailAddress::parse_with_options(&address, GRAMMAR).is_ok();
        sound.then_some(Self(address))
    }
}

/// An address without its `+tag`, under which most mail systems deliver to the same mailbox (RFC 5233): what mails
/// are counted by, so that nobody is flooded through invented tags. It is never written to.
pub fn mailbox(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_owned() };
    match local.split_once('+') {
        Some((base, _)) if !base.is_empty() => format!("{base}@{domain}"),
        _ => address.to_owned(),
    }
}

/// Whether the local part has no second meaning: quoting hides an `@` or a comma (RFC 5321
/// §4.1.2), `%` and `!` are routes of old (RFC 5321 §5.1, appendix C), `=?` begins an encoded
/// word that some mailers decode (RFC 2047 §5).
fn plain_local(local: &str) -> bool {
    !local.contains(['"', '%', '!']) && !local.contains("=?")
}

/// Whether these are the characters of host names (RFC 1123 §2.1) and of words; `Host::parse`
/// alone would decode `%2e`, take `_`, drop invisible characters and read other stops as a dot.
fn plain_domain(domain: &str) -> bool {
    domain.chars().all(|c| match c {
        '-' | '.' => true,
        c => c.is_ascii_alphanumeric() || !c.is_ascii() && (c.is_alphanumeric() || is_combining_mark(c)),
    })
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_mailbox_are_one_address() {
        // GHSA-hjj4-hfjm-fmrj: the keys of a limiter counted these apart.
        for (typed, canonical) in [
            ("ada@example.com", "ada@example.com"),
            ("ADA@EXAMPLE.COM", "ada@example.com"),
            (" \tAda@Example.com \r\n", "ada@example.com"),
            ("rene\u{301}@example.com", "ren\u{e9}@example.com"),
            ("ada@b\u{fc}cher.example", "ada@xn--bcher-kva.example"),
            ("ada@BU\u{308}CHER.example", "ada@xn--bcher-kva.example"),
            ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
            ("o'neil+tag_1@mail.example.co.uk", "o'neil+tag_1@mail.example.co.uk"),
            ("\u{c5}ngstr\u{f6}m@example.com", "\u{e5}ngstr\u{f6}m@example.com"),
        ] {
            let email = Email::parse(typed).expect(typed);
            assert_eq!(email.as_str(), canonical, "{typed:?}");
            assert_eq!(Email::parse(email.as_str()), Ok(email), "the form is stable: {typed:?}");
        }
    }

    #[test]
    fn em_9_an_address_that_two_readers_would_read_differently_is_refused() {
        for bad in [
            // GHSA-7rqj-j65f-68wh: compatibility forms of `@`, `.` and letters.
            "ada\u{ff20}example.com",
            "ada\u{fe6b}example.com",
            "ada@evil.com\u{ff20}example.com",
            "ada@example\u{ff0e}com",
            "ada@example\u{3002}com",
            "\u{ff41}da@example.com",
            "\u{fb01}@example.com",
            "ada@\u{24d4}xample.com",
            // GHSA-c5c4-8r6x-56w3: a second `@`, also in quotes.
            "attacker@evil.com@company.com",
            "\"attacker@evil.com\"@company.com",
            "\"attacker\\@evil.com>\"@company.com",
            // More than one recipient, header lines, names beside the address.
            "victim@x.com,attacker@y.com",
            "victim@x.com;attacker@y.com",
            "victim@x.com attacker@y.com",
            "victim@x.com\r\nBcc: attacker@y.com",
            "victim@x.com\nattacker@y.com",
            "victim@x.com\0",
            "Ada <ada@example.com>",
            "<ada@example.com>",
            "ada(comment)@example.com",
            // Routes and encoded words.
            "attacker%evil.com@example.com",
            "evil.com!attacker@example.com",
            "=?utf-8?q?attacker=40evil.com=3e=00?=@example.com",
        ] {
            assert_eq!(Email::parse(bad), Err(Refusal::InvalidEmail), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_public_mailbox_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("a@{}.com", vec!["b".repeat(60); 5].join("."));
        for bad in [
            "",
            " ",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "ada@example.com.",
            "ada@.example.com",
            "ada@example..com",
            ".ada@example.com",
            "ada.@example.com",
            "a..da@example.com",
            "ada@-example.com",
            "ada@ex_ample.com",
            "ada@exam%70le.com",
            "ada@1.2.3.4",
            "ada@0x7f.1",
            "ada@exam\u{ad}ple.com",
            "ada@exam\u{200d}ple.com",
            "ada@[127.0.0.1]",
            "ada@[IPv6:::1]",
            "ada@xn--a.example",
            "a da@example.com",
            "a\u{200b}da@example.com",
            "a\u{a0}da@example.com",
            "a\u{202e}da@example.com",
            "a\u{85}da@example.com",
            &long_local,
            &long,
        ] {
            assert_eq!(Email::parse(bad), Err(Refusal::InvalidEmail), "{bad:?}");
        }
    }

    #[test]
    fn the_mailbox_of_an_address_is_the_one_without_its_tag() {
        for (address, counted) in [
            ("ada@example.com", "ada@example.com"),
            ("ada+shop@example.com", "ada@example.com"),
            ("ada+a+b@example.com", "ada@example.com"),
            ("+ada@example.com", "+ada@example.com"),
            ("none", "none"),
        ] {
            assert_eq!(mailbox(address), counted);
        }
    }

    #[test]
    fn the_length_that_counts_is_that_of_the_canonical_form() {
        let fits = format!("{}@{}.{}.example", "a".repeat(64), "b".repeat(63), "c".repeat(63));
        assert!(Email::parse(&fits).is_ok());
        let grows = format!("{}@{}de", "a".repeat(64), "\u{fc}.".repeat(40));
        assert!(grows.len() <= LONGEST);
        assert_eq!(Email::parse(&grows), Err(Refusal::InvalidEmail));
    }
}
