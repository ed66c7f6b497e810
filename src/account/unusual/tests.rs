//! Each rule and each mode, as a table.

use super::*;
use Outcome::{Challenge, Notice, Trust};

const NOW: Now = Now::from_millis(1_767_323_045_678);
const MODES: [Mode; 4] = [Mode::Off, Mode::Notify, Mode::Balanced, Mode::Strict];

const BERLIN: Fix = Fix { latitude: 52.52, longitude: 13.405, radius: 20 };
const PARIS: Fix = Fix { latitude: 48.857, longitude: 2.352, radius: 20 };
const SYDNEY: Fix = Fix { latitude: -33.87, longitude: 151.21, radius: 20 };

fn ago(duration: Duration) -> Now {
    Now::from_millis(NOW.millis() - i64::try_from(duration.as_millis()).expect("short enough"))
}

fn place(network: &str, country: &str, asn: u32, fix: Fix) -> Place {
    Place { network: network.into(), country: Some(country.into()), asn: Some(asn), fix: Some(fix) }
}

fn home(at: Now) -> Sighting {
    Sighting { at, agent: "Firefox on Linux".into(), place: place("192.0.2.0/24", "DE", 1, BERLIN) }
}

fn elsewhere(at: Now) -> Sighting {
    Sighting { at, agent: "Chrome on Windows".into(), place: place("198.51.100.0/24", "DE", 2, BERLIN) }
}

/// Somebody at home, in a browser that signed in yesterday.
fn usual() -> Signs {
    Signs {
        proof: Proof::Password,
        applies: true,
        here: home(NOW),
        known: Some(ago(DAY)),
        trusted: vec![home(ago(DAY))],
        never: false,
        created: ago(DAY * 300),
        last: Some(ago(DAY)),
        guesses: 0,
        changed_elsewhere: false,
    }
}

/// Somebody in a browser that nothing is known of.
fn new_browser() -> Signs {
    Signs { known: None, here: elsewhere(NOW), ..usual() }
}

/// What fires, and what follows in each mode.
fn check(what: &str, signs: &Signs, rules: &str, outcomes: [Outcome; 4]) {
    for (mode, outcome) in MODES.into_iter().zip(outcomes) {
        let judged = judge(mode, signs);
        assert_eq!((judged.names().as_str(), judged.outcome), (rules, outcome), "{what}, {mode:?}");
    }
}

#[test]
fn the_browser_decides_first() {
    check("known", &usual(), "R2", [Trust; 4]);
    check("known long ago", &Signs { known: Some(ago(DAY * 90)), ..usual() }, "R2", [Trust; 4]);
    let forgotten = Signs { known: Some(ago(DAY * 91)), here: elsewhere(NOW), ..usual() };
    check("known too long ago", &forgotten, "R4", [Trust, Notice, Challenge, Challenge]);
    check("new", &new_browser(), "R4", [Trust, Notice, Challenge, Challenge]);
    let cleared = Signs { known: None, ..usual() };
    check("cookies cleared at home", &cleared, "R3", [Trust, Trust, Notice, Challenge]);
    let other_agent =
        Signs { here: Sighting { agent: "Chrome on Linux".into(), ..home(NOW) }, ..new_browser() };
    check("another browser at home", &other_agent, "R4", [Trust, Notice, Challenge, Challenge]);
    let moved = Signs { here: Sighting { place: elsewhere(NOW).place, ..home(NOW) }, ..new_browser() };
    check("the same browser elsewhere", &moved, "R4", [Trust, Notice, Challenge, Challenge]);
    let away = Signs { known: None, trusted: vec![home(ago(DAY * 31))], ..usual() };
    check("home a month ago", &away, "R4", [Trust, Notice, Challenge, Challenge]);
    let nobody = Signs { trusted: Vec::new(), ..new_browser() };
    check("no browser is trusted", &nobody, "R4", [Trust, Notice, Challenge, Challenge]);
}

#[test]
fn the_first_sign_in_ever_is_trusted_while_the_account_is_new() {
    let first = Signs { never: true, last: None, created: ago(DAY), trusted: Vec::new(), ..new_browser() };
    check("first", &first, "R0", [Trust; 4]);
    let old = Signs { created: ago(DAY * 181), ..first };
    check("first, to an old account", &old, "R4", [Trust, Notice, Challenge, Challenge]);
}

#[test]
fn a_strong_proof_and_a_provider_that_is_believed_are_enough() {
    let strong = Signs { proof: Proof::Strong, guesses: 9, changed_elsewhere: true, ..new_browser() };
    check("strong", &strong, "R1", [Trust; 4]);
    let mailbox = Signs { proof: Proof::Mailbox, guesses: 9, ..new_browser() };
    check("mailbox", &mailbox, "R0", [Trust; 4]);
    let provider = Signs { proof: Proof::Provider, applies: false, guesses: 9, ..new_browser() };
    check("provider", &provider, "R9", [Trust; 4]);
    let judged = Signs { applies: true, ..provider };
    check("provider, held against the rules", &judged, "R4 R6", [Trust, Notice, Challenge, Challenge]);
}

#[test]
fn guesses_and_changes_from_elsewhere_and_a_long_silence_make_it_suspicious() {
    let guessed = Signs { guesses: 5, ..usual() };
    check("guesses", &guessed, "R2 R6", [Trust, Notice, Notice, Challenge]);
    check("few guesses", &Signs { guesses: 4, ..usual() }, "R2", [Trust; 4]);
    let cleared = Signs { guesses: 5, known: None, ..usual() };
    check("guesses, cookies cleared", &cleared, "R3 R6", [Trust, Notice, Challenge, Challenge]);
    let changed = Signs { changed_elsewhere: true, ..usual() };
    check("changed", &changed, "R2 R7-change", [Trust, Notice, Notice, Challenge]);
    let changed = Signs { changed_elsewhere: true, known: None, ..usual() };
    check("changed, cookies cleared", &changed, "R3 R7-change", [Trust, Notice, Challenge, Challenge]);
    let dormant = Signs { last: Some(ago(DAY * 181)), ..new_browser() };
    check("dormant", &dormant, "R4 R7", [Trust, Notice, Challenge, Challenge]);
    let both = Signs { changed_elsewhere: true, ..dormant };
    check("dormant and changed", &both, "R4 R7 R7-change", [Trust, Notice, Challenge, Challenge]);
    check("not dormant", &Signs { last: Some(ago(DAY * 180)), ..usual() }, "R2", [Trust; 4]);
}

#[test]
fn a_new_country_with_a_new_operator_is_noticed() {
    let at = |country: &str, asn| {
        let place = Place { fix: None, ..place("203.0.113.0/24", country, asn, BERLIN) };
        Signs { here: Sighting { place, ..home(NOW) }, ..usual() }
    };
    check("both new", &at("FR", 3), "R2 R5", [Trust, Trust, Notice, Challenge]);
    check("the same operator", &at("FR", 1), "R2", [Trust; 4]);
    check("the same country", &at("DE", 3), "R2", [Trust; 4]);
    let mut blind = at("FR", 3);
    blind.here.place.asn = None;
    check("operator not known", &blind, "R2", [Trust; 4]);
    let mut blind = at("FR", 3);
    blind.trusted[0].place.country = None;
    check("nothing to compare with", &blind, "R2", [Trust; 4]);
    let mut two = at("FR", 3);
    two.trusted.push(Sighting { place: place("203.0.113.0/24", "FR", 9, BERLIN), ..home(ago(DAY * 20)) });
    check("another browser was there", &two, "R2", [Trust; 4]);
    two.trusted[1].at = ago(DAY * 91);
    check("long ago", &two, "R2 R5", [Trust, Trust, Notice, Challenge]);
}

#[test]
fn nobody_travels_faster_than_an_aeroplane() {
    let to = |fix, hours| {
        let mut signs = usual();
        signs.trusted[0].at = ago(HOUR * hours);
        signs.here.place.fix = Some(fix);
        signs
    };
    check("Sydney within a day", &to(SYDNEY, 17), "R2 R8", [Trust, Notice, Notice, Challenge]);
    check("Sydney by aeroplane", &to(SYDNEY, 18), "R2", [Trust; 4]);
    check("Paris within the hour", &to(PARIS, 0), "R2 R8", [Trust, Notice, Notice, Challenge]);
    check("Paris in an hour", &to(PARIS, 1), "R2", [Trust; 4]);
    let near = Fix { latitude: 50.0, ..BERLIN };
    check("280 km at once", &to(near, 0), "R2", [Trust; 4]);
    let vague = Fix { radius: 51, ..SYDNEY };
    check("a vague position", &to(vague, 0), "R2", [Trust; 4]);
    let mut hidden = to(SYDNEY, 0);
    hidden.trusted[0].place.fix = None;
    check("no earlier position", &hidden, "R2", [Trust; 4]);
}

#[test]
fn no_mode_does_less_than_a_milder_one() {
    for rule in Rule::ALL {
        assert_eq!(Rule::parse(rule.name()), Some(rule), "and each has a name of its own");
        for known in [false, true] {
            let outcomes = MODES.map(|mode| rule.outcome(mode, known));
            assert!(outcomes.is_sorted() && outcomes[0] == Trust, "{rule:?} {outcomes:?}");
        }
    }
}
