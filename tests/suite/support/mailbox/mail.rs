//! A mail as its reader sees it: fields and parts decoded, links and codes found.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A mail that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// `MAIL FROM`
    pub(crate) from: String,
    /// Every `RCPT TO`.
    pub(crate) to: Vec<String>,
    /// Names in lower case, unfolded and decoded.
    pub(crate) headers: Vec<(String, String)>,
    /// The text part.
    pub(crate) text: String,
    /// The part with markup.
    pub(crate) html: String,
    /// As it came.
    pub(crate) raw: String,
    /// Whether a test has read it.
    pub(super) read: bool,
}

impl Mail {
    /// Reads what came after `DATA`.
    pub(super) fn parse(from: String, to: Vec<String>, raw: &str) -> Self {
        let (headers, body) = part(raw);
        let mut mail = Self {
            from,
            to,
            headers,
            text: String::new(),
            html: String::new(),
            raw: raw.to_owned(),
            read: false,
        };
        let kind = mail.header("content-type").unwrap_or_default().to_owned();
        let boundary = kind.split_once("boundary=\"").and_then(|(_, rest)| rest.split('"').next());
        let boundary = format!("--{}", boundary.unwrap_or_else(|| panic!("no parts: {raw}")));
        for piece in body.split(&boundary).skip(1) {
            let (headers, body) = part(piece.trim_start_matches("\r\n"));
            let of = |name: &str| {
                headers
                    .iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone())
                    .unwrap_or_default()
            };
            let body = decoded(&of("content-transfer-encoding"), body.strip_suffix("\r\n").unwrap_or(body));
            match of("content-type").split(';').next() {
                Some("text/plain") => mail.text = body.replace("\r\n", "\n"),
                Some("text/html") => mail.html = body.replace("\r\n", "\n"),
                _ => {}
            }
        }
        mail
    }

    /// The first field of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The subject, decoded.
    pub(crate) fn subject(&self) -> &str {
        self.header("subject").expect("a subject")
    }

    /// The links in its text, in order.
    pub(crate) fn links(&self) -> Vec<&str> {
        self.text.split_whitespace().filter(|word| word.contains("://")).collect()
    }

    /// The one link in its text as a target on the site.
    pub(crate) fn target(&self) -> String {
        let links = self.links();
        let link = links.first().unwrap_or_else(|| panic!("no link in {}", self.text));
        let rest = link.split_once("://").expect("a scheme").1;
        rest[rest.find('/').expect("a path")..].to_owned()
    }

    /// The code in its text: the one line that is digits.
    pub(crate) fn code(&self) -> &str {
        let code = |line: &&str| line.len() >= 6 && line.bytes().all(|b| b.is_ascii_digit());
        self.text.lines().map(str::trim).find(code).unwrap_or_else(|| panic!("no code in {}", self.text))
    }
}

/// Header fields, unfolded and decoded, and what follows them.
fn part(text: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    (fields.map(|(name, value)| (name.to_ascii_lowercase(), words(value.trim()))).collect(), body)
}

/// Encoded words (RFC 2047) as text.
fn words(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("=?utf-8?b?") {
        let (word, tail) = after.split_once("?=").expect("an encoded word ends");
        // White space between two of them is none.
        if out.is_empty() || !before.trim().is_empty() {
            out.push_str(before);
        }
        out.push_str(&decoded("base64", word));
        rest = tail;
    }
    out + rest
}

fn decoded(encoding: &str, body: &str) -> String {
    let bytes = match encoding {
        "base64" => {
            let text: String = body.split_whitespace().collect();
            STANDARD.decode(text).expect("base64")
        }
        "quoted-printable" => {
            let text = body.replace("=\r\n", "");
            let mut bytes = Vec::new();
            let mut rest = text.as_bytes();
            while let Some((&byte, tail)) = rest.split_first() {
                if byte == b'=' && tail.len() >= 2 {
                    let hex = std::str::from_utf8(&tail[..2]).expect("two digits");
                    bytes.push(u8::from_str_radix(hex, 16).expect("hex digits"));
                    rest = &tail[2..];
                } else {
                    bytes.push(byte);
                    rest = tail;
                }
            }
            bytes
        }
        _ => body.as_bytes().to_vec(),
    };
    String::from_utf8(bytes).expect("UTF-8")
}
