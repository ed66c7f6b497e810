//! The pages people see: every one, in every language, as text and in a browser.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sidegate::config::provider::Kind;
use sidegate::id::{RequestId, SessionId, UserId};
use sidegate::refusal::Refusal;
use sidegate::secret::TokenHash;
use sidegate::time::Now;
use sidegate::ui::pages::account::{Access, Account, Link, Open};
use sidegate::ui::pages::leaving::{Departure, Leaving};
use sidegate::ui::pages::mailed::{Confirm, ForgotPassword, ResetPassword, Step, VerifyEmail};
use sidegate::ui::pages::refused::Refused;
use sidegate::ui::pages::verify::{NotMe, VerifySignIn};
use sidegate::ui::pages::{Notice, Problem, SignIn, SignOut, SignUp, SignedIn};
use sidegate::ui::{Posting, Provider, Setup, Ui, View};
use sidegate::visitor::{Session, User};

use crate::support::browser::{Browser, Scheme, a11y};

const LANGUAGES: [&str; 2] = ["en", "de"];

/// The least there is to set up.
fn plain<'a>(name: &'a str, mount: &'a str) -> Setup<'a> {
    Setup {
        name,
        mount,
        min_length: 8,
        sign_up_open: true,
        mail: Posting::Nowhere,
        deletion: true,
        providers: Vec::new(),
    }
}

/// Every kind of provider.
fn providers() -> Vec<Provider> {
    let provider = |id: &str, name: &str, kind| Provider { id: id.to_owned(), name: name.to_owned(), kind };
    vec![
        provider("github", "GitHub", Kind::GitHub),
        provider("google", "Google", Kind::Google),
        provider("gitlab", "GitLab", Kind::GitLab),
        provider("discord", "Discord", Kind::Discord),
        provider("microsoft", "Microsoft", Kind::Microsoft),
        provider("corp", "The Harbour Company", Kind::Oidc),
    ]
}

/// With everything that a page can offer.
fn ui() -> Ui {
    Ui::new(Setup { mail: Posting::Server, providers: providers(), ..plain("Harbour Notes", "/auth") })
}

/// What visitors and addresses bring to a page.
#[derive(Clone, Copy)]
struct Input<'a> {
    name: &'a str,
    email: &'a str,
    callback_url: Option<&'a str>,
}

const USUAL: Input<'_> =
    Input { name: "Ada Lovelace", email: "ada@example.com", callback_url: Some("/notes?tab=1&x=ä") };

fn leaving(view: View<'_>, provider: &str, why: Departure) -> String {
    Leaving { view, provider, to: "/", why }.render()
}

/// The pages of an unusual sign-in.
fn unusual_pages(view: View<'_>) -> Vec<(String, String)> {
    let verify = |problems: &[Problem], sent_again| VerifySignIn { view, problems, sent_again }.render();
    let not_me = |token| NotMe { view, token }.render();
    let named = |(name, page): (&str, String)| (name.to_owned(), page);
    let pages = [
        ("verify-signin", verify(&[], false)),
        ("verify-signin-wrong", verify(&[Problem::Refused(Refusal::CodeWrong)], false)),
        ("verify-signin-missing", verify(&[Problem::CodeMissing], false)),
        ("verify-signin-sent", verify(&[], true)),
        ("not-me", not_me(Some("a-token"))),
        ("not-me-done", not_me(None)),
    ];
    pages.into_iter().map(named).collect()
}

/// Every page in its variants, by name.
fn every_page(view: View<'_>, input: Input<'_>) -> Vec<(String, String)> {
    let Input { name, email, callback_url } = input;
    let sign_in = |email, problems: &[Problem], notice| {
        SignIn { view, email, remember: true, callback_url, problems, notice }.render()
    };
    let sign_up = |problems: &[Problem]| SignUp { view, name, email, callback_url, problems }.render();
    let wrong = [Problem::Refused(Refusal::InvalidCredentials)];
    let several = [
        Problem::NameTooLong,
        Problem::Refused(Refusal::InvalidEmail),
        Problem::Refused(Refusal::PasswordTooShort),
    ];
    let mut pages = vec![
        ("sign-in".to_owned(), sign_in("", &[], None)),
        ("sign-in-wrong".to_owned(), sign_in(email, &wrong, None)),
        ("sign-in-missing".to_owned(), sign_in("", &[Problem::EmailMissing, Problem::PasswordMissing], None)),
        (
            "sign-in-limited".to_owned(),
            sign_in(email, &[Problem::Refused(Refusal::TooManyRequests(300))], None),
        ),
        ("sign-in-signed-up".to_owned(), sign_in("", &[], Some(Notice::SignedUp))),
        ("sign-in-signed-out".to_owned(), sign_in("", &[], Some(Notice::SignedOut))),
        ("sign-up".to_owned(), sign_up(&[])),
        ("sign-up-wrong".to_owned(), sign_up(&several)),
        ("sign-up-common".to_owned(), sign_up(&[Problem::Refused(Refusal::PasswordTooCommon)])),
        ("sign-out".to_owned(), SignOut { view, who: email, callback_url }.render()),
        ("signed-in".to_owned(), SignedIn { view, who: name, callback_url }.render()),
        ("leaving".to_owned(), leaving(view, name, Departure::SignOut)),
        ("leaving-link".to_owned(), leaving(view, name, Departure::Link)),
    ];
    pages.extend(account_pages(view, input));
    pages.extend(mailed_pages(view, input));
    pages.extend(unusual_pages(view));
    for &refusal in Refusal::ALL {
        let page = Refused { view, refusal, request_id: RequestId::next(), callback_url }.render();
        pages.push((format!("refused-{}", refusal.code().to_lowercase()), page));
    }
    pages
}

/// The account page in its variants: a name and an address also come from providers and browsers.
fn account_pages(view: View<'_>, input: Input<'_>) -> Vec<(String, String)> {
    let now = Now::from_millis(1_790_000_000_000);
    let ago = |hours: u64| Now::from_millis(now.millis() - i64::try_from(hours).expect("few") * 3_600_000);
    let user = User {
        id: UserId::random(),
        name: input.name.to_owned(),
        email: input.email.to_owned(),
        email_verified: false,
        image: Some(input.email.to_owned()),
        created: ago(9000),
        updated: ago(9000),
    };
    let session = |opened, address: &str| Session {
        id: SessionId::random(),
        token: TokenHash([0; 32]),
        user: user.clone(),
        opened,
        renewed: opened,
        expires: now,
        remember: true,
        address: Some(address.to_owned()),
        agent: Some(input.name.to_owned()),
        fresh_until: now,
        stale: AtomicBool::new(false),
        over: AtomicBool::new(false),
        renewing: AtomicBool::new(false),
        assertion: OnceLock::new(),
        grant: None,
    };
    let sessions = [
        session(now, "192.0.2.7"),
        session(ago(3), input.email),
        session(ago(70), "2001:db8:1111:2222:3333:4444:5555:6666"),
    ];
    let open = |at: usize, browser, system| Open { session: &sessions[at], browser, system, own: at == 0 };
    let link = |provider: &str, since| Link { id: "row".to_owned(), provider: provider.to_owned(), since };
    let full = Access {
        password: true,
        links: vec![link("github", ago(1)), link("corp", ago(800)), link(input.name, now)],
        sessions: vec![
            open(0, Some("Firefox"), Some("Linux")),
            open(1, Some("Samsung Internet"), Some("Android")),
            open(2, None, None),
        ],
    };
    let bare = Access {
        password: false,
        links: vec![link("google", now)],
        sessions: vec![open(0, Some("Safari"), Some("iPhone"))],
    };
    let page = |access, verified, notice, problem| {
        let user = &User { email_verified: verified, ..user.clone() };
        Account { view, user, access, notice, problem, now }.render()
    };
    vec![
        ("account".to_owned(), page(Some(&full), false, None, None)),
        ("account-bare".to_owned(), page(Some(&bare), true, Some(Notice::NameSaved), None)),
        ("account-old".to_owned(), page(None, true, None, Some(Refusal::SessionNotFresh))),
        ("account-wrong".to_owned(), page(Some(&bare), false, None, Some(Refusal::PasswordTooShort))),
    ]
}

/// The pages behind links in mails: what a link carries comes from whoever made it.
fn mailed_pages(view: View<'_>, input: Input<'_>) -> Vec<(String, String)> {
    let Input { name: token, email, callback_url } = input;
    let wrong = [Problem::Refused(Refusal::InvalidPassword)];
    let unproved = [Problem::Refused(Refusal::EmailNotVerified)];
    let forgot =
        |email, problems: &[Problem]| ForgotPassword { view, email, callback_url, problems }.render();
    let reset = |problems: &[Problem]| ResetPassword { view, email, token, callback_url, problems }.render();
    let verify = |password, problems: &[Problem]| {
        VerifyEmail { view, email, token, callback_url, password, problems }.render()
    };
    let confirm = |step| Confirm { view, step, token }.render();
    let sign_in = SignIn { view, email, remember: true, callback_url, problems: &unproved, notice: None };
    vec![
        ("sign-in-unproved".to_owned(), sign_in.render()),
        ("forgot-password".to_owned(), forgot("", &[])),
        ("forgot-password-wrong".to_owned(), forgot(email, &[Problem::Refused(Refusal::InvalidEmail)])),
        ("reset-password".to_owned(), reset(&[])),
        ("reset-password-wrong".to_owned(), reset(&[Problem::Refused(Refusal::PasswordTooCommon)])),
        ("verify-email".to_owned(), verify(true, &[])),
        ("verify-email-wrong".to_owned(), verify(true, &wrong)),
        ("verify-email-own".to_owned(), verify(false, &[])),
        ("change-email".to_owned(), confirm(Step::ChangeEmail(email))),
        ("delete-user".to_owned(), confirm(Step::DeleteAccount(email))),
    ]
}

/// Calls `check` with every page in every language.
fn each_page(input: Input<'_>, check: impl Fn(&str, &str)) {
    let ui = ui();
    for language in LANGUAGES {
        for (name, html) in every_page(ui.view(Some(language)), input) {
            check(&format!("{name}.{language}"), &html);
        }
    }
}

/// A start tag, or an end tag (its name begins with `/`).
struct Tag {
    name: String,
    attributes: HashMap<String, String>,
}

impl Tag {
    fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }
}

/// The tags of a page in which every attribute value is quoted; the style sheet is skipped.
fn tags(html: &str) -> Vec<Tag> {
    let (start, rest) = html.split_once("<style>").expect("a style sheet");
    let (_, end) = rest.split_once("</style>").expect("its end");
    let page = format!("{start}{end}");
    let mut text = page.as_str();
    let mut tags = Vec::new();
    while let Some((_, tag)) = text.split_once('<') {
        let mut attributes = HashMap::new();
        let (name, mut rest) = tag.split_at(tag.find([' ', '>']).expect("a tag ends"));
        while !rest.starts_with('>') {
            rest = rest.trim_start();
            let (key, after) = rest.split_at(rest.find(['=', ' ', '>']).expect("an attribute ends"));
            let quoted = after.strip_prefix("=\"").map(|value| value.split_once('"').expect("a quote ends"));
            let (value, after) = quoted.unwrap_or(("", after));
            let twice = attributes.insert(key.to_owned(), value.to_owned());
            assert!(twice.is_none(), "<{name}> has {key} twice");
            rest = after;
        }
        tags.push(Tag { name: name.to_owned(), attributes });
        text = rest;
    }
    tags
}

#[test]
fn every_page_in_every_language_is_complete_and_well_formed() {
    each_page(USUAL, |page, html| {
        let tags = tags(html);
        let language = page.rsplit_once('.').expect("a language").1;
        let count = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
        assert_eq!(
            tags.iter().find(|tag| tag.name == "html").and_then(|tag| tag.get("lang")),
            Some(language)
        );
        assert_eq!((count("h1"), count("main"), count("title")), (1, 1, 1), "{page}");
        assert!(html.contains("Harbour Notes</title>"), "{page} does not say whose it is");
        assert!(!html.replace(style(html), "").contains(['{', '}']), "{page} shows a placeholder");

        let ids: Vec<_> = tags.iter().filter_map(|tag| tag.get("id")).collect();
        let unique: HashSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{page} uses an id twice");
        for tag in tags.iter().filter(|tag| tag.name == "input") {
            // A hidden name tells password managers whose password a form asks for.
            if tag.get("type") == Some("hidden") || tag.get("hidden").is_some() {
                continue;
            }
            let id = tag.get("id").expect("every field has an id");
            assert!(tags.iter().any(|tag| tag.name == "label" && tag.get("for") == Some(id)), "{page}: {id}");
        }
        for described in ["aria-describedby", "aria-labelledby"]
            .iter()
            .flat_map(|attribute| tags.iter().filter_map(|tag| tag.get(attribute)))
        {
            assert!(described.split(' ').all(|id| unique.contains(&id)), "{page} refers to {described}");
        }
    });
}

#[test]
fn every_tag_that_opens_is_closed_in_order() {
    each_page(USUAL, |page, html| {
        let mut open = Vec::new();
        for tag in tags(html) {
            match tag.name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop().as_deref(), Some(name), "{page}"),
                None if ["!doctype", "meta", "link", "input"].contains(&tag.name.as_str()) => {}
                None => open.push(tag.name),
            }
        }
        assert!(open.is_empty(), "{page} leaves open {open:?}");
    });
}

#[test]
fn pages_carry_no_script_no_inline_style_and_nothing_from_elsewhere() {
    each_page(USUAL, |page, html| {
        for tag in tags(html) {
            assert!(!["script", "iframe", "object", "base"].contains(&tag.name.as_str()), "{page}");
            for (key, value) in &tag.attributes {
                assert!(key != "style" && !key.starts_with("on"), "{page}: {key}");
                let address = ["href", "src", "action"].contains(&key.as_str());
                assert!(!address || value.is_empty() || value.starts_with(['/', '#']) || tag.name == "link");
            }
        }
        assert!(!style(html).contains("url(") && !style(html).contains("@import"));
    });
}

#[test]
fn what_visitors_typed_never_becomes_markup() {
    let evil = "\"'><script>alert(1)</script><b x=\"";
    each_page(Input { name: evil, email: evil, callback_url: Some(evil) }, |page, html| {
        let known =
            ["!doctype", "html", "head", "meta", "title", "link", "style", "body", "header", "main", "h1"];
        let known = [
            &known[..],
            &["p", "span", "strong", "form", "input", "label", "div", "ul", "li", "a", "button", "code"],
            &["section", "h2", "details", "summary", "time", "svg", "path", "circle"],
        ]
        .concat();
        for tag in tags(html) {
            assert!(known.contains(&tag.name.trim_start_matches('/')), "{page} has a <{}>", tag.name);
            assert!(!tag.attributes.contains_key("x"), "{page}");
        }
        assert!(!html.contains("alert(1)</"), "{page}");
    });
    let view_of = ui();
    let view = view_of.view(None);
    let page = SignUp { view, name: evil, email: evil, callback_url: Some(evil), problems: &[] }.render();
    assert_eq!(page.matches("&#60;script&#62;").count(), 3, "name, email and callback_url are shown escaped");
}

#[test]
fn a_brand_name_is_escaped_too() {
    let ui = Ui::new(plain("<b>&co", "/auth"));
    let page = SignOut { view: ui.view(None), who: "", callback_url: None }.render();
    assert!(!page.contains("<b>") && page.contains("&#60;b&#62;&#38;co</title>"));
}

#[test]
fn a_callback_that_a_browser_would_run_is_no_link() {
    let ui = ui();
    let view = ui.view(None);
    for callback_url in ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "", " /x"] {
        let callback_url = Some(callback_url);
        let sign_out = SignOut { view, who: "", callback_url }.render();
        let signed_in = SignedIn { view, who: "", callback_url }.render();
        assert!(sign_out.contains("href=\"/\"") && signed_in.contains("href=\"/\""), "{callback_url:?}");
    }
    let signed_in = SignedIn { view, who: "", callback_url: Some("/a?b=1") }.render();
    assert!(signed_in.contains("href=\"/a?b=1\""));
}

#[test]
fn the_way_back_survives_the_change_between_sign_in_and_sign_up() {
    let ui = ui();
    let view = ui.view(None);
    let callback_url = Some("/a b?c=d&e=ä");
    let sign_in =
        SignIn { view, email: "", remember: false, callback_url, problems: &[], notice: None }.render();
    let sign_up = SignUp { view, name: "", email: "", callback_url, problems: &[] }.render();
    let query = "?callback_url=%2Fa+b%3Fc%3Dd%26e%3D%C3%A4\"";
    assert!(sign_in.contains(&format!("/auth/sign-up{query}")));
    assert!(sign_up.contains(&format!("/auth/sign-in{query}")));
    assert!(sign_in.contains("name=\"callback_url\" value=\"/a b?c=d&#38;e=ä\""));
}

#[test]
fn closed_sign_up_is_not_offered_and_forms_go_to_the_mount() {
    let ui = Ui::new(Setup { min_length: 12, sign_up_open: false, ..plain("x", "/api/auth/v1") });
    let view = ui.view(None);
    let page =
        SignIn { view, email: "", remember: false, callback_url: None, problems: &[], notice: None }.render();
    assert!(!page.contains("sign-up") && page.contains("action=\"/api/auth/v1/sign-in\""));
    assert!(!page.contains("checked") && !page.contains("callback_url"));
    let page = SignUp { view, name: "", email: "", callback_url: None, problems: &[] }.render();
    assert!(page.contains("minlength=\"12\"") && page.contains("At least 12 characters"));
}

#[test]
fn password_managers_find_their_fields() {
    let ui = ui();
    let view = ui.view(None);
    let complete = |html: &str| -> Vec<(String, String)> {
        tags(html)
            .iter()
            .filter_map(|tag| Some((tag.get("name")?.to_owned(), tag.get("autocomplete")?.to_owned())))
            .collect()
    };
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    let page =
        SignIn { view, email: "", remember: false, callback_url: None, problems: &[], notice: None }.render();
    assert_eq!(complete(&page), owned(&[("email", "username"), ("password", "current-password")]));
    let page = SignUp { view, name: "", email: "", callback_url: None, problems: &[] }.render();
    assert_eq!(complete(&page), owned(&[("name", "name"), ("email", "email"), ("password", "new-password")]));
}

#[test]
fn a_problem_is_said_in_the_summary_and_tied_to_its_field() {
    let ui = ui();
    let view = ui.view(None);
    let problems = [Problem::Refused(Refusal::InvalidEmail), Problem::Refused(Refusal::PasswordTooShort)];
    let page = SignUp { view, name: "", email: "x", callback_url: None, problems: &problems }.render();
    let tags = tags(&page);
    let field = |id: &str| tags.iter().find(|tag| tag.get("id") == Some(id)).expect("the field");
    assert!(tags.iter().any(|tag| tag.get("role") == Some("alert")));
    assert!(tags.iter().any(|tag| tag.get("href") == Some("#email")));
    assert_eq!(field("email").get("aria-describedby"), Some("email-error"));
    assert_eq!(field("password").get("aria-describedby"), Some("password-error password-help"));
    assert_eq!((field("name").get("aria-invalid"), field("email").get("aria-invalid")), (None, Some("true")));
    assert!(page.contains("<title>Problem: ") && page.contains("Use at least 8 characters"));
}

#[test]
fn wrong_credentials_do_not_tell_which_field_was_wrong() {
    let ui = ui();
    let view = ui.view(None);
    let problems = [Problem::Refused(Refusal::InvalidCredentials)];
    let page = SignIn {
        view,
        email: "a@b.c",
        remember: false,
        callback_url: None,
        problems: &problems,
        notice: None,
    };
    let tags = tags(&page.render());
    for id in ["email", "password"] {
        let field = tags.iter().find(|tag| tag.get("id") == Some(id)).expect("the field");
        assert_eq!(
            (field.get("aria-invalid"), field.get("aria-describedby")),
            (Some("true"), Some("problems"))
        );
    }
    assert!(!tags.iter().any(|tag| tag.get("id").is_some_and(|id| id.ends_with("-error"))));
}

#[test]
fn notices_come_back_from_their_word_in_the_query() {
    let mut keys = HashSet::new();
    for &notice in Notice::ALL {
        assert_eq!(Notice::parse(notice.key()), Some(notice));
        assert!(keys.insert(notice.key()));
    }
    assert_eq!(Notice::parse("<script>"), None);
}

#[test]
fn every_refusal_has_a_short_message_for_programs() {
    let ui = ui();
    let messages: HashSet<_> = Refusal::ALL.iter().map(|refusal| ui.message(*refusal)).collect();
    assert_eq!(messages.len(), Refusal::ALL.len(), "two refusals share a message");
    assert!(messages.iter().all(|message| message.len() < 40 && message.is_ascii()));
    assert_eq!(ui.message(Refusal::InvalidCredentials), "Invalid email or password");
}

#[test]
fn a_wait_is_told_on_the_page() {
    let ui = ui();
    let request_id = RequestId::next();
    let refusal = Refusal::TooManyRequests(125);
    let page = Refused { view: ui.view(Some("de")), refusal, request_id, callback_url: None }.render();
    assert!(
        page.contains("3 Minuten") && page.contains("Fehler 429") && page.contains(&request_id.to_string())
    );
}

/// The style sheet of a page.
fn style(html: &str) -> &str {
    let (_, rest) = html.split_once("<style>").expect("a style sheet");
    rest.split_once("</style>").expect("its end").0
}

#[test]
fn the_policy_allows_exactly_the_style_sheet_of_the_page() {
    each_page(USUAL, |page, html| {
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, style(html).as_bytes()));
        assert!(ui().csp().contains(&format!("style-src 'sha256-{hash}';")), "{page}");
        assert!(!html.contains('\r'), "a parser would change line ends, and so the hash");
    });
    for directive in ["default-src 'none'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"]
    {
        assert!(ui().csp().split("; ").any(|part| part == directive), "{directive}");
    }
}

/// The custom properties that are colours, in the light and the dark scheme.
fn colours(css: &str) -> [HashMap<&str, [f64; 3]>; 2] {
    let (light, dark) = css.split_once("prefers-color-scheme: dark").expect("a dark scheme");
    [light, dark].map(|part| {
        let block =
            part.split_once(":root {").expect("custom properties").1.split_once('}').expect("an end").0;
        block
            .lines()
            .filter_map(|line| line.trim().strip_prefix("--")?.strip_suffix(';')?.split_once(": #"))
            .map(|(name, hex)| {
                let part =
                    |at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("two hex digits"));
                (name, [part(0), part(2), part(4)])
            })
            .collect()
    })
}

/// The contrast ratio of WCAG 2.2 (§1.4.3).
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let [r, g, b] = colour.map(|c| {
            let c = c / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn colours_have_enough_contrast_in_both_schemes() {
    let ui = ui();
    let html = SignOut { view: ui.view(None), who: "", callback_url: None }.render();
    for colours in colours(style(&html)) {
        let text = [
            ("text", "page"),
            ("text", "glow"),
            ("text", "card"),
            ("text", "field"),
            ("text", "quiet-hover"),
            ("muted", "page"),
            ("muted", "glow"),
            ("muted", "card"),
            ("accent", "page"),
            ("accent", "glow"),
            ("accent", "card"),
            ("button-text", "button"),
            ("button-text", "button-hover"),
            ("bad", "card"),
            ("bad", "bad-back"),
            ("good", "good-back"),
        ];
        let edges = [("field-edge", "card"), ("field-edge", "field"), ("button", "card"), ("bad", "field")];
        let pairs = text.map(|pair| (pair, 4.5)).into_iter().chain(edges.map(|pair| (pair, 3.0)));
        for ((front, back), least) in pairs {
            let ratio = contrast(colours[front], colours[back]);
            assert!(ratio >= least, "{front} on {back}: {ratio:.2}");
        }
    }
}

/// What a page sent: the path and the body.
type Sent = Arc<Mutex<Vec<(String, String)>>>;

/// Serves pages under the policy they are made for, and leads what is posted to `/sign-in-signed-up.en`.
/// Returns the origin and what was posted. Ends with the process.
fn serve(ui: &Ui, pages: Vec<(String, String)>) -> (String, Sent) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let csp = ui.csp().to_owned();
    let pages: HashMap<_, _> = pages.into_iter().map(|(name, html)| (format!("/{name}"), html)).collect();
    let sent = Sent::default();
    let log = Arc::clone(&sent);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let head: Vec<_> =
                reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let Some((method, path)) = head.first().and_then(|line| line.rsplit_once(' ')?.0.split_once(' '))
            else {
                continue;
            };
            let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
            let mut posted = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut posted).expect("the body follows");
            let (status, body) = match pages.get(path) {
                _ if method == "POST" => {
                    let posted = String::from_utf8(posted).expect("forms are ASCII");
                    log.lock().expect("no panic").push((path.to_owned(), posted));
                    ("303 See Other\r\nSet-Cookie: seen=1; Path=/\r\nLocation: /sign-in-signed-up.en", "")
                }
                Some(page) => ("200 OK", page.as_str()),
                None => ("404 Not Found", ""),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n\
                 Content-Security-Policy: {csp}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    (origin, sent)
}

/// Every page in every language, named `page.language`.
fn every_page_in_every_language(ui: &Ui, input: Input<'_>) -> Vec<(String, String)> {
    let in_language = |language| {
        let pages = every_page(ui.view(Some(language)), input).into_iter();
        pages.map(move |(name, html)| (format!("{name}.{language}"), html))
    };
    LANGUAGES.into_iter().flat_map(in_language).collect()
}

/// Opens all that can be folded, and says how much that is.
const UNFOLD: &str = "const folds = [...document.querySelectorAll('details')];
    folds.forEach((fold) => { fold.open = true; });
    return folds.length;";

/// In `SIDEGATE_PAGES_DIR`, if set, all pages are left as HTML and PNG to be looked at.
#[test]
fn every_page_works_in_a_browser_on_phone_and_desktop_in_light_and_dark() {
    let ui = ui();
    let long = "a-very-long-name-without-any-place-to-break-".repeat(5);
    let mut pages = every_page_in_every_language(&ui, USUAL);
    let long = Input { name: &long, email: &long, callback_url: None };
    pages.extend(
        every_page_in_every_language(&ui, long)
            .into_iter()
            .filter(|(name, _)| ["sign", "refused-forbidden"].iter().any(|start| name.starts_with(start)))
            .map(|(name, html)| (format!("long-{name}"), html)),
    );
    let names: Vec<_> = pages.iter().map(|(name, _)| name.clone()).collect();
    let shots = std::env::var_os("SIDEGATE_PAGES_DIR").map(PathBuf::from);
    if let Some(directory) = &shots {
        for (name, html) in &pages {
            std::fs::write(directory.join(format!("{name}.html")), html).expect("the page can be written");
        }
    }
    let (origin, _) = serve(&ui, pages);
    let browser = Browser::start();
    let mut complaints = String::new();
    let mut screens = vec![(Scheme::Light, 320, 568), (Scheme::Light, 1280, 800), (Scheme::Dark, 390, 844)];
    if shots.is_some() {
        screens.extend([(Scheme::Light, 390, 844), (Scheme::Dark, 1280, 800)]);
    }
    for (scheme, width, height) in screens {
        browser.scheme(scheme);
        browser.window(width, height);
        for name in &names {
            // Refusals and long words differ in width only: all are looked at on the narrowest screen.
            let alike = name.starts_with("long-") || name.starts_with("refused-");
            let shown = ["not_found", "forbidden", "unauthorized", "internal"];
            if width > 320 && alike && !shown.iter().any(|part| name.contains(part)) {
                continue;
            }
            browser.go(&format!("{origin}/{name}"));
            for unfolded in [false, true] {
                if unfolded && browser.eval(UNFOLD) == json!(0) {
                    break;
                }
                if let Some(directory) = &shots {
                    let fold = if unfolded { "-unfolded" } else { "" };
                    let whole = browser.eval("return document.documentElement.scrollHeight").as_u64();
                    let whole = whole.and_then(|whole| u32::try_from(whole).ok()).expect("a height");
                    browser.window(width, whole.max(height));
                    browser.screenshot(&directory.join(format!("{name}{fold}-{width}-{scheme:?}.png")));
                    browser.window(width, height);
                }
                for complaint in a11y(&browser) {
                    writeln!(complaints, "{name} {width} {scheme:?}: {complaint}").expect("a string grows");
                }
            }
        }
    }
    for line in browser.console() {
        writeln!(complaints, "console: {line}").expect("a string grows");
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

#[test]
fn a_form_is_sent_to_the_mount_under_the_policy_of_the_page() {
    let ui = ui();
    let (origin, sent) = serve(&ui, every_page_in_every_language(&ui, USUAL));
    let browser = Browser::start();
    browser.go(&format!("{origin}/sign-in-wrong.en"));
    assert_eq!(browser.title(), "Problem: Sign in · Harbour Notes");
    browser.fill("#email", "grace@example.com");
    browser.fill("#password", "correct horse ÿ");
    browser.click("#remember");
    browser.click("main button");
    assert_eq!(browser.url(), format!("{origin}/sign-in-signed-up.en"));
    assert!(browser.text("[role=status]").starts_with("Thanks.") && !browser.exists("[role=alert]"));
    assert_eq!(browser.cookies()[0]["name"], "seen");
    let expected = "callback_url=%2Fnotes%3Ftab%3D1%26x%3D%C3%A4&email=grace%40example.com\
                    &password=correct+horse+%C3%BF";
    let sent = sent.lock().expect("no panic");
    assert_eq!(*sent, [("/auth/sign-in".to_owned(), expected.to_owned())]);
}

#[test]
fn the_checks_of_a_page_see_what_is_wrong_with_it() {
    let page = "<!doctype html><title></title><h2>x</h2><h4>y</h4><p id=a>a</p><p id=a>b</p>\
                <input name=q><button></button><a href='#gone'>z</a><img src='data:,'>\
                <a href='/' tabindex=2>last first</a>";
    let csp = Ui::new(plain("x", "/auth"));
    let (origin, _) = serve(&csp, vec![("bad".to_owned(), page.to_owned())]);
    let browser = Browser::start();
    browser.window(320, 500);
    browser.go(&format!("{origin}/bad"));
    let found = a11y(&browser).join("\n");
    let expected =
        ["lang", "title", "main", "viewport", "h1", "skips", "twice", "alt", "no label", "autocomplete"];
    for word in expected.iter().chain(&["no name", "leads nowhere", "target of", "Tab reaches"]) {
        assert!(found.contains(word), "nothing said about {word}:\n{found}");
    }
}
