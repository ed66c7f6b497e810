//! Password hashes as an imported account has them.

use std::fmt::Write as _;

/// As better-auth writes it: `saltHex:keyHex`, where the salt is the hex text (N = 2^14, r = 16, p = 1).
pub(crate) fn scrypt(password: &str) -> String {
    let salt = "00112233445566778899aabbccddeeff";
    let params = scrypt::Params::new(14, 16, 1).expect("parameters that scrypt allows");
    let mut key = [0; 64];
    scrypt::scrypt(password.as_bytes(), salt.as_bytes(), &params, &mut key)
        .expect("a length that scrypt gives");
    let mut text = format!("{salt}:");
    for byte in key {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Of cost 10, which most libraries take.
pub(crate) fn bcrypt(password: &str) -> String {
    bcrypt::hash(password, 10).expect("a password that bcrypt takes")
}
