//! A person with a real browser: signs up, signs in, gets to the page that was wanted, signs out.

use std::path::PathBuf;

use crate::support::browser::{Browser, a11y};
use crate::support::database::on_both_databases;
use crate::support::letters::{code_in, later};
use crate::support::provider::{Persona, Provider};
use crate::support::site::{PASSWORD, Site};
use crate::support::upstream::Upstream;

const NOTES: &str = "<!doctype html><html lang=en><title>Notes</title><h1>Notes of the app</h1>";

/// A phone and a desk.
const WINDOWS: [(&str, u32, u32); 2] = [("phone", 360, 740), ("desk", 1280, 800)];

/// What is wrong with the page that is open, in either window; pictures go to `SIDEGATE_PAGES_DIR` if that is
/// set.
fn inspect(browser: &Browser, name: &str) {
    for (window, width, height) in WINDOWS {
        browser.window(width, height);
        if let Some(directory) = std::env::var_os("SIDEGATE_PAGES_DIR").map(PathBuf::from) {
            std::fs::create_dir_all(&directory).expect("a directory for the pictures");
            browser.screenshot(&directory.join(format!("live-{name}.{window}.png")));
        }
        assert_eq!(a11y(browser), [""; 0], "{name} on a {window}");
    }
    // The browser notes every answer that is no 200 here, also that of a form that is shown again.
    let console: Vec<_> =
        browser.console().into_iter().filter(|line| !line.contains("status of 422")).collect();
    assert_eq!(console, [""; 0], "{name}");
}

fn has_session(browser: &Browser) -> bool {
    browser.cookies().iter().any(|cookie| cookie["name"] == "sidegate")
}

/// Waits until so many mails were caught, and opens the latest.
fn open_mail(browser: &Browser, list: &str, count: usize) {
    let caught = (0..500).any(|_| {
        browser.go(list);
        let there = browser.eval("return document.querySelectorAll('.mails li').length") == count;
        if !there {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        there
    });
    assert!(caught, "mail number {count} never came");
    browser.click(".mails a");
}

on_both_databases! {
    fn a_person_signs_up_in_and_out_and_lands_where_they_wanted_to_go(database) {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{NOTES}", NOTES.len());
        let site = Site::on(database).upstream(Upstream::answering(answer)).start();
        let browser = Browser::start();
        let at = |path: &str| format!("{}{path}", site.origin);

        browser.go(&at("/notes?tab=1"));
        assert_eq!(browser.url(), at("/auth/sign-in?callback_url=%2Fnotes%3Ftab%3D1"));
        inspect(&browser, "sign-in");
        browser.click("main ~ p a, .aside a");
        assert!(browser.url().starts_with(&at("/auth/sign-up?callback_url=")), "{}", browser.url());
        inspect(&browser, "sign-up");
        browser.fill("#name", "Ada Lovelace");
        browser.fill("#email", "ada@example.com");
        browser.fill("#password", "password1");
        browser.click("form button");
        assert!(browser.exists("#password-error") && browser.exists("[role=alert]"), "PW-5: it says why");
        inspect(&browser, "sign-up-refused");
        browser.fill("#password", PASSWORD);
        browser.click("form button");
        assert!(browser.url().contains("/auth/sign-in?") && browser.exists("[role=status]"), "{}", browser.url());
        assert!(!has_session(&browser), "EN-4: signing up signs nobody in");
        inspect(&browser, "sign-in-after-sign-up");

        assert_eq!(browser.eval("return document.querySelector('#email').value"), "ada@example.com", "typed once");
        browser.fill("#password", "not the right phrase");
        browser.click("form button");
        assert!(browser.title().starts_with("Problem"), "{}", browser.title());
        assert_eq!(browser.eval("return document.querySelector('#email').value"), "ada@example.com");
        assert_eq!(browser.eval("return document.querySelector('#password').value"), "");
        inspect(&browser, "sign-in-wrong");
        browser.click("[role=alert] a");
        assert_eq!(browser.eval("return document.activeElement.id"), "email", "the summary leads to the field");
        browser.fill("#password", PASSWORD);
        browser.click("form button");
        assert_eq!(browser.url(), at("/notes?tab=1"));
        assert_eq!(browser.text("h1"), "Notes of the app");
        let cookie = browser.cookies().into_iter().find(|cookie| cookie["name"] == "sidegate").expect("a session");
        assert_eq!((&cookie["httpOnly"], &cookie["sameSite"]), (&true.into(), &"Lax".into()));
        assert_eq!(browser.eval("return document.cookie"), "", "no script reads it");

        browser.go(&at("/auth/sign-in"));
        assert!(browser.text("main").contains("ada@example.com"));
        inspect(&browser, "signed-in");
        browser.go(&at("/auth/sign-out?callback_url=https://evil.example/"));
        inspect(&browser, "sign-out");
        browser.click("form a");
        assert_eq!(browser.url(), at("/"), "staying leads to the start page, not off the site");
        browser.go(&at("/auth/sign-out"));
        browser.click("form button");
        assert_eq!(browser.url(), at("/auth/sign-in?notice=signed-out"));
        assert!(browser.exists("[role=status]") && !has_session(&browser));
        inspect(&browser, "signed-out");
        browser.go(&at("/notes?tab=1"));
        assert!(browser.url().contains("/auth/sign-in?"), "{}", browser.url());
    }

    fn a_person_proves_the_address_forgets_the_password_and_sets_a_new_one_by_mail(database) {
        let site = Site::on(database).set("mail", "transport = \"catcher\"").start();
        let browser = Browser::start();
        let at = |path: &str| format!("{}{path}", site.origin);

        browser.go(&at("/auth/sign-up"));
        browser.fill("#name", "Ada Lovelace");
        browser.fill("#email", "ada@example.com");
        browser.fill("#password", PASSWORD);
        browser.click("form button");
        assert_eq!(browser.url(), at("/auth/sign-in?notice=mail-sent"));
        browser.fill("#email", "ada@example.com");
        browser.fill("#password", PASSWORD);
        browser.click("form[action$='/sign-in'] button");
        assert!(browser.exists("form[action$='/send-verification-email']"), "the mail can be sent again");
        inspect(&browser, "sign-in-unproved");
        browser.click("form[action$='/send-verification-email'] button");
        assert_eq!(browser.url(), at("/auth/sign-in?notice=verification-sent"));

        open_mail(&browser, &at("/auth/dev/mail"), 2);
        browser.click(".mail a");
        assert!(browser.url().starts_with(&at("/auth/verify-email?token=")), "{}", browser.url());
        inspect(&browser, "verify-email");
        browser.fill("#password", "not the right phrase");
        browser.click("form button");
        assert!(browser.exists("#password-error"));
        inspect(&browser, "verify-email-wrong");
        browser.fill("#password", PASSWORD);
        browser.click("form button");
        assert!(browser.url() == at("/") && has_session(&browser), "{}", browser.url());

        browser.go(&at("/auth/sign-out"));
        browser.click("form button");
        browser.click("form a[href*='forgot-password']");
        inspect(&browser, "forgot-password");
        browser.fill("#email", "ada@example.com");
        browser.click("form button");
        assert_eq!(browser.url(), at("/auth/sign-in?notice=reset-sent"));
        open_mail(&browser, &at("/auth/dev/mail"), 3);
        browser.click(".mail a");
        inspect(&browser, "reset-password");
        let link = browser.url();
        browser.fill("#password", "quite another phrase");
        browser.click("form button");
        assert!(browser.url().starts_with(&at("/auth/sign-in?notice=password-reset")), "{}", browser.url());
        inspect(&browser, "sign-in-after-reset");
        browser.go(&link);
        assert!(browser.text("h1").contains("no longer valid"), "{}", browser.text("h1"));
        browser.go(&at("/auth/sign-in"));
        browser.fill("#email", "ada@example.com");
        browser.fill("#password", "quite another phrase");
        browser.click("form button");
        assert!(browser.url() == at("/") && has_session(&browser), "{}", browser.url());
    }

    fn a_person_in_a_second_browser_types_the_code_of_a_mail(database) {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{NOTES}", NOTES.len());
        let site = Site::on(database).upstream(Upstream::answering(answer))
            .set("mail", "transport = \"catcher\"").set("unusual", "mode = \"strict\"").start();
        site.sign_up("ada@example.com");
        site.block_on(site.database.execute(r#"UPDATE "user" SET "emailVerified" = TRUE"#));
        site.signed_in("ada@example.com");
        let browser = Browser::start();
        let at = |path: &str| format!("{}{path}", site.origin);

        browser.go(&at("/notes?tab=1"));
        browser.fill("#email", "ada@example.com");
        browser.fill("#password", PASSWORD);
        browser.click("form button");
        assert_eq!(browser.url(), at("/auth/verify-signin"));
        assert!(!has_session(&browser));
        inspect(&browser, "verify-signin");
        browser.go(&at("/notes"));
        assert_eq!(browser.url(), at("/auth/verify-signin"), "PEN-2");
        browser.fill("#code", "0000 000");
        browser.click("form[action$='/verify-signin'] button");
        assert!(browser.exists("#code-error"));
        inspect(&browser, "verify-signin-wrong");
        later(&site, std::time::Duration::from_secs(1));
        browser.click("form[action$='/resend'] button");
        assert!(browser.exists("[role=status]"));
        inspect(&browser, "verify-signin-sent");

        open_mail(&browser, &at("/auth/dev/mail"), 3);
        let code = code_in(&browser.text(".mail"));
        browser.go(&at("/auth/verify-signin"));
        browser.fill("#code", &code);
        browser.click("form[action$='/verify-signin'] button");
        assert_eq!(browser.url(), at("/notes?tab=1"));
        assert_eq!(browser.text("h1"), "Notes of the app");
        assert!(has_session(&browser));
        browser.go(&at("/auth/sign-out"));
        browser.click("form button");
        browser.fill("#email", "ada@example.com");
        browser.fill("#password", PASSWORD);
        browser.click("form button");
        assert!(browser.url() == at("/") && has_session(&browser), "it is known now: {}", browser.url());
    }

    fn a_person_looks_after_the_own_account(database) {
        let provider = Provider::start();
        provider.is_visited_by(Persona::new("ada-there", "ada@example.com"));
        let site = Site::on(database)
            .toml(&provider.toml("corp", "name = \"Example Corp\"\ntrust_email = true"))
            .start();
        provider.follow(&site.clock);
        provider.register(&[&format!("{}/auth/callback/corp", site.origin)]);
        site.sign_up("ada@example.com");
        let (phone, _) = site.signed_in("ada@example.com");
        let browser = Browser::start();
        let at = |path: &str| format!("{}{path}", site.origin);
        let unfold = |n: u32| browser.eval(&format!("document.querySelectorAll('details')[{n}].open = true"));

        browser.go(&at("/auth/account"));
        assert_eq!(browser.url(), at("/auth/sign-in?callback_url=%2Fauth%2Faccount"));
        assert!(browser.exists("a[href^='/auth/sign-in/corp?']"));
        inspect(&browser, "sign-in-with-provider");
        browser.fill("#email", "ada@example.com");
        browser.fill("#password", PASSWORD);
        browser.click("form button");
        assert_eq!(browser.url(), at("/auth/account"));
        inspect(&browser, "account");

        browser.fill("#name", "Ada & <b>Lovelace</b>");
        browser.click("form[action$='update-user'] button");
        assert_eq!(browser.url(), at("/auth/account?notice=name-saved"));
        assert_eq!(browser.eval("return document.querySelector('#name').value"), "Ada & <b>Lovelace</b>");
        inspect(&browser, "account-saved");

        // The form ends on another site, which the policy would forbid to a redirect.
        browser.click("form[action$='link-social'] button");
        browser.arrive_at(&at("/auth/account?notice=method-linked"));
        assert!(browser.exists("[role=status]") && !browser.exists("form[action$='link-social']"));
        inspect(&browser, "account-linked");
        browser.click("form[action$='unlink-account'] button");
        assert_eq!(browser.url(), at("/auth/account?notice=method-unlinked"));

        unfold(0);
        inspect(&browser, "account-unfolded");
        browser.fill("#current-password", "not the right phrase");
        browser.fill("#new-password", "another long and private phrase");
        browser.click("form[action$='change-password'] button");
        assert_eq!(browser.url(), at("/auth/account?problem=INVALID_PASSWORD"));
        assert!(browser.exists("[role=alert]"));
        unfold(0);
        browser.fill("#current-password", PASSWORD);
        browser.fill("#new-password", "another long and private phrase");
        browser.click("form[action$='change-password'] button");
        assert_eq!(browser.url(), at("/auth/account?notice=password-changed"));
        assert!(!browser.exists("form[action$='revoke-session']"), "the phone is out");
        drop(phone);

        unfold(1);
        browser.fill("#delete-password", "another long and private phrase");
        browser.click("form[action$='delete-user'] button");
        assert_eq!(browser.url(), at("/auth/sign-in?notice=account-deleted"));
        assert!(!has_session(&browser));
    }
}
