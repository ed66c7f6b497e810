//! Refresh tokens: each is exchanged once, for a successor that follows from it. Whoever was not heard, or
//! came a moment too late, gets that same successor; whoever comes later is not the one it was given to.

use std::time::Duration;

use crate::error::Fault;
use crate::secret::Token;
use crate::store::Tx;
use crate::store::refresh::FamilyRow;
use crate::time::Now;
use crate::token::Tokens;
use crate::visitor::Session;

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
        session: &Session,
        ends: Now,
        now: Now,
    ) -> Result<Token, Fault> {
        let token = self.refresh.issue();
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

    /// Reads a refresh token; `None` for what we never gave, which the store is not asked for.
    pub fn refresh_parse(&self, text: &str) -> Option<Token> {
        Token::parse(text.as_bytes()).filter(|token| self.refresh.issued(token))
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
    pub fn refresh_next(&self, token: &Token) -> Token {
        self.refresh.successor(token)
    }
}
