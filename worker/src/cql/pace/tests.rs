//! Readers and writers under an allowance, in a time of their own: tokio's paused clock.

use futures::future::join_all;
use ringvault_runtime::clock::ManualClock;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Tokio's clock, paused or not.
#[derive(Debug)]
struct TokioClock(tokio::time::Instant);

impl TokioClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix_ms(&self) -> u64 {
        0
    }
}

fn allowance(pace: v1::Pace, rows: u64, bytes: u64, width: f64) -> v1::Allowance {
    v1::Allowance {
        job_id: "j".into(),
        pace: pace.into(),
        rows_per_second_max: rows,
        bytes_per_second_max: bytes,
        requests_per_node_max: width,
    }
}

fn full(rows: u64, bytes: u64) -> v1::Allowance {
    allowance(v1::Pace::Full, rows, bytes, 0.0)
}

/// Reads pages, of which each holds a `part` of the rows that are asked for, of 100 bytes each; gives the rows.
async fn read(pace: Arc<Pace>, until: Duration, latency: Duration, part: f64) -> u64 {
    let mut rows = 0;
    while pace.clock.now() < until {
        let mut asked = 0;
        let expect = |share: Share| {
            asked = share.rows.min(share.bytes / 100).clamp(1, 5000);
            Cost { rows: asked, bytes: asked * 100 }
        };
        let Ok(permit) = tokio::time::timeout_at(tokio_end(&pace, until), pace.page(Uuid::nil(), expect)).await else {
            break;
        };
        tokio::time::sleep(latency).await;
        let came = scaled(asked, part);
        permit.answered(latency, Cost { rows: came, bytes: came * 100 });
        rows += came;
    }
    rows
}

fn tokio_end(pace: &Pace, until: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + until.saturating_sub(pace.clock.now())
}

async fn read_by(readers: usize, pace: &Arc<Pace>, until: Duration, latency: Duration, part: f64) -> u64 {
    join_all((0..readers).map(|_| read(pace.clone(), until, latency, part))).await.into_iter().sum()
}

fn within_a_tenth(rows: u64, wanted: u64) {
    assert!(rows.abs_diff(wanted) * 10 <= wanted, "{rows} where {wanted} are allowed");
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_rows_or_bytes_holds_however_many_read_and_however_full_pages_are() {
    let until = 10 * SECOND;
    for (readers, latency_ms, part) in
        [(1, 3, 1.0), (1, 150, 1.0), (8, 3, 1.0), (8, 150, 1.0), (8, 3, 0.05), (3, 20, 0.5)]
    {
        for rate in [1, 7, 100, 20_000] {
            if rate == 1 && part < 1.0 {
                continue; // a page of one row is full
            }
            let pace = Pace::new(&full(rate, 0), TokioClock::new());
            let rows = read_by(readers, &pace, until, Duration::from_millis(latency_ms), part).await;
            let most = rate * 10;
            assert!(rows <= most + most / 10 + 1, "{rows} of {most} by {readers} of {latency_ms} ms, {part}");
            if part > 0.1 {
                assert!(rows + most / 10 >= most, "{rows} of {most} by {readers} of {latency_ms} ms, {part}");
            }
        }
    }
    let pace = Pace::new(&full(0, 100_000), TokioClock::new());
    within_a_tenth(read_by(4, &pace, until, Duration::from_millis(5), 1.0).await, 10_000);
}

#[tokio::test(start_paused = true)]
async fn another_rate_counts_at_once_for_those_who_wait() {
    let pace = Pace::new(&full(10, 0), TokioClock::new());
    pace.take(Cost { rows: 600, bytes: 0 }).await; // a minute's worth
    let waiting = read_by(4, &pace, 20 * SECOND, Duration::from_millis(2), 1.0);
    let easing = async {
        tokio::time::sleep(SECOND).await;
        pace.allow(&full(1000, 0));
    };
    let (rows, ()) = tokio::join!(waiting, easing);
    within_a_tenth(rows, 19_000 - 590);
    pace.allow(&full(100, 0));
    within_a_tenth(read_by(4, &pace, 40 * SECOND, Duration::from_millis(2), 1.0).await, 2000);
    pace.allow(&full(0, 0));
    assert!(read_by(1, &pace, 41 * SECOND, Duration::from_millis(1), 1.0).await > 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn workers_that_come_and_go_keep_what_they_are_told_together() {
    // as the coordinator shares 1200 rows a second out: two workers, then three, then one
    let clock = TokioClock::new();
    let paces: Vec<Arc<Pace>> = (0..3).map(|_| Pace::new(&full(600, 0), clock.clone())).collect();
    let latency = Duration::from_millis(4);
    let first = join_all(paces[..2].iter().map(|pace| read_by(4, pace, 5 * SECOND, latency, 1.0))).await;
    for pace in &paces {
        pace.allow(&full(400, 0));
    }
    let second = join_all(paces.iter().map(|pace| read_by(4, pace, 10 * SECOND, latency, 1.0))).await;
    paces[0].allow(&full(1200, 0));
    let third = read_by(4, &paces[0], 15 * SECOND, latency, 1.0).await;
    within_a_tenth(first.iter().chain(&second).sum::<u64>() + third, 15 * 1200);
}

#[tokio::test(start_paused = true)]
async fn many_small_batches_come_to_the_rate_and_none_starves() {
    let pace = Pace::new(&full(5000, 0), TokioClock::new());
    let write = |_| {
        let pace = pace.clone();
        async move {
            let mut batches = 0;
            while pace.clock.now() < 10 * SECOND {
                pace.take(Cost { rows: 3, bytes: 500 }).await;
                let permit = pace.batch(Uuid::nil()).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
                permit.acknowledged(Duration::from_millis(2));
                batches += 1;
            }
            batches
        }
    };
    let batches: Vec<u64> = join_all((0..64).map(write)).await;
    within_a_tenth(batches.iter().sum::<u64>() * 3, 50_000);
    let (least, most) = (batches.iter().min().expect("some"), batches.iter().max().expect("some"));
    assert!(most - least <= 3, "{least} to {most}");
}

#[tokio::test]
async fn a_rate_holds_in_real_time_too() {
    let pace = Pace::new(&full(4000, 0), TokioClock::new());
    let rows = read_by(4, &pace, 2 * SECOND, Duration::from_millis(3), 1.0).await;
    // a page more, a quarter of a second's, and what may be made up for
    assert!(rows <= 9500, "{rows} rows in two seconds where 8,000 are allowed");
    assert!(rows >= 1000, "{rows} rows in two seconds where 8,000 are allowed");
}

#[tokio::test]
async fn a_third_page_waits_until_one_has_come() {
    let pace = Pace::new(&allowance(v1::Pace::Polite, 0, 0, 0.0), Arc::new(ManualClock::at(0)));
    let host = Uuid::nil();
    let page = |host| pace.page(host, |_| Cost::default());
    let first = page(host).await;
    let _second = page(host).await;
    let mut third = Box::pin(page(host));
    assert!(futures::poll!(&mut third).is_pending());
    let _other_node = page(Uuid::from_u128(1)).await;
    first.answered(Duration::from_millis(3), Cost { rows: 1, bytes: 100 });
    let _third = third.await;
    assert_eq!(pace.throttle(), "");
}

#[tokio::test]
async fn a_wider_allowance_wakes_those_who_wait_for_a_place() {
    let pace = Pace::new(&allowance(v1::Pace::Full, 0, 0, 1.0), Arc::new(ManualClock::at(0)));
    let page = || pace.page(Uuid::nil(), |_| Cost::default());
    let _first = page().await;
    let (mut second, mut third) = (Box::pin(page()), Box::pin(page()));
    assert!(futures::poll!(&mut second).is_pending() && futures::poll!(&mut third).is_pending());
    pace.allow(&allowance(v1::Pace::Full, 0, 0, 3.0));
    let (_second, _third) = (second.await, third.await);
}

#[tokio::test]
async fn who_gives_up_waiting_takes_nothing_and_passes_the_place_on() {
    let pace = Pace::new(&allowance(v1::Pace::Full, 10, 0, 1.0), Arc::new(ManualClock::at(0)));
    let page = || pace.page(Uuid::nil(), |_| Cost { rows: 5, bytes: 0 });
    let first = page().await;
    let (mut second, mut third) = (Box::pin(page()), Box::pin(page()));
    assert!(futures::poll!(&mut second).is_pending() && futures::poll!(&mut third).is_pending());
    drop(first); // what was not read is not owed
    drop(second);
    let _third = third.await;
}

#[test]
fn what_slows_a_job_down_is_told() {
    let clock = Arc::new(ManualClock::at(0));
    let pace = Pace::new(&full(10, 0), clock.clone());
    pace.lock().limiter.take(Duration::ZERO, Cost { rows: 100, bytes: 0 });
    assert_eq!(pace.throttle(), "rate");
    clock.advance(20 * SECOND);
    assert_eq!(pace.throttle(), "");
    pace.node(Uuid::nil(), |node, now| node.pace.narrow(now, Cause::Overload));
    assert_eq!(pace.throttle(), "overloaded");
}
