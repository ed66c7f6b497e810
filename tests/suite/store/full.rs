//! A disk that takes nothing more, until there is room again.

use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::serve;
use crate::support::site::PASSWORD;
use crate::support::upstream::Upstream;

#[test]
fn on_sqlite_work_goes_on_as_soon_as_the_disk_takes_something_again() {
    let (directory, address, app) =
        (TempDir::new().expect("a directory"), serve::free_port(), Upstream::hello());
    serve::minimal(directory.path(), address, app.address, "sqlite:sidegate.db");
    // A file that grows beyond a limit is told from a full disk by the number of the error only.
    let program = serve::serve_with("trap '' XFSZ; exec \"$0\" \"$@\"", directory.path(), address);
    let mut ada = program.visitor();
    serve::sign_up_and_in(&mut ada);
    let limit = |bytes: &str| {
        let limit = format!("--fsize={bytes}:");
        let set = Command::new("prlimit").args(["--pid", &program.id().to_string(), &limit]).status();
        assert!(set.expect("prlimit is there").success());
    };
    let signs_up = |name: &str| {
        let account = json!({ "name": "Ada", "email": format!("{name}@example.com"), "password": PASSWORD });
        program.visitor().post("/auth/sign-up/email", &account).status
    };
    assert_eq!(signs_up("before"), 200);
    limit("1");
    assert_eq!(signs_up("meanwhile"), 503);
    assert_eq!(signs_up("meanwhile"), 503);
    assert_eq!(ada.get("/app").status, 200, "who is signed in stays so");
    limit("unlimited");
    assert_eq!(signs_up("meanwhile"), 200);
    assert_eq!(signs_up("after"), 200);
    assert_eq!(ada.get("/app").status, 200);
}
