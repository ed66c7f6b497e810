//! How many connections there are, in all and from each address, over all workers; and how many requests of an address
//! are under way by HTTP/2.
//!
//! Asked when a connection is accepted and told when it is closed, never by a request: a connection of HTTP/2 has the
//! number of its address at hand.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;

mod present;

use present::{Has, Present, WIDE, sources};

/// How many connections of clients there may be, under one configuration.
pub(super) struct Crowd {
    present: Arc<Present>,
    most: usize,
    most_of_one: u32,
    /// Those that are not counted by address.
    uncounted: Vec<IpNet>,
}

/// How many there may be.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// `limits.connections`.
    InAll,
    /// `limits.connections_per_address`.
    OfOneAddress,
}

/// Requests of one address that are under way by HTTP/2, but for one of each connection. Clones count the same.
#[derive(Clone, Default)]
pub(super) struct Requests {
    own: Arc<Has>,
    /// Those of the /48 around it.
    wide: Option<Arc<Has>>,
}

impl Requests {
    /// Counts so many more. False if there would be more than `most`, or more than [`WIDE`] times as many in the /48.
    pub(super) fn take(&self, count: u32, most: u32) -> bool {
        if !self.own.take(count, most) {
            return false;
        }
        let fits = self.wide.as_ref().is_none_or(|wide| wide.take(count, most.saturating_mul(WIDE)));
        if !fits {
            self.own.give(count);
        }
        fits
    }

    /// Whether more are counted than so many, or in the /48 than [`WIDE`] times as many.
    pub(super) fn are_more_than(&self, count: u32) -> bool {
        let wide = self.wide.as_ref().map_or(0, |wide| wide.requests());
        self.count() > count || wide > count.saturating_mul(WIDE)
    }

    /// How many are counted for the address alone.
    pub(super) fn count(&self) -> u32 {
        self.own.requests()
    }

    /// So many are not under way any more.
    pub(super) fn give(&self, count: u32) {
        self.own.give(count);
        if let Some(wide) = &self.wide {
            wide.give(count);
        }
    }
}

/// One connection, counted as long as this is kept.
pub(super) struct Member {
    crowd: Arc<Crowd>,
    source: OnceLock<From>,
}

/// Whom a connection is counted for.
struct From {
    address: IpAddr,
    own: Arc<Has>,
    /// The /48 around it.
    wide: Option<Arc<Has>>,
}

impl Crowd {
    /// Nobody yet, and room for `most`, of which `most_of_one` may come from one address.
    pub(super) fn new(most: usize, most_of_one: u32, uncounted: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { present: Arc::default(), most, most_of_one, uncounted })
    }

    /// Under other limits. Those who are there already count, and stay.
    pub(super) fn under(&self, most: usize, most_of_one: u32, uncounted: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { present: Arc::clone(&self.present), most, most_of_one, uncounted })
    }

    /// Counts a connection, in all and, if it is known whom it is for, from this address.
    ///
    /// # Errors
    /// The limit, if there are too many already.
    pub(super) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Member, Limit> {
        if self.present.open.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.present.open.fetch_sub(1, Ordering::Relaxed);
            // For whom there would be no place anyway nobody makes room.
            let has_its_share = address.is_some_and(|address| self.has_its_share(address));
            return Err(if has_its_share { Limit::OfOneAddress } else { Limit::InAll });
        }
        let member = Member { crowd: Arc::clone(self), source: OnceLock::new() };
        let fits = address.is_none_or(|address| member.comes_from(address));
        if fits { Ok(member) } else { Err(Limit::OfOneAddress) }
    }

    /// Whether as many come from this address as may.
    fn has_its_share(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let (own, wide) = sources(address);
        !self.uncounted.iter().any(|net| net.contains(&address))
            && (self.present.is_full(own, self.most_of_one)
                || wide.is_some_and(|wide| self.present.is_full(wide, self.most_of_one.saturating_mul(WIDE))))
    }

    /// How many of those that are there should leave to make room for who comes next: nobody as long as a sixteenth of
    /// all places is free, then so many that it does not have to be asked at every turn.
    pub(super) fn excess(&self) -> usize {
        let (open, spare) = (self.present.open.load(Ordering::Relaxed), (self.most / 16).max(1));
        if open + spare <= self.most {
            0
        } else {
            open.saturating_sub(self.most.saturating_sub(spare + spare / 2))
        }
    }
}

impl Member {
    /// Counts it for this address, once: for the peer, or for the client that a proxy in front names. False if
    /// there are too many from there.
    pub(super) fn comes_from(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.crowd.uncounted.iter().any(|net| net.contains(&address)) {
            return true;
        }
        if self.source.get().is_some() {
            return true;
        }
        let present = &self.crowd.present;
        let (own, wide) = sources(address);
        let Some(has) = present.add(own, self.crowd.most_of_one) else { return false };
        let wide = match wide.map(|wide| present.add(wide, self.crowd.most_of_one.saturating_mul(WIDE))) {
            Some(None) => {
                present.remove(own);
                return false;
            }
            wide => wide.flatten(),
        };
        // Nobody else is told of the same connection.
        self.source.set(From { address, own: has, wide }).is_ok()
    }

    /// The requests of the address that it is counted for, if it is for one.
    pub(super) fn requests(&self) -> Option<Requests> {
        self.source.get().map(|from| Requests { own: Arc::clone(&from.own), wide: from.wide.clone() })
    }

    /// How many connections the address has that it is counted for, over all workers; the share of one address, if those
    /// around it have more than theirs. 0 if it is counted for none.
    pub(super) fn of_the_same(&self) -> u32 {
        self.source.get().map_or(0, |from| {
            let around = from.wide.as_ref().map_or(0, |wide| wide.connections() / WIDE);
            from.own.connections().max(around)
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.present.open.fetch_sub(1, Ordering::Relaxed);
        let Some(from) = self.source.get() else { return };
        let (own, wide) = sources(from.address);
        [Some(own), wide].into_iter().flatten().for_each(|source| self.crowd.present.remove(source));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn r_6_an_address_has_so_many_and_a_subscriber_of_ipv6_no_more() {
        let crowd = Crowd::new(100, 2, vec!["10.0.0.0/8".parse().expect("a network")]);
        for (one, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8:1:1::1", "2001:db8:1:1:ffff::2", "2001:db8:1:2::1"),
        ] {
            let first = crowd.enter(Some(address(one)));
            let second = crowd.enter(Some(address(same)));
            assert!(first.is_ok() && second.is_ok());
            assert!(crowd.enter(Some(address(one))).is_err() && crowd.enter(Some(address(same))).is_err());
            assert!(crowd.enter(Some(address(other))).is_ok());
            drop(first);
            assert!(crowd.enter(Some(address(same))).is_ok());
        }
        let many: Vec<_> = (0..50).map(|_| crowd.enter(Some(address("10.1.2.3")))).collect();
        assert!(many.iter().all(Result::is_ok));
        drop(many);
        assert_eq!(crowd.present.open.load(Ordering::Relaxed), 0);
        assert!(crowd.present.is_empty(), "nothing is left behind");
    }

    #[test]
    fn r_6_nor_does_who_has_many_networks_of_ipv6_get_all_there_is() {
        let crowd = Crowd::new(1000, 2, Vec::new());
        let of_one = |network: u16| crowd.enter(Some(address(&format!("2001:db8:1:{network:x}::1")))).ok();
        let held: Vec<_> = (0..100).filter_map(of_one).collect();
        assert_eq!(held.len(), 16, "eight times as many as one address");
        assert!(crowd.enter(Some(address("2001:db8:2::1"))).is_ok());
        drop(held);
        assert!(of_one(200).is_some());
        assert!(crowd.present.is_empty());
    }

    #[test]
    fn r_6_nobody_makes_room_for_whom_there_would_be_no_place() {
        let crowd = Crowd::new(3, 2, vec!["10.0.0.0/8".parse().expect("a network")]);
        let enter = |client: &str| crowd.enter(Some(address(client)));
        let _held: Vec<_> = ["192.0.2.1", "192.0.2.1", "10.0.0.1"].map(enter).into_iter().flatten().collect();
        assert!(matches!(enter("192.0.2.1"), Err(Limit::OfOneAddress)));
        for other in ["192.0.2.2", "10.0.0.1", "2001:db8::1"] {
            assert!(matches!(enter(other), Err(Limit::InAll)), "{other}");
        }
    }

    #[test]
    fn r_6_requests_of_ipv6_are_counted_for_the_subscriber_too_and_given_back() {
        let crowd = Crowd::new(1000, 10, Vec::new());
        let from = |client: &str| crowd.enter(Some(address(client))).ok().expect("room");
        let members: Vec<_> =
            (0..20).map(|network: u16| from(&format!("2001:db8:1:{network:x}::1"))).collect();
        let all: Vec<_> = members.iter().filter_map(Member::requests).collect();
        let took = all.iter().filter(|requests| requests.take(4, 4)).count();
        assert_eq!(took, 8, "eight times as many as one address");
        let (first, last) = (&all[0], &all[19]);
        assert!(!first.are_more_than(4) && first.are_more_than(3) && last.are_more_than(3));
        assert_eq!((first.count(), last.count()), (4, 0), "what did not fit is not counted");
        let (neighbour, other) = (from("2001:db8:2::1"), from("192.0.2.1"));
        assert!([neighbour, other].iter().filter_map(Member::requests).all(|requests| requests.take(4, 4)));
        first.give(4);
        assert!(last.take(4, 4) && !first.take(1, 4));
    }

    #[test]
    fn r_6_how_many_should_leave_follows_from_what_is_free_and_who_has_many_is_known() {
        for (most, there, excess) in
            [(160, 150, 0), (160, 151, 6), (160, 160, 15), (3, 2, 0), (3, 3, 1), (1, 1, 1)]
        {
            let crowd = Crowd::new(most, 1000, Vec::new());
            let held: Vec<_> = (0..there).filter_map(|_| crowd.enter(None).ok()).collect();
            assert_eq!((held.len(), crowd.excess()), (there, excess), "of {most}");
        }
        let crowd = Crowd::new(1000, 1000, vec!["10.0.0.0/8".parse().expect("a network")]);
        let held: Vec<_> = (0..10).filter_map(|_| crowd.enter(Some(address("192.0.2.1"))).ok()).collect();
        let other = crowd.enter(Some(address("192.0.2.2"))).ok().expect("room");
        let many = crowd.enter(Some(address("10.0.0.1"))).ok().expect("room");
        assert_eq!((held[0].of_the_same(), other.of_the_same(), many.of_the_same()), (10, 1, 0));
        let wide = |network: u16| crowd.enter(Some(address(&format!("2001:db8:1:{network:x}::1")))).ok();
        let networks: Vec<_> = (0..80).filter_map(wide).collect();
        assert_eq!(networks[0].of_the_same(), 10, "an eighth of what all of a subscriber have");
        drop(networks);
        let few = wide(1).expect("room");
        assert_eq!(few.of_the_same(), 1);
    }

    #[test]
    fn r_6_a_connection_of_a_proxy_counts_for_the_client_that_it_names() {
        let crowd = Crowd::new(100, 1, Vec::new());
        let first = crowd.enter(None).ok().expect("room");
        let second = crowd.enter(None).ok().expect("room");
        assert!(first.comes_from(address("192.0.2.1")));
        assert!(!second.comes_from(address("192.0.2.1")));
        drop(first);
        assert!(second.comes_from(address("192.0.2.1")));
    }

    #[test]
    fn r_6_beyond_the_limit_in_all_nobody_is_let_in() {
        let crowd = Crowd::new(2, 10, Vec::new());
        let held = [crowd.enter(Some(address("192.0.2.1"))), crowd.enter(Some(address("192.0.2.2")))];
        assert!(held.iter().all(Result::is_ok) && crowd.enter(Some(address("192.0.2.3"))).is_err());
        drop(held);
        assert!(crowd.enter(Some(address("192.0.2.3"))).is_ok());
    }
}
