//! What belongs to an account: its address, its password, and the browsers that know it.

pub mod agent;
pub mod device;
pub mod email;
pub mod password;
pub mod profile;
