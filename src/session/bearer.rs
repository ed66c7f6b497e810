//! Access tokens and signed cookies in memory: from the text of one that was verified to the session that it
//! opens, without verifying it again.
//!
//! **Invariant:** a token opens nothing once its session has ended. What is kept beside a token is the copy of
//! the session that the cache gave, whose flags void it; whoever finds it void asks for the session anew.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moka::sync::Cache as Moka;

use crate::secret::TokenHash;
use crate::session::hasher::PassThrough;
use crate::time::Now;
use crate::visitor::Session;

/// Characters of a signature of 64 bytes.
const SIGNATURE_TEXT: usize = 86;
/// Characters of it that are looked at, and the bytes that they come to.
const MARK_TEXT: usize = 44;
const MARK: usize = 33;

/// How long a token is kept before it is verified again; each holds a copy of a session, used or not.
const KEPT_FOR: Duration = Duration::from_mins(10);

/// Where a token is kept: the first half of its signature, which is as good as random and costs less than a
/// hash of the whole. Two tokens could share it only if one is forged, so the texts are compared besides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    signature: [u8; MARK],
    place: Place,
}

/// Where a token is shown. One that is good in one place is nothing in the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// An access token, in `Authorization`.
    Header,
    /// A signed session cookie.
    Cookie,
}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.slot());
    }
}

impl Mark {
    /// `None` for what has no signature of that length at its end.
    pub fn of(token: &[u8], place: Place) -> Option<Self> {
        let (rest, signature) = token.split_at_checked(token.len().checked_sub(SIGNATURE_TEXT)?)?;
        let mut bytes = [0; MARK];
        let decoded = URL_SAFE_NO_PAD.decode_slice_unchecked(&signature[..MARK_TEXT], &mut bytes);
        (rest.last() == Some(&b'.') && decoded == Ok(MARK)).then_some(Self { signature: bytes, place })
    }

    /// Its last eight bytes as a number: spreads evenly over any table.
    pub(super) fn slot(&self) -> u64 {
        let mut last = [0; 8];
        last.copy_from_slice(&self.signature[MARK - 8..]);
        u64::from_ne_bytes(last)
    }
}

/// A token that was verified.
pub struct Bearer {
    pub(super) mark: Mark,
    text: Box<[u8]>,
    /// Until when it is good.
    until: Now,
    /// What it opens; `None` if the session was gone when it was asked for.
    session: Option<Arc<Session>>,
}

/// What memory knows of a token.
pub enum Vouched {
    /// It opens this session.
    Opens(Arc<Session>),
    /// It was verified, but its session has to be asked for anew.
    Verified(TokenHash, Now),
    /// It was verified, and its session is over.
    Over,
}

impl Bearer {
    pub(super) fn new(mark: Mark, text: &[u8], until: Now, session: Option<Arc<Session>>) -> Self {
        Self { mark, text: text.into(), until, session }
    }

    /// The session, if this is the token and the copy is usable.
    pub(super) fn opens(&self, mark: &Mark, text: &[u8], now: Now) -> Option<&Arc<Session>> {
        let session = self.session.as_ref()?;
        (self.is(mark, text, now) && session.usable(now)).then_some(session)
    }

    /// What is known of `text`, if this is it.
    pub(super) fn vouch(&self, mark: &Mark, text: &[u8], now: Now) -> Option<Vouched> {
        if !self.is(mark, text, now) {
            return None;
        }
        Some(match &self.session {
            Some(session) if session.usable(now) => Vouched::Opens(Arc::clone(session)),
            Some(session) if !session.is_over() => Vouched::Verified(session.token, self.until),
            Some(_) | None => Vouched::Over,
        })
    }

    fn is(&self, mark: &Mark, text: &[u8], now: Now) -> bool {
        self.mark == *mark && *self.text == *text && now < self.until
    }

    /// Whether it is of no more use.
    pub(super) fn is_void(&self, now: Now) -> bool {
        now >= self.until || self.session.as_ref().is_none_or(|session| !session.usable(now))
    }
}

/// The tokens that all workers share.
pub(super) struct Bearers(Moka<Mark, Arc<Bearer>, BuildHasherDefault<PassThrough>>);

impl Bearers {
    pub(super) fn new(entries: u64) -> Self {
        let kept = Moka::builder().max_capacity(entries).time_to_live(KEPT_FOR);
        Self(kept.build_with_hasher(BuildHasherDefault::default()))
    }

    pub(super) fn get(&self, mark: &Mark) -> Option<Arc<Bearer>> {
        self.0.get(mark)
    }

    pub(super) fn put(&self, bearer: Arc<Bearer>) {
        self.0.insert(bearer.mark, bearer);
    }

    pub(super) fn clear(&self) {
        self.0.invalidate_all();
    }
}
