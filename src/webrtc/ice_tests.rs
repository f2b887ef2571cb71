//! Checks of a full agent against ours: who is answered, which way is chosen, when consent ends.

use proptest::prelude::*;

use super::{super::stun::testing::Check, *};

fn at(seconds: u64) -> Monotonic {
    Monotonic::default() + Duration::from_secs(seconds)
}

fn route(port: u16) -> Route {
    Route { link: Link::Udp { socket: 0, local: None }, peer: ([192, 0, 2, 1], port).into() }
}

fn tcp(number: u64) -> Route {
    Route { link: Link::Tcp(number), ..route(9) }
}

fn credentials(name: &str) -> Credentials {
    Credentials { ufrag: name.into(), pwd: Secret::new(format!("password of {name}")) }
}

fn check(name: &str) -> Check {
    Check::new(&format!("{name}:them"), &format!("password of {name}"))
}

fn agent() -> Agent {
    Agent::new(credentials("us"), at(0))
}

/// The kind of an answer, or the number of its error.
fn said(answer: Option<Bytes>) -> Option<u16> {
    let answer = answer?;
    match u16::from_be_bytes([answer[0], answer[1]]) {
        0x0111 => Some(u16::from(answer[26]) * 100 + u16::from(answer[27])),
        kind => Some(kind),
    }
}

const SUCCESS: Option<u16> = Some(0x0101);

fn events(agent: &mut Agent) -> Vec<IceEvent> {
    std::iter::from_fn(|| agent.poll_event()).collect()
}

#[test]
fn every_authentic_check_is_answered_and_nomination_chooses_the_way() {
    let mut agent = agent();
    assert_eq!(said(agent.handle_stun(at(1), route(1), &check("us").build())), SUCCESS);
    assert_eq!((events(&mut agent), agent.selected()), (vec![], None));
    assert!(agent.is_proven(route(1)) && !agent.is_proven(route(2)));
    assert_eq!(said(agent.handle_stun(at(1), route(2), &check("us").nominating().build())), SUCCESS);
    assert_eq!(events(&mut agent), [IceEvent::Selected(route(2))]);
    // Again, and without the nomination: nothing new.
    agent.handle_stun(at(2), route(2), &check("us").nominating().build());
    agent.handle_stun(at(3), route(1), &check("us").build());
    assert_eq!(events(&mut agent), []);
    agent.handle_stun(at(4), tcp(1), &check("us").nominating().build());
    assert_eq!(events(&mut agent), [IceEvent::Selected(tcp(1))]);
}

#[test]
fn what_is_not_authentic_is_refused_as_rfc_8489_says_and_changes_nothing() {
    for (check, number) in [
        (check("us").without_integrity(), 400),
        (Check::new("us:them", "another password"), 401),
        (check("others"), 401),
        (check("us").with_unknown(0x7f01), 420),
        (check("us").controlled(), 487),
    ] {
        let mut agent = agent();
        assert_eq!(said(agent.handle_stun(at(1), route(1), &check.nominating().build())), Some(number));
        assert_eq!((agent.selected(), agent.is_proven(route(1)), events(&mut agent)), (None, false, vec![]));
        assert_eq!(agent.poll_timeout(), Some(at(30)));
    }
}

#[test]
fn guessers_are_not_served_faster_than_they_should_be() {
    let (mut agent, wrong) = (agent(), Check::new("us:them", "another password").build());
    let answered = (0..1000).filter(|_| agent.handle_stun(at(1), route(1), &wrong).is_some()).count();
    assert_eq!(answered, ERRORS_A_SECOND as usize);
    assert!(agent.handle_stun(at(2), route(1), &wrong).is_some());
    assert_eq!(said(agent.handle_stun(at(1), route(1), &check("us").build())), SUCCESS);
}

#[test]
fn consent_ends_after_ten_seconds_and_the_session_after_thirty_wh_12() {
    let mut agent = agent();
    agent.handle_stun(at(1), route(1), &check("us").nominating().build());
    events(&mut agent);
    agent.handle_stun(at(5), route(1), &check("us").build());
    assert_eq!(agent.poll_timeout(), Some(at(15)));
    agent.handle_timeout(at(14));
    assert_eq!(events(&mut agent), []);
    agent.handle_timeout(at(15));
    assert_eq!((events(&mut agent), agent.poll_timeout()), (vec![IceEvent::Silent], Some(at(35))));
    agent.handle_stun(at(20), route(1), &check("us").build());
    assert_eq!((events(&mut agent), agent.poll_timeout()), (vec![IceEvent::Heard], Some(at(30))));
    agent.handle_timeout(at(30));
    agent.handle_timeout(at(50));
    assert_eq!((events(&mut agent), agent.poll_timeout()), (vec![IceEvent::Silent, IceEvent::Ended], None));
    // Nothing follows.
    assert_eq!(said(agent.handle_stun(at(51), route(1), &check("us").nominating().build())), None);
    agent.handle_timeout(at(90));
    assert_eq!(events(&mut agent), []);
}

#[test]
fn a_viewer_that_never_checks_is_gone_after_thirty_seconds() {
    let mut agent = agent();
    agent.handle_timeout(at(29));
    assert_eq!(events(&mut agent), []);
    agent.handle_timeout(at(30));
    assert_eq!(events(&mut agent), [IceEvent::Ended]);
}

#[test]
fn an_authentic_report_is_a_sign_of_life_on_its_own_way_only() {
    let mut agent = agent();
    agent.handle_stun(at(0), route(1), &check("us").nominating().build());
    agent.handle_authentic(at(8), route(1));
    agent.handle_authentic(at(12), route(2));
    events(&mut agent);
    agent.handle_timeout(at(17));
    assert_eq!(events(&mut agent), []);
    agent.handle_timeout(at(18));
    assert_eq!((events(&mut agent), agent.poll_timeout()), (vec![IceEvent::Silent], Some(at(42))));
}

#[test]
fn a_closed_port_silences_at_once_and_a_check_brings_the_viewer_back() {
    let mut agent = agent();
    agent.handle_stun(at(0), route(1), &check("us").nominating().build());
    agent.handle_stun(at(0), route(2), &check("us").build());
    events(&mut agent);
    agent.handle_unreachable(route(2));
    assert_eq!((events(&mut agent), agent.is_proven(route(2))), (vec![], false));
    agent.handle_unreachable(route(1));
    agent.handle_unreachable(route(1));
    assert_eq!(events(&mut agent), [IceEvent::Silent]);
    agent.handle_stun(at(1), route(1), &check("us").build());
    assert_eq!(events(&mut agent), [IceEvent::Heard]);
}

#[test]
fn a_connection_that_is_gone_gives_way_to_the_next_nomination() {
    let mut agent = agent();
    agent.handle_stun(at(0), tcp(1), &check("us").nominating().build());
    agent.handle_unreachable(tcp(1));
    assert_eq!(events(&mut agent), [IceEvent::Selected(tcp(1)), IceEvent::Silent]);
    agent.handle_stun(at(3), tcp(2), &check("us").nominating().build());
    assert_eq!(events(&mut agent), [IceEvent::Selected(tcp(2)), IceEvent::Heard]);
}

#[test]
fn a_forsaken_way_gives_way_to_one_that_is_checked() {
    let mut agent = agent();
    agent.handle_stun(at(0), route(1), &check("us").nominating().build());
    agent.handle_stun(at(4), route(2), &check("us").build());
    assert_eq!(agent.selected(), Some(route(1)));
    agent.handle_stun(at(5), route(2), &check("us").build());
    assert_eq!(events(&mut agent), [IceEvent::Selected(route(1)), IceEvent::Selected(route(2))]);
}

#[test]
fn after_a_restart_the_old_credentials_serve_until_the_first_check_with_the_new() {
    let mut agent = agent();
    agent.handle_stun(at(0), route(1), &check("us").nominating().build());
    agent.restart(credentials("new"));
    assert_eq!(said(agent.handle_stun(at(1), route(1), &check("us").build())), SUCCESS);
    events(&mut agent);
    // A wrong password with the new name changes nothing.
    assert_eq!(said(agent.handle_stun(at(1), route(2), &Check::new("new:them", "x").build())), Some(401));
    assert_eq!(said(agent.handle_stun(at(2), route(1), &check("us").build())), SUCCESS);
    assert_eq!(said(agent.handle_stun(at(3), route(2), &check("new").build())), SUCCESS);
    assert_eq!((agent.selected(), events(&mut agent)), (Some(route(1)), vec![]));
    assert_eq!(said(agent.handle_stun(at(4), route(1), &check("us").build())), Some(401));
    agent.handle_stun(at(5), route(2), &check("new").nominating().build());
    assert_eq!(events(&mut agent), [IceEvent::Selected(route(2))]);
}

#[test]
fn a_restart_within_thirty_seconds_resumes_a_silent_viewer() {
    let mut agent = agent();
    agent.handle_stun(at(0), route(1), &check("us").nominating().build());
    agent.handle_timeout(at(10));
    agent.restart(credentials("new"));
    events(&mut agent);
    agent.handle_stun(at(29), route(2), &check("new").nominating().build());
    assert_eq!(events(&mut agent), [IceEvent::Selected(route(2)), IceEvent::Heard]);
    assert_eq!(agent.poll_timeout(), Some(at(39)));
}

#[test]
fn many_ways_cost_bounded_memory_and_never_the_chosen_one() {
    let mut agent = agent();
    agent.handle_stun(at(0), route(1), &check("us").nominating().build());
    for port in 2..2000 {
        agent.handle_stun(at(0), route(port), &check("us").build());
    }
    assert_eq!(agent.proven.len(), ROUTES);
    assert!(agent.is_proven(route(1)) && agent.is_proven(route(1999)) && !agent.is_proven(route(2)));
}

#[test]
fn credentials_of_ours_are_long_and_new_each_time() {
    let (one, other) = (Credentials::random(), Credentials::random());
    assert_eq!((one.ufrag.len(), one.pwd.reveal().len()), (10, 32));
    assert_ne!(one.ufrag, other.ufrag);
    assert!(!format!("{one:?} {:?}", Agent::new(one.clone(), at(0))).contains(one.pwd.reveal()));
}

proptest! {
    #[test]
    fn hostile_datagrams_choose_nothing(datagram in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut agent = agent();
        agent.handle_stun(at(1), route(1), &datagram);
        prop_assert_eq!((agent.selected(), agent.is_proven(route(1))), (None, false));
    }
}
