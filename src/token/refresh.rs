//! Refresh tokens: each is exchanged once, for a successor that follows from it. Whoever was not heard, or
//! came a moment too late, gets that same successor; whoever comes later is not the one it was given to.

use std::time::Duration;

use crate::error::Fault;
use crate::secret::{Key, Token};
use crate::store::Tx;
use crate::store::refresh::FamilyRow;
use crate::time::Now;
use crate::token::Tokens;
use crate::visitor::Session;

/// Who holds a refresh token. One can never stand for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A program, which got it in JSON.
    Program,
    /// A browser, which got it in a cookie.
    Browser,
}

/// What a refresh token is at some moment.
pub enum Standing {
    /// The newest of its family: it can be exchanged.
    Current,
    /// It was exchanged a moment ago: its successor is the newest.
    JustUsed,
    /// It was used before: somebody has a token that is not theirs.
    Replayed,
    /// The family has expired.
    Expired,
}

impl Tokens {
    /// The first refresh token of a session, which ends at `ends` whatever its use.
    pub async fn refresh_first(
        &self,
        tx: &mut Tx,
        holder: Holder,
        session: &Session,
        (now, ends): (Now, Now),
    ) -> Result<Token, Fault> {
        let token = self.refresh_key(holder).issue();
        tx.refresh_family_insert(&FamilyRow {
            id: token.family(),
            session: session.id.clone(),
            current: token.hash(),
            previous: None,
            generation: 0,
            created: now,
            rotated: now,
            expires: ends,
        })
        .await?;
        Ok(token)
    }

    /// The refresh token of a browser that follows on the token of its session, as if that had been the first of
    /// its family; `None` if there is such a family already.
    pub async fn refresh_adopt(
        &self,
        tx: &mut Tx,
        session: &Session,
        token: &Token,
        (now, ends): (Now, Now),
    ) -> Result<Option<Token>, Fault> {
        let next = self.refresh_next(Holder::Browser, token);
        let family = FamilyRow {
            id: token.family(),
            session: session.id.clone(),
            current: next.hash(),
            previous: Some(token.hash()),
            generation: 1,
            created: now,
            rotated: now,
            expires: ends,
        };
        Ok(tx.refresh_family_insert(&family).await?.then_some(next))
    }

    /// Reads a refresh token; `None` for what we never gave, which the store is not asked for.
    pub fn refresh_parse(&self, holder: Holder, text: &[u8]) -> Option<Token> {
        Token::parse(text).filter(|token| self.refresh_key(holder).issued(token))
    }

    fn refresh_key(&self, holder: Holder) -> &Key {
        match holder {
            Holder::Program => &self.refresh,
            Holder::Browser => &self.refresh_cookie,
        }
    }

    /// How long after its use a refresh token still gives the successor that it gave.
    pub fn refresh_grace(&self) -> Duration {
        self.settings.refresh_grace
    }

    /// The family of a refresh token, if it has not ended.
    pub async fn refresh_family(&self, token: &Token) -> Result<Option<FamilyRow>, Fault> {
        self.store.refresh_family(&token.family()).await
    }

    /// What `token` is in its family.
    pub fn refresh_standing(&self, token: &Token, family: &FamilyRow, now: Now) -> Standing {
        let (hash, grace) = (token.hash(), self.settings.refresh_grace);
        if now >= family.expires {
            Standing::Expired
        } else if family.current == hash {
            Standing::Current
        } else if family.previous == Some(hash)
            && grace > Duration::ZERO
            && now.since(family.rotated) <= grace
        {
            Standing::JustUsed
        } else {
            Standing::Replayed
        }
    }

    /// The successor of a refresh token.
    pub fn refresh_next(&self, holder: Holder, token: &Token) -> Token {
        self.refresh_key(holder).successor(token)
    }
}
