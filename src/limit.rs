//! Which budgets exist for proving who one is and for having mails sent, and what an attempt costs: by source,
//! by account or recipient, in all.
//!
//! Counted per process: with several replicas the effective limit is so many times higher.

use std::net::IpAddr;
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
    addresses: Table,
    accounts: Table,
    all: Table,
    per_address: Rate,
    attempts_per_address: u32,
    per_account: Rate,
    in_all: Rate,
    per_recipient: Rate,
}

impl Limits {
    /// Budgets as configured, all of them full.
    pub fn new(config: &config::Limits, root: &RootSecret) -> Self {
        Self {
            key: root.key(Purpose::Limits),
            addresses: Table::new(ENTRIES),
            accounts: Table::new(ENTRIES),
            all: Table::new(1),
            per_address: Rate::per(config.attempts_per_address, MINUTE),
            attempts_per_address: config.attempts_per_address,
            per_account: Rate::per(config.attempts_per_account, HOUR),
            in_all: Rate::per(config.attempts_in_all, SECOND),
            per_recipient: Rate::per(config.mails_per_recipient, HOUR),
        }
    }

    /// Spends one sign-in, before anything is looked up or hashed; [`Refusal::TooManyRequests`]
    /// if a budget is empty.
    ///
    /// The attempt is spent as a failure, so that parallel guesses cannot all pass before the
    /// first of them has failed; [`Self::give_back`] when it turns out not to be one. A browser
    /// that signed this account in before has a budget of its own in place of the account's and
    /// of that in all: strangers who guess, however many, cannot lock it out.
    pub fn sign_in(
        &self,
        now: Now,
        from: IpAddr,
        account: &Email,
        known: Option<Device>,
    ) -> Result<(), Refusal> {
        self.by_address(now, from)?;
        if known.is_none() {
            self.in_all(now, from)?;
        }
        let key = self.key_of(account, known);
        self.accounts.take(key, self.per_account, now).map_err(Refusal::TooManyRequests)
    }

    /// Gives the account's (or known browser's) part of a sign-in back: it succeeded, or it
    /// ended before the password was judged.
    pub fn give_back(&self, account: &Email, known: Option<Device>) {
        self.accounts.give_back(self.key_of(account, known), self.per_account);
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

    /// A letter before each kind of name, so that none of one kind is one of the other.
    fn key_of(&self, account: &Email, known: Option<Device>) -> u64 {
        let account = account.as_str().as_bytes();
        match known {
            None => self.fingerprint(&[b"a", account].concat()),
            Some(device) => self.fingerprint(&[b"b", &device.as_bytes()[..], account].concat()),
        }
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
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::account::device;

    const START: Now = Now::from_millis(1_700_000_000_000);
    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn root() -> RootSecret {
        RootSecret::new(vec![7; 32]).expect("long enough")
    }

    fn limits(per_address: u32, per_account: u32, in_all: u32) -> Limits {
        let config = config::Limits {
            attempts_per_address: per_address,
            attempts_per_account: per_account,
            attempts_in_all: in_all,
            mails_per_recipient: 3,
            ..config::Limits::ZERO
        };
        Limits::new(&config, &root())
    }

    fn email(text: &str) -> Email {
        Email::parse(text).expect("an address")
    }

    fn device(account: &Email) -> Option<Device> {
        let key = root().key(Purpose::Device);
        device::verify(&key, &device::issue(&key, account), account)
    }

    /// Different /64s, as many as there are numbers.
    fn network(n: u32) -> IpAddr {
        Ipv6Addr::from_bits((0x2001 << 112) | (u128::from(n) << 80) | 1).into()
    }

    fn wait(refused: Result<(), Refusal>) -> u32 {
        match refused {
            Err(Refusal::TooManyRequests(seconds)) => seconds,
            other => panic!("not a limit: {other:?}"),
        }
    }

    #[test]
    fn one_source_is_one_budget_for_sign_ins_and_sign_ups() {
        let limits = limits(2, 100, 100);
        assert_eq!(limits.sign_in(START, HOME, &email("a@example.com"), None), Ok(()));
        assert_eq!(limits.sign_up(START, HOME), Ok(()));
        assert_eq!(wait(limits.sign_up(START, HOME)), 30);
        assert_eq!(wait(limits.sign_in(START, HOME, &email("b@example.com"), None)), 30);
        assert_eq!(limits.sign_up(START, Ipv4Addr::new(192, 0, 2, 2).into()), Ok(()));
    }

    #[test]
    fn a_source_is_an_ipv4_address_however_written_or_an_ipv6_network() {
        // CVE-2026-46415
        let limits = limits(1, 100, 100);
        let from = |text: &str| limits.sign_up(START, text.parse().expect("an address")).is_ok();
        assert!(from("192.0.2.9") && !from("::ffff:192.0.2.9"));
        assert!(from("::ffff:192.0.2.10"), "mapped addresses are not all one network");
        assert!(from("2001:db8:1:1::1") && !from("2001:db8:1:1:ffff::2") && from("2001:db8:1:2::1"));
    }

    #[test]
    fn rl_2_one_subscriber_with_many_networks_leaves_the_others_their_sign_ins() {
        let limits = limits(20, 10, 50);
        let within = |n: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8_0001 << 80) | (n << 64) | 1));
        let passed = (0..1000).filter(|&n| limits.sign_up(START, within(n)).is_ok()).count();
        assert_eq!(passed, 50, "the budget of all together comes first");
        let second = START.plus(Duration::from_secs(1));
        let minute = (1..60).map(|n| START.plus(Duration::from_secs(n)));
        let more: usize =
            minute.map(|at| (0..1000).filter(|&n| limits.sign_up(at, within(n)).is_ok()).count()).sum();
        assert!(passed + more <= 320, "{more}: eight subscribers' worth and what came back in a minute");
        assert_eq!(limits.sign_up(second.plus(MINUTE), HOME), Ok(()));
    }

    #[test]
    fn an_account_is_guessed_at_only_so_often_from_however_many_places() {
        // Every spelling is the same account (GHSA-hjj4-hfjm-fmrj).
        let limits = limits(100, 10, 1_000_000);
        let spellings = ["ada@example.com", "ADA@example.com", " ada@example.com "];
        let guess = |n: u32| limits.sign_in(START, network(n), &email(spellings[n as usize % 3]), None);
        assert_eq!((0..1000).filter(|&n| guess(n).is_ok()).count(), 10);
        assert_eq!(wait(guess(1000)), 360);
        assert_eq!(limits.sign_in(START, HOME, &email("bob@example.com"), None), Ok(()));
    }

    #[test]
    fn strangers_who_guess_cannot_lock_out_a_browser_that_is_known() {
        let limits = limits(100, 3, 5);
        let ada = email("ada@example.com");
        let known = device(&ada);
        assert!((0..100).any(|n| limits.sign_in(START, network(n), &ada, None).is_err()));
        for n in 100..200 {
            let _spent = limits.sign_in(START, network(n), &email(&format!("x{n}@example.com")), None);
        }
        assert_eq!(limits.sign_in(START, HOME, &ada, known), Ok(()));
    }

    #[test]
    fn a_known_browser_has_only_its_own_budget_to_guess_with() {
        let limits = limits(100, 3, 100);
        let ada = email("ada@example.com");
        let (stolen, other) = (device(&ada), device(&ada));
        let guesses = [(); 5].map(|()| limits.sign_in(START, HOME, &ada, stolen).is_ok());
        assert_eq!(guesses, [true, true, true, false, false]);
        assert_eq!(limits.sign_in(START, HOME, &ada, other), Ok(()));
        assert_eq!(limits.sign_in(START, HOME, &ada, None), Ok(()));
    }

    #[test]
    fn signing_in_is_no_failure_however_often() {
        let limits = limits(1000, 3, 1000);
        let ada = email("ada@example.com");
        for known in [None, device(&ada)] {
            for _ in 0..50 {
                assert_eq!(limits.sign_in(START, HOME, &ada, known), Ok(()));
                limits.give_back(&ada, known);
            }
            let failures = [(); 4].map(|()| limits.sign_in(START, HOME, &ada, known).is_ok());
            assert_eq!(failures, [true, true, true, false], "and earlier failures are not forgiven");
        }
    }

    #[test]
    fn a_source_that_is_refused_spends_nothing_of_what_others_need() {
        // See tinyauth 654b5cc4.
        let limits = limits(2, 5, 10);
        let ada = email("ada@example.com");
        for _ in 0..1000 {
            let _spent = limits.sign_in(START, HOME, &ada, None);
        }
        assert_eq!(limits.sign_in(START, network(1), &ada, None), Ok(()));
    }

    #[test]
    fn rl_7_a_flood_of_a_million_networks_frees_no_guesser() {
        let limits = limits(5, 10, 1_000_000);
        let guesser = network(0);
        let later = |n: u32| START.plus(Duration::from_micros(u64::from(n)));
        while limits.sign_up(START, guesser).is_ok() {}
        for n in 1..=1_000_000 {
            assert_eq!(limits.sign_up(later(n), network(n)), Ok(()), "{n}");
        }
        assert!(wait(limits.sign_up(later(1_000_000), guesser)) <= 12);
    }
}
