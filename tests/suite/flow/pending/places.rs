//! Where a sign-in comes from, with files that know where addresses are.

use std::net::Ipv4Addr;

use serde_json::Value as Json;

use super::{ADA, FIREFOX, hours, last_letter, log, mails, prove_mailboxes, watchful};
use crate::flow::credentials;
use crate::support::database::{Database, on_both_databases};
use crate::support::geo::{country, file, operator};
use crate::support::letters::later;
use crate::support::site::Site;
use crate::support::visitor::Visitor;

const BERLIN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 0);
const SYDNEY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 0);

/// A site that knows two places, in this mode, with these networks counted as hiding places.
fn site(database: Database, mode: &str, anonymizers: &str) -> (Site, tempfile::TempDir) {
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| home.path().join(name);
    let places = [(BERLIN, country("DE", 52.52, 13.405)), (SYDNEY, country("AU", -33.87, 151.21))];
    std::fs::write(path("places.mmdb"), file(&places)).expect("written");
    std::fs::write(path("asn.mmdb"), file(&[(BERLIN, operator(1)), (SYDNEY, operator(2))])).expect("written");
    std::fs::write(path("hidden.txt"), anonymizers).expect("written");
    let geo = format!(
        "country_file = \"{0}/places.mmdb\"\nasn_file = \"{0}/asn.mmdb\"\nanonymizers_file = \"{0}/hidden.txt\"",
        home.path().display()
    );
    let plan = watchful(database)
        .set("geo", &geo)
        .set("unusual", &format!("mode = \"{mode}\""))
        .set("proxies", "trusted = [\"127.0.0.1/32\"]");
    (plan.start(), home)
}

/// Ada's browser, and what it hears when it signs in from this place.
fn signs_in(ada: &mut Visitor, from: Ipv4Addr) -> Json {
    ada.cookies.remove("sidegate");
    ada.headers.retain(|(name, _)| name != "X-Forwarded-For");
    ada.headers.push(("X-Forwarded-For".to_owned(), Ipv4Addr::from_bits(from.to_bits() + 7).to_string()));
    let response = ada.post("/auth/sign-in/email", &credentials(ADA));
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn ada(site: &Site) -> Visitor {
    site.sign_up(ADA);
    prove_mailboxes(site);
    super::browser(site, FIREFOX)
}

on_both_databases! {
    fn r5_a_new_country_is_noticed_in_a_known_browser(database) {
        let (site, _home) = site(database, "balanced", "# none\n");
        let mut ada = ada(&site);
        signs_in(&mut ada, BERLIN);
        later(&site, hours(48));
        assert_eq!(signs_in(&mut ada, SYDNEY)["user"]["email"], ADA);
        assert!(last_letter(&site).text.contains("AU, 198.51.100.0/24"), "{}", last_letter(&site).text);
        assert_eq!(mails(&site).len(), 1);
        assert_eq!(signs_in(&mut ada, SYDNEY)["user"]["email"], ADA);
        assert_eq!(mails(&site).len(), 1, "it is new once");
        assert_eq!(log(&site), ["yes - R0", "yes - R2", "yes - R2 R5"]);
    }

    fn r8_an_impossible_journey_is_asked_for_a_code_when_strict(database) {
        let (site, _home) = site(database, "strict", "");
        let mut ada = ada(&site);
        signs_in(&mut ada, BERLIN);
        later(&site, hours(2));
        assert_eq!(signs_in(&mut ada, SYDNEY)["pending"], true);
        assert_eq!(log(&site), ["no NEEDS_SIGN_IN_VERIFICATION R2 R5 R8", "yes - R0"]);
    }

    fn r8_a_place_that_hides_where_somebody_is_counts_for_no_journey(database) {
        let (site, _home) = site(database, "strict", "203.0.113.9\n198.51.100.0/24 # a VPN\n");
        let mut ada = ada(&site);
        signs_in(&mut ada, BERLIN);
        later(&site, hours(2));
        assert_eq!(signs_in(&mut ada, SYDNEY)["pending"], true);
        assert_eq!(log(&site), ["no NEEDS_SIGN_IN_VERIFICATION R2 R5", "yes - R0"]);
    }
}
