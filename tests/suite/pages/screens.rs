//! Every page in a real browser.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::json;
use sidegate::ui::Ui;

use crate::pages::{Input, USUAL, every_page_in_every_language, plain, ui};
use crate::support::browser::{Browser, Scheme, a11y};

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

/// Opens or closes all that can be folded, and says how much that is.
fn fold(browser: &Browser, open: bool) -> bool {
    let folds = browser.eval(&format!(
        "const folds = [...document.querySelectorAll('details')];
        folds.forEach((fold) => {{ fold.open = {open}; }});
        return folds.length;"
    ));
    folds != json!(0)
}

/// A phone, a desktop and a phone at night.
const SCREENS: [(Scheme, u32, u32); 3] =
    [(Scheme::Light, 320, 568), (Scheme::Light, 1280, 800), (Scheme::Dark, 390, 844)];
/// The same the other way round, for pictures.
const MORE_SCREENS: [(Scheme, u32, u32); 2] = [(Scheme::Light, 390, 844), (Scheme::Dark, 1280, 800)];
/// Refusals and long words differ in width only: the narrowest screen shows what there is to see. Of these, others too.
const REFUSALS: [&str; 4] = ["not_found", "forbidden", "unauthorized", "internal"];

/// Looks at each page on each screen, folded and unfolded, and at no other page in between. In `SIDEGATE_PAGES_DIR`, if
/// set, all are left as HTML and PNG to be looked at.
fn look(ui: &Ui, pages: Vec<(String, String)>) {
    let names: Vec<_> = pages.iter().map(|(name, _)| name.clone()).collect();
    let shots = std::env::var_os("SIDEGATE_PAGES_DIR").map(PathBuf::from);
    if let Some(directory) = &shots {
        for (name, html) in &pages {
            std::fs::write(directory.join(format!("{name}.html")), html).expect("the page can be written");
        }
    }
    let (origin, _) = serve(ui, pages);
    let browser = Browser::start();
    let more = if shots.is_some() { &MORE_SCREENS[..] } else { &[] };
    let mut complaints = String::new();
    for name in &names {
        browser.go(&format!("{origin}/{name}"));
        let alike = name.starts_with("long-") || name.starts_with("refused-");
        let narrow = alike && !REFUSALS.iter().any(|part| name.contains(part));
        for (scheme, width, height) in SCREENS.iter().chain(more).copied().take(if narrow { 1 } else { 9 }) {
            browser.scheme(scheme);
            browser.window(width, height);
            for open in [false, true] {
                if !fold(&browser, open) && open {
                    break;
                }
                if let Some(directory) = &shots {
                    let fold = if open { "-unfolded" } else { "" };
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

/// All but refusals, in one language.
fn look_at_all_in(language: &str) {
    let ui = ui();
    let mut pages = every_page_in_every_language(&ui, USUAL);
    pages.retain(|(name, _)| name.ends_with(&format!(".{language}")) && !name.starts_with("refused-"));
    assert!(pages.len() > 30, "{}", pages.len());
    look(&ui, pages);
}

#[test]
fn every_page_in_english_works_in_a_browser_on_phone_and_desktop_in_light_and_dark() {
    look_at_all_in("en");
}

#[test]
fn every_page_in_german_works_in_a_browser_on_phone_and_desktop_in_light_and_dark() {
    look_at_all_in("de");
}

#[test]
fn every_refusal_works_in_a_browser() {
    let ui = ui();
    let mut pages = every_page_in_every_language(&ui, USUAL);
    pages.retain(|(name, _)| name.starts_with("refused-"));
    look(&ui, pages);
}

#[test]
fn names_and_addresses_without_any_place_to_break_fit_on_a_phone() {
    let ui = ui();
    let long = "a-very-long-name-without-any-place-to-break-".repeat(5);
    let mut pages =
        every_page_in_every_language(&ui, Input { name: &long, email: &long, callback_url: None });
    pages.retain(|(name, _)| ["sign", "refused-forbidden"].iter().any(|start| name.starts_with(start)));
    look(&ui, pages.into_iter().map(|(name, html)| (format!("long-{name}"), html)).collect());
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
