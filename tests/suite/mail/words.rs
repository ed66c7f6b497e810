//! Every mail in every language: complete, and harmless whatever others put into it.

use std::collections::BTreeSet;
use std::time::Duration;

use sidegate::ui::mails::{Letter, Mail, Mails, Occasion, Reason};
use sidegate::ui::text::Language;

use super::LINK;
use crate::support::database::START;

const HOUR: Duration = Duration::from_hours(1);

/// Every mail, with these words of others in it.
fn every<'a>(others: &'a str, new: &'a str) -> Vec<Mail<'a>> {
    let occasion = Occasion { at: START, device: others, place: Some(others) };
    let (link, lifetime, reasons, method) = (LINK, HOUR, &Reason::ALL[..], "GitHub");
    vec![
        Mail::VerifyEmail { link, lifetime },
        Mail::AlreadyRegistered { link },
        Mail::ResetPassword { link, lifetime },
        Mail::PasswordChanged { occasion, link },
        Mail::ConfirmNewEmail { link, lifetime },
        Mail::EmailChanged { occasion, new },
        Mail::SecurityCode { code: "98765432", lifetime, occasion, reasons, link },
        Mail::NewSignIn { occasion, reasons, link },
        Mail::MethodLinked { occasion, method, link },
        Mail::MethodUnlinked { occasion, method, link },
        Mail::DeleteAccount { link, lifetime },
        Mail::AccountDeleted { occasion },
    ]
}

fn written(name: &str, others: &str, language: Language) -> Vec<Letter> {
    let mails = Mails::new(name, "https://harbour.test");
    every(others, "new@example.com")
        .iter()
        .map(|mail| mails.write(mail, "ada@example.com", language))
        .collect()
}

#[test]
fn every_mail_is_complete_in_every_language_and_says_whose_it_is() {
    for language in Language::ALL {
        let letters = written("Harbour Notes", "Firefox on Linux", language);
        let subjects: BTreeSet<_> = letters.iter().map(|letter| &letter.subject).collect();
        assert_eq!(subjects.len(), letters.len(), "two subjects are the same");
        for Letter { subject, text, html } in &letters {
            assert!(subject.contains("Harbour Notes") && subject.len() < 78, "{subject}");
            for body in [text, html] {
                assert!(!body.contains(['{', '}']), "a placeholder is left: {body}");
                assert!(body.contains("ada@example.com") && body.contains("https://harbour.test"), "{body}");
            }
            assert!(!text.contains("\n\n\n") && !text.starts_with('\n'), "{text:?}");
            assert!(!text.contains("&#"), "{text}");
            assert!(html.contains(&format!("lang=\"{}\"", language.tag())));
            assert_eq!(text.contains(LINK), html.contains(&format!("href=\"{LINK}\"")), "{text}");
        }
    }
    let [english, german] =
        Language::ALL.map(|language| written("Harbour Notes", "Firefox on Linux", language));
    for (english, german) in english.iter().zip(&german) {
        assert_ne!(english.subject, german.subject);
        assert_ne!(english.text, german.text);
    }
}

#[test]
fn each_mail_carries_what_its_reader_needs() {
    let letters = written("Harbour Notes", "Firefox on Linux", Language::English);
    let with = |text: &str| letters.iter().filter(|l| l.text.contains(text) && l.html.contains(text)).count();
    assert_eq!(with(LINK), 10, "all but the two after which there is nothing to do");
    assert_eq!(with("98765432"), 1);
    assert_eq!(with("2026-01-02 03:04 UTC"), 7);
    assert_eq!(with("Firefox on Linux"), 7);
    assert_eq!(with("60 minutes"), 5);
    assert_eq!(with("The country and the network are new."), 2);
    assert_eq!(with("new@example.com"), 1);
    assert_eq!(with("GitHub"), 2);
}

#[test]
fn a_link_that_is_followed_is_the_link_that_is_read() {
    for letter in written("Harbour Notes", "x", Language::English) {
        let address = |word: &str| {
            word.strip_prefix("href=\"").and_then(|rest| rest.split('"').next().map(str::to_owned))
        };
        for link in letter.html.split([' ', '\n']).filter_map(address) {
            assert_eq!(link, LINK);
            assert!(letter.text.lines().any(|line| line == LINK), "{}", letter.text);
        }
    }
}

#[test]
fn em_11_words_of_others_are_neither_markup_nor_links_nor_fields_nor_long() {
    for hostile in [
        "<script>alert(1)</script>",
        "Firefox https://evil.test/win now",
        "click www.evil.test today",
        "win at evil.test",
        "Firefox\r\nBcc: eve@evil.test\r\n\r\nHello",
        "{app}{link}{code}{to}",
        &"x".repeat(5000),
        "\u{202e}\"'><img src=x onerror=y>",
    ] {
        for language in Language::ALL {
            for Letter { subject, text, html } in written("Harbour Notes", hostile, language) {
                assert!(!subject.contains(['\r', '\n', '<']), "{subject:?}");
                for body in [&text, &html] {
                    assert!(!body.contains("evil.test"), "{body}");
                    assert!(!body.lines().any(|line| line.starts_with("Bcc:")), "{body}");
                    assert!(!body.contains(&"x".repeat(61)), "{body}");
                    assert!(!body.contains('\r'), "{body:?}");
                }
                for tag in ["<script", "<img", "onerror=y>"] {
                    assert!(!html.contains(tag), "{html}");
                }
            }
        }
    }
}

#[test]
fn the_name_of_the_site_is_no_markup_either() {
    for letter in written("<b>Nuts & Bolts</b>", "x", Language::English) {
        assert!(!letter.html.contains("<b>") && letter.html.contains("Nuts &#38; Bolts"), "{}", letter.html);
        assert!(
            letter.text.contains("<b>Nuts & Bolts</b>") && letter.subject.contains("<b>Nuts & Bolts</b>")
        );
    }
}
