//! A process that is killed between deciding on a mail and sending it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use sidegate::app::App;
use sidegate::config::{self, Flags, NewSecret, Sources};
use sidegate::flow::post::{To, post};
use sidegate::time::Clock;
use sidegate::ui::text::Language;
use tempfile::TempDir;

use super::{ADA, VERIFY};
use crate::serve::{free_port, minimal, serve, url};
use crate::support::database::on_both_databases;
use crate::support::mailbox::{Does, Mailbox, Stage};
use crate::support::upstream::Upstream;

/// Decides on a mail as a process with this configuration does, and is gone.
fn decide(file: &Path) {
    let sources = Sources {
        file: Some(file.to_owned()),
        env: Vec::new(),
        flags: Flags::default(),
        new_secret: NewSecret::Keep,
    };
    let config = config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let app = App::start(config, Clock::System).await.expect("starts");
        let mut tx = app.store.begin().await.expect("begins");
        let to = To { address: ADA, language: Language::English };
        post(&app, &mut tx, to, &VERIFY, app.clock.now()).await.expect("posts");
        tx.commit().await.expect("commits");
        app.store.close().await;
    });
}

on_both_databases! {
    fn a_mail_outlives_the_process_that_was_killed_while_it_was_sending_it(database) {
        let (directory, address, app) = (TempDir::new().expect("a directory"), free_port(), Upstream::hello());
        let mailbox = Mailbox::start();
        mailbox.mood(Stage::Text, Does::Waits);
        minimal(directory.path(), address, app.address, &url(&database));
        let file = directory.path().join("sidegate.toml");
        let mut more = OpenOptions::new().append(true).open(&file).expect("the file");
        write!(more, "[mail]\n{}", mailbox.config()).expect("written");
        decide(&file);

        let arguments = ["--config", "sidegate.toml"];
        let program = serve(directory.path(), address, &arguments);
        mailbox.wait_until_said("DATA");
        program.signal("-KILL");
        assert_eq!(program.exit_code(), None, "it was killed");
        mailbox.relents();
        assert_eq!(mailbox.count(ADA), 0);

        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let claims = r#"SELECT "state" FROM "sidegate_outbox" WHERE "nextAt" > "createdAt""#;
        assert_eq!(runtime.block_on(database.texts(claims)), ["waiting"], "its claim still holds");
        // As though it had run out.
        runtime.block_on(database.execute(r#"UPDATE "sidegate_outbox" SET "nextAt" = "createdAt""#));
        let _again = serve(directory.path(), address, &arguments);
        mailbox.wait_for(ADA);
        assert_eq!(mailbox.count(ADA), 1);
    }
}
