//! Tests of the ring and its readers against a naive model, and of a path's life with a source under control.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::{demand::Demands, ring::Ring, writer::Writer, *};
use crate::{
    auth::{Caller, Gate, Grant, View},
    base::{Monotonic, WallTime},
    media::{
        AccessUnit, ClockRate, CodecParameters, MediaKind, MediaTime, TrackDescription, TrackId, Unit,
        track::{H264Parameters, OpusParameters, PcmParameters},
    },
};

fn picture() -> TrackDescription {
    let parameters = CodecParameters::H264(H264Parameters::default());
    TrackDescription { kind: MediaKind::Video, clock_rate: ClockRate::VIDEO, parameters }
}

fn sound() -> TrackDescription {
    let parameters = CodecParameters::Opus(OpusParameters { channels: 1 });
    TrackDescription { kind: MediaKind::Audio, clock_rate: ClockRate::OPUS, parameters }
}

const VIDEO: TrackId = TrackId(0);
const AUDIO: TrackId = TrackId(1);

/// A picture or a sound at `ms`, with so many bytes of payload.
fn access_unit(track: TrackId, ms: u64, random_access: bool, bytes: usize) -> AccessUnit {
    let time = MediaTime::from_millis(ms as i64);
    let payload = if track == VIDEO { nal(bytes) } else { Bytes::from(vec![0x55; bytes]) };
    AccessUnit {
        track,
        pts: time,
        dts: time,
        captured: Some(WallTime::from_unix_nanos(ms as i64 * 1_000_000)),
        arrived: Monotonic::from_nanos(ms * 1_000_000),
        random_access,
        after_loss: false,
        marker: true,
        payload,
    }
}

fn nal(bytes: usize) -> Bytes {
    let mut payload = u32::try_from(bytes).unwrap().to_be_bytes().to_vec();
    payload.extend(std::iter::repeat_n(0x65, bytes));
    payload.into()
}

fn grant() -> Grant<View> {
    Grant::house("test", "cam".parse().unwrap())
}

struct Bench {
    ring: Arc<Ring>,
    writer: Writer,
    demands: Demands,
}

impl Bench {
    fn new(limits: RingLimits) -> Self {
        let ring = Arc::new(Ring::new(limits));
        let mut writer = Writer::new(ring.clone());
        writer.begin(vec![picture(), sound()]);
        Self { ring, writer, demands: Demands::default() }
    }

    fn push(&mut self, unit: AccessUnit) {
        self.writer.push(unit);
        self.ring.check_invariants();
    }

    /// Pictures every 40 ms and a sound between them, from `from` on, a random access point every `gop` pictures.
    fn play(&mut self, from: u64, pictures: u64, gop: u64) {
        for i in 0..pictures {
            self.push(access_unit(VIDEO, from + i * 40, i % gop == 0, 1000));
            self.push(access_unit(AUDIO, from + i * 40 + 20, true, 100));
        }
    }

    fn reader(&self, options: ReaderOptions) -> Reader {
        Reader::new(grant(), self.ring.clone(), options, self.demands.raise())
    }
}

/// Everything a reader can read now, as words: `p17` picture, `s18` sound, `-5` lag, and so on.
fn drain(reader: &mut Reader) -> Vec<String> {
    let (mut words, mut batch) = (Vec::new(), Vec::new());
    while let Some(read) = reader.try_read(&mut batch) {
        match read {
            Read::Units => words.extend(batch.iter().map(|unit| word(unit))),
            Read::Lagged { dropped } => words.push(format!("-{dropped}")),
            Read::ParametersChanged(_) => words.push("parameters".into()),
            Read::TracksChanged(set) => words.push(format!("tracks:{}", set.tracks.len())),
            Read::End(_) => {
                words.push("end".into());
                break;
            }
        }
    }
    words
}

fn word(unit: &Unit) -> String {
    let kind = match (unit.track.kind, unit.random_access) {
        (MediaKind::Video, true) => "P",
        (MediaKind::Video, false) => "p",
        _ => "s",
    };
    format!("{kind}{}", unit.index)
}

#[test]
fn a_viewer_begins_at_the_newest_random_access_point_without_old_sound() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 8, 5);
    let mut reader = bench.reader(ReaderOptions::viewer());
    assert_eq!(drain(&mut reader), ["P10", "p12", "p14"]);
    bench.play(320, 1, 5);
    assert_eq!(drain(&mut reader), ["P16", "s17"]);
}

#[test]
fn a_house_reader_gets_every_unit_from_its_start() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 7, 5);
    assert_eq!(drain(&mut bench.reader(ReaderOptions::house())), ["P10", "s11", "p12", "s13"]);
}

#[test]
fn a_reader_at_the_live_edge_waits_for_a_picture_it_can_decode() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 3, 5);
    let mut reader = bench.reader(ReaderOptions { start: Start::LiveEdge, ..ReaderOptions::viewer() });
    bench.push(access_unit(VIDEO, 120, false, 10));
    bench.push(access_unit(AUDIO, 130, true, 10));
    bench.push(access_unit(VIDEO, 160, true, 10));
    assert_eq!(drain(&mut reader), ["s7", "P8"]);
}

#[test]
fn a_start_some_seconds_back_finds_the_random_access_point_before_it() {
    let mut bench = Bench::new(RingLimits { history: Duration::from_secs(20), ..RingLimits::default() });
    bench.play(0, 250, 25);
    let back = |seconds| ReaderOptions { start: Start::Back(Duration::from_secs(seconds)), ..ReaderOptions::house() };
    assert_eq!(drain(&mut bench.reader(back(3)))[0], "P300");
    assert_eq!(drain(&mut bench.reader(back(60)))[0], "P0");
}

#[test]
fn a_burst_beyond_its_bound_is_a_still_and_motion_at_the_next_random_access_point() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 10, 10);
    let burst = BurstPolicy::Within { bytes: 3000, units: 400, readers: 9 };
    let mut reader = bench.reader(ReaderOptions { burst, ..ReaderOptions::viewer() });
    assert_eq!(drain(&mut reader), ["P0"]);
    bench.push(access_unit(VIDEO, 400, false, 10));
    bench.push(access_unit(AUDIO, 410, true, 10));
    bench.push(access_unit(VIDEO, 440, true, 10));
    bench.push(access_unit(VIDEO, 480, false, 10));
    assert_eq!(drain(&mut reader), ["s21", "P22", "p23"]);
}

#[test]
fn when_too_many_burst_at_once_the_next_viewer_gets_a_still() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 10, 10);
    let burst = BurstPolicy::Within { bytes: 1 << 20, units: 400, readers: 1 };
    let options = ReaderOptions { burst, ..ReaderOptions::viewer() };
    let mut first = bench.reader(options);
    assert_eq!(drain(&mut bench.reader(options)), ["P0"]);
    assert_eq!(drain(&mut first).len(), 10);
    assert_eq!(drain(&mut bench.reader(options)).len(), 10, "the first has caught up");
}

#[test]
fn a_reader_that_lost_its_picture_goes_back_to_the_newest_random_access_point() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 8, 5);
    let mut reader = bench.reader(ReaderOptions { edge: Edge::Nothing, ..ReaderOptions::viewer() });
    assert_eq!(drain(&mut reader), ["P10", "p12", "p14"]);
    assert!(reader.restart());
    bench.push(access_unit(VIDEO, 320, false, 10));
    assert_eq!(drain(&mut reader), ["P10", "p12", "p14", "p16"], "sound in between was heard before");
    let burst = BurstPolicy::Within { bytes: 2000, units: 400, readers: 9 };
    let mut bounded = bench.reader(ReaderOptions { burst, start: Start::LiveEdge, ..ReaderOptions::viewer() });
    assert!(!bounded.restart(), "too much to go back for");
    assert_eq!(drain(&mut bounded), [""; 0]);
    assert!(bounded.restart_still());
    bench.push(access_unit(VIDEO, 360, false, 10));
    assert_eq!(drain(&mut bounded), ["P10"], "a still picture");
    bench.push(access_unit(VIDEO, 400, true, 10));
    assert_eq!(drain(&mut bounded), ["P18"], "and motion at the next one");
}

#[test]
fn every_packet_in_the_ring_is_found_by_its_number_on_the_track() {
    let mut bench = Bench::new(RingLimits::default());
    for i in 0..300_u64 {
        bench.push(access_unit(VIDEO, i * 40, i % 25 == 0, 100 + (i as usize * 977) % 5000));
        (0..i % 4).for_each(|n| bench.push(access_unit(AUDIO, i * 40 + n * 10, true, 100)));
    }
    let mut house =
        bench.reader(ReaderOptions { start: Start::Back(Duration::from_secs(60)), ..ReaderOptions::house() });
    let (mut batch, mut held) = (Vec::new(), Vec::new());
    while matches!(house.try_read(&mut batch), Some(Read::Units)) {
        held.append(&mut batch);
    }
    for unit in &held {
        for place in 0..unit.plan.fragments.len() {
            let (found, at) = house.packet(unit.track.id, 1, unit.plan.first_packet + place as u64).unwrap();
            assert_eq!((found.index, at), (unit.index, place));
        }
    }
    let last = held.iter().rfind(|unit| unit.track.id == VIDEO).unwrap();
    assert!(house.packet(VIDEO, 1, last.plan.first_packet + last.plan.packets()).is_none(), "not there yet");
    assert!(house.packet(VIDEO, 1, 0).is_none(), "evicted");
    assert!(house.packet(VIDEO, 2, last.plan.first_packet).is_none(), "another list of tracks");
    assert!(house.packet(TrackId(9), 1, 0).is_none());
}

#[test]
fn ears_hear_a_beat_once_for_all_readers() {
    let mut bench = Bench::new(RingLimits::default());
    let reader = bench.reader(ReaderOptions { edge: Edge::Nothing, ..ReaderOptions::viewer() });
    let mut ears = reader.ears();
    ears.arm();
    let cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(ears.poll_heard(&cx).is_pending());
    bench.push(access_unit(VIDEO, 0, true, 10));
    assert!(ears.poll_heard(&cx).is_ready());
    ears.arm();
    assert!(ears.poll_heard(&cx).is_pending());
    assert_eq!(bench.ring.beats.listeners(), 1, "a reader that is polled has none of its own");
}

#[test]
fn a_burst_that_is_given_up_leaves_the_rest_of_the_gop_out() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 100, 100);
    let mut reader = bench.reader(ReaderOptions::viewer());
    let mut batch = Vec::new();
    assert!(matches!(reader.try_read(&mut batch), Some(Read::Units)));
    reader.give_up_burst();
    bench.push(access_unit(VIDEO, 4000, false, 10));
    bench.push(access_unit(VIDEO, 4040, true, 10));
    assert_eq!(drain(&mut reader), ["P201"]);
}

#[test]
fn a_reader_that_lags_resumes_at_the_newest_random_access_point_and_learns_how_much_it_missed() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 1, 25);
    let mut reader = bench.reader(ReaderOptions::viewer());
    assert_eq!(drain(&mut reader), ["P0"]);
    bench.play(40, 90, 25);
    let words = drain(&mut reader);
    assert_eq!(words[..2], ["-150", "P152"], "{words:?}");
}

#[test]
fn a_reader_that_lags_within_one_long_gop_reads_on() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 1, 1000);
    let mut reader = bench.reader(ReaderOptions::viewer());
    drain(&mut reader);
    bench.play(40, 1, 1000);
    for i in 2..100 {
        bench.push(access_unit(VIDEO, i * 40, false, 10));
    }
    let words = drain(&mut reader);
    assert_eq!((words[0].as_str(), words.len()), ("P2", 100), "there is nothing newer to move to");
}

#[test]
fn the_bound_in_bytes_wins_over_a_gop_but_not_over_two_seconds() {
    let limits = RingLimits { bytes: 100_000, ..RingLimits::default() };
    let mut bench = Bench::new(limits);
    bench.push(access_unit(VIDEO, 0, true, 10_000));
    for i in 1..250 {
        bench.push(access_unit(VIDEO, i * 40, false, 10_000));
    }
    let (units, bytes, span) = bench.ring.holding();
    assert!(span <= Duration::from_millis(2_040) && span >= Duration::from_secs(2), "{span:?}");
    assert!(units == 51 && bytes > 500_000, "two seconds stay: {units} units, {bytes} bytes");
    let mut late = bench.reader(ReaderOptions::viewer());
    assert_eq!(drain(&mut late), Vec::<String>::new(), "no random access point is left");
    bench.push(access_unit(VIDEO, 10_000, true, 100));
    assert_eq!(drain(&mut late), ["P250"]);
}

#[test]
fn after_a_new_random_access_point_the_gop_before_goes_once_two_seconds_are_kept() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 250, 250);
    assert_eq!(bench.ring.holding().0, 500, "ten seconds of one GOP are kept");
    bench.play(10_000, 60, 250);
    let span = bench.ring.holding().2;
    assert!(span < Duration::from_millis(2_500), "{span:?}");
}

#[test]
fn the_time_a_source_was_away_is_no_gop() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 100, 50);
    bench.writer.begin(vec![picture(), sound()]);
    bench.play(40_000, 100, 50);
    let figures = bench.writer.figures(VIDEO, Monotonic::from_nanos(44_000_000_000));
    assert_eq!((figures.gop, bench.writer.longest_gop()), (Some(Duration::from_secs(2)), Duration::from_secs(2)));
    assert_eq!((figures.units, figures.units_per_second), (200, 25.0));
}

#[test]
fn other_parameters_are_told_before_the_first_unit_they_hold_for() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 2, 5);
    let mut reader = bench.reader(ReaderOptions::house());
    let changed = H264Parameters { sps: vec![Bytes::from_static(b"new")], ..H264Parameters::default() };
    bench.writer.set_parameters(VIDEO, CodecParameters::H264(changed.clone()));
    bench.play(80, 1, 5);
    assert_eq!(drain(&mut reader), ["P0", "s1", "p2", "s3", "parameters", "P4", "s5"]);
    assert_eq!(reader.tracks().track(VIDEO).unwrap().parameters, CodecParameters::H264(changed));
    bench.writer.set_parameters(VIDEO, CodecParameters::Opus(OpusParameters { channels: 1 }));
    bench.play(120, 1, 5);
    assert_eq!(drain(&mut reader), ["P6", "s7"], "another codec is no change of parameters");
}

#[test]
fn another_track_list_is_told_and_the_picture_begins_at_a_random_access_point() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 2, 5);
    let mut reader = bench.reader(ReaderOptions::viewer());
    drain(&mut reader);
    bench.writer.begin(vec![picture()]);
    bench.push(access_unit(VIDEO, 80, false, 10));
    bench.push(access_unit(VIDEO, 120, true, 10));
    assert_eq!(drain(&mut reader), ["tracks:1", "P4"]);
}

#[test]
fn the_same_track_list_after_a_reconnect_is_no_change_and_packets_are_numbered_on() {
    let mut bench = Bench::new(RingLimits::default());
    bench.play(0, 2, 5);
    let mut reader = bench.reader(ReaderOptions::house());
    let mut batch = Vec::new();
    bench.writer.begin(vec![picture(), sound()]);
    bench.play(1_000, 1, 5);
    assert!(matches!(reader.try_read(&mut batch), Some(Read::Units)));
    assert_eq!(batch.iter().map(|u| word(u)).collect::<Vec<_>>(), ["P0", "s1", "p2", "s3", "P4", "s5"]);
    assert!(batch[4].spliced && batch[5].spliced && !batch[2].spliced);
    let next = |i: usize| batch[i].plan.first_packet + batch[i].plan.packets();
    assert_eq!((batch[2].plan.first_packet, batch[4].plan.first_packet), (next(0), next(2)));
    assert_eq!(bench.writer.figures(VIDEO, Monotonic::from_nanos(1_100_000_000)).units, 3);
}

#[test]
fn a_sound_only_stream_starts_with_any_unit() {
    let ring = Arc::new(Ring::new(RingLimits::default()));
    let mut writer = Writer::new(ring.clone());
    let pcm = PcmParameters { sample_rate: 8000, channels: 1 };
    let track = TrackDescription {
        kind: MediaKind::Audio,
        clock_rate: ClockRate::TELEPHONE,
        parameters: CodecParameters::G711A(pcm),
    };
    writer.begin(vec![track]);
    for i in 0..3 {
        writer.push(AccessUnit { track: VIDEO, ..access_unit(AUDIO, i * 20, true, 160) });
    }
    let mut reader = Reader::new(grant(), ring, ReaderOptions::viewer(), Demands::default().raise());
    assert_eq!(drain(&mut reader), ["s2"]);
}

#[tokio::test]
async fn a_beat_comes_with_a_picture_or_when_sound_has_waited() {
    let mut bench = Bench::new(RingLimits::default());
    bench.push(access_unit(VIDEO, 0, true, 10));
    let mut reader = bench.reader(ReaderOptions::viewer());
    let mut batch = Vec::new();
    reader.read(&mut batch).await;
    bench.push(access_unit(AUDIO, 10, true, 10));
    bench.push(access_unit(AUDIO, 30, true, 10));
    assert!(reader.listener_is_silent());
    bench.push(access_unit(AUDIO, 50, true, 10));
    assert!(!reader.listener_is_silent());
    reader.read(&mut batch).await;
    assert_eq!(batch.len(), 3);
}

#[test]
fn readers_on_a_media_thread_are_woken_by_one_stroke_of_the_ring() {
    let mut bench = Bench::new(RingLimits::default());
    bench.push(access_unit(VIDEO, 0, true, 10));
    let threads = MediaThreads::start(1).unwrap();
    let seat = threads.seat();
    let (read, received) = std::sync::mpsc::sync_channel(64);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = runtime.block_on(async { Tasks::new().child_on(seat.runtime().clone()) });
    for _ in 0..5 {
        let (ring, demand, read) = (bench.ring.clone(), bench.demands.raise(), read.clone());
        tasks.spawn("reader", tracing::Span::none(), async move {
            let mut reader = Reader::new(grant(), ring, ReaderOptions::viewer(), demand);
            let mut batch = Vec::new();
            loop {
                let Read::Units = reader.read(&mut batch).await else { return };
                read.send(batch.last().unwrap().index).unwrap();
            }
        });
    }
    let heard = |n: usize| (0..n).map(|_| received.recv_timeout(Duration::from_secs(10)).unwrap()).collect::<Vec<_>>();
    assert_eq!(heard(5), [0; 5]);
    assert_eq!(bench.ring.beats.listeners(), 1, "one relay for five readers");
    bench.push(access_unit(VIDEO, 40, false, 10));
    assert_eq!(heard(5), [1; 5]);
    bench.ring.set_end(Some(EndReason::Closed));
    runtime.block_on(async { assert!(tasks.drained(Duration::from_secs(10)).await.is_empty()) });
}

#[derive(Clone, Debug)]
enum Operation {
    Picture { random_access: bool, bytes: usize, wait: u64 },
    Sound { wait: u64 },
    Parameters,
    Reconnect,
    Read,
    Look,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (prop::bool::weighted(0.2), 1usize..4000, 1u64..120)
            .prop_map(|(random_access, bytes, wait)| Operation::Picture { random_access, bytes, wait }),
        4 => (1u64..60).prop_map(|wait| Operation::Sound { wait }),
        1 => Just(Operation::Parameters),
        1 => Just(Operation::Reconnect),
        3 => Just(Operation::Read),
        1 => Just(Operation::Look),
    ]
}

proptest! {
    /// The model is the list of all units ever published. Whatever happens, a house reader reads them in order and
    /// without holes, but for the lag it is told of, which always ends at a unit that is there.
    #[test]
    fn a_reader_reads_what_was_published_in_order_but_for_the_lag_it_is_told_of(
        operations in prop::collection::vec(operation(), 1..200),
    ) {
        let limits = RingLimits { bytes: 60_000, span: Duration::from_secs(6), ..RingLimits::default() };
        let mut bench = Bench::new(limits);
        let mut reader = bench.reader(ReaderOptions::house());
        let mut viewer = bench.reader(ReaderOptions::viewer());
        let (mut now, mut published, mut expected, mut revision) = (0, 0u64, 0u64, 0u8);
        let mut batch = Vec::new();
        for operation in operations {
            match operation {
                Operation::Picture { random_access, bytes, wait } => {
                    now += wait;
                    published += u64::from(bench.writer.push(access_unit(VIDEO, now, random_access, bytes)));
                }
                Operation::Sound { wait } => {
                    now += wait;
                    published += u64::from(bench.writer.push(access_unit(AUDIO, now, true, 50)));
                }
                Operation::Parameters => {
                    revision = revision.wrapping_add(1);
                    let sps = vec![Bytes::from(vec![revision])];
                    let parameters = H264Parameters { sps, ..H264Parameters::default() };
                    bench.writer.set_parameters(VIDEO, CodecParameters::H264(parameters));
                }
                Operation::Reconnect => bench.writer.begin(vec![picture(), sound()]),
                Operation::Read => match reader.try_read(&mut batch) {
                    None => prop_assert_eq!(expected, published),
                    Some(Read::Units) => for unit in &batch {
                        prop_assert_eq!(unit.index, expected);
                        expected += 1;
                    },
                    Some(Read::Lagged { dropped }) => expected += dropped,
                    Some(_) => {}
                },
                Operation::Look => for window in drain(&mut viewer).windows(2) {
                    // After lag, and at the start, a viewer sees no picture it cannot decode.
                    if window[0].starts_with('-') {
                        let stale = window[1].starts_with('p') && window[1] != "parameters";
                        prop_assert!(!stale, "{window:?}");
                    }
                },
            }
            bench.ring.check_invariants();
        }
        prop_assert!(expected <= published);
    }
}

/// A source that does what the test tells it.
#[derive(Debug)]
struct Puppet {
    orders: Arc<tokio::sync::Mutex<mpsc::Receiver<Order>>>,
    runs: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Order {
    Begin,
    Unit(AccessUnit),
    Lose(Outlook),
    Leave,
    Panic,
}

impl Source for Puppet {
    fn run(&self, feed: Feed) -> BoxFuture<'static, ()> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let orders = self.orders.clone();
        async move {
            let mut orders = orders.lock().await;
            loop {
                let order = tokio::select! {
                    biased;
                    () = feed.stopping().cancelled() => return,
                    order = orders.recv() => order,
                };
                match order {
                    Some(Order::Begin) => feed.begin(vec![picture(), sound()]),
                    Some(Order::Unit(unit)) => feed.push(AccessUnit { arrived: feed.now(), ..unit }),
                    Some(Order::Lose(outlook)) => {
                        feed.lost(Error::new(Kind::Unavailable, "connection refused"), outlook).await
                    }
                    Some(Order::Leave) => return,
                    Some(Order::Panic) => panic!("on purpose"),
                    None => std::future::pending().await,
                }
            }
        }
        .boxed()
    }

    fn description(&self) -> String {
        "puppet".into()
    }
}

#[derive(Debug)]
struct OneCamera(Mutex<Option<PathSpec>>);

impl PathDirectory for OneCamera {
    fn fixed(&self) -> Vec<PathSpec> {
        self.0.lock().unwrap().take().into_iter().collect()
    }

    fn matching(&self, _: &PathName) -> Option<PathSpec> {
        None
    }

    fn matching_max(&self) -> usize {
        1
    }
}

/// The path `cam` with a source that is told what to do.
fn puppet(policy: StreamPolicy, runs: &Arc<AtomicUsize>) -> (PathSpec, mpsc::Sender<Order>) {
    let (orders, receiver) = mpsc::channel(64);
    let main = Arc::new(Puppet { orders: Arc::new(receiver.into()), runs: runs.clone() });
    let (name, ring) = ("cam".parse().unwrap(), RingLimits::default());
    (PathSpec { name, title: None, group: None, policy, ring, main, sub: None }, orders)
}

struct Stage {
    hub: Hub,
    orders: mpsc::Sender<Order>,
    runs: Arc<AtomicUsize>,
    tasks: Tasks,
}

impl Stage {
    fn new(policy: StreamPolicy) -> Self {
        let runs = Arc::new(AtomicUsize::new(0));
        let (spec, orders) = puppet(policy, &runs);
        let tasks = Tasks::new();
        let hub = Hub::start(Box::new(OneCamera(Mutex::new(Some(spec)))), Clock, &tasks);
        Self { hub, orders, runs, tasks }
    }

    fn grant(&self, name: &str) -> Grant<View> {
        let caller = Caller::direct("127.0.0.1:1".parse().unwrap());
        Gate::default().check(&caller, &name.parse().unwrap()).unwrap()
    }

    fn stream(&self) -> Stream {
        self.hub.stream(&self.grant("cam"), Rendition::Main).unwrap()
    }

    async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    async fn state(&self, state: StreamState) {
        let wait = async {
            while self.stream().snapshot().state != state {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(120), wait).await;
        assert!(reached.is_ok(), "{state:?} was not reached, it is {:?}", self.stream().snapshot());
    }
}

fn on_demand() -> StreamPolicy {
    StreamPolicy { close_after: Some(Duration::from_secs(10)), ..StreamPolicy::default() }
}

#[tokio::test(start_paused = true)]
async fn opening_a_reader_starts_the_source_and_the_last_one_to_leave_stops_it() {
    let stage = Stage::new(on_demand());
    assert_eq!(stage.runs.load(Ordering::SeqCst), 0);
    stage.order(Order::Begin).await;
    stage.order(Order::Unit(access_unit(VIDEO, 0, true, 10))).await;
    let mut reader = stage.hub.open(stage.grant("cam"), Rendition::Main, ReaderOptions::viewer()).await.unwrap();
    assert_eq!(drain(&mut reader), ["P0"]);
    assert_eq!((stage.runs.load(Ordering::SeqCst), reader.demand()), (1, 1));
    stage.state(StreamState::Ready).await;
    drop(reader);
    stage.state(StreamState::Idle).await;
    assert_eq!(stage.stream().holding().0, 0, "an idle ring holds nothing");
    assert_eq!(stage.stream().tracks().tracks.len(), 2, "and knows its tracks");
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_put_in_the_place_of_another_ends_its_readers_and_its_source() {
    let mut stage = Stage::new(StreamPolicy::default());
    stage.order(Order::Begin).await;
    stage.order(Order::Unit(access_unit(VIDEO, 0, true, 10))).await;
    let mut reader = stage.hub.open(stage.grant("cam"), Rendition::Main, ReaderOptions::viewer()).await.unwrap();
    assert_eq!(drain(&mut reader), ["P0"]);
    let before = stage.hub.path(&stage.grant("cam")).unwrap();
    let (spec, orders) = puppet(StreamPolicy::default(), &stage.runs);
    stage.hub.put(spec);
    let after = stage.hub.path(&stage.grant("cam")).unwrap();
    assert!(!after.is(&before) && after.is(&stage.hub.path(&stage.grant("cam")).unwrap()));
    drop((before, after));
    assert_eq!(stage.hub.names().len(), 1);
    assert!(matches!(reader.read(&mut Vec::new()).await, Read::End(EndReason::Closed)));
    // Nobody takes orders there any more.
    let (left, name) = (std::mem::replace(&mut stage.orders, orders), "cam".parse().unwrap());
    tokio::time::timeout(Duration::from_secs(120), left.closed()).await.unwrap();
    stage.order(Order::Begin).await;
    stage.order(Order::Unit(access_unit(VIDEO, 0, true, 10))).await;
    stage.state(StreamState::Ready).await;
    assert_eq!(stage.runs.load(Ordering::SeqCst), 2);

    stage.hub.remove(&name);
    assert_eq!(stage.hub.path(&stage.grant("cam")).unwrap_err().code(), "path_not_found");
    tokio::time::timeout(Duration::from_secs(120), stage.orders.closed()).await.unwrap();
    stage.hub.remove(&name);
    assert!(stage.hub.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_path_that_does_not_come_is_told_why() {
    let stage = Stage::new(on_demand());
    let error = stage.hub.open(stage.grant("cam"), Rendition::Main, ReaderOptions::viewer()).await.unwrap_err();
    assert_eq!((error.code(), error.message()), ("path_not_ready", "path cam: no picture within 10 s"));
    stage.order(Order::Lose(Outlook::Uncertain)).await;
    let error = stage.hub.open(stage.grant("cam"), Rendition::Main, ReaderOptions::viewer()).await.unwrap_err();
    assert_eq!(error.message(), "path cam: the source is not there: connection refused");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_refuses_is_not_waited_for_and_one_that_restarts_is() {
    let stage = Stage::new(on_demand());
    let open = || stage.hub.open(stage.grant("cam"), Rendition::Main, ReaderOptions::viewer());
    let began = tokio::time::Instant::now();
    let waited = async { (open().await, began.elapsed()) };
    let (waited, ()) = tokio::join!(waited, stage.order(Order::Lose(Outlook::Refusal)));
    let (error, after) = (waited.0.unwrap_err(), waited.1);
    assert_eq!(error.message(), "path cam: the source is not there: connection refused");
    assert!(after < Duration::from_secs(1), "{after:?}");
    assert_eq!(open().await.unwrap_err().code(), "path_not_ready", "the next one as well");
    assert!(began.elapsed() < Duration::from_secs(1));

    stage.order(Order::Begin).await;
    stage.order(Order::Unit(access_unit(VIDEO, 0, true, 10))).await;
    stage.state(StreamState::Ready).await;
    stage.order(Order::Lose(Outlook::Refusal)).await;
    stage.state(StreamState::Lost).await;
    let comes_back = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        stage.order(Order::Begin).await;
        stage.order(Order::Unit(access_unit(VIDEO, 70, true, 10))).await;
    };
    let (opened, ()) = tokio::join!(open(), comes_back);
    assert_eq!(drain(&mut opened.unwrap()), ["P1"], "it was there a moment ago, and comes back");
}

#[tokio::test(start_paused = true)]
async fn names_and_renditions_that_are_not_there_are_not_found() {
    let stage = Stage::new(on_demand());
    let open = |name, rendition| stage.hub.open(stage.grant(name), rendition, ReaderOptions::viewer());
    assert_eq!(open("nobody", Rendition::Main).await.unwrap_err().code(), "path_not_found");
    assert_eq!(open("cam", Rendition::Sub).await.unwrap_err().code(), "rendition_not_found");
}

#[tokio::test(start_paused = true)]
async fn readers_are_held_over_a_loss_and_play_on() {
    let stage = Stage::new(StreamPolicy::default());
    stage.order(Order::Begin).await;
    stage.order(Order::Unit(access_unit(VIDEO, 0, true, 10))).await;
    let mut reader = stage.hub.open(stage.grant("cam"), Rendition::Main, ReaderOptions::viewer()).await.unwrap();
    assert_eq!(drain(&mut reader), ["P0"]);
    stage.order(Order::Lose(Outlook::Uncertain)).await;
    stage.state(StreamState::Lost).await;
    assert_eq!(stage.stream().snapshot().error.unwrap().message(), "connection refused");
    tokio::time::sleep(Duration::from_secs(20)).await;
    stage.order(Order::Begin).await;
    stage.order(Order::Unit(access_unit(VIDEO, 70, true, 10))).await;
    stage.state(StreamState::Ready).await;
    assert_eq!(drain(&mut reader), ["P1"]);
    assert!(stage.stream().snapshot().error.is_none());
}

#[tokio::test(start_paused = true)]
async fn readers_are_let_go_when_the_source_stays_away() {
    let stage = Stage::new(StreamPolicy::default());
    stage.order(Order::Begin).await;
    stage.order(Order::Unit(access_unit(VIDEO, 0, true, 10))).await;
    let mut reader = stage.hub.open(stage.grant("cam"), Rendition::Main, ReaderOptions::viewer()).await.unwrap();
    stage.order(Order::Lose(Outlook::Uncertain)).await;
    let mut batch = Vec::new();
    assert!(matches!(reader.read(&mut batch).await, Read::Units));
    let Read::End(EndReason::SourceLost(error)) = reader.read(&mut batch).await else { panic!("it should end") };
    assert_eq!(error.message(), "connection refused");
}

#[tokio::test(start_paused = true)]
async fn silence_stalls_a_path_and_the_next_unit_mends_it() {
    let stage = Stage::new(StreamPolicy::default());
    stage.order(Order::Begin).await;
    stage.order(Order::Unit(access_unit(VIDEO, 0, true, 10))).await;
    stage.state(StreamState::Ready).await;
    stage.state(StreamState::Stalled).await;
    stage.order(Order::Unit(access_unit(VIDEO, 6_000, false, 10))).await;
    stage.state(StreamState::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_leaves_or_panics_is_started_again() {
    let stage = Stage::new(StreamPolicy::default());
    for (run, order) in [Order::Leave, Order::Panic].into_iter().enumerate() {
        stage.order(Order::Begin).await;
        stage.order(Order::Unit(access_unit(VIDEO, 0, true, 10))).await;
        stage.state(StreamState::Ready).await;
        stage.order(order).await;
        stage.state(StreamState::Lost).await;
        assert_eq!(stage.stream().snapshot().error.unwrap().code(), "source_ended");
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(stage.runs.load(Ordering::SeqCst), run + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_house_closes_readers_end_and_no_task_is_left() {
    let stage = Stage::new(StreamPolicy::default());
    stage.order(Order::Begin).await;
    stage.order(Order::Unit(access_unit(VIDEO, 0, true, 10))).await;
    let mut reader = stage.hub.open(stage.grant("cam"), Rendition::Main, ReaderOptions::viewer()).await.unwrap();
    stage.tasks.stop();
    let mut batch = Vec::new();
    assert!(matches!(reader.read(&mut batch).await, Read::Units));
    assert!(matches!(reader.read(&mut batch).await, Read::End(EndReason::Closed)));
    assert!(stage.tasks.drained(Duration::from_secs(5)).await.is_empty());
}
