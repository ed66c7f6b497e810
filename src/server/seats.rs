//! The connections of one worker: how many there are, and which can be done without when there are too many.
//!
//! Nothing is kept up to date while requests come and go: who is idle, and since when, is read off the deadlines that
//! connections wait with anyway, and only once places are few.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use tokio::sync::Notify;

use crate::proxy::ticker::{Deadline, Idle};
use crate::server::crowd::{Limit, Member, Requests};
use crate::server::silenced::Silenced;

/// For how long a connection is left alone, in milliseconds: its first request is on its way.
const GRACE: u64 = 1000;
/// An address with so many connections has had its grace with others.
const MANY: u32 = 16;
/// Most that are closed at a time, so that nobody waits for that.
const MOST: usize = 256;
/// How long a connection may take to be gone once it makes room, in milliseconds.
const LEAVING: u64 = 750;
/// How long one that comes is kept waiting where none here is idle, in milliseconds: other workers look at every tick.
const HOPE: u64 = 500;
/// How long nobody is kept waiting after somebody was in vain, in milliseconds.
const NO_HOPE: u64 = 1000;

/// The connections of one worker, counted.
#[derive(Default)]
pub(super) struct Seats {
    /// Sockets that are open, tunnels included.
    pub(super) open: Cell<usize>,
    /// Told whenever one has been closed.
    pub(super) one_less: Notify,
    /// All of them, each at its place.
    taken: RefCell<Vec<Weak<Seat>>>,
    looked: Cell<Looked>,
    /// How many were told to make room and may not be gone, and when that was.
    told: Cell<(usize, u64)>,
    /// When somebody was kept waiting in vain.
    in_vain: Cell<Option<u64>>,
    /// Told of those for which there was no room, by the limit.
    refused: [RefCell<Option<Silenced>>; 2],
}

/// When idle connections were looked for last, in milliseconds of the worker.
#[derive(Clone, Copy, Default)]
struct Looked {
    at: Option<u64>,
    /// When there was one.
    found: Option<u64>,
}

/// How much it matters that there is room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// For who comes next.
    Ahead,
    /// Somebody waits for it.
    Now,
}

impl Seats {
    /// Has up to `count` idle connections make room. Whether any is about to.
    pub(super) fn make_room(&self, count: usize, need: Need, now: u64) -> bool {
        let Looked { at, found } = self.looked.get();
        let leaving = found.is_some_and(|found| now.saturating_sub(found) <= LEAVING);
        // Nobody can have it looked through without end where nobody is idle.
        if at == Some(now) && (need == Need::Ahead || found != at) {
            return leaving;
        }
        let going = self.going(now);
        let count = self.shed(count.saturating_sub(going).min(MOST), now);
        if count > 0 {
            self.told.set((going + count, now));
        }
        let shed = count > 0;
        self.looked.set(Looked { at: Some(now), found: if shed { Some(now) } else { found } });
        shed || leaving
    }

    /// How many are on their way out.
    fn going(&self, now: u64) -> usize {
        let (count, at) = self.told.get();
        if now.saturating_sub(at) <= LEAVING { count } else { 0 }
    }

    /// Whether a connection that came at `begun` is worth keeping waiting although nobody here makes room.
    pub(super) fn hopes(&self, begun: u64, now: u64) -> bool {
        let lately = self.in_vain.get().is_some_and(|at| begun.saturating_sub(at) < NO_HOPE);
        !lately && now.saturating_sub(begun) <= HOPE
    }

    /// A connection was kept waiting in vain.
    pub(super) fn in_vain(&self, now: u64) {
        self.in_vain.set(Some(now));
    }

    /// Those of addresses that have many go first, and of these the ones that would be closed the soonest anyway.
    fn shed(&self, count: usize, now: u64) -> usize {
        let mut idle: Vec<_> = self
            .taken
            .borrow()
            .iter()
            .filter_map(|seat| {
                let seat = seat.upgrade()?;
                Some((seat.rank(now)?, seat))
            })
            .collect();
        if idle.len() > count {
            idle.select_nth_unstable_by_key(count, |(rank, _)| *rank);
            idle.truncate(count);
        }
        for (_, seat) in &idle {
            seat.idle.borrow().end();
        }
        idle.len()
    }

    /// A connection of this address is one too many; it is told of now and then.
    pub(super) fn turn_away(&self, from: IpAddr, limit: Limit, now: u64) {
        let what = match limit {
            Limit::InAll => "connections were refused: there are more than limits.connections",
            Limit::OfOneAddress => {
                "connections were refused: one address (or /48 of IPv6) has more than limits.connections_per_address"
            }
        };
        let mut told = self.refused[limit as usize].borrow_mut();
        told.get_or_insert_with(|| Silenced::new(what)).note(from, now);
    }
}

/// Counts one open socket.
pub(super) struct Seat {
    seats: Rc<Seats>,
    member: Member,
    /// In milliseconds of the worker.
    since: u64,
    place: Cell<usize>,
    idle: RefCell<Idle>,
}

impl Seat {
    /// Counts one more, `now`.
    pub(super) fn take(seats: &Rc<Seats>, member: Member, now: u64) -> Rc<Self> {
        seats.open.set(seats.open.get() + 1);
        let mut taken = seats.taken.borrow_mut();
        let place = Cell::new(taken.len());
        let seat =
            Rc::new(Self { seats: Rc::clone(seats), member, since: now, place, idle: RefCell::default() });
        taken.push(Rc::downgrade(&seat));
        seat
    }

    /// Between two requests it waits with this deadline.
    pub(super) fn waits_with(&self, deadline: &Deadline) {
        *self.idle.borrow_mut() = deadline.idle();
    }

    /// Counts it for this client, whom a proxy in front has named. False if there are too many of the same.
    pub(super) fn is_for(&self, client: IpAddr) -> bool {
        self.member.comes_from(client)
    }

    /// The requests by HTTP/2 of everybody who is counted for the same client, if it is counted for one.
    pub(super) fn requests(&self) -> Option<Requests> {
        self.member.requests()
    }

    /// Where it stands among those that can be done without, the first to go being the least; `None` if it cannot.
    fn rank(&self, now: u64) -> Option<(Reverse<u32>, u64)> {
        let due = self.idle.borrow().due()?;
        let count = self.member.of_the_same();
        let is_new = now.saturating_sub(self.since) < GRACE && count < MANY;
        // By powers of two: who has one more than another has not many more.
        (!is_new).then_some((Reverse(count.max(1).ilog2()), due))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (seats, place) = (&self.seats, self.place.get());
        let mut taken = seats.taken.borrow_mut();
        taken.swap_remove(place);
        if let Some(moved) = taken.get(place).and_then(Weak::upgrade) {
            moved.place.set(place);
        }
        // What a crowd needed is not kept for ever.
        if taken.len() < taken.capacity() / 8 {
            taken.shrink_to_fit();
        }
        seats.open.set(seats.open.get() - 1);
        let (told, at) = seats.told.get();
        seats.told.set((told.saturating_sub(1), at));
        seats.one_less.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_6_somebody_waits_for_other_workers_but_not_one_after_the_other() {
        let seats = Seats::default();
        assert!(seats.hopes(0, 0) && seats.hopes(100, 600) && !seats.hopes(100, 850));
        seats.in_vain(750);
        assert!(!seats.hopes(1000, 1000) && !seats.hopes(1500, 1500));
        assert!(seats.hopes(1750, 1750));
    }

    #[test]
    fn r_6_who_is_on_the_way_out_is_not_counted_twice() {
        let seats = Rc::new(Seats::default());
        seats.told.set((3, 1000));
        assert_eq!((seats.going(1000), seats.going(1750), seats.going(2000)), (3, 3, 0));
        let crowd = crate::server::crowd::Crowd::new(10, 10, Vec::new());
        drop(Seat::take(&seats, crowd.enter(None).ok().expect("room"), 1000));
        assert_eq!(seats.going(1000), 2);
    }
}
