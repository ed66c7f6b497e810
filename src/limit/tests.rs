//! Budgets: who pays, who is turned away, who is not.

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
    assert!(limits.sign_in(START, HOME, &email("a@example.com"), None).is_ok());
    assert_eq!(limits.sign_up(START, HOME), Ok(()));
    assert_eq!(wait(limits.sign_up(START, HOME)), 30);
    assert_eq!(wait(limits.sign_in(START, HOME, &email("b@example.com"), None).map(drop)), 30);
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
    let guess = |n: u32| limits.sign_in(START, network(n), &email(spellings[n as usize % 3]), None).map(drop);
    assert_eq!((0..1000).filter(|&n| guess(n).is_ok()).count(), 10);
    assert_eq!(wait(guess(1000)), 360);
    assert!(limits.sign_in(START, HOME, &email("bob@example.com"), None).is_ok());
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
    assert!(limits.sign_in(START, HOME, &ada, known).is_ok());
}

#[test]
fn a_known_browser_has_only_its_own_budget_to_guess_with() {
    let limits = limits(100, 3, 100);
    let ada = email("ada@example.com");
    let (stolen, other) = (device(&ada), device(&ada));
    let guesses = [(); 5].map(|()| limits.sign_in(START, HOME, &ada, stolen).is_ok());
    assert_eq!(guesses, [true, true, true, false, false]);
    assert!(limits.sign_in(START, HOME, &ada, other).is_ok());
    assert!(limits.sign_in(START, HOME, &ada, None).is_ok());
}

#[test]
fn whoever_has_many_known_browsers_guesses_a_few_times_as_often_and_no_more() {
    let limits = limits(10_000, 3, 1000);
    let (ada, bob) = (email("ada@example.com"), email("bob@example.com"));
    let guesses =
        |known: Option<Device>| (0..10).filter(|_| limits.sign_in(START, HOME, &ada, known).is_ok()).count();
    let all: usize = (0..100).map(|_| guesses(device(&ada))).sum();
    assert_eq!(all, 3 * 5 + 3, "what five browsers have, and what a stranger has");
    assert!(limits.sign_in(START, HOME, &ada, None).is_err(), "as which they were counted");
    assert!(limits.sign_in(START, HOME, &bob, device(&bob)).is_ok());
}

#[test]
fn a_browser_that_is_trusted_no_more_spends_what_strangers_have() {
    let limits = limits(10_000, 3, 1000);
    let ada = email("ada@example.com");
    let former = device(&ada);
    let guess = |known: Option<Device>| {
        let spent = limits.sign_in(START, HOME, &ada, known)?;
        limits.as_stranger(START, HOME, &ada, spent).map(drop)
    };
    let guesses = [former, former, device(&ada), device(&ada), former].map(|known| guess(known).is_ok());
    assert_eq!(guesses, [true, true, true, false, false]);
    assert!(limits.sign_in(START, HOME, &ada, None).is_err());
    assert!(
        [(); 3].into_iter().all(|()| limits.sign_in(START, HOME, &ada, former).is_ok()),
        "nothing of its own"
    );
}

#[test]
fn signing_in_is_no_failure_however_often() {
    let limits = limits(1000, 3, 1000);
    let ada = email("ada@example.com");
    for known in [None, device(&ada)] {
        for _ in 0..50 {
            let spent = limits.sign_in(START, HOME, &ada, known).expect("within the budget");
            limits.give_back(spent);
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
    assert!(limits.sign_in(START, network(1), &ada, None).is_ok());
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
