//! What happens around a move while it goes on: its window closes, its lists change.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::time::Duration;

use cutover::model::host::{Opening, Reach};
use cutover::model::step::Outcome;
use cutover::moving::standing::State;
use cutover::moving::transfer::{Direction, End};
use cutover::services::cms::ledger::Phase;
use cutover::services::proxy::route::Route;

use crate::moving_people::{Shared, go, names, sound, states, summary, world};
use crate::moving_waves::{ALL, Bench};

/// A cohort whose people go one by one, and need a second each by what was measured, in a window that is open from now for so long.
fn bench(shared: &Shared, seconds: i64) -> Bench {
    let mut b = Bench::new("canaries=0", shared);
    let now = jiff::Timestamp::now().as_second();
    for host in b.site.hosts.values_mut() {
        if let Reach::Cohort(cohort) = &mut host.reach {
            (cohort.together, cohort.measured_ms) = (1, Some(1_000));
            let (start, end) = (now, now + seconds);
            let (window, timezone) = ("night-1".into(), "UTC".into());
            cohort.opening =
                Some(Opening { window, start, end, timezone, flips: true, acts: Vec::new(), way_back: None });
        }
    }
    b.options.now = now;
    b
}

fn said(outcome: Option<&Outcome>) -> &str {
    match outcome {
        Some(Outcome::Failed { output, .. }) => output,
        Some(Outcome::Stale { found }) => found,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_window_that_closes_in_the_middle_lets_the_group_end_and_begins_no_other() {
    let shared = world(&ALL, Phase::Delta);
    shared.0.lock().unwrap().slow = Duration::from_millis(1_700);
    let b = bench(&shared, 6);
    let plan = b.plan().await;
    assert!(!plan.blocked(), "{plan:?}");
    let report = b.try_apply(&plan, "a1", None).await.unwrap();
    let text = said(report.outcomes.get(&0));
    assert!(text.contains("the next group may need 1 s"), "{report:?}");
    let stand = states(&shared, &names(&ALL)).await;
    let moved = stand.iter().filter(|s| **s == State::Moved).count();
    // Nobody is held, and who has moved stays.
    assert!((1..5).contains(&moved) && stand.iter().all(|s| matches!(s, State::Moved | State::Ready)), "{stand:?}");
    assert!(text.contains(&format!("{moved} of 5 are moved and stay there")), "{text}");
    sound(&shared, "window closed");
}

#[tokio::test]
async fn who_has_moved_needs_no_window_for_a_resume() {
    let shared = world(&ALL, Phase::Delta);
    let b = bench(&shared, 7);
    let plan = b.plan().await;
    assert!(b.try_apply(&plan, "a1", None).await.unwrap().is_success());
    let ends = b.disk.frame_ends();
    tokio::time::sleep(Duration::from_secs(8)).await;
    // Killed after the last group and before that was written down: the window is over meanwhile, and nothing is left that needs it.
    b.disk.truncate(ends[ends.len() - 3]);
    let report = b.resume("a1").await.unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!(shared.0.lock().unwrap().finals.values().sum::<u32>(), 5);
}

#[tokio::test]
async fn somebody_renamed_between_two_waves_stops_what_is_left_and_holds_nobody() {
    let shared = world(&ALL, Phase::Delta);
    // The wave behind the canary waits for a copy, so the run ends with it to come.
    let bob = |phase| shared.0.lock().unwrap().mailboxes.get_mut("bob@acme.example").unwrap().phase = phase;
    bob(Phase::Bulk);
    let b = Bench::new("canaries=1 canary-soak=\"0s\" wave-size=2", &shared);
    assert!(b.try_apply(&b.plan().await, "a1", None).await.unwrap().waits.is_some());
    bob(Phase::Delta);
    let renamed =
        ["ann@acme.example", "bobby@acme.example", "cem@acme.example", "dana@acme.example", "eli@acme.example"];
    let b = b.with_list(&shared, &renamed);
    let report = b.resume("a1").await.unwrap();
    assert!(said(report.outcomes.get(&1)).contains("the cohort's lists have changed"), "{report:?}");
    let stand = states(&shared, &names(&ALL)).await;
    assert_eq!((stand[0], &stand[1..]), (State::Moved, &[State::Ready; 4][..]));
    // The content service has no mailbox of that name yet: it is told, not moved blindly.
    let plan = b.plan().await;
    assert!(
        plan.notes.iter().any(|n| n.text.contains("1 people cannot move until somebody has looked")),
        "{:?}",
        plan.notes
    );
    // As soon as it has, the others go, and who was renamed as well.
    shared.0.lock().unwrap().mailboxes.insert("bobby@acme.example".into(), summary("bobby@acme.example", Phase::Delta));
    let report = b.try_apply(&b.plan().await, "a2", None).await.unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!(states(&shared, &names(&renamed)).await, [State::Moved; 5]);
    assert_eq!(
        states(&shared, &names(&["bob@acme.example"])).await,
        [State::Ready],
        "the former name stays where it was"
    );
    sound(&shared, "renamed");
}

#[tokio::test]
async fn somebody_renamed_after_the_move_is_named_by_the_way_back_and_not_left_out_silently() {
    let shared = world(&ALL, Phase::Delta);
    let b = Bench::new("canaries=0", &shared);
    assert!(b.try_apply(&b.plan().await, "a1", None).await.unwrap().is_success());
    let renamed =
        ["ann@acme.example", "bobby@acme.example", "cem@acme.example", "dana@acme.example", "eli@acme.example"];
    shared.0.lock().unwrap().mailboxes.insert("bobby@acme.example".into(), summary("bobby@acme.example", Phase::Delta));
    let b = b.with_list(&shared, &renamed);
    let plan = b.undo_plan("a1").await;
    assert!(!plan.blocked(), "{:?}", plan.notes);
    let report = b.try_apply(&plan, "u1", Some("a1")).await.unwrap();
    let text = said(report.outcomes.get(&0));
    assert!(text.contains("1 people whom this wave moved are not in the lists"), "{text}");
    let stand = states(&shared, &names(&ALL)).await;
    assert_eq!(stand, [State::Back, State::Moved, State::Back, State::Back, State::Back]);
    sound(&shared, "renamed, then back");
}

/// The content service says when a canary came, by the clock of its host. One that is behind shortens no watch, one that is ahead lengthens none.
#[tokio::test]
async fn canaries_are_watched_long_enough_by_whatever_clock() {
    for ahead in [-3_600_000, 3_600_000] {
        let shared = world(&ALL, Phase::Delta);
        let begin = jiff::Timestamp::now().as_millisecond();
        shared.0.lock().unwrap().mailboxes.get_mut("ann@acme.example").unwrap().changed = begin + ahead;
        let b = Bench::new("canaries=1 canary-soak=\"4s\" wave-size=4", &shared);
        let report = b.try_apply(&b.plan().await, "a1", None).await.unwrap();
        assert!(report.waits.is_some_and(|w| w.why.contains("watched")), "{ahead}");
        // Another process goes on: the diary says when she came.
        let mut b = b.with_list(&shared, &ALL);
        b.crews.count_since(Some(begin)).unwrap();
        b.settings.longest_wait = Duration::from_millis(500);
        let report = b.resume("a1").await.unwrap();
        assert!(report.waits.is_some_and(|w| w.why.contains("watched")), "{ahead}: a resume");
        tokio::time::sleep(Duration::from_secs(4)).await;
        let report = b.resume("a1").await.unwrap();
        assert!(report.is_success(), "{ahead}: {report:?}");
        sound(&shared, "clocks");
    }
}

/// The anchor's ledger says whom a wave moved. A line that somebody has changed there is told, and nobody is moved by it.
#[tokio::test]
async fn a_ledger_that_was_edited_by_hand_is_not_believed() {
    let shared = world(&ALL, Phase::Delta);
    let b = Bench::new("canaries=0", &shared);
    assert!(b.try_apply(&b.plan().await, "a1", None).await.unwrap().is_success());
    let path = b.state("zones/@pilot-1/marks-a1");
    let text = std::fs::read_to_string(&path).unwrap();
    let undo = b.undo_plan("a1").await;
    let first = text.split('"').find(|w| w.len() == 16).unwrap();
    for edited in [
        text.replace(first, "0123456789abcdef"),
        text.replace("\"new\"", "\"old\""),
        text.replace("begun 0", "begun 1"),
    ] {
        assert_ne!(edited, text);
        std::fs::write(&path, &edited).unwrap();
        let report = b.try_apply(&undo, "u1", Some("a1")).await.map_err(|e| e.to_string());
        let told = format!("{report:?}");
        assert!(told.contains("was changed by hand"), "{told}");
        assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5]);
        b.disk.revive();
    }
    // As it was, it is believed again.
    std::fs::write(&path, &text).unwrap();
    let report = b.undo("a1", "u2").await;
    assert!(report.is_success(), "{report:?}");
    assert_eq!(states(&shared, &names(&ALL)).await, [State::Back; 5]);
    sound(&shared, "edited");
}

/// A last pass that took too long came to its end after its people were let in on the old side again.
#[tokio::test]
async fn who_was_given_up_too_early_goes_back_or_on() {
    for (broken, direction) in
        [(false, Direction::Old), (true, Direction::Old), (false, Direction::New), (true, Direction::New)]
    {
        let shared = world(&["ann"], Phase::Moved);
        let users = names(&["ann"]);
        if broken {
            shared.0.lock().unwrap().broken.insert("ann".into());
        }
        assert_eq!(states(&shared, &users).await, [State::Astray]);
        let done = go(&shared, &users, direction).await.unwrap();
        let (end, state) = match (broken, direction) {
            // Never to the new side, where they have not been.
            (true, _) => (End::Stayed, State::Astray),
            (false, Direction::Old) => (End::Arrived, State::Back),
            (false, Direction::New) => (End::Arrived, State::Moved),
        };
        assert_eq!(done[0].end, end, "{done:?}");
        assert_eq!(states(&shared, &users).await, [state]);
        // What they did on the old side goes over first: taken back as it was, what they deleted there would come again.
        let finals = shared.0.lock().unwrap().finals.get("ann").copied();
        assert_eq!(finals, (!broken).then_some(1), "{direction:?}");
        let on_new = shared.0.lock().unwrap().tables.values().all(|t| t.users.get("ann") == Some(&Route::New));
        assert_eq!(on_new, state == State::Moved);
        sound(&shared, "given up");
    }
}

/// Somebody astray whose last pass failed for good: what only the new side has is not back yet, and nobody says so.
#[tokio::test]
async fn whose_last_pass_failed_for_good_is_not_taken_for_back() {
    let shared = world(&["ann"], Phase::Failed);
    let users = names(&["ann"]);
    {
        let mut w = shared.0.lock().unwrap();
        w.mailboxes.get_mut("ann").unwrap().astray = true;
        w.broken.insert("ann".into());
    }
    for (mended, end) in [(false, End::Stayed), (true, End::Arrived)] {
        if mended {
            shared.0.lock().unwrap().broken.clear();
        }
        let done = go(&shared, &users, Direction::Old).await.unwrap();
        assert_eq!(done[0].end, end, "{done:?}");
    }
    assert_eq!(states(&shared, &users).await, [State::Back]);
    assert_eq!(shared.0.lock().unwrap().finals.get("ann"), Some(&1));
    sound(&shared, "failed for good");
}

/// A pass of the way back came to its end after its people were let in on the new side again, where they have gone on.
#[tokio::test]
async fn whose_way_back_was_given_up_too_early_goes_on_or_back() {
    for (broken, direction) in
        [(false, Direction::Old), (true, Direction::Old), (false, Direction::New), (true, Direction::New)]
    {
        let shared = world(&["ann"], Phase::Back);
        let users = names(&["ann"]);
        {
            let mut w = shared.0.lock().unwrap();
            w.tables.values_mut().for_each(|t| _ = t.users.insert("ann".into(), Route::New));
            w.only.insert("ann".into(), (0, 2));
            if broken {
                w.broken.insert("ann".into());
            }
        }
        assert_eq!(states(&shared, &users).await, [State::Astray]);
        let done = go(&shared, &users, direction).await.unwrap();
        let (end, state) = match (broken, direction) {
            (true, _) => (End::Stayed, State::Astray),
            (false, Direction::Old) => (End::Arrived, State::Back),
            (false, Direction::New) => (End::Arrived, State::Moved),
        };
        assert_eq!(done[0].end, end, "{direction:?}: {done:?}");
        assert_eq!(states(&shared, &users).await, [state]);
        let w = shared.0.lock().unwrap();
        // What came to the new side meanwhile has gone to the old one first.
        assert_eq!(w.only["ann"].1, if broken { 2 } else { 0 }, "{direction:?}");
        assert!(w.tables.values().all(|t| t.users["ann"] == Route::New) == (state != State::Back), "{direction:?}");
        drop(w);
        sound(&shared, "given up on the way back");
    }
}
