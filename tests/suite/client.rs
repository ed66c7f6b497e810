//! Clients from npm, unmodified, in Node against a site: better-auth's own, and a `WebSocket` library.

use std::process::Command;

use crate::support::database::on_both_databases;
use crate::support::node::{Program, installed};
use crate::support::provider::{Persona, Provider};
use crate::support::secure::{self, Secure};
use crate::support::site::Site;
use crate::support::stage::Stage;

on_both_databases! {
    fn better_auths_unmodified_client_signs_up_in_and_out_revokes_and_goes_through_a_provider(database) {
        let provider = Provider::start();
        provider.is_visited_by(Persona::new("1", "grace@example.com"));
        let site = Site::on(database).toml(&provider.toml("corp", "trust_email = true")).start();
        provider.follow(&site.clock);
        let node = Command::new("node").arg("client.mjs").arg(&site.origin).current_dir(installed()).output()
            .expect("node is installed");
        let (out, err) = (String::from_utf8_lossy(&node.stdout), String::from_utf8_lossy(&node.stderr));
        assert!(node.status.success() && out.contains("all is well"), "{out}{err}");
    }
}

#[test]
fn u_12_a_websocket_through_a_site_is_the_same_as_without_one() {
    let node = Program::start("ws.mjs");
    let upstream = format!("url = \"http://127.0.0.1:{}\"", node.port);
    let stage = Stage::on(Stage::plan().set("upstream", &upstream));
    let told = serde_json::json!({ "site": stage.site.address.to_string(), "cookie": stage.cookie });
    assert_eq!(node.run(&told), "59 cases are the same");
}

#[test]
fn u_12_so_is_one_under_tls_on_both_sides() {
    let node = Program::start_encrypted("ws.mjs");
    let secure = Secure::on(secure::plan(node.port, "auto"));
    let told = serde_json::json!({ "site": secure.site.address.to_string(), "cookie": secure.cookie });
    assert_eq!(node.run(&told), "59 cases are the same");
}
