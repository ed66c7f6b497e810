//! What a browser is, coarsely: its family and its system, never a version, so that an update makes nobody a
//! stranger.

/// Marks in `User-Agent` and the family they stand for. Browsers name those they descend from as well, so the
/// descendants come first.
const FAMILIES: &[(&str, &str)] = &[
    ("EdgiOS/", "Edge"),
    ("EdgA/", "Edge"),
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chromium/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Marks in `User-Agent` and in `Sec-CH-UA-Platform`, and the system they stand for; Android and phones name a
/// desktop system as well.
const SYSTEMS: &[(&str, &str)] = &[
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("iPod", "iOS"),
    ("iOS", "iOS"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Chrome OS", "ChromeOS"),
    ("Chromium OS", "ChromeOS"),
    ("ChromeOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("macOS", "macOS"),
    ("Linux", "Linux"),
];

/// Family and system of a browser, each if it can be told, from the same two fields as [`family`].
pub fn parts(agent: Option<&str>, platform: Option<&str>) -> (Option<&'static str>, Option<&'static str>) {
    let agent = agent.unwrap_or_default();
    let named = |text: &str, marks: &[(&str, &'static str)]| {
        marks.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
    };
    let system = platform.and_then(|text| named(text, SYSTEMS)).or_else(|| named(agent, SYSTEMS));
    (named(agent, FAMILIES), system)
}

/// Family and system of a browser, such as `Firefox on Linux`, from `User-Agent` and, where the browser sends
/// it, `Sec-CH-UA-Platform` (User-Agent Client Hints). Holds nothing that the browser wrote.
pub fn family(agent: Option<&str>, platform: Option<&str>) -> String {
    match parts(agent, platform) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, Some(system)) => format!("a program on {system}"),
        (None, None) => "a program".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_systems_are_told_apart_and_versions_are_not() {
        let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        for (agent, platform, expected) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                None,
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
                None,
                "Firefox on Linux",
            ),
            (chrome, None, "Chrome on Windows"),
            (chrome, Some("\"Linux\""), "Chrome on Linux"),
            (chrome, Some("\"Plan 9\""), "Chrome on Windows"),
            (&format!("{chrome} Edg/140.0.0.0"), Some("\"Windows\""), "Edge on Windows"),
            (&format!("{chrome} OPR/120"), None, "Opera on Windows"),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36",
                None,
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1",
                None,
                "Safari on iOS",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15",
                None,
                "Safari on macOS",
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36",
                Some("\"Chrome OS\""),
                "Chrome on ChromeOS",
            ),
            ("curl/8.5.0", None, "a program"),
            ("<script>alert(1)</script>", None, "a program"),
        ] {
            assert_eq!(family(Some(agent), platform), expected, "{agent}");
        }
        assert_eq!(family(None, None), "a program");
    }
}
