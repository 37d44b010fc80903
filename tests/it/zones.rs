//! Record sets of a zone from plan to undo, against a name server in this process. Real ones: `lab_zones`.

use std::time::Duration;

use cutover::model::step::Outcome;
use hickory_proto::op::ResponseCode;

use crate::support::nameserver::{Fault, set};
use crate::zones_world::{World, shown};

const MX: &str = "record \"@\" MX mail.acme.example priority=10\nrecord mail A \"192.0.2.1\"\n";

fn foreign() -> [cutover::model::dns::RecordSet; 2] {
    [
        set("acme.example", "NS", 3600, &["ns.elsewhere.example."]),
        set("intranet.acme.example", "TXT", 60, &["\"not ours\"", "\"a ; | \\\"b\\\"\""]),
    ]
}

#[tokio::test]
async fn records_come_change_and_go_and_what_others_have_stays() {
    let mut world = World::new(&foreign(), MX);
    let empty = world.server.sets();
    assert_eq!(
        world.planned().await,
        [
            "create zone.acme.example/record-set:mail.acme.example./A",
            "create zone.acme.example/record-set:acme.example./MX"
        ],
        "addresses first"
    );
    world.apply("a1").await;
    assert_eq!(
        world.server.get("acme.example", "MX"),
        Some(set("acme.example", "MX", 300, &["10 mail.acme.example."]))
    );
    assert_eq!(world.planned().await, [""; 0], "a second plan is empty");

    world.records = format!("{MX}record \"*.users\" TXT \"v=spf1 -all\"\n").replace("192.0.2.1", "192.0.2.2");
    let plan = world.plan().await;
    assert_eq!(plan.steps[0].changes[0].before.as_deref(), Some("192.0.2.1"));
    world.apply("a2").await;
    assert_eq!(world.server.get("mail.acme.example", "A"), Some(set("mail.acme.example", "A", 300, &["192.0.2.2"])));
    let full = world.server.sets();

    world.undo("a2", "u2").await;
    assert_eq!(world.server.get("mail.acme.example", "A"), Some(set("mail.acme.example", "A", 300, &["192.0.2.1"])));
    assert_eq!(world.server.get("*.users.acme.example", "TXT"), None);
    world.apply("a3").await;
    assert_eq!(world.server.sets(), full);

    world.records = "record mail A \"192.0.2.2\"".into();
    assert_eq!(
        world.planned().await,
        [
            "delete zone.acme.example/record-set:*.users.acme.example./TXT",
            "delete zone.acme.example/record-set:acme.example./MX"
        ]
    );
    world.apply("a4").await;
    world.undo("a4", "u4").await;
    assert_eq!(world.server.sets(), full);
    world.records = String::new();
    world.zone = "protect=#false".into();
    world.apply("a5").await;
    assert_eq!(world.server.sets(), empty, "foreign records are as they were");
    assert_eq!(world.planned().await, [""; 0]);
}

#[tokio::test]
async fn nothing_of_others_is_taken_over_without_a_word() {
    let theirs = set("acme.example", "MX", 3600, &["10 old.acme.example."]);
    let same = set("mail.acme.example", "A", 300, &["192.0.2.1"]);
    let mut world = World::new(&[theirs.clone(), same], MX);
    let plan = world.plan().await;
    assert!(plan.blocked());
    let note = plan.notes.iter().find(|n| n.blocks).expect("a note");
    assert!(note.text.contains("3600 10 old.acme.example.") && note.text.contains("adopt=#true"), "{}", note.text);
    assert_eq!(shown(&plan), ["update zone.acme.example/record-set:mail.acme.example./A"], "equal: the ledger only");

    world.records = MX.replace("priority=10", "priority=10 adopt=#true");
    let plan = world.plan().await;
    assert!(!plan.blocked() && plan.notes.iter().any(|n| n.text.contains("taken over")), "{:?}", plan.notes);
    world.apply("a1").await;
    assert_eq!(world.server.state().taken, [vec!["acme.example. MX".to_owned()]], "what is equal is not written");
    assert_eq!(world.planned().await, [""; 0]);
    world.undo("a1", "u1").await;
    assert_eq!(world.server.get("acme.example", "MX"), Some(theirs));
}

#[tokio::test]
async fn a_set_that_somebody_changed_is_stale_and_the_others_go() {
    let world = World::new(&foreign(), MX);
    world.apply("a1").await;
    let mut world = world;
    world.records = MX.replace("192.0.2.1", "192.0.2.2").replace("priority=10", "priority=20");
    let plan = world.plan().await;
    // Between plan and apply; and between the look of the apply and its update.
    let theirs = set("mail.acme.example", "A", 300, &["198.51.100.1"]);
    for fault in [None, Some(Fault::Foreign(vec![theirs.clone()]))] {
        match &fault {
            None => world.server.put(std::slice::from_ref(&theirs)),
            Some(_) => world.server.put(&[set("mail.acme.example", "A", 300, &["192.0.2.1"])]),
        }
        world.server.put(&[set("acme.example", "MX", 300, &["10 mail.acme.example."])]);
        let apply = if fault.is_none() { "a2" } else { "a3" };
        world.server.state().updates = vec![fault];
        let report = world.try_apply(&plan, apply).await.expect("applies");
        let stale = report
            .outcomes
            .values()
            .filter(|o| matches!(o, Outcome::Stale { found } if found.contains("198.51.100.1")));
        assert_eq!(stale.count(), 1, "{:?}", report.outcomes);
        assert_eq!(world.server.get("mail.acme.example", "A").as_ref(), Some(&theirs), "a foreign change is not lost");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_is_looked_for() {
    let world = World::new(&foreign(), MX);
    for (n, fault) in [Fault::DoneAndSilent, Fault::Closed].into_iter().enumerate() {
        world.server.state().updates = vec![Some(fault)];
        world.apply(&format!("a{n}")).await;
        assert_eq!(world.planned().await, [""; 0]);
        world.undo(&format!("a{n}"), &format!("u{n}")).await;
    }
}

#[tokio::test]
async fn what_the_server_says_no_to_fails_alone_and_is_told() {
    let mut world = World::new(&foreign(), "record \"h[1:40]\" A \"192.0.2.1\"");
    world.server.state().refuses = Some("h7.acme.example.".into());
    let report = world.try_apply(&world.plan().await, "a1").await.expect("applies");
    assert_eq!(report.outcomes.values().filter(|o| o.is_done()).count(), 39);
    let failed: Vec<_> = report.outcomes.values().filter(|o| !o.is_done()).collect();
    assert!(matches!(failed[..], [Outcome::Failed { output, .. }] if output.contains("REFUSED")), "{failed:?}");
    world.server.state().refuses = None;
    assert_eq!(world.planned().await, ["create zone.acme.example/record-set:h7.acme.example./A"]);
    world.apply("a2").await;

    // A server that says yes and does nothing is not believed.
    world.records += "\nrecord late A \"192.0.2.1\"";
    world.server.state().updates = vec![Some(Fault::Ignored)];
    let report = world.try_apply(&world.plan().await, "a3").await.expect("applies");
    assert!(matches!(&report.outcomes[&0], Outcome::Failed { output, .. } if output.contains("now shows: absent")));
    for code in [ResponseCode::ServFail, ResponseCode::NotAuth, ResponseCode::NotImp] {
        world.server.state().updates = vec![Some(Fault::Code(code)); 3];
        let report = world.try_apply(&world.plan().await, &format!("b{code:?}")).await.expect("applies");
        assert!(matches!(&report.outcomes[&0], Outcome::Failed { .. }), "{:?}", report.outcomes);
        world.server.state().updates.clear();
        assert_eq!(world.server.get("late.acme.example", "A"), None);
    }
    world.apply("a4").await;
}

#[tokio::test]
async fn an_alias_takes_the_place_of_an_address_in_one_message() {
    let mut world = World::new(&foreign(), "record www A \"192.0.2.1\"\nrecord mail A \"192.0.2.1\"");
    world.apply("a1").await;
    world.records = "record www CNAME mail.acme.example\nrecord mail A \"192.0.2.1\"".into();
    world.apply("a2").await;
    assert_eq!(world.server.state().taken.last().map(Vec::len), Some(2), "both in one message");
    world.undo("a2", "u2").await;
    assert!(
        world.server.get("www.acme.example", "A").is_some() && world.server.get("www.acme.example", "CNAME").is_none()
    );

    // An alias of others stands in the way: said, and nothing is claimed.
    world.server.put(&[set("shop.acme.example", "CNAME", 60, &["elsewhere.example."])]);
    world.records = "record www A \"192.0.2.1\"\nrecord mail A \"192.0.2.1\"\nrecord shop A \"192.0.2.3\"".into();
    let report = world.try_apply(&world.plan().await, "a3").await.expect("applies");
    assert!(matches!(&report.outcomes[&0], Outcome::Failed { output, .. } if output.contains("CNAME")), "{report:?}");
}

#[tokio::test]
async fn a_killed_apply_is_resumed_wherever_it_stood() {
    for fault in [Fault::Hangs, Fault::DoneAndSilent] {
        let world = World::new(&foreign(), MX);
        let before = world.server.sets();
        let plan = world.plan().await;
        // The update is done or not, and the process dies before it hears of it.
        let hang = [Some(fault.clone()), Some(Fault::Hangs)];
        world.server.state().updates = if fault == Fault::Hangs { hang[..1].to_vec() } else { vec![Some(fault)] };
        world.server.state().transfers = vec![None, Some(Fault::Hangs)];
        let killed = tokio::time::timeout(Duration::from_secs(3), world.try_apply(&plan, "a1")).await;
        assert!(killed.is_err(), "{killed:?}");
        world.server.state().transfers.clear();
        world.server.state().updates.clear();
        let report = world.resume("a1").await;
        assert!(report.is_success(), "{:?}", report.outcomes);
        assert_eq!(world.planned().await, [""; 0]);
        world.undo("a1", "u1").await;
        assert_eq!(world.server.sets(), before);
    }
}

#[tokio::test]
async fn a_zone_that_cannot_be_asked_is_never_empty() {
    let world = World::new(&foreign(), MX);
    for fault in
        [Fault::CutShort, Fault::Closed, Fault::Code(ResponseCode::Refused), Fault::Code(ResponseCode::ServFail)]
    {
        world.server.state().transfers = vec![Some(fault.clone())];
        let plan = world.plan().await;
        assert!(plan.blocked() && plan.failed.len() == 1 && plan.steps.is_empty(), "{fault:?}");
        assert_eq!(plan.failed[0].host.0, "zone.acme.example");
    }
    assert_eq!(world.planned().await.len(), 2);
}

#[tokio::test]
async fn much_of_a_zone_changes_or_goes_only_when_it_is_said() {
    let mut world = World::new(&foreign(), "record \"h[1:20]\" A \"192.0.2.1\"");
    world.apply("a1").await;
    let blocked = async |world: &World| {
        let plan = world.plan().await;
        plan.notes.iter().filter(|n| n.blocks).map(|n| n.text.clone()).collect::<Vec<_>>()
    };
    world.records = "record \"h[1:6]\" A \"192.0.2.2\"\nrecord \"h[7:20]\" A \"192.0.2.1\"".into();
    assert_eq!(blocked(&world).await, [""; 0], "six of twenty are thirty percent");
    world.records = "record \"h[1:13]\" A \"192.0.2.1\"".into();
    let said = blocked(&world).await;
    assert!(matches!(&said[..], [s] if s.contains("7 of 20") && s.contains("--exceed deletes")), "{said:?}");
    world.options.exceed = vec!["deletes".into()];
    world.apply("a2").await;
    assert_eq!(world.server.sets().len(), 15);
    world.options.exceed = vec![];
    world.records = "record \"h[1:13]\" A \"192.0.2.3\"".into();
    let said = blocked(&world).await;
    assert!(matches!(&said[..], [s] if s.contains("13 of 13") && s.contains("--exceed updates")), "{said:?}");
}

#[tokio::test]
async fn what_somebody_made_of_ours_does_not_go_with_us() {
    let mut world = World::new(&foreign(), MX);
    world.apply("a1").await;
    let theirs = set("mail.acme.example", "A", 300, &["198.51.100.1"]);
    world.server.put(std::slice::from_ref(&theirs));
    world.records = "record \"@\" MX mail.acme.example priority=10".into();
    let plan = world.plan().await;
    assert!(plan.steps.is_empty() && !plan.blocked(), "{:?}", shown(&plan));
    assert!(plan.notes[0].text.contains("198.51.100.1"), "{:?}", plan.notes);
    world.options.destroy = true;
    world.zone = "protect=#false".into();
    world.records = MX.into();
    assert_eq!(world.planned().await, ["delete zone.acme.example/record-set:acme.example./MX"]);
    world.zone = String::new();
    assert!(world.plan().await.blocked(), "a zone is protected unless it is said");
}

#[tokio::test]
async fn an_address_goes_after_what_pointed_at_it() {
    let mut world = World::new(&foreign(), MX);
    world.apply("a1").await;
    world.records = "record \"@\" MX new.acme.example priority=10\nrecord new A \"192.0.2.2\"".into();
    let plan = world.plan().await;
    assert_eq!(
        shown(&plan),
        [
            "create zone.acme.example/record-set:new.acme.example./A",
            "update zone.acme.example/record-set:acme.example./MX",
            "delete zone.acme.example/record-set:mail.acme.example./A",
        ]
    );
    assert_eq!((&plan.steps[1].after, &plan.steps[2].after), (&vec![0], &vec![1]));
    // The MX is refused: the address that it still leads to stays.
    world.server.state().refuses = Some("acme.example.".into());
    let report = world.try_apply(&plan, "a2").await.expect("applies");
    assert!(matches!(report.outcomes[&2], Outcome::Skipped { because: 1 }), "{:?}", report.outcomes);
    assert!(world.server.get("mail.acme.example", "A").is_some());
}

#[tokio::test]
async fn names_and_texts_of_every_kind_arrive_and_are_found_again() {
    let long = "x".repeat(700);
    let records = format!(
        "record \"bücher\" A \"192.0.2.1\"\nrecord \"_dmarc\" TXT \"v=DMARC1; p=none\" \nrecord \"s1._domainkey\" TXT \"{long}\"\n\
         record \"odd\" TXT \"a\\\\b \\\"q\\\" | ; é\" \"two\"\nrecord \"*.wild\" CNAME mail.acme.example\n\
         record \"_imaps._tcp\" SRV \"0 1 993 Mail.acme.example\"\nrecord \"@\" CAA \"0 issue \\\"ca.example\\\"\"\n\
         record sub NS ns.sub.acme.example\nrecord ns.sub A \"192.0.2.53\"\n"
    );
    let world = World::new(&foreign(), &records);
    world.apply("a1").await;
    assert_eq!(world.planned().await, [""; 0]);
    assert!(world.server.get("xn--bcher-kva.acme.example", "A").is_some());
    world.undo("a1", "u1").await;
    assert_eq!(world.server.sets().len(), foreign().len());
}

#[tokio::test]
async fn thousands_of_changes_go_in_messages_that_dns_takes() {
    let world = World::new(&foreign(), "record \"h[1:3000]\" A \"192.0.2.1\"");
    world.apply("a1").await;
    let (messages, largest) = {
        let state = world.server.state();
        (state.taken.len(), state.largest)
    };
    assert!((2..=16).contains(&messages) && largest < 65_536, "{messages} messages, the largest {largest} octets");
    assert_eq!(world.planned().await, [""; 0]);
    // One set alone that no message holds is told, and the rest goes.
    let many: Vec<String> = (0..4000).map(|n| format!("\"10.{}.{}.1\"", n / 250, n % 250)).collect();
    let mut world = world;
    world.records += &format!("\nrecord huge A {}\nrecord small A \"192.0.2.1\"", many.join(" "));
    let report = world.try_apply(&world.plan().await, "a2").await.expect("applies");
    let failed: Vec<_> = report.outcomes.values().filter(|o| !o.is_done()).collect();
    assert!(matches!(failed[..], [Outcome::Failed { output, .. }] if output.contains("65,535")), "{failed:?}");
    assert!(world.server.get("small.acme.example", "A").is_some());
}

#[tokio::test]
async fn what_cannot_be_a_record_is_a_mistake_of_the_topology() {
    let world = World::new(&[], "record \"_25._tcp.mail\" TLSA \"3 1\"");
    let (_, errors) = world.lowered();
    assert!(matches!(&errors[..], [e] if e.starts_with("E1032") && e.contains("TLSA")), "{errors:?}");
}
