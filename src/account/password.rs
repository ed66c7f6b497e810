//! Passwords: what a new one must be, and hashing them where it holds up nobody else.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::config;
use crate::error::{Error, Fault};
use crate::refusal::Refusal;
use stored::Stored;

mod common;
mod stored;

/// Most bytes of it as it was typed, before anything is done with it.
const MOST_BYTES: usize = 1024;
/// Hashes that may wait for each one that is computed; more are turned away at once.
const WAITING: usize = 64;

/// The password policy, and the pool in which hashes are computed.
pub struct Passwords {
    min_length: usize,
    pool: Arc<Pool>,
}

/// Where hashes are computed.
struct Pool {
    /// How many at a time.
    size: usize,
    /// A place is held while a hash waits or is computed.
    places: Semaphore,
    /// A seat is held while a hash is computed, by the thread that does it.
    seats: Arc<Semaphore>,
}

/// What came of comparing a password with a stored hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Whether it is the password.
    pub matches: bool,
    /// Whether it matches and should now be hashed and stored anew.
    pub rehash: bool,
}

impl Passwords {
    /// A pool and a policy as configured.
    pub fn new(config: &config::Password) -> Self {
        let size = NonZeroUsize::new(config.concurrency).map_or(1, NonZeroUsize::get);
        let pool = Pool {
            size,
            places: Semaphore::new(size.saturating_mul(WAITING + 1).min(Semaphore::MAX_PERMITS)),
            seats: Arc::new(Semaphore::new(size.min(Semaphore::MAX_PERMITS))),
        };
        Self { min_length: config.min_length, pool: Arc::new(pool) }
    }

    /// The same pool with another policy; another pool if it is to be larger or smaller, beside which what was begun
    /// in this one ends.
    #[must_use]
    pub fn under(&self, config: &config::Password) -> Self {
        let fresh = Self::new(config);
        if fresh.pool.size == self.pool.size { Self { pool: Arc::clone(&self.pool), ..fresh } } else { fresh }
    }

    /// Whether `candidate` may become a password. `context` is what a guesser knows of this
    /// account: its address, the product's name.
    ///
    /// Characters are counted as code points after NFKC (NIST SP 800-63B-4 §3.1.1.2); there are
    /// no rules about their kinds.
    pub fn policy(&self, candidate: &str, context: &[&str]) -> Result<(), Refusal> {
        let typed = Typed::new(candidate).ok_or(Refusal::PasswordTooLong)?;
        if typed.normal().chars().count() < self.min_length {
            return Err(Refusal::PasswordTooShort);
        }
        let folded = Zeroizing::new(typed.normal().to_lowercase());
        let known = |name: &str| name.nfkc().collect::<String>().to_lowercase() == *folded;
        let guessable = context
            .iter()
            .any(|&name| known(name) || name.split_once('@').is_some_and(|(local, _)| known(local)));
        if guessable || common::is_common(&folded) { Err(Refusal::PasswordTooCommon) } else { Ok(()) }
    }

    /// A new hash of `password`, for the row.
    ///
    /// # Errors
    /// `PasswordTooLong`; `Overloaded` if too many hashes wait already.
    pub async fn hash(&self, password: &str) -> Result<String, Error> {
        let typed = Typed::new(password).ok_or(Refusal::PasswordTooLong)?;
        self.compute(move || stored::hash(&typed))
            .await?
            .map_err(|e| Fault::new("hashing a password", e).into())
    }

    /// Compares `password` with the hash of a row. One hash is computed whatever is found: also
    /// if there is no row, the row has no password or one in an unknown format, or the password
    /// is longer than any can be.
    ///
    /// # Errors
    /// `Overloaded` if too many hashes wait already.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<Verdict, Error> {
        let typed = Typed::new(password);
        let stored = stored.map(|text| Zeroizing::new(text.to_owned()));
        self.compute(move || judge(typed.as_ref(), stored.as_ref().map(|text| text.as_str()))).await
    }

    /// Runs `work` on a thread that may block, with as many others as configured. If the caller
    /// goes away the work still ends before its seat is given to the next.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let _place = self.pool.places.try_acquire().map_err(|_| Refusal::Overloaded)?;
        let seat = Arc::clone(&self.pool.seats)
            .acquire_owned()
            .await
            .map_err(|e| Fault::new("waiting to hash a password", e))?;
        task::spawn_blocking(move || {
            let done = work();
            drop(seat);
            done
        })
        .await
        .map_err(|e| Fault::new("hashing a password", e).into())
    }
}

fn judge(typed: Option<&Typed>, stored: Option<&str>) -> Verdict {
    let known = stored.and_then(Stored::parse);
    if stored.is_some() && known.is_none() {
        tracing::warn!(
            "a stored password hash has a format that is not supported; its owner cannot sign in with it"
        );
    }
    let nothing = Typed::default();
    let (typed, known) = typed.zip(known).map_or((&nothing, None), |(typed, known)| (typed, Some(known)));
    let real = known.is_some();
    // One path for all, so that there is no shorter one.
    let Some(against) = known.or_else(Stored::dummy) else { return Verdict::default() };
    let matches = against.matches(typed) && real;
    Verdict { matches, rehash: matches && against.outdated(typed) }
}

/// A password as it was typed and as NFKC makes it; wiped when dropped.
#[derive(Default)]
struct Typed {
    normal: Zeroizing<String>,
    /// As typed, if that differs.
    raw: Option<Zeroizing<String>>,
}

impl Typed {
    /// `None` if it is longer than a password can be.
    fn new(password: &str) -> Option<Self> {
        if password.len() > MOST_BYTES {
            return None;
        }
        // Room for all of it at once, so that no piece is left behind in a buffer that was outgrown.
        let mut normal = Zeroizing::new(String::with_capacity(4 * config::Password::LONGEST));
        for (count, c) in password.nfkc().enumerate() {
            if count == config::Password::LONGEST {
                return None;
            }
            normal.push(c);
        }
        let raw = (*normal != password).then(|| Zeroizing::new(password.to_owned()));
        Some(Self { normal, raw })
    }

    fn normal(&self) -> &str {
        &self.normal
    }

    /// The form that was typed.
    fn raw(&self) -> &str {
        self.raw.as_ref().unwrap_or(&self.normal)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn passwords(concurrency: usize) -> Passwords {
        Passwords::new(&config::Password { min_length: 8, concurrency, answer_floor: Duration::ZERO })
    }

    const NO_MATCH: Verdict = Verdict { matches: false, rehash: false };

    #[test]
    fn length_is_counted_in_code_points_after_nfkc() {
        let policy = |candidate: &str| passwords(1).policy(candidate, &[]);
        assert_eq!(policy("zq wvxk"), Err(Refusal::PasswordTooShort));
        assert_eq!(policy("zq wvxkt"), Ok(()));
        assert_eq!(policy("🦉🐢🦊🐙🐬🦋🐝"), Err(Refusal::PasswordTooShort), "14 in UTF-16, 28 in UTF-8");
        assert_eq!(policy("🦉🐢🦊🐙🐬🦋🐝🐌"), Ok(()));
        assert_eq!(policy("zqwvxke\u{301}"), Err(Refusal::PasswordTooShort), "eight typed, seven composed");
        assert_eq!(policy("zqwvx\u{fb03}"), Ok(()), "six typed, eight as letters");
        let most = "zq🦉 xk🦊 ".repeat(16);
        assert_eq!(policy(&most), Ok(()), "128 characters in 224 bytes");
        assert_eq!(policy(&format!("{most}z")), Err(Refusal::PasswordTooLong));
        assert_eq!(
            policy(&"\u{fdfa}".repeat(8)),
            Err(Refusal::PasswordTooLong),
            "eight typed, 144 as letters"
        );
        assert_eq!(
            policy(&"e\u{301}".repeat(342)),
            Err(Refusal::PasswordTooLong),
            "1026 bytes are not looked at"
        );
    }

    #[test]
    fn what_a_guesser_knows_of_the_account_is_no_password() {
        let context = ["margarethe@example.com", "Tasks & More"];
        let policy = |candidate: &str| passwords(1).policy(candidate, &context);
        for bad in [
            "Margarethe@Example.com",
            "MARGARETHE",
            "\u{ff4d}argarethe",
            "tasks & more",
            "Password1",
            "12345678",
        ] {
            assert_eq!(policy(bad), Err(Refusal::PasswordTooCommon), "{bad}");
        }
        assert_eq!(policy("margarethe rows at dawn"), Ok(()));
        assert_eq!(passwords(1).policy("zq wvxkt", &["", "@"]), Ok(()));
    }

    #[tokio::test]
    async fn a_hash_verifies_in_every_spelling_that_nfkc_makes_equal() {
        let passwords = passwords(2);
        let stored = passwords.hash("\u{c5}ngstr\u{f6}m \u{fb01}sh").await.expect("hashes");
        let same = passwords.verify("A\u{30a}ngstro\u{308}m fish", Some(&stored)).await.expect("verifies");
        assert_eq!(same, Verdict { matches: true, rehash: false });
        assert_eq!(passwords.verify("angstrom fish", Some(&stored)).await.expect("verifies"), NO_MATCH);
    }

    #[tokio::test]
    async fn whatever_is_missing_the_answer_is_no_match() {
        let passwords = passwords(2);
        let long = "x".repeat(129);
        let stored = passwords.hash("zq wvxkt").await.expect("hashes");
        for (password, stored) in [
            ("zq wvxkt", None),
            ("", None),
            (&long[..], Some(&stored[..])),
            (&long, None),
            ("zq wvxkt", Some("plain")),
        ] {
            assert_eq!(passwords.verify(password, stored).await.expect("verifies"), NO_MATCH, "{password}");
        }
        assert!(matches!(passwords.hash(&long).await, Err(Error::Refused(Refusal::PasswordTooLong))));
    }

    #[tokio::test]
    async fn when_too_many_wait_the_next_is_turned_away_at_once() {
        let passwords = passwords(1);
        let seat = Arc::clone(&passwords.pool.seats).acquire_owned().await.expect("open");
        let waiting = passwords.pool.places.try_acquire_many(64).expect("free");
        let mut last = Box::pin(passwords.verify("zq wvxkt", None));
        tokio::select! {
            biased;
            _ = &mut last => panic!("there is no free seat"),
            refused = passwords.verify("zq wvxkt", None) => {
                assert!(matches!(refused, Err(Error::Refused(Refusal::Overloaded))));
            }
        }
        drop((seat, waiting));
        assert_eq!(last.await.expect("verifies"), NO_MATCH);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_its_place_free() {
        let passwords = passwords(1);
        let seat = Arc::clone(&passwords.pool.seats).acquire_owned().await.expect("open");
        let before = passwords.pool.places.available_permits();
        let mut gone = Box::pin(passwords.hash("zq wvxkt"));
        tokio::select! {
            biased;
            _ = &mut gone => panic!("there is no free seat"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(passwords.pool.places.available_permits(), before - 1);
        drop(gone);
        assert_eq!(passwords.pool.places.available_permits(), before);
        drop(seat);
    }
}
