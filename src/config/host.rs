//! Hosts as URLs and `Host` write them.

/// The host without the brackets that an address of IPv6 stands in (RFC 3986 §3.2.2); any other as it is.
pub fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pair_of_brackets_is_taken_off() {
        for (host, expected) in
            [("[::1]", "::1"), ("::1", "::1"), ("a.test", "a.test"), ("[::1", "[::1"), ("", "")]
        {
            assert_eq!(bare(host), expected);
        }
    }
}
