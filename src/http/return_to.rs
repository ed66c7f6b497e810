//! Where a person goes after signing in or out: a place on this site, or the start page.

use url::Url;

use crate::http::path::readings::escaped;

/// Longest target that is kept, in bytes.
const LONGEST: usize = 2048;
/// How often a target may be decoded until nothing changes any more.
const MOST_DECODINGS: usize = 5;

/// Checks a target such as the `callback_url` of a sign-in link against our own origin.
///
/// Returns the absolute URL to send the browser to: never the bare path, because a path that a browser
/// normalises to `//elsewhere` would leave the site. `None` for everything that is not certainly a place of
/// ours, and for our own pages under `mounts`, except those that only show something of the account.
pub fn check(target: &str, origin: &str, mounts: &[String]) -> Option<String> {
    let path = target.strip_prefix(origin).unwrap_or(target);
    let sound = target.len() <= LONGEST
        && path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if !sound {
        return None;
    }
    let base = Url::parse(origin).ok()?;
    let mut reading = path.split(['?', '#']).next().unwrap_or_default().to_owned();
    for _ in 0..MOST_DECODINGS {
        if !is_a_place(&base.join(&reading).ok()?, &base, mounts) {
            return None;
        }
        // Some later hop decodes once more, and the next one again.
        let once_more = decoded(&reading)?;
        if once_more == reading {
            return base
                .join(path)
                .ok()
                .filter(|url| is_a_place(url, &base, mounts))
                .map(|url| url.to_string());
        }
        reading = once_more;
    }
    None
}

/// Our pages, below a mount prefix, that are worth coming back to: they only show, and are for who is signed in.
const PAGES: [&str; 3] = ["/account", "/change-email", "/delete-user"];

/// Whether this is on the site, also for who takes the path alone, and none of our own pages but [`PAGES`].
fn is_a_place(url: &Url, base: &Url, mounts: &[String]) -> bool {
    let on_site = url.origin() == base.origin() && url.username().is_empty() && url.password().is_none();
    let leads_home = mounts.iter().any(|mount| {
        url.path()
            .strip_prefix(mount.as_str())
            .is_some_and(|rest| !PAGES.contains(&rest) && (rest.is_empty() || rest.starts_with('/')))
    });
    on_site && !url.path().starts_with("//") && !leads_home
}

/// The path with its escapes decoded once; `None` if one of them hides a slash, a backslash or a control
/// byte. A percent sign that begins no escape stays as it is.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        match escaped(rest) {
            Some(b'/' | b'\\' | 0..0x20 | 0x7f) => return None,
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "http://localhost:3000";

    fn checked(target: &str) -> Option<String> {
        check(target, ORIGIN, &["/auth".to_owned()])
    }

    #[test]
    fn places_on_this_site_are_kept_and_made_absolute() {
        for path in [
            "/dash",
            "/",
            "/a?next=//evil.com",
            "/a#//evil",
            "/foo//evil.com",
            "/@evil.com",
            "/;@evil.com",
            "/a%20b",
            "/100%25",
            "/100%",
        ] {
            assert_eq!(checked(path), Some(format!("{ORIGIN}{path}")), "{path}");
        }
        assert_eq!(checked("http://localhost:3000/x"), Some("http://localhost:3000/x".to_owned()));
    }

    #[test]
    fn redir_1_to_3_every_way_off_the_site_is_refused() {
        for bad in [
            "",
            "?x",
            "#x",
            "evil.com",
            ".evil.com",
            "@evil.com",
            "//evil.com",
            "///evil.com",
            "////evil.com",
            "/\\evil.com",
            "\\\\evil.com",
            "\\/evil.com",
            "/\\/evil.com",
            "/\t/evil.com",
            "/\n/evil.com",
            "/\r\n/evil.com",
            "\t//evil.com",
            " //evil.com",
            "/%2f%2fevil.com",
            "/%2fevil.com",
            "/%5cevil.com",
            "/%252f%252fevil.com",
            "/%25%32%66%25%32%66evil.com",
            "/%252e%252e//evil.com",
            "/x/%252e%252e//evil.com",
            "/%09/evil.com",
            "/%0d%0aSet-Cookie:a=b",
            "/..//evil.com",
            "/.//evil.com",
            "/a/..//evil.com",
            "/%2e%2e//evil.com",
            "/x/%2e%2e//evil.com",
            "/ /evil.com",
            "/\u{2028}/evil",
            "/。/evil",
            "//evil。com",
            "http:evil.com",
            "http:/evil.com",
            "https:evil.com",
            "http:///evil.com",
            "https:\\\\evil.com",
            "http://localhost:3000@evil.com",
            "http://localhost:3000:80@evil.com",
            "http://evil.com\\@localhost:3000",
            "http://evil.com#@localhost:3000",
            "http://localhost:3000\\@evil.com",
            "http://localhost:3000.evil.com",
            "http://localhost:3000%40evil.com",
            "http://localhost:3001",
            "https://localhost:3000",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java\nscript:x",
            "data:text/html,x",
            "vbscript:x",
            "mailto:a@b",
            "//localhost:3000",
            "%2f%2fevil.com",
        ] {
            assert_eq!(checked(bad), None, "{bad:?}");
        }
        assert_eq!(checked(&format!("/{}", "a".repeat(3000))), None);
    }

    #[test]
    fn rd_8_our_own_action_pages_are_not_places_to_return_to() {
        assert_eq!(checked("/auth/sign-out"), None);
        assert_eq!(checked("/x/../auth/sign-out"), None);
        assert_eq!(checked("/auth/account/../sign-out"), None);
        assert_eq!(checked("/auth/account%2f..%2fsign-out"), None);
        assert_eq!(checked("/auth/account/x"), None);
        assert!(checked("/authors").is_some());
        for shows in
            ["/auth/account?notice=name-saved", "/auth/change-email?token=x", "/auth/delete-user?token=x"]
        {
            assert!(checked(shows).is_some(), "it only shows: {shows}");
        }
        assert_eq!(checked("/auth/change-password"), None);
    }
}
