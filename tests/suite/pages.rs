//! The pages people see: every one, in every language, as text and in a browser.

mod colours;
mod markup;
mod screens;

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use sidegate::config::provider::Kind;
use sidegate::id::{RequestId, SessionId, UserId};
use sidegate::refusal::Refusal;
use sidegate::secret::TokenHash;
use sidegate::time::Now;
use sidegate::ui::pages::account::{Access, Account, Link, Open};
use sidegate::ui::pages::leaving::{Departure, Leaving};
use sidegate::ui::pages::mailed::{Confirm, ForgotPassword, ResetPassword, Step, VerifyEmail};
use sidegate::ui::pages::refused::Refused;
use sidegate::ui::pages::verify::{NotMe, NotMeStep, VerifySignIn};
use sidegate::ui::pages::{Notice, Problem, SignIn, SignOut, SignUp, SignedIn};
use sidegate::ui::{Posting, Provider, Setup, Ui, View};
use sidegate::visitor::{Session, User};

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
    let not_me = |step| NotMe { view, step }.render();
    let named = |(name, page): (&str, String)| (name.to_owned(), page);
    let pages = [
        ("verify-signin", verify(&[], false)),
        ("verify-signin-wrong", verify(&[Problem::Refused(Refusal::CodeWrong)], false)),
        ("verify-signin-missing", verify(&[Problem::CodeMissing], false)),
        ("verify-signin-sent", verify(&[], true)),
        ("not-me", not_me(NotMeStep::Asked("a-token"))),
        ("not-me-done", not_me(NotMeStep::Secured)),
        ("not-me-closed", not_me(NotMeStep::Closed)),
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

/// Every page in every language, named `page.language`.
fn every_page_in_every_language(ui: &Ui, input: Input<'_>) -> Vec<(String, String)> {
    let in_language = |language| {
        let pages = every_page(ui.view(Some(language)), input).into_iter();
        pages.map(move |(name, html)| (format!("{name}.{language}"), html))
    };
    LANGUAGES.into_iter().flat_map(in_language).collect()
}

/// The style sheet of a page.
fn style(html: &str) -> &str {
    let (_, rest) = html.split_once("<style>").expect("a style sheet");
    rest.split_once("</style>").expect("its end").0
}
