//! Where a person goes after signing in or out: a place on this site, or the start page.

use url::Url;

/// Longest target that is kept, in bytes.
const LONGEST: usize = 2048;

/// Checks a target such as the `callback_url` of a sign-in link against our own origin.
///
/// Returns the absolute URL to send the browser to: never the bare path, because a path that a browser normalises to
/// `//elsewhere` would leave the site. `None` for everything that is not certainly a place of ours, and
/// for our own action pages under `mounts`.
pub fn check(target: &str, origin: &str, mounts: &[String]) -> Option<String> {
    let path = target.strip_prefix(origin).unwrap_or(target);
    let sound = target.len() <= LONGEST
        && path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if !sound || hides_a_separator(path.split(['?', '#']).next().unwrap_or_default()) {
        return None;
    }
    let base = Url::parse(origin).ok()?;
    let url = base.join(path).ok()?;
    let on_site = url.origin() == base.origin() && url.username().is_empty() && url.password().is_none();
    let leads_home = mounts.iter().any(|mount| {
        url.path().strip_prefix(mount.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    (on_site && !url.path().starts_with("//") && !leads_home).then(|| url.to_string())
}

/// Whether the path holds an encoded slash, backslash, percent sign before one, or control byte: harmless here,
/// but some later hop decodes once more.
fn hides_a_separator(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    lower.match_indices('%').any(|(at, _)| {
        let code = lower.get(at + 1..at + 3).unwrap_or("zz");
        match code {
            "2f" | "5c" | "7f" | "zz" => true,
            "25" => matches!(lower.get(at + 3..at + 5), Some("2f" | "5c" | "25")),
            _ => u8::from_str_radix(code, 16).map_or(true, |byte| byte < 0x20),
        }
    })
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
            "/%2",
            "/%zz",
        ] {
            assert_eq!(checked(bad), None, "{bad:?}");
        }
        assert_eq!(checked(&format!("/{}", "a".repeat(3000))), None);
    }

    #[test]
    fn rd_8_our_own_action_pages_are_not_places_to_return_to() {
        assert_eq!(checked("/auth/sign-out"), None);
        assert_eq!(checked("/x/../auth/sign-out"), None);
        assert!(checked("/authors").is_some());
    }
}
