//! What holds for every proxy that asks us, and in what each of them differs from the others.

use crate::edge::Asking;
use crate::support::site::Plan;

/// Starts a proxy before a site as it is planned.
type Start = fn(fn(Plan) -> Plan) -> Option<Asking>;

/// Fields by which a client might change what is asked in `X-Forwarded-…`.
pub(crate) const FORWARDED_LIES: &str = "X-Forwarded-Uri: /public/x\r\nX-Forwarded-Method: OPTIONS\r\nX-Forwarded-For: 6.6.6.6\r\n\
        X-Original-URI: /public/x\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\n";

/// Spellings of the identity that proxies pass on whatever they think of names.
pub(crate) const SPELLINGS: &[&str] = &["X-User-Id", "X_User_Id", "x.user_id", "X-USER_ID"];

/// Paths of all kinds at which signed cookies are renewed, and what is answered there.
pub(crate) const RENEWING: &[(&str, u16)] =
    &[("/app", 200), ("/missing", 404), ("/admin/x", 403), ("/maybe/x", 200)];

/// A proxy that asks us.
pub(crate) struct Asker {
    /// Starts it with all that is around it; nothing where it is not installed.
    pub(crate) start: Start,
    /// The version of HTTP in which it asks the app.
    pub(crate) version: &'static str,
    /// Fields by which a client might change what is asked.
    pub(crate) lies: &'static str,
    /// Paths at which only the proxy asks.
    pub(crate) verifying: &'static [&'static str],
    /// Spellings of the identity that get as far as us.
    pub(crate) claims: &'static [&'static str],
    /// Whether it resolves dots in paths before it asks.
    pub(crate) resolves: bool,
    /// What a program is told that may not pass: a code, unless the proxy has words of its own.
    pub(crate) refusal: Option<&'static str>,
    /// Paths, and what is answered there, at which signed cookies are renewed.
    pub(crate) renewing: &'static [(&'static str, u16)],
    /// What it says where we cannot tell, and what where we are not there.
    pub(crate) without_us: (u16, &'static [u16]),
}

impl Asker {
    pub(crate) fn refuses_as_we_do(&self, asking: &Asking) {
        let told = asking.refuses_as_we_do();
        match self.refusal {
            Some(code) => assert_eq!(told.code(), code),
            None => assert_eq!(told.header("location"), None),
        }
    }

    pub(crate) fn believes_no_client(&self, asking: &Asking) {
        asking.believes_no_client(self.lies, self.verifying);
        asking.refuses_claimed_identities(self.claims);
    }

    pub(crate) fn withstands_climbing(&self, asking: &Asking) {
        if self.resolves {
            asking.withstands_climbing_resolved();
        } else {
            asking.withstands_climbing();
        }
    }
}

/// Tests of a proxy that asks.
macro_rules! asks {
    ($asker:expr) => {
        /// One that was started as planned, if it is installed.
        fn started(more: fn($crate::support::site::Plan) -> $crate::support::site::Plan) -> Option<Asking> {
            ($asker.start)(more)
        }

        #[test]
        fn who_may_pass_is_let_through_and_the_app_is_told_who_it_is() {
            let Some(asking) = started(|plan| plan) else { return };
            asking.lets_through($asker.version);
        }

        #[test]
        fn an_identity_is_none_of_the_clients_hops() {
            let Some(asking) = started(|plan| plan) else { return };
            asking.keeps_the_identity();
        }

        #[test]
        fn refusals_are_passed_on_as_they_are() {
            let Some(asking) = started(|plan| plan) else { return };
            $asker.refuses_as_we_do(&asking);
        }

        #[test]
        fn fa_2_fa_4_hdr_1_hdr_2_nothing_that_a_client_writes_changes_what_is_asked() {
            let Some(asking) = started(|plan| plan) else { return };
            $asker.believes_no_client(&asking);
        }

        #[test]
        fn path_10_no_path_climbs_past_the_two_of_us() {
            let Some(asking) = started(|plan| plan) else { return };
            $asker.withstands_climbing(&asking);
        }

        #[test]
        fn a_renewed_cookie_is_passed_on() {
            let Some(asking) = started(|plan| plan) else { return };
            asking.passes_a_renewed_cookie_on();
        }

        #[test]
        fn both_signed_cookies_are_passed_on_whatever_is_answered() {
            let Some(asking) = started(|plan| plan.set("session", "cookie = \"jwt\"")) else { return };
            asking.passes_both_signed_cookies_on($asker.renewing);
        }

        #[test]
        fn ses_12_a_renewed_cookie_is_kept_by_no_cache() {
            let Some(asking) = started(|plan| plan) else { return };
            asking.keeps_renewed_cookies_from_caches("/app", false);
            let signed = started(|plan| plan.set("session", "cookie = \"jwt\"")).expect("as before");
            for path in ["/app", "/missing"] {
                signed.keeps_renewed_cookies_from_caches(path, true);
            }
        }

        #[test]
        fn bodies_are_passed_on_and_not_asked_about() {
            let Some(asking) = started(|plan| plan) else { return };
            asking.passes_bodies_on();
        }

        #[test]
        fn fa_3_who_speaks_grpc_is_no_friend() {
            let Some(asking) = started(|plan| plan) else { return };
            asking.lets_no_call_through();
        }

        #[test]
        fn fa_3_nobody_passes_without_us() {
            let Some(asking) = started(|plan| plan) else { return };
            let (unsure, gone) = $asker.without_us;
            asking.denies_without_us(unsure, gone);
        }
    };
}

pub(crate) use asks;
