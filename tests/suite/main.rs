<<<<<<< HEAD
<<<<<<< HEAD
fn main() {}
=======
//! Sidegate from the outside: one test binary.

mod pages;
mod support;
>>>>>>> ui
=======
fn main() {}
>>>>>>> account
