//! The shape of `[listen]`, `[proxies]` and `[forward_auth]`.

use serde::Deserialize;

use crate::config::listen::ProxyProtocol;
use crate::config::proxies::Chain;

table! {
    /// `[listen]`
    RawListen {
        address: String = "127.0.0.1:8080".to_owned(),
        more: Vec<String> = Vec::new(),
        socket_mode: String = "0660".to_owned(),
        proxy_protocol: ProxyProtocol = ProxyProtocol::Off,
        redirect_http: Option<String> = None,
        workers: usize = 0,
    }
}

table! {
    /// `[proxies]`
    RawProxies {
        trusted: Vec<String> = Vec::new(),
        header: Chain = Chain::XForwardedFor,
    }
}

table! {
    /// `[forward_auth]`
    RawForwardAuth {
        enabled: bool = false,
    }
}
