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

use crate::refusal::Refusal;
use text::{Language, Texts};

const STYLE: &str = include_str!("ui/assets/style.css");

/// What all pages share.
pub struct Ui {
    name: String,
    mount: String,
    min_length: usize,
    sign_up_open: bool,
    csp: String,
    english: Texts,
    german: Texts,
}

impl Ui {
    /// `name` is shown on every page (`public.name`), forms are sent to endpoints under `mount`
    /// (the first of `paths`), passwords have at least `min_length` characters, and the sign-in page
    /// leads to sign-up if that is open.
    ///
    /// # Panics
    /// If the embedded texts are not complete, which a test rules out.
    pub fn new(name: &str, mount: &str, min_length: usize, sign_up_open: bool) -> Self {
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
        Self {
            name: name.to_owned(),
            mount: mount.to_owned(),
            min_length,
            sign_up_open,
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
