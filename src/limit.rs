//! Which budgets exist for proving who one is and for having mails sent, and what an attempt costs: by source,
//! by account or recipient, in all.
//!
//! Counted per process: with several replicas the effective limit is so many times higher.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::account::device::Device;
use crate::account::email::Email;
use crate::config;
use crate::id::{SessionId, UserId};
use crate::refusal::Refusal;
use crate::secret::{Key, Purpose, RootSecret};
use crate::time::Now;
use bucket::{Rate, Table};

pub mod bucket;

/// Sources and accounts that are counted at a time (1 MiB each).
const ENTRIES: usize = 1 << 16;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// How many times the budget of a /64 a /48 has.
const SUBSCRIBER: u32 = 8;
/// How many times the budget of one browser all known browsers of an account have together.
const BROWSERS: u32 = 5;
/// Changes that a signed-in user may make in a minute.
const CHANGES: u32 = 60;
/// Refresh tokens of one session that are exchanged in a minute.
const EXCHANGES: u32 = 60;
/// Codes that are sent in an hour for sign-ins to one account.
const CODES: u32 = 10;
/// Wrong codes in an hour for sign-ins to one account, over all that were sent.
const CODE_TRIES: u32 = 25;

/// The budgets. Nothing here knows whether an account exists, so no answer can tell.
pub struct Limits {
    key: Key,
    addresses: Arc<Table>,
    accounts: Arc<Table>,
    all: Arc<Table>,
    per_address: Rate,
    attempts_per_address: u32,
    known_browsers: Rate,
    per_account: Rate,
    in_all: Rate,
    per_recipient: Rate,
}

/// What a sign-in was spent from, for [`Limits::give_back`].
#[must_use]
pub struct Spent([Option<(u64, Rate)>; 2]);

impl Limits {
    /// Budgets as configured, all of them full.
    pub fn new(config: &config::Limits, root: &RootSecret) -> Self {
        Self {
            key: root.key(Purpose::Limits),
            addresses: Arc::new(Table::new(ENTRIES)),
            accounts: Arc::new(Table::new(ENTRIES)),
            all: Arc::new(Table::new(1)),
            per_address: Rate::per(config.attempts_per_address, MINUTE),
            attempts_per_address: config.attempts_per_address,
            known_browsers: Rate::per(config.attempts_per_account.saturating_mul(BROWSERS), HOUR),
            per_account: Rate::per(config.attempts_per_account, HOUR),
            in_all: Rate::per(config.attempts_in_all, SECOND),
            per_recipient: Rate::per(config.mails_per_recipient, HOUR),
        }
    }

    /// The same budgets under other numbers: what was spent stays spent.
    #[must_use]
    pub fn under(&self, config: &config::Limits, root: &RootSecret) -> Self {
        Self {
            addresses: Arc::clone(&self.addresses),
            accounts: Arc::clone(&self.accounts),
            all: Arc::clone(&self.all),
            ..Self::new(config, root)
        }
    }

    /// How often something was spent, and how often nothing was left: by address, by account, in all.
    pub fn counts(&self) -> [(&'static str, [u64; 2]); 3] {
        [("address", &self.addresses), ("account", &self.accounts), ("all", &self.all)]
            .map(|(budget, table)| (budget, table.counts()))
    }

    /// Spends one sign-in, before anything is looked up or hashed; [`Refusal::TooManyRequests`]
    /// if a budget is empty.
    ///
    /// The attempt is spent as a failure, so that parallel guesses cannot all pass before the
    /// first of them has failed; [`Self::give_back`] when it turns out not to be one. A browser
    /// that signed this account in before has a budget of its own in place of the account's and
    /// of that in all: strangers who guess, however many, cannot lock it out. All such browsers together have
    /// five times as much, however many they are; when that is gone they are counted as strangers.
    pub fn sign_in(
        &self,
        now: Now,
        from: IpAddr,
        account: &Email,
        known: Option<Device>,
    ) -> Result<Spent, Refusal> {
        self.by_address(now, from)?;
        let Some(device) = known else { return self.stranger(now, from, account) };
        let own = (self.of_account(b'b', account, device.as_bytes()), self.per_account);
        self.accounts.take(own.0, own.1, now).map_err(Refusal::TooManyRequests)?;
        let together = (self.of_account(b'k', account, &[]), self.known_browsers);
        if self.accounts.take(together.0, together.1, now).is_ok() {
            return Ok(Spent([Some(own), Some(together)]));
        }
        match self.stranger(now, from, account) {
            Ok(Spent([as_stranger, _])) => Ok(Spent([Some(own), as_stranger])),
            Err(refusal) => {
                self.accounts.give_back(own.0, own.1);
                Err(refusal)
            }
        }
    }

    /// Spends as a stranger what was [spent](Self::sign_in) as a known browser, and gives that back: the store
    /// does not know the browser any more.
    pub fn as_stranger(
        &self,
        now: Now,
        from: IpAddr,
        account: &Email,
        spent: Spent,
    ) -> Result<Spent, Refusal> {
        self.give_back(spent);
        self.stranger(now, from, account)
    }

    fn stranger(&self, now: Now, from: IpAddr, account: &Email) -> Result<Spent, Refusal> {
        self.in_all(now, from)?;
        let key = self.of_account(b'a', account, &[]);
        self.accounts.take(key, self.per_account, now).map_err(Refusal::TooManyRequests)?;
        Ok(Spent([Some((key, self.per_account)), None]))
    }

    /// Gives the account's (or known browser's) part of a sign-in back: it succeeded, or it
    /// ended before the password was judged.
    pub fn give_back(&self, Spent(budgets): Spent) {
        for (key, rate) in budgets.into_iter().flatten() {
            self.accounts.give_back(key, rate);
        }
    }

    /// Spends one sign-up, before anything is looked up or hashed.
    pub fn sign_up(&self, now: Now, from: IpAddr) -> Result<(), Refusal> {
        self.by_address(now, from)?;
        self.in_all(now, from)
    }

    /// Spends one step of a way through a provider, before anything is looked up.
    pub fn provider(&self, now: Now, from: IpAddr) -> Result<(), Refusal> {
        self.by_address(now, from)?;
        self.in_all(now, from)
    }

    /// Spends one mail that somebody at `from` has sent to `to`, before it is looked up whether anything is
    /// sent at all.
    pub fn mail(&self, now: Now, from: IpAddr, to: &Email) -> Result<(), Refusal> {
        self.by_address(now, from)?;
        self.in_all(now, from)?;
        self.recipient(now, to)
    }

    /// Spends one mail that a signed-in user has sent to `to`.
    pub fn recipient(&self, now: Now, to: &Email) -> Result<(), Refusal> {
        let key = self.fingerprint(&[b"m", to.mailbox().as_bytes()].concat());
        self.accounts.take(key, self.per_recipient, now).map_err(Refusal::TooManyRequests)
    }

    /// Spends one try to use a secret that came by mail, before it is looked up.
    pub fn ticket(&self, now: Now, from: IpAddr) -> Result<(), Refusal> {
        self.by_address(now, from)?;
        self.in_all(now, from)
    }

    /// Spends one try of a signed-in user to give the password once more; [`Self::give_back_confirm`] when
    /// it was right.
    pub fn confirm(&self, now: Now, user: &UserId) -> Result<(), Refusal> {
        self.accounts.take(self.confirm_key(user), self.per_account, now).map_err(Refusal::TooManyRequests)
    }

    /// Gives such a try back.
    pub fn give_back_confirm(&self, user: &UserId) {
        self.accounts.give_back(self.confirm_key(user), self.per_account);
    }

    /// Spends one code that is sent for a sign-in to this account.
    pub fn code(&self, now: Now, user: &UserId) -> Result<(), Refusal> {
        let key = self.fingerprint(&[b"c", user.as_str().as_bytes()].concat());
        self.accounts.take(key, Rate::per(CODES, HOUR), now).map_err(Refusal::TooManyRequests)
    }

    /// Spends one try of a code, of whichever sign-in to this account; [`Self::give_back_code_try`] when it
    /// was right.
    pub fn code_try(&self, now: Now, user: &UserId) -> Result<(), Refusal> {
        self.accounts
            .take(self.code_try_key(user), Rate::per(CODE_TRIES, HOUR), now)
            .map_err(Refusal::TooManyRequests)
    }

    /// Gives such a try back.
    pub fn give_back_code_try(&self, user: &UserId) {
        self.accounts.give_back(self.code_try_key(user), Rate::per(CODE_TRIES, HOUR));
    }

    fn code_try_key(&self, user: &UserId) -> u64 {
        self.fingerprint(&[b"t", user.as_str().as_bytes()].concat())
    }

    /// Spends one change that a signed-in user makes.
    pub fn change(&self, now: Now, user: &UserId) -> Result<(), Refusal> {
        let key = self.fingerprint(&[b"u", user.as_str().as_bytes()].concat());
        self.accounts.take(key, Rate::per(CHANGES, MINUTE), now).map_err(Refusal::TooManyRequests)
    }

    /// Spends one exchange of a session's refresh token, each of which is written; [`Self::give_back_exchange`]
    /// when another was quicker.
    pub fn exchange(&self, now: Now, session: &SessionId) -> Result<(), Refusal> {
        self.accounts
            .take(self.exchange_key(session), Rate::per(EXCHANGES, MINUTE), now)
            .map_err(Refusal::TooManyRequests)
    }

    /// Gives such an exchange back.
    pub fn give_back_exchange(&self, session: &SessionId) {
        self.accounts.give_back(self.exchange_key(session), Rate::per(EXCHANGES, MINUTE));
    }

    fn exchange_key(&self, session: &SessionId) -> u64 {
        self.fingerprint(&[b"r", session.as_str().as_bytes()].concat())
    }

    fn by_address(&self, now: Now, from: IpAddr) -> Result<(), Refusal> {
        let mut spent: Vec<(u64, Rate)> = Vec::with_capacity(2);
        for (key, rate) in self.networks(from) {
            if let Err(wait) = self.addresses.take(key, rate, now) {
                for (key, rate) in spent {
                    self.addresses.give_back(key, rate);
                }
                return Err(Refusal::TooManyRequests(wait));
            }
            spent.push((key, rate));
        }
        Ok(())
    }

    /// The networks that an address stands for. One subscriber has at least a /64 (RFC 6177 §2) and may have a
    /// /48, which is worth several.
    fn networks(&self, from: IpAddr) -> impl Iterator<Item = (u64, Rate)> {
        let several = Rate::per(self.attempts_per_address.saturating_mul(SUBSCRIBER), MINUTE);
        let (own, wide) = match from.to_canonical() {
            IpAddr::V4(v4) => (self.fingerprint(&v4.octets()), None),
            IpAddr::V6(v6) => {
                let octets = v6.octets();
                (self.fingerprint(&octets[..8]), Some((self.fingerprint(&octets[..6]), several)))
            }
        };
        std::iter::once((own, self.per_address)).chain(wide)
    }

    /// The budget of all together. Who is turned away here keeps what the address had.
    fn in_all(&self, now: Now, from: IpAddr) -> Result<(), Refusal> {
        self.all.take(0, self.in_all, now).map_err(|wait| {
            for (key, rate) in self.networks(from) {
                self.addresses.give_back(key, rate);
            }
            Refusal::TooManyRequests(wait)
        })
    }

    /// A letter before each kind of name, so that none of one kind is one of the other; `device` is of one length
    /// or empty.
    fn of_account(&self, kind: u8, account: &Email, device: &[u8]) -> u64 {
        self.fingerprint(&[&[kind], device, account.as_str().as_bytes()].concat())
    }

    fn confirm_key(&self, user: &UserId) -> u64 {
        self.fingerprint(&[b"p", user.as_str().as_bytes()].concat())
    }

    /// A keyed hash: nobody outside can aim at a place in a table, nor read a name from memory.
    fn fingerprint(&self, name: &[u8]) -> u64 {
        let mac = self.key.mac(name);
        u64::from_le_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], mac[6], mac[7]])
    }
}

#[cfg(test)]
mod tests;
