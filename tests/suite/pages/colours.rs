//! The style sheet: that the policy allows it, and that its colours can be told apart.

use std::collections::HashMap;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidegate::ui::pages::SignOut;

use crate::pages::{USUAL, each_page, style, ui};

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
