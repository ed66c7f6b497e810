//! What `sidegate check` tells: all that is wrong, whatever it is about, or what the configuration comes to.

use super::{Home, MINIMAL, err, out};

#[test]
fn what_it_comes_to_names_who_is_shown_what_who_watches_and_who_is_told() {
    let files = crate::tls::certificates();
    let file = |name: &str| files.join(name).display().to_string();
    let text = MINIMAL
        .replace("http://127.0.0.1:8080", "https://127.0.0.1:8080")
        .replace("\"http://127.0.0.1:3000\"", "\"https://127.0.0.1:3000\"\nserver_name = \"app.internal\"");
    let home = Home::with(&format!(
        "{text}[upstream.health]\npath = \"/healthz\"\ninterval = \"7s\"\nunhealthy = 4\n\
         [tls]\ncertificate = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\n\
         [proxies]\ntrusted = [\"192.0.2.1/32\"]\n[forward_auth]\nenabled = true\n\
         [trace]\notlp_endpoint = \"http://127.0.0.1:4318\"\nsample = 0.125\nservice = \"door\"\n",
        file("first.pem"),
        file("first.key"),
        file("second.pem"),
    ));
    let output = home.check();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let told = out(&output);
    for says in [
        "upstream   shows a certificate for app.internal",
        "upstream   is asked for /healthz at ",
        " every 7s",
        "upstream   is ill after 4 bad answers, and well after ",
        &format!("show a certificate of {}", file("second.pem")),
        "proxies    may ask what they should let through",
        "trace      12.5 % of all traces to http://127.0.0.1:4318/",
        ", as door",
    ] {
        assert!(told.contains(says), "{says}\n{told}");
    }
}

#[test]
fn a_section_that_is_wrong_keeps_nothing_about_the_files_of_others_back() {
    let home = Home::with(
        "secret_file = \"/nope/secret\"\n[upstream]\nurl = \"ftp://x\"\nca_file = \"/nope/ca.pem\"\n[public]\nurl = \"https://a.example\"\n\
         [tls]\ncertificate = \"/nope/c.pem\"\nkey = \"/nope/k.pem\"\n[geo]\ncountry_file = \"/nope/c.mmdb\"\n\
         [session]\nidle = \"soon\"\n[mail]\nfrom = \"a@a.example\"\n[mail.smtp]\nhost = \"a.example\"\nca_file = \"/nope/m.pem\"\n",
    );
    let output = home.run(&["serve", "--config", "sidegate.toml"], &[]);
    assert_eq!(output.status.code(), Some(64), "{}", err(&output));
    let told = err(&output);
    for key in [
        "secret_file",
        "upstream.url",
        "tls.certificate",
        "tls.key",
        "geo.country_file",
        "session.idle",
        "mail.smtp.ca_file",
    ] {
        assert!(told.lines().any(|line| line.contains(&format!(": {key}: "))), "{key}\n{told}");
    }
    assert!(!told.contains("upstream.ca_file"), "what is wrong itself is not looked into: {told}");
    assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 1, "it left a file");
}
