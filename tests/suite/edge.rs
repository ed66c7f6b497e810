//! Where connections come in, and what stands between a client and us.

mod forwarded;
mod listeners;
mod proxy_protocol;
mod redirect;
