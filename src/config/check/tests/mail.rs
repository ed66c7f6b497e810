//! Mail that would not be sent, or not as it should.

use super::{APP, config, each_is_refused, problems};
use crate::config::mail::{Tls, Transport};

#[test]
fn mail_is_configured_whole_or_not_at_all() {
    assert!(config("").mail.is_none() && config("[mail]\n[mail.smtp]").mail.is_none());
    let whole = "[mail]\nfrom = \"Ex Ample <a@b.example>\"\n[mail.smtp]\nhost = \"smtp.b.example\"\n";
    let mail = config(whole).mail.expect("mail");
    assert_eq!((mail.from.name.as_deref(), mail.from.address.as_str()), (Some("Ex Ample"), "a@b.example"));
    let Transport::Smtp(smtp) = mail.transport else { panic!("no server") };
    assert_eq!((smtp.port, smtp.tls, smtp.login.is_some()), (465, Tls::Implicit, false));
    let start_tls = config(&format!("{whole}tls = \"starttls\"")).mail.expect("mail").transport;
    assert!(matches!(start_tls, Transport::Smtp(smtp) if smtp.port == 587));
    let near = "[mail]\nfrom = \"a@b.example\"\n[mail.smtp]\nhost = \"[::1]\"\ntls = \"none\"";
    let mail = config(near).mail.expect("mail");
    assert_eq!(mail.from.name.as_deref(), Some("127.0.0.1"), "the name of the site");
    assert!(matches!(mail.transport, Transport::Smtp(smtp) if smtp.host == "::1"));
    let catcher = config("mail.transport = \"catcher\"");
    assert_eq!(catcher.dangers, [""; 0]);
    // Behind a proxy that everyone can reach, a listener on loopback keeps nobody out.
    let shown =
        "mail.transport = \"catcher\"\npublic.url = \"http://app.example\"\npublic.danger_plain_http = true";
    assert!(config(shown).dangers.iter().any(|danger| danger.contains("the catcher shows every mail")));
    let catcher = catcher.mail.expect("mail");
    assert_eq!(catcher.from.address, "no-reply@localhost");
}

#[test]
fn mail_that_would_be_misread_overheard_or_never_sent_is_refused() {
    each_is_refused(&[
        ("mail.from = \"a@b.example\"", "mail.smtp.host", "is not given"),
        ("mail.smtp.host = \"localhost\"", "mail.from", "is not given"),
        ("mail.transport = \"catcher\"\npublic.url = \"https://a.example\"", "mail.transport", "https"),
        ("mail.transport = \"catcher\"\nmail.smtp.host = \"x\"", "mail.smtp", "beside"),
        (
            "mail.smtp.port = 587\nmail.from = \"a@b.example\"\nmail.smtp.host = \"x\"",
            "mail.smtp.port",
            "starttls",
        ),
        (
            "mail.smtp.port = 465\nmail.smtp.tls = \"starttls\"\nmail.from = \"a@b.example\"\nmail.smtp.host = \"x\"",
            "mail.smtp.port",
            "implicit",
        ),
        ("mail.transport = \"pigeon\"", "mail.transport", "does not fit"),
        ("log.keep_sign_ins = \"1h\"", "log.keep_sign_ins", "too little"),
    ]);
    let asked_for = problems(&format!("{APP}mail.transport = \"smtp\""), &[]);
    let keys: Vec<&str> = asked_for.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["mail.smtp.host", "mail.from"]);
    let with = |lines: &str| {
        let key = lines.split(" = ").next().unwrap_or_default();
        let whole = ["mail.from = \"a@b.example\"", "mail.smtp.host = \"smtp.b.example\""];
        let mut text: Vec<&str> = whole.into_iter().filter(|line| !line.starts_with(key)).collect();
        text.push(lines);
        text.join("\n")
    };
    for (lines, key, says) in [
        ("mail.from = \"a@b.example, c@d.example\"", "mail.from", "more than one"),
        ("mail.from = \"A\\nBcc: x <a@b.example>\"", "mail.from", "more than one"),
        ("mail.from = \"nobody\"", "mail.from", "no address"),
        ("mail.from = \"jürgen@b.example\"", "mail.from", "no address"),
        ("mail.reply_to = \"<a@b.example\"", "mail.reply_to", "no address"),
        ("mail.per_recipient = 1", "mail.per_recipient", "too little"),
        ("mail.keep_sent = \"1m\"", "mail.keep_sent", "too little"),
        ("mail.give_up_after = \"30d\"", "mail.give_up_after", "too much"),
        ("mail.smtp.host = \"smtp.b.example:465\"", "mail.smtp.host", "no host name"),
        ("mail.smtp.tls = \"none\"", "mail.smtp.tls", "everyone on the way"),
        ("mail.smtp.tls = \"ssl\"", "mail.smtp.tls", "does not fit"),
        ("mail.smtp.port = 0", "mail.smtp.port", "is 0"),
        ("mail.smtp.username = \"a\"", "mail.smtp.password", "beside"),
        ("mail.smtp.password = \"hush\"", "mail.smtp.username", "beside"),
        ("mail.smtp.username = \"a\"\nmail.smtp.password = \"hush\\u0007\"", "mail.smtp.password", "control"),
        ("mail.smtp.connections = 0", "mail.smtp.connections", "too little"),
        ("mail.smtp.hots = \"x\"", "mail.smtp.hots", "`mail.smtp.host`?"),
    ] {
        each_is_refused(&[(&with(lines), key, says)]);
        assert!(!problems(&format!("{APP}{}", with(lines)), &[]).to_string().contains("hush"), "{lines}");
    }
}
