//! The small tables that each worker keeps before the shared cache, so that who has just been here is found without a
//! lock.

use std::sync::Arc;

use siphasher::sip128::SipHasher13;

use crate::secret::random;
use crate::session::bearer::{Bearer, Mark};
use crate::time::Now;
use crate::visitor::Session;

/// Entries of each table.
const SLOTS: usize = 1024;

/// What a worker knows a token by: a number of 128 bits that only it can compute, and that costs a fraction of what a
/// [`TokenHash`](crate::secret::TokenHash) costs. Worth nothing to a thief either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Print(u128);

impl Print {
    /// One half of it.
    #[expect(clippy::cast_possible_truncation, reason = "the other half is as good")]
    fn number(self) -> u64 {
        self.0 as u64
    }
}

/// A worker's own small tables before the shared ones: one slot per token, the latest wins.
pub struct Near {
    slots: Vec<Option<(Print, Arc<Session>)>>,
    bearers: Vec<Option<Arc<Bearer>>>,
    /// What [`Cache::endings`](crate::session::cache::Cache::endings) said when the table was last used; once it says more, all slots are void.
    endings: u64,
    /// Makes [`Print`]s. Its key is this worker's secret: nobody can look for two texts with one print.
    prints: SipHasher13,
}

impl Default for Near {
    fn default() -> Self {
        let (slots, bearers) = (vec![None; SLOTS], vec![None; SLOTS]);
        Self { slots, bearers, endings: 0, prints: SipHasher13::new_with_key(&random()) }
    }
}

impl Near {
    /// What a token with this text is known by here.
    pub fn print(&self, text: &[u8]) -> Print {
        Print(self.prints.hash(text).as_u128())
    }

    /// The session of a token, if a usable copy is here and no session has been ended since it came.
    pub fn get(&mut self, print: Print, now: Now, endings: u64) -> Option<&Arc<Session>> {
        self.hear(endings);
        let (of, session) = self.slots[Self::slot(print.number())].as_ref()?;
        (*of == print && session.usable(now)).then_some(session)
    }

    /// The session of an access token, on the same conditions.
    pub(super) fn bearer(
        &mut self,
        mark: &Mark,
        text: &[u8],
        now: Now,
        endings: u64,
    ) -> Option<&Arc<Session>> {
        self.hear(endings);
        self.bearers[Self::slot(mark.slot())].as_ref()?.opens(mark, text, now)
    }

    fn hear(&mut self, endings: u64) {
        if self.endings != endings {
            self.endings = endings;
            self.slots.fill(None);
            self.bearers.fill(None);
        }
    }

    /// Remembers a session that the shared cache gave after the latest [`Self::get`].
    pub fn put(&mut self, print: Print, session: Arc<Session>) {
        self.slots[Self::slot(print.number())] = Some((print, session));
    }

    /// The same for an access token.
    pub(super) fn put_bearer(&mut self, bearer: Arc<Bearer>) {
        let slot = Self::slot(bearer.mark.slot());
        self.bearers[slot] = Some(bearer);
    }

    /// Lets go of copies that can no longer be used; called at every tick.
    pub fn sweep(&mut self, now: Now) {
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(|(_, session)| !session.usable(now)) {
                *slot = None;
            }
        }
        for slot in &mut self.bearers {
            if slot.as_ref().is_some_and(|bearer| bearer.is_void(now)) {
                *slot = None;
            }
        }
    }

    fn slot(number: u64) -> usize {
        usize::try_from(number % SLOTS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_knows_each_text_by_a_print_that_no_other_worker_makes() {
        let (one, other) = (Near::default(), Near::default());
        let texts: Vec<Vec<u8>> = (0..200).map(|length| vec![b'a'; length]).collect();
        let prints: Vec<Print> = texts.iter().map(|text| one.print(text)).collect();
        for (number, text) in texts.iter().enumerate() {
            assert!(one.print(text) == prints[number] && !prints[..number].contains(&prints[number]));
            assert!(other.print(text) != prints[number]);
        }
    }
}
