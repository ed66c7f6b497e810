//! What the tests stand on.

pub(crate) mod app2;
pub(crate) mod bare;
pub(crate) mod browser;
pub(crate) mod child;
pub(crate) mod database;
pub(crate) mod frame;
pub(crate) mod geo;
pub(crate) mod h2;
pub(crate) mod journal;
pub(crate) mod letters;
pub(crate) mod mailbox;
pub(crate) mod nginx;
pub(crate) mod node;
pub(crate) mod program;
pub(crate) mod provider;
pub(crate) mod raw;
pub(crate) mod secure;
pub(crate) mod site;
pub(crate) mod stage;
pub(crate) mod upstream;
pub(crate) mod visitor;
