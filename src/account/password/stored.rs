//! A password hash as a row holds it: which formats are known, whether a password matches one, and making new
//! ones.

use argon2::password_hash;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::Typed;
use crate::secret::{equal, random};

/// Most memory that a stored argon2 hash may ask for, in KiB: a row is no memory bomb.
const MOST_MEMORY: u32 = 256 * 1024;
/// Most passes over that memory.
const MOST_PASSES: u32 = 32;
/// Highest bcrypt cost; each one more doubles the time, and 16 is seconds already.
const MOST_COST: u32 = 16;
/// Bytes of a password that bcrypt looks at.
const BCRYPT_SEES: usize = 72;

/// What a password is judged against when there is nothing to judge it against: made up, of our
/// own format and parameters.
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$8nqk1y0XyZcS3Jv6mQd4Bw$DKe2ZfW8q0b7sYvR5tHn1uLx9cGa4jPo6iMk3TrEwVQ";

/// A hash in one of the known formats.
pub(super) enum Stored<'a> {
    /// A PHC string; ours are argon2id with the parameters of [`hash`].
    Argon2(Box<PasswordHash>),
    /// better-auth's `saltHex:keyHex`; the salt is the hex *text*.
    Scrypt { salt: &'a str, key: [u8; 64] },
    /// `$2a$`, `$2b$` or `$2y$`.
    Bcrypt(&'a str),
}

impl<'a> Stored<'a> {
    /// `None` for a format that is not known or that asks for more work than any hash should.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.starts_with("$argon2") {
            return argon2_of(text).map(|hash| Self::Argon2(Box::new(hash)));
        }
        if let Some(rest) = text.strip_prefix("$2") {
            let cost = rest.get(2..4)?.parse::<u32>().ok()?;
            let known = matches!(rest.get(..2)?, "a$" | "b$" | "y$") && cost <= MOST_COST;
            return (known && text.parse::<bcrypt::HashParts>().is_ok()).then_some(Self::Bcrypt(text));
        }
        let (salt, key) = text.split_once(':')?;
        let sound = salt.len() == 32 && salt.bytes().all(|b| b.is_ascii_hexdigit());
        Some(Self::Scrypt { salt: sound.then_some(salt)?, key: unhex(key)? })
    }

    /// The hash to spend the time on when there is none.
    pub(super) fn dummy() -> Option<Self> {
        Self::parse(DUMMY)
    }

    /// Whether `typed` is the password; compares in constant time.
    ///
    /// One hash is computed, whatever was typed: a second one would tell that there is an account. We and
    /// better-auth hash what NFKC makes of a password, who uses bcrypt what was typed.
    pub(super) fn matches(&self, typed: &Typed) -> bool {
        match self {
            Self::Argon2(hash) => argon2_matches(hash, typed.normal()).unwrap_or(false),
            Self::Scrypt { salt, key } => {
                let mut derived = [0; 64];
                scrypt::Params::new(14, 16, 1).is_ok_and(|params| {
                    scrypt::scrypt(typed.normal().as_bytes(), salt.as_bytes(), &params, &mut derived).is_ok()
                }) && equal(&derived, key)
            }
            Self::Bcrypt(hash) => bcrypt::verify(typed.raw(), hash).unwrap_or(false),
        }
    }

    /// Whether a matching `typed` should be hashed anew: the row is not as we would write it
    /// today. Not if bcrypt saw only the beginning, since the rest was never proved.
    pub(super) fn outdated(&self, typed: &Typed) -> bool {
        match self {
            Self::Argon2(hash) => {
                let same = |params: Params| {
                    params.m_cost() == Params::DEFAULT_M_COST
                        && params.t_cost() == Params::DEFAULT_T_COST
                        && params.p_cost() == Params::DEFAULT_P_COST
                };
                hash.algorithm != Algorithm::Argon2id.ident()
                    || hash.version != Some(Version::V0x13.into())
                    || !Params::try_from(hash.as_ref()).is_ok_and(same)
            }
            Self::Scrypt { .. } => true,
            Self::Bcrypt(_) => typed.normal().len() <= BCRYPT_SEES,
        }
    }
}

/// A new hash as a PHC string: argon2id, 19 MiB, two passes, one lane, 16 random bytes of salt.
pub(super) fn hash(typed: &Typed) -> Result<String, password_hash::Error> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
    let salt = Salt::new(&random::<16>())?;
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    derive(&argon2, typed.normal(), &salt, &mut output)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&Params::DEFAULT)?,
        salt: Some(salt),
        hash: Some(Output::new(&output)?),
    };
    Ok(hash.to_string())
}

fn argon2_matches(hash: &PasswordHash, password: &str) -> Result<bool, password_hash::Error> {
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else { return Ok(false) };
    let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from)?;
    let argon2 = Argon2::new(algorithm, version, Params::try_from(hash)?);
    let mut output = vec![0; expected.len()];
    derive(&argon2, password, salt, &mut output)?;
    Ok(equal(&output, expected.as_bytes()))
}

/// More than glibc's allocator ever keeps for itself (its threshold for giving memory straight back stops at
/// 32 MiB).
const GIVEN_BACK: usize = 33 << 20;

/// Computes one hash.
///
/// The memory for it is asked for in a piece so large that it goes back to the system at once, instead of
/// staying with every thread that ever hashed; only the part that is used becomes resident.
fn derive(argon2: &Argon2<'_>, password: &str, salt: &Salt, output: &mut [u8]) -> Result<(), argon2::Error> {
    let blocks = argon2.params().block_count();
    let mut memory = Vec::with_capacity(blocks.max(GIVEN_BACK / size_of::<Block>()));
    memory.resize(blocks, Block::new());
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, &mut memory)
}

fn argon2_of(text: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(text).ok()?;
    let params = Params::try_from(&hash).ok()?;
    let bearable = params.m_cost() <= MOST_MEMORY && params.t_cost() <= MOST_PASSES;
    (bearable && hash.salt.is_some() && hash.hash.is_some()).then_some(hash)
}

fn unhex(text: &str) -> Option<[u8; 64]> {
    let mut bytes = [0; 64];
    if text.len() != 128 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher as _;

    use super::*;

    /// Vectors made with Node.js `crypto.scrypt` as better-auth calls it, and with libxcrypt.
    const SCRYPT: &str = "00112233445566778899aabbccddeeff:4dc641b984b6e44ea3133a70c7b828545791fe1b8ff78dbbaa17a7b2c70341cc2df8e7b6f5adc87ded98bf93083e5245ac9fbf90bae65bf34a5fbc62312dd82e";
    const SCRYPT_NFKC: &str = "0123456789abcdef0123456789abcdef:342d0cc949b56a30b1e6d5d1f66d1120acbe3cdc1c99c49609f7053c541472bc63bb90543c47ea23b642c23ae86e437b09f6270a8589eb42443e41a5b78fe901";
    const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
    const BCRYPT_RAW: &str = "$2b$04$abcdefghijklmnopqrstuuvHyhVnK8LTmhvyn3TojuX2E2NA6QnDe";
    const BCRYPT_LONG: &str = "$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe";

    fn typed(text: &str) -> Typed {
        Typed::new(text).expect("not too long")
    }

    fn judge(stored: &str, password: &str) -> (bool, bool) {
        let stored = Stored::parse(stored).expect("a known format");
        let typed = typed(password);
        (stored.matches(&typed), stored.outdated(&typed))
    }

    #[test]
    fn better_auths_own_hashes_verify_and_are_outdated() {
        assert_eq!(judge(SCRYPT, "password1234"), (true, true));
        assert_eq!(judge(SCRYPT, "password1235"), (false, true));
        assert_eq!(judge(SCRYPT_NFKC, "\u{fb01}sh-\u{c5}-パスワード"), (true, true));
        assert_eq!(judge(SCRYPT_NFKC, "fish-A\u{30a}-ﾊﾟｽﾜｰﾄﾞ"), (true, true));
        assert_eq!(judge(SCRYPT_NFKC, "fish-A-パスワード"), (false, true));
    }

    #[test]
    fn bcrypt_hashes_verify_in_the_form_they_were_made_of() {
        for version in ["$2a$", "$2b$", "$2y$"] {
            let stored = BCRYPT.replace("$2b$", version);
            assert_eq!(judge(&stored, "correct horse"), (true, true));
            assert_eq!(judge(&stored, "correct horsf"), (false, true));
        }
        assert_eq!(judge(BCRYPT_RAW, "\u{fb01}sh and chips"), (true, true));
    }

    #[test]
    fn what_bcrypt_never_saw_is_not_made_part_of_a_new_hash() {
        let seen = "a".repeat(72);
        assert_eq!(judge(BCRYPT_LONG, &seen), (true, true));
        assert_eq!(judge(BCRYPT_LONG, &format!("{seen}b")), (true, false));
    }

    #[test]
    fn our_own_hash_is_argon2id_as_the_policy_says_and_not_outdated() {
        let stored = hash(&typed("correct horse")).expect("hashes");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_eq!(judge(&stored, "correct horse"), (true, false));
        assert_eq!(judge(&stored, "Correct horse"), (false, false));
        assert_ne!(stored, hash(&typed("correct horse")).expect("hashes"), "each has its own salt");
    }

    #[test]
    fn argon2_with_other_parameters_verifies_and_is_outdated() {
        for (algorithm, version, memory) in [
            (Algorithm::Argon2id, Version::V0x13, 64),
            (Algorithm::Argon2i, Version::V0x13, Params::DEFAULT_M_COST),
            (Algorithm::Argon2id, Version::V0x10, Params::DEFAULT_M_COST),
        ] {
            let argon2 = Argon2::new(algorithm, version, Params::new(memory, 2, 1, None).expect("valid"));
            let stored = argon2.hash_password_with_salt(b"fish", b"0123456789abcdef").expect("hashes");
            assert_eq!(judge(&stored.to_string(), "\u{fb01}sh"), (true, true), "{stored}");
            assert_eq!(judge(&stored.to_string(), "fisch"), (false, true), "{stored}");
        }
    }

    #[test]
    fn the_dummy_costs_what_our_own_hash_costs() {
        // The same algorithm and parameters.
        assert!(Stored::dummy().is_some_and(|dummy| !dummy.outdated(&typed("x"))));
    }

    #[test]
    fn unknown_formats_and_monstrous_costs_are_not_taken() {
        let key = &SCRYPT[33..];
        for bad in [
            "",
            "plaintext",
            ":",
            "$argon2id$",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA",
            "$argon2id$v=19$m=4194304,t=2,p=1$8nqk1y0XyZcS3Jv6mQd4Bw$DKe2ZfW8q0b7sYvR5tHn1uLx9cGa4jPo6iMk3TrEwVQ",
            "$argon2id$v=19$m=19456,t=999999,p=1$8nqk1y0XyZcS3Jv6mQd4Bw$DKe2ZfW8q0b7sYvR5tHn1uLx9cGa4jPo6iMk3TrEwVQ",
            "$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0$DKe2ZfW8q0b7sYvR5tHn1uLx9cGa4jPo6iMk3TrEwVQ",
            &BCRYPT.replace("$2b$", "$2x$"),
            &BCRYPT.replace("$2b$04$", "$2b$31$"),
            "$2",
            "$2b$",
            "$2b$é0$",
            &format!("{}:{key}", "g".repeat(32)),
            &format!("{}:{key}", "0".repeat(31)),
            &SCRYPT[..160],
            &SCRYPT.replace("4dc6", "4dcg"),
            &format!("{}:{}", "0".repeat(32), "é".repeat(64)),
        ] {
            assert!(Stored::parse(bad).is_none(), "{bad}");
        }
    }
}
