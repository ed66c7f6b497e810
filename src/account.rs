//! What belongs to an account: its address, its password, the browsers that know it, and the one-time secrets
//! that are mailed to it.

pub mod device;
pub mod email;
pub mod password;
pub mod ticket;
