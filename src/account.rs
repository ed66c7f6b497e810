//! What belongs to an account: its address, its password, the browsers that know it, the one-time secrets that
//! are mailed to it, and what is unusual about a sign-in.

pub mod agent;
pub mod code;
pub mod device;
pub mod email;
pub mod password;
pub mod profile;
pub mod ticket;
