//! Histories that found bugs, as short as they can be.

use std::time::Duration;

use super::history::{Birth, Deed, Event, History, Step};
use super::lie::Lie;
use super::map::Shape;
use super::process::Paging;
use super::record::{Ending, Trace};
use super::runs;
use super::user::{Submission, Way};
use super::worker::{REFUSALS, Say};
use crate::pool::Wishes;
use crate::scheduler::{Config, HostConfig, OnWorkerDeath};
use crate::testing::{Check, Operation, plain_config};

fn config() -> Config {
    Config {
        start_timeout: Duration::from_secs(10),
        grace_period: Duration::from_millis(50),
        max_pipeline: 8,
        cpus: 1,
        brief_row: 64,
        ..plain_config(1)
    }
}

fn play(config: Config, queue_capacity: usize, events: &[Event]) -> Check {
    let steps = events.iter().map(|event| Step { event: *event, turns: 3 }).collect();
    let history = History { config, queue_capacity, queue_bytes: None, steps };
    history.play_with(Trace::default()).kept
}

fn submit(way: Way) -> Event {
    Event::Submit(Submission::by(way))
}

fn birth(paging: Paging) -> Event {
    let (is_narrow, is_stubborn, is_quick, looks, no_page) = (false, false, true, false, None);
    Event::Birth {
        n: 0,
        birth: Birth::Up { is_narrow, paging, is_stubborn, is_quick, looks, no_page },
        count: 1,
    }
}

fn work(steps: usize) -> Event {
    let result = runs::Result { ending: Ending::Returned, nanos: 2_000, size: 0, emits: 0 };
    Event::Worker { n: 0, deed: Deed::Work { steps, result, say: Say::Write, reads: true } }
}

fn shape(count: u64, chunk: usize) -> Shape {
    Shape { count, chunk: Some(chunk), buffer: None, budget: None, is_ordered: true, retries: 0 }
}

fn lie(lie: Lie) -> Event {
    Event::Worker { n: 0, deed: Deed::Lie(lie) }
}

#[test]
fn nobody_waits_for_a_place_in_a_pool_whose_runtime_has_gone() -> Check {
    play(config(), 1, &[submit(Way::Submit), submit(Way::Submit), Event::Abandon])
}

#[test]
fn what_an_unheard_worker_may_have_begun_of_a_chunk_is_not_begun_again() -> Check {
    let map = Event::Map(shape(2, 2));
    let pull = Event::Pull { map: 0, items: 1 };
    let wait = Event::Wait(Duration::from_millis(1));
    play(config(), 100, &[map, pull, birth(Paging::None), wait, lie(Lie::Goodbye), work(4)])
}

#[test]
fn a_chunk_that_is_over_and_unheard_is_not_begun_again_after_a_later_one() -> Check {
    let map = Event::Map(shape(30, 2));
    let pull = Event::Pull { map: 0, items: 1 };
    let wait = Event::Wait(Duration::from_millis(1));
    play(config(), 100, &[map, pull, birth(Paging::Pool), wait, lie(Lie::Huge), work(5)])
}

#[test]
fn a_liar_that_says_goodbye_breaks_a_pool_as_any_other_death() -> Check {
    let config = Config { on_worker_death: OnWorkerDeath::Break, ..config() };
    let (submit, wait) = (submit(Way::TrySubmit), Event::Wait(Duration::from_millis(1)));
    let start = [submit, submit, birth(Paging::Pool), wait, work(1)];
    // It is told to leave, which it has not read.
    let events = [
        &start[..],
        &[
            Event::Operation(Operation::Recycle { limit: None }),
            work(1),
            lie(Lie::SecondReply),
            work(1),
        ],
    ]
    .concat();
    play(config, 100, &events)
}

#[test]
fn an_item_that_has_a_result_has_begun_whatever_its_worker_has_announced() -> Check {
    let map = Event::Map(Shape { buffer: Some(40), ..shape(30, 40) });
    let pull = Event::Pull { map: 0, items: 1 };
    let wait = Event::Wait(Duration::from_millis(1));
    let scribble = lie(Lie::Scribble { word: 512, value: 7 });
    play(config(), 100, &[map, pull, birth(Paging::Pool), wait, work(5), scribble])
}

#[test]
fn a_worker_that_is_told_to_leave_is_not_started_once_more_to_be_sent_the_page() -> Check {
    let (is_narrow, is_stubborn, is_quick, looks) = (false, false, false, false);
    let slow =
        Birth::Up { is_narrow, paging: Paging::Pool, is_stubborn, is_quick, looks, no_page: None };
    let shut_down = Operation::ShutDown { cancel: false, limit: None };
    let greet = Deed::Greet { no_page: Some(REFUSALS[0]) };
    let events = [
        Event::Operation(Operation::WarmUp),
        Event::Birth { n: 0, birth: slow, count: 1 },
        Event::Operation(shut_down),
        Event::Worker { n: 0, deed: greet },
    ];
    play(config(), 100, &events)
}

#[test]
fn a_loss_is_known_before_the_ends_that_it_explains() -> Check {
    let hosts = vec![HostConfig { workers: Some(1), is_away: false }; 2];
    let config = Config { hosts, max_workers: 2, ..config() };
    let wishes = Wishes { retries: 1, ..Wishes::default() };
    let submit = Event::Submit(Submission { wishes, ..Submission::by(Way::TrySubmit) });
    let wait = Event::Wait(Duration::from_millis(1));
    let lose = Event::LoseHost { n: 0, safe_in: Duration::from_secs(5) };
    // What the connection and the link say waits in two channels.
    let doze = Event::Doze { events: 3 };
    play(config, 100, &[submit, birth(Paging::Pool), wait, work(1), doze, lose, wait])
}
