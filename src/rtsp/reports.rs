//! RTCP between us and a reader (RFC 3550 §6): what we say, and what we take from what readers say.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    base::Monotonic,
    media::ClockRate,
    rtp::rtcp::{self, Packet, ReportBlock, SenderReport},
    stats,
};

/// What a reader has told of one track.
#[derive(Debug, Default)]
pub(super) struct Feedback {
    /// The clock its jitter is told in, for the track that stands for the session in the list.
    clock_rate: Option<ClockRate>,
    /// When it was last heard, in nanoseconds of the monotonic clock.
    heard: AtomicU64,
    /// Packets it lost, as last told.
    lost: AtomicU64,
}

impl Feedback {
    /// Of the track that stands for the session.
    pub(super) fn leading(clock_rate: ClockRate) -> Self {
        Self { clock_rate: Some(clock_rate), ..Self::default() }
    }

    /// When the reader was last heard.
    pub(super) fn last_heard(&self) -> Monotonic {
        Monotonic::from_nanos(self.heard.load(Ordering::Relaxed))
    }

    /// A sign of life.
    pub(super) fn heard(&self, now: Monotonic) {
        self.heard.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }

    fn note(&self, block: &ReportBlock, session: &stats::Session) {
        let lost = u64::try_from(block.cumulative_lost).unwrap_or(0);
        let before = self.lost.swap(lost, Ordering::Relaxed);
        session.packets_lost.fetch_add(lost.saturating_sub(before), Ordering::Relaxed);
        if let Some(rate) = self.clock_rate {
            let jitter = Duration::from_secs_f64(f64::from(block.jitter) / f64::from(rate.hz()));
            session.reception.reported(block.fraction_lost, jitter);
        }
    }
}

/// A compound packet with one report.
pub(super) fn sender_report(report: &SenderReport, cname: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    rtcp::write_sender_report(&mut out, report, &[], cname);
    out
}

/// A compound packet that ends a track.
pub(super) fn goodbye(ssrc: u32, cname: &str, reason: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    rtcp::write_receiver_report(&mut out, ssrc, &[], cname);
    rtcp::write_goodbye(&mut out, ssrc, reason);
    out
}

/// Takes note of the report blocks of a compound packet. `find` gives the track a block speaks of, if it is one of the
/// sender's. Whether any was.
pub(super) fn note(
    compound: &[u8],
    now: Monotonic,
    mut find: impl FnMut(u32) -> Option<(Arc<Feedback>, Arc<stats::Session>)>,
) -> bool {
    let mut any = false;
    for packet in rtcp::packets(compound).map_while(Result::ok) {
        let (Packet::ReceiverReport { blocks, .. } | Packet::SenderReport(_, blocks)) = packet else { continue };
        let mut told = None;
        for block in blocks.iter() {
            if let Some((feedback, session)) = find(block.ssrc) {
                feedback.heard(now);
                feedback.note(&block, &session);
                told = Some(session);
            }
        }
        if let Some(session) = told {
            session.receiver_reports.fetch_add(1, Ordering::Relaxed);
            any = true;
        }
    }
    any
}
