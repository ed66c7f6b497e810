//! Every mail as a variant that holds what the mail must say; the words are a typed TOML file for each
//! language, the markup is checked by the compiler.
//!
//! Nothing that a stranger chose is said in a mail as it was chosen: display names are not said at all, and
//! what is known of a browser is cut short and rid of whatever a mail program would make a link of. Subjects hold nothing but our own words and the name of the site.

use std::time::Duration;

use askama::Template;

use crate::time::Now;
use crate::ui::text::Language;

mod words;

use words::{Words, fill};

/// Longest thing in a mail that is not ours, in characters.
const LONGEST: usize = 60;

/// A mail, by what it is for. Links are absolute and made of the public origin.
#[derive(Clone, Copy)]
pub enum Mail<'a> {
    /// After signing up, or when asked for: proves the address.
    VerifyEmail {
        /// Leads to the page whose button proves it.
        link: &'a str,
        /// How long the link works.
        lifetime: Duration,
    },
    /// Somebody signed up with an address that has an account.
    AlreadyRegistered {
        /// The sign-in page, or the page of a forgotten password.
        link: &'a str,
    },
    /// A forgotten password.
    ResetPassword {
        /// Leads to the page that takes a new one.
        link: &'a str,
        /// How long the link works.
        lifetime: Duration,
    },
    /// The password was changed or set.
    PasswordChanged {
        /// When and where.
        occasion: Occasion<'a>,
        /// What to do if it was somebody else.
        link: &'a str,
    },
    /// To the new address: proves it before it counts.
    ConfirmNewEmail {
        /// Leads to the page whose button proves it.
        link: &'a str,
        /// How long the link works.
        lifetime: Duration,
    },
    /// To the old address: another one counts now.
    EmailChanged {
        /// When and where.
        occasion: Occasion<'a>,
        /// The new address.
        new: &'a str,
    },
    /// The code of a sign-in that looked unusual.
    SecurityCode {
        /// What is to be typed.
        code: &'a str,
        /// How long the code works.
        lifetime: Duration,
        /// When and where.
        occasion: Occasion<'a>,
        /// What was unusual.
        reasons: &'a [Reason],
        /// What to do if it was somebody else.
        link: &'a str,
    },
    /// A sign-in that is worth a word but needed no code.
    NewSignIn {
        /// When and where.
        occasion: Occasion<'a>,
        /// What was unusual.
        reasons: &'a [Reason],
        /// What to do if it was somebody else.
        link: &'a str,
    },
    /// A way to sign in was added.
    MethodLinked {
        /// When and where.
        occasion: Occasion<'a>,
        /// Its name: `GitHub`.
        method: &'a str,
        /// The account page.
        link: &'a str,
    },
    /// A way to sign in was taken away.
    MethodUnlinked {
        /// When and where.
        occasion: Occasion<'a>,
        /// Its name: `GitHub`.
        method: &'a str,
        /// The account page.
        link: &'a str,
    },
    /// Asks whether the account is really to go.
    DeleteAccount {
        /// Leads to the page whose button deletes it.
        link: &'a str,
        /// How long the link works.
        lifetime: Duration,
    },
    /// The account is gone.
    AccountDeleted {
        /// When and where.
        occasion: Occasion<'a>,
    },
}

/// When and where something was done.
#[derive(Clone, Copy)]
pub struct Occasion<'a> {
    /// When.
    pub at: Now,
    /// Family of browser and system: `Firefox on Linux`.
    pub device: &'a str,
    /// Coarse: a network or a country.
    pub place: Option<&'a str>,
}

/// What was unusual about a sign-in, as the person is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A browser that did not sign this account in before.
    NewBrowser,
    /// A browser without its proof, in a network where the account was used.
    KnownNetwork,
    /// Another country and another network than before.
    NewPlace,
    /// Many failed attempts just before.
    AfterFailures,
    /// The account was not used for a long time.
    Dormant,
    /// The password or the address was changed just before, by another browser.
    AfterChange,
    /// Too far from where the account was used just before.
    TooFar,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::NewBrowser,
        Self::KnownNetwork,
        Self::NewPlace,
        Self::AfterFailures,
        Self::Dormant,
        Self::AfterChange,
        Self::TooFar,
    ];
}

/// A mail that is written.
pub struct Letter {
    /// One line.
    pub subject: String,
    /// For programs that show text.
    pub text: String,
    /// For programs that show more.
    pub html: String,
}

/// What all mails share.
pub struct Mails {
    name: String,
    origin: String,
    english: Words,
    german: Words,
}

/// What a mail says, in order; both kinds of markup show it.
struct Body<'a> {
    language: Language,
    app: &'a str,
    lead: String,
    code: Option<&'a str>,
    facts: Vec<(&'a str, String)>,
    reasons_title: &'a str,
    reasons: Vec<&'a str>,
    action: Option<(&'a str, &'a str)>,
    after: String,
    footer: String,
}

#[derive(Template)]
#[template(path = "mail.subject", config = "src/ui/askama.toml", escape = "none")]
struct Subject {
    subject: String,
}

#[derive(Template)]
#[template(path = "mail.txt", config = "src/ui/askama.toml", whitespace = "preserve")]
struct Text<'a> {
    body: &'a Body<'a>,
}

#[derive(Template)]
#[template(path = "mail.html", config = "src/ui/askama.toml")]
struct Html<'a> {
    body: &'a Body<'a>,
}

impl Mails {
    /// `name` is that of the site (`public.name`), `origin` what browsers call it.
    ///
    /// # Panics
    /// If the embedded texts are not complete, which a test rules out.
    pub fn new(name: &str, origin: &str) -> Self {
        Self {
            name: name.to_owned(),
            origin: origin.to_owned(),
            english: Words::load(Language::English),
            german: Words::load(Language::German),
        }
    }

    /// Writes `mail` to the address `to`.
    ///
    /// # Panics
    /// Never: writing to a string does not fail.
    pub fn write(&self, mail: &Mail<'_>, to: &str, language: Language) -> Letter {
        let words = match language {
            Language::English => &self.english,
            Language::German => &self.german,
        };
        let text = mail.words(words);
        let lifetime = mail.lifetime().map(|life| words.lifetime(life)).unwrap_or_default();
        let (method, new) = mail.said();
        let values = [
            ("app", self.name.as_str()),
            ("origin", self.origin.as_str()),
            ("to", to),
            ("lifetime", lifetime.as_str()),
            ("method", method),
            ("new", new),
        ];
        let (occasion, reasons) = mail.seen();
        let body = Body {
            language,
            app: &self.name,
            lead: fill(&text.lead, &values),
            code: mail.code(),
            facts: occasion.map(|seen| words.facts(seen)).unwrap_or_default(),
            reasons_title: &words.facts.reasons,
            reasons: reasons.iter().map(|reason| words.reason(*reason)).collect(),
            action: mail.link().map(|link| (text.action.as_str(), link)),
            after: fill(&text.after, &values),
            footer: fill(&words.facts.footer, &values),
        };
        let subject = fill(&text.subject, &values).chars().filter(|c| !c.is_control()).collect();
        Letter {
            subject: rendered(&Subject { subject }).trim().to_owned(),
            text: rendered(&Text { body: &body }),
            html: rendered(&Html { body: &body }),
        }
    }
}

fn rendered(mail: &impl Template) -> String {
    mail.render().expect("writing to a string does not fail")
}

impl<'a> Mail<'a> {
    /// After how long the mail is worth nothing to who gets it.
    pub fn lifetime(&self) -> Option<Duration> {
        match self {
            Self::VerifyEmail { lifetime, .. }
            | Self::ResetPassword { lifetime, .. }
            | Self::ConfirmNewEmail { lifetime, .. }
            | Self::SecurityCode { lifetime, .. }
            | Self::DeleteAccount { lifetime, .. } => Some(*lifetime),
            Self::AlreadyRegistered { .. }
            | Self::PasswordChanged { .. }
            | Self::EmailChanged { .. }
            | Self::NewSignIn { .. }
            | Self::MethodLinked { .. }
            | Self::MethodUnlinked { .. }
            | Self::AccountDeleted { .. } => None,
        }
    }

    /// Whether somebody who has proved nothing can have it sent, to whatever address they like.
    pub fn anyone_can_ask(&self) -> bool {
        match self {
            Self::VerifyEmail { .. }
            | Self::AlreadyRegistered { .. }
            | Self::ResetPassword { .. }
            | Self::ConfirmNewEmail { .. } => true,
            Self::PasswordChanged { .. }
            | Self::EmailChanged { .. }
            | Self::SecurityCode { .. }
            | Self::NewSignIn { .. }
            | Self::MethodLinked { .. }
            | Self::MethodUnlinked { .. }
            | Self::DeleteAccount { .. }
            | Self::AccountDeleted { .. } => false,
        }
    }

    fn words<'w>(&self, words: &'w Words) -> &'w words::MailText {
        match self {
            Self::VerifyEmail { .. } => &words.verify_email,
            Self::AlreadyRegistered { .. } => &words.already_registered,
            Self::ResetPassword { .. } => &words.reset_password,
            Self::PasswordChanged { .. } => &words.password_changed,
            Self::ConfirmNewEmail { .. } => &words.confirm_new_email,
            Self::EmailChanged { .. } => &words.email_changed,
            Self::SecurityCode { .. } => &words.security_code,
            Self::NewSignIn { .. } => &words.new_sign_in,
            Self::MethodLinked { .. } => &words.method_linked,
            Self::MethodUnlinked { .. } => &words.method_unlinked,
            Self::DeleteAccount { .. } => &words.delete_account,
            Self::AccountDeleted { .. } => &words.account_deleted,
        }
    }

    fn code(&self) -> Option<&'a str> {
        match self {
            Self::SecurityCode { code, .. } => Some(code),
            _ => None,
        }
    }

    fn link(&self) -> Option<&'a str> {
        match self {
            Self::VerifyEmail { link, .. }
            | Self::AlreadyRegistered { link }
            | Self::ResetPassword { link, .. }
            | Self::PasswordChanged { link, .. }
            | Self::ConfirmNewEmail { link, .. }
            | Self::SecurityCode { link, .. }
            | Self::NewSignIn { link, .. }
            | Self::MethodLinked { link, .. }
            | Self::MethodUnlinked { link, .. }
            | Self::DeleteAccount { link, .. } => Some(link),
            Self::EmailChanged { .. } | Self::AccountDeleted { .. } => None,
        }
    }

    /// When and where, and what was unusual about it.
    fn seen(&self) -> (Option<Occasion<'a>>, &'a [Reason]) {
        match self {
            Self::SecurityCode { occasion, reasons, .. } | Self::NewSignIn { occasion, reasons, .. } => {
                (Some(*occasion), reasons)
            }
            Self::PasswordChanged { occasion, .. }
            | Self::EmailChanged { occasion, .. }
            | Self::MethodLinked { occasion, .. }
            | Self::MethodUnlinked { occasion, .. }
            | Self::AccountDeleted { occasion } => (Some(*occasion), &[]),
            Self::VerifyEmail { .. }
            | Self::AlreadyRegistered { .. }
            | Self::ResetPassword { .. }
            | Self::ConfirmNewEmail { .. }
            | Self::DeleteAccount { .. } => (None, &[]),
        }
    }

    /// The name of a way to sign in, which is the operator's, and a new address, which was checked to be one.
    fn said(&self) -> (&'a str, &'a str) {
        match self {
            Self::MethodLinked { method, .. } | Self::MethodUnlinked { method, .. } => (method, ""),
            Self::EmailChanged { new, .. } => ("", new),
            _ => ("", ""),
        }
    }
}

/// Somebody else's words without line ends and links, and not too long.
fn harmless(text: &str) -> String {
    let link = |word: &&str| {
        let dotted = word.split('.').filter(|part| part.chars().any(char::is_alphabetic)).count() > 1;
        !dotted && !word.contains("://") && !word.contains('@')
    };
    let words: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = words.split_whitespace().filter(link).collect();
    words.join(" ").chars().take(LONGEST).collect()
}
