//! The pages that people see: prepared once from the configuration, rendered in the visitor's language.
//!
//! No page needs JavaScript or anything from elsewhere. The style sheet stands in the page, and
//! [`Ui::csp`] allows it by its hash; nothing else may load, run or frame the page.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub mod mails;
pub mod pages;
pub mod text;

use crate::config::provider::Kind;
use crate::refusal::Refusal;
use text::{Language, Texts};

const STYLE: &str = include_str!("ui/assets/style.css");

/// What the pages are made from.
pub struct Setup<'a> {
    /// Shown on every page (`public.name`).
    pub name: &'a str,
    /// Where forms and links lead: the first of `paths`.
    pub mount: &'a str,
    /// Fewest characters of a password.
    pub min_length: usize,
    /// Whether the sign-in page leads to sign-up.
    pub sign_up_open: bool,
    /// What becomes of mails: the pages lead to what needs them.
    pub mail: Posting,
    /// Whether people can delete their own account.
    pub deletion: bool,
    /// Who else can say who somebody is, in the order of the buttons.
    pub providers: Vec<Provider>,
}

/// What becomes of mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posting {
    /// There are none.
    Nowhere,
    /// A mail server takes them.
    Server,
    /// They are kept in memory, and shown to whoever develops.
    Catcher,
}

/// A provider as the pages show one.
pub struct Provider {
    /// Its place in addresses: `/auth/sign-in/{id}`.
    pub id: String,
    /// Its name on the button.
    pub name: String,
    /// What it is, which decides on the glyph beside the name.
    pub kind: Kind,
}

/// What all pages share.
pub struct Ui {
    name: String,
    mount: String,
    min_length: usize,
    sign_up_open: bool,
    mail: Posting,
    deletion: bool,
    providers: Vec<Provider>,
    csp: String,
    english: Texts,
    german: Texts,
}

impl Ui {
    /// Prepares the pages.
    ///
    /// # Panics
    /// If the embedded texts are not complete, which a test rules out.
    pub fn new(setup: Setup<'_>) -> Self {
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
        Self {
            name: setup.name.to_owned(),
            mount: setup.mount.to_owned(),
            min_length: setup.min_length,
            sign_up_open: setup.sign_up_open,
            mail: setup.mail,
            deletion: setup.deletion,
            providers: setup.providers,
            csp: format!(
                "default-src 'none'; style-src 'sha256-{hash}'; img-src 'self' data:; form-action 'self'; \
                 base-uri 'none'; frame-ancestors 'none'"
            ),
            english: Texts::load(Language::English),
            german: Texts::load(Language::German),
        }
    }

    /// The value of `Content-Security-Policy` for every page.
    pub fn csp(&self) -> &str {
        &self.csp
    }

    /// The pages in the language that the visitor's `Accept-Language` prefers. Answers that depend
    /// on it say `Vary: Accept-Language`.
    pub fn view(&self, accept_language: Option<&str>) -> View<'_> {
        let language = Language::preferred(accept_language);
        let texts = match language {
            Language::English => &self.english,
            Language::German => &self.german,
        };
        View { ui: self, language, texts }
    }

    /// Whether there is mail.
    fn mails(&self) -> bool {
        self.mail != Posting::Nowhere
    }

    /// Whether mails are caught here: the pages lead to them too.
    fn caught(&self) -> bool {
        self.mail == Posting::Catcher
    }

    /// The short English `message` of a JSON answer.
    pub fn message(&self, refusal: Refusal) -> &str {
        &self.english.refusal(refusal).headline
    }
}

/// What a page is rendered with: the shared [`Ui`] and the texts of one language.
#[derive(Clone, Copy)]
pub struct View<'a> {
    ui: &'a Ui,
    language: Language,
    texts: &'a Texts,
}

impl View<'_> {
    /// The language of the page, for `Content-Language`.
    pub fn language(&self) -> Language {
        self.language
    }
}
