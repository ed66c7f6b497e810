//! The names of header fields that a client may not send on to the app, in any spelling.

use crate::config::Identity;

/// Fields that belong to one connection (RFC 9110 §7.6.1), in either direction.
pub(super) const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authorization",
    "proxy-authenticate",
    "http2-settings",
];

/// Whether a field, its name in lower case, belongs to one connection.
pub(super) fn hop_by_hop(name: &[u8]) -> bool {
    HOP_BY_HOP.iter().any(|known| known.as_bytes() == name)
}

/// Request fields that only we write, or that would say who the client is.
const OURS: &[&str] = &[
    "content-length",
    "expect",
    "cookie",
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "proxy-client-ip",
    "wl-proxy-client-ip",
    "x-originating-ip",
    "x-cluster-client-ip",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    // RFC 9440 §2.
    "client-cert",
    "client-cert-chain",
    "x-user-id",
    "x-user",
    "x-user-email",
    "x-user-name",
    "x-user-roles",
    "x-user-groups",
    "x-forwarded",
    "remote-user",
    "remote-email",
    "remote-name",
    "remote-groups",
];

/// Request fields that would make the app see another request than the gate saw, or send another file.
const OTHER_REQUEST: &[&str] = &[
    "x-original-url",
    "x-original-uri",
    "x-original-method",
    "x-original-host",
    "x-original-path",
    "x-rewrite-url",
    "x-override-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-http-host-override",
    "x-host",
    "x-middleware-subrequest",
    "x-envoy-original-path",
    "x-waws-unencoded-url",
    "x-arr-original-url",
    "x-request-uri",
    "request-uri",
    "x-http-path-override",
    "x-invoke-path",
    "x-matched-path",
    "x-now-route-matches",
    "x-middleware-rewrite",
    "script-name",
    "x-script-name",
    "path-info",
    "x-sendfile-type",
    "x-accel-mapping",
    // As `HTTP_PROXY` it would choose the proxy of a CGI program.
    "proxy",
];

/// Request fields that say how the rest is to be taken: where it acts, under which conditions, on whose behalf, in which
/// form. None of them has a place behind the body (RFC 9110 §6.5.1), where nobody judges it.
const NEVER_LATE: &[&str] = &[
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "depth",
    "destination",
    "from",
    "if",
    "last-event-id",
    "lock-token",
    "max-forwards",
    "origin",
    "overwrite",
    "pragma",
    "prefer",
    "priority",
    "range",
    "referer",
    "timeout",
    "user-agent",
];

/// Families of such names.
const NEVER_LATE_FAMILIES: &[&str] =
    &["accept", "access-control-", "if-", "sec-", "x-csrf", "x-requested-", "x-xsrf"];

/// Whether a request field must not come behind the body, in any spelling.
pub(super) fn never_late(name: &[u8]) -> bool {
    NEVER_LATE.iter().any(|known| reads_as(name, known.as_bytes()))
        || NEVER_LATE_FAMILIES.iter().any(|family| starts_folded(name, family.as_bytes()))
}

/// Where networks in front say who the client is: nobody else may.
const OF_NETWORKS: &[&str] =
    &["cf-connecting-ip", "cf-connecting-ipv6", "fastly-client-ip", "fly-client-ip", "x-azure-clientip"];

/// Families of names that identity and forwarding headers come in.
const FAMILIES: &[&str] =
    &["x-forwarded-", "x-auth-request-", "x-authentik-", "x-webauth-", "x-sidegate-", "x-remote-"];

/// Whether a request field would make the app see another request than the one it comes with.
pub fn names_another_request(name: &[u8]) -> bool {
    OTHER_REQUEST.iter().any(|known| reads_as(name, known.as_bytes()))
}

/// Names that a client may not send, in any spelling: compared after every byte that is neither letter nor
/// digit has become `-`, because apps behind CGI, WSGI or PHP read `X_User.Id` as `X-User-Id`.
pub struct Reserved {
    by_length: Vec<Vec<Name>>,
    /// A bit for the [`sign`] of each, so that most names cost one look.
    signs: [u64; 4],
}

/// A name that a client may not send.
#[derive(Clone)]
struct Name {
    folded: Box<[u8]>,
    /// A trusted proxy may.
    of_networks: bool,
}

/// A number that no name of ours shares with one that browsers send. It is the same for every spelling of a name that begins and ends with a letter or a
/// digit, of which only the case can differ: that bit is set in all of them.
fn sign(name: &[u8]) -> u8 {
    let [first, last] = [name.first(), name.last()].map(|end| end.map_or(0, |byte| byte | 0x20));
    let [length, ..] = name.len().to_le_bytes();
    length.wrapping_mul(17).wrapping_add(first).wrapping_add(last.wrapping_mul(140))
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

fn folded(name: &str) -> Box<[u8]> {
    name.bytes().map(fold).collect()
}

/// Whether somebody behind CGI, WSGI or PHP reads the name as the other, which is folded.
fn reads_as(name: &[u8], folded: &[u8]) -> bool {
    name.len() == folded.len() && name.iter().zip(folded).all(|(&a, &b)| fold(a) == b)
}

/// The names under which the app is told who is there.
fn of_identity(identity: &Identity) -> impl Iterator<Item = &str> {
    let own = [&identity.user_id, &identity.email, &identity.name, &identity.groups];
    let assertion = identity.assertion.iter().map(|assertion| &assertion.header);
    own.into_iter().flatten().chain(assertion).map(String::as_str)
}

/// The names under which the app is told who is there, prepared to be known in any spelling.
pub struct IdentityNames {
    folded: Vec<Box<[u8]>>,
}

impl IdentityNames {
    /// Those that are configured.
    pub fn new(identity: &Identity) -> Self {
        Self { folded: of_identity(identity).map(folded).collect() }
    }

    /// Whether an app may read a field of this name as one that tells who is there.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.folded.iter().any(|own| reads_as(name, own))
    }
}

impl Reserved {
    /// Our own names and those under which the identity is sent.
    pub fn new(identity: &Identity) -> Self {
        let is_plain = |sign: char| sign.is_ascii_alphanumeric();
        let (mut by_length, mut signs) = (Vec::new(), [0; 4]);
        // `Host` is written first, as it came.
        let known = HOP_BY_HOP.iter().chain(OURS).chain(OTHER_REQUEST).copied().chain(["host"]);
        let known = known.chain(of_identity(identity)).map(|name| (name, false));
        for (name, of_networks) in known.chain(OF_NETWORKS.iter().map(|name| (*name, true))) {
            if by_length.len() <= name.len() {
                by_length.resize(name.len() + 1, Vec::new());
            }
            by_length[name.len()].push(Name { folded: folded(name), of_networks });
            let sign = sign(name.as_bytes());
            signs[usize::from(sign >> 6)] |= 1 << (sign & 63);
            if !(name.starts_with(is_plain) && name.ends_with(is_plain)) {
                signs = [u64::MAX; 4];
            }
        }
        Self { by_length, signs }
    }

    /// Whether a field of this name must not reach the app, from a client or from a proxy that is `trusted`.
    pub fn covers(&self, name: &[u8], trusted: bool) -> bool {
        let Some(&first) = name.first() else { return true };
        if first | 0x20 == b'x' && FAMILIES.iter().any(|family| starts_folded(name, family.as_bytes())) {
            return true;
        }
        let sign = sign(name);
        if self.signs[usize::from(sign >> 6)] & (1 << (sign & 63)) == 0 {
            return false;
        }
        let candidates = self.by_length.get(name.len());
        // Nearly always it is the usual spelling.
        candidates.is_some_and(|names| {
            let is = |folded: &[u8]| *folded == *name || reads_as(name, folded);
            names.iter().any(|reserved| is(&reserved.folded) && !(trusted && reserved.of_networks))
        })
    }
}

fn starts_folded(name: &[u8], start: &[u8]) -> bool {
    name.get(..start.len()).is_some_and(|head| reads_as(head, start))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Assertion;

    fn reserved() -> Reserved {
        reserved_with("x-user-id")
    }

    fn reserved_with(user_id: &str) -> Reserved {
        Reserved::new(&Identity {
            user_id: vec![user_id.into()],
            email: vec!["x-mail".into()],
            name: vec![],
            groups: vec![],
            assertion: Some(Assertion {
                header: "my-proof".into(),
                lifetime: Duration::ZERO,
                audience: String::new(),
            }),
        })
    }

    #[test]
    fn hdr_1_every_spelling_of_a_reserved_name_is_covered() {
        let reserved = reserved();
        for name in [
            "x-user-id",
            "X_User_Id",
            "x.user.id",
            "x-user_id",
            "X_Forwarded-Email",
            "x_forwarded.proto",
            "x_mail",
            "My_Proof",
            "remote_user",
            "http2_settings",
            "x-authentik-anything",
            "x_webauth_user",
            "forwarded",
            "x_real_ip",
            "Client_IP",
            "x-remote-addr",
            "X_Remote_IP",
            "X_Remote-Groups",
            "x-remote-extra-scopes",
            "x.originating.ip",
            "proxy_client_ip",
            "WL_Proxy_Client_IP",
            "x_scheme",
            "x-url-scheme",
            "front_end_https",
            "x_host",
            "x-http_host_override",
            "x_original_path",
            "x_override_url",
            "x_sendfile_type",
            "X_WAWS_Unencoded_URL",
            "x_matched-path",
            "Request_URI",
            "x-accel-mapping",
            "client_cert",
            "client-cert_chain",
            "host",
        ] {
            assert!(reserved.covers(name.as_bytes(), true), "{name}");
        }
        for name in
            ["accept", "x-user-idx", "user-agent", "x-mai", "x-forward", "authorization", "remote-use"]
        {
            assert!(!reserved.covers(name.as_bytes(), true), "{name}");
        }
    }

    #[test]
    fn what_only_networks_in_front_may_say_passes_from_a_trusted_proxy() {
        let reserved = reserved();
        for name in ["cf-connecting-ip", "CF_Connecting_IP", "fastly-client-ip", "fly_client_ip"] {
            assert!(reserved.covers(name.as_bytes(), false), "{name}");
            assert!(!reserved.covers(name.as_bytes(), true), "{name}");
        }
    }

    #[test]
    fn the_names_that_everybody_sends_cost_one_look() {
        let reserved = reserved();
        let passed = |name: &&str| {
            let sign = sign(name.as_bytes());
            reserved.signs[usize::from(sign >> 6)] & (1 << (sign & 63)) == 0
        };
        let usual = [
            "accept",
            "accept-encoding",
            "accept-language",
            "cache-control",
            "content-type",
            "dnt",
            "if-modified-since",
            "if-none-match",
            "origin",
            "pragma",
            "priority",
            "range",
            "referer",
            "sec-ch-ua",
            "sec-ch-ua-mobile",
            "sec-ch-ua-platform",
            "sec-fetch-dest",
            "sec-fetch-mode",
            "sec-fetch-site",
            "sec-fetch-user",
            "upgrade-insecure-requests",
            "user-agent",
            "x-requested-with",
        ];
        let looked_up: Vec<_> = usual.iter().filter(|name| !passed(name)).collect();
        assert!(looked_up.is_empty(), "{looked_up:?}");
    }

    #[test]
    fn hdr_1_a_name_that_ends_in_no_letter_is_covered_in_every_spelling_too() {
        for name in ["x-id_", "_id-x"] {
            let reserved = reserved_with(name);
            for spelling in
                [name.to_owned(), name.to_uppercase(), name.replace('_', "."), name.replace('_', "-")]
            {
                assert!(reserved.covers(spelling.as_bytes(), false), "{spelling}");
            }
            assert!(!reserved.covers(b"accept", false) && !reserved.covers(b"x-idx", false));
        }
    }
}
