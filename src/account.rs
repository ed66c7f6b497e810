//! What belongs to an account: its address, its password, what is sent to it by mail, the browsers that know
//! it, and what is unusual about a sign-in to it.

pub mod agent;
pub mod code;
pub mod device;
pub mod email;
pub mod password;
pub mod place;
pub mod profile;
pub mod ticket;
pub mod unusual;
