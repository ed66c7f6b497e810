<<<<<<< HEAD
//! What the tests stand on.

pub(crate) mod browser;
=======
//! What tests are made with.

pub(crate) mod database;
>>>>>>> store
