//! What is looked up in memory for each request that somebody makes, and what is kept there for the next. Nothing here
//! waits.

use std::sync::Arc;

use crate::secret::{Key, PERSONAL_PREFIX, TOKEN_TEXT, Token, TokenHash};
use crate::session::Sessions;
use crate::session::bearer::{Bearer, Mark, Place, Vouched};
use crate::session::cache::Epoch;
use crate::session::near::Near;
use crate::time::Now;
use crate::visitor::Session;

/// What memory knows of a token.
pub enum Recognised {
    /// It opens this session.
    Known(Arc<Session>),
    /// It was issued here, and opens nothing.
    Gone,
    /// It was not issued here.
    Foreign,
    /// It was issued here, and only the store can tell what it opens.
    Ask(TokenHash),
}

impl Sessions {
    /// Looks the text of a session's token up in memory: first in the worker's own table, then in the shared cache.
    /// Whether it is one that was issued here is looked at only if it is in neither.
    pub fn recognise(&self, near: &mut Near, text: &[u8], now: Now) -> Recognised {
        if text.len() != TOKEN_TEXT {
            return Recognised::Foreign;
        }
        self.look_up(near, text, now, || {
            let token = Token::parse(text)?;
            Some((token.hash(), token, &self.key))
        })
    }

    /// The same for the text of a personal access token.
    pub fn recognise_personal(&self, near: &mut Near, text: &[u8], now: Now) -> Recognised {
        if text.len() != PERSONAL_PREFIX.len() + TOKEN_TEXT {
            return Recognised::Foreign;
        }
        self.look_up(near, text, now, || {
            let token = Token::parse(text.strip_prefix(PERSONAL_PREFIX.as_bytes())?)?;
            Some((token.personal_hash(), token, &self.personal_key))
        })
    }

    /// The token in a text is read only if the worker's own table does not have it: what it is stored under, itself, and
    /// the key that it should have been issued with.
    fn look_up<'k>(
        &self,
        near: &mut Near,
        text: &[u8],
        now: Now,
        read: impl FnOnce() -> Option<(TokenHash, Token, &'k Key)>,
    ) -> Recognised {
        let print = near.print(text);
        if self.is_current()
            && let Some(session) = near.get(print, now, self.cache.endings())
        {
            return Recognised::Known(Arc::clone(session));
        }
        let Some((hash, token, key)) = read() else { return Recognised::Foreign };
        if let Some(session) = self.remembered(&hash, now) {
            near.put(print, Arc::clone(&session));
            return Recognised::Known(session);
        }
        match self.cache.is_gone(&hash) {
            true => Recognised::Gone,
            false if key.issued(&token) => Recognised::Ask(hash),
            false => Recognised::Foreign,
        }
    }

    /// The session with this token as the store gave it, if the shared cache has it.
    pub fn remembered(&self, token: &TokenHash, now: Now) -> Option<Arc<Session>> {
        if self.is_current() { self.cache.get(token, now) } else { None }
    }

    /// Looks a signed cookie up in memory. `None` if it has to be verified, or opens nothing.
    pub fn carried(&self, near: &mut Near, text: &[u8], now: Now) -> Option<Arc<Session>> {
        let mark = Mark::of(text, Place::Cookie).filter(|_| self.is_current())?;
        if let Some(session) = near.bearer(&mark, text, now, self.cache.endings()) {
            return Some(Arc::clone(session));
        }
        let bearer = self.cache.bearers.get(&mark)?;
        let session = Arc::clone(bearer.opens(&mark, text, now)?);
        // Endings are counted after they are listed: one that is not seen here empties the worker's table.
        if self.cache.has_ended(&session.token) {
            return None;
        }
        near.put_bearer(bearer);
        Some(session)
    }

    /// Remembers that a signed cookie was verified, for as long as this copy of its session is good. `None` if the
    /// session is known to have ended.
    pub fn keep_carried(&self, text: &[u8], session: Session, epoch: Epoch) -> Option<Arc<Session>> {
        let (mark, session) = (Mark::of(text, Place::Cookie)?, Arc::new(session));
        self.keep((mark, epoch), text, session.fresh_until, Some(Arc::clone(&session)));
        (!self.cache.has_ended(&session.token)).then_some(session)
    }

    /// Looks an access token up in memory, as [`Self::recognise`] does with a session's own. `None` if it has
    /// to be verified.
    pub fn vouched(&self, near: &mut Near, text: &[u8], now: Now) -> Option<Vouched> {
        let mark = Mark::of(text, Place::Header).filter(|_| self.is_current())?;
        if let Some(session) = near.bearer(&mark, text, now, self.cache.endings()) {
            return Some(Vouched::Opens(Arc::clone(session)));
        }
        let epoch = self.cache.epoch();
        let bearer = self.cache.bearers.get(&mark)?;
        let vouched = match bearer.vouch(&mark, text, now)? {
            // Another copy may have taken the place of the one that was kept.
            Vouched::Verified(token, until) => match self.cache.get(&token, now) {
                Some(session) => {
                    let bearer = self.keep((mark, epoch), text, until, Some(Arc::clone(&session)));
                    near.put_bearer(bearer);
                    Vouched::Opens(session)
                }
                None => Vouched::Verified(token, until),
            },
            Vouched::Opens(session) => {
                near.put_bearer(bearer);
                Vouched::Opens(session)
            }
            Vouched::Over => Vouched::Over,
        };
        Some(vouched)
    }

    /// Remembers that an access token was verified in this epoch and what it opens, as the store has just said.
    pub fn vouch(&self, text: &[u8], until: Now, session: Option<Arc<Session>>, epoch: Epoch) {
        if let Some(mark) = Mark::of(text, Place::Header) {
            self.keep((mark, epoch), text, until, session);
        }
    }

    fn keep(
        &self,
        (mark, epoch): (Mark, Epoch),
        text: &[u8],
        until: Now,
        session: Option<Arc<Session>>,
    ) -> Arc<Bearer> {
        let bearer = Arc::new(Bearer::new(mark, text, until, session));
        self.cache.keep_bearer((self.edition, epoch), &bearer);
        bearer
    }
}
