//! Every page as text: complete, closed, escaped.

use std::collections::{HashMap, HashSet};

use sidegate::id::RequestId;
use sidegate::refusal::Refusal;
use sidegate::ui::pages::refused::Refused;
use sidegate::ui::pages::{Notice, Problem, SignIn, SignOut, SignUp, SignedIn};
use sidegate::ui::{Setup, Ui};

use crate::pages::{Input, USUAL, each_page, plain, style, ui};

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
