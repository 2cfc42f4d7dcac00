//! `limits`: the quotas and the pace of calls.

use super::super::key_path::KeyPath;
use super::super::raw::{RawLimits, RawWindow};
use super::super::report::Report;
use crate::config::Limits;
use crate::model::Window;

/// The most windows of a lane; each is looked at on every claim.
const MOST_WINDOWS: usize = 8;

pub(super) fn limits(report: &mut Report<'_>, raw: RawLimits) -> Option<Limits> {
    let at = KeyPath::top("limits");
    let restrict = windows(report, &at.key("restrict"), raw.restrict);
    let release = windows(report, &at.key("release"), raw.release);
    let read = windows(report, &at.key("read"), raw.read);
    let reserve_percent = report.whole(&at.key("reserve_percent"), raw.reserve_percent, 0..=99);
    let concurrency = report.whole(&at.key("concurrency"), raw.concurrency, 1..=64);
    let request_timeout = report.long_span(&at.key("request_timeout"), raw.request_timeout);
    let reconcile_grace = report.span(&at.key("reconcile_grace"), raw.reconcile_grace);
    Some(Limits {
        restrict: restrict?,
        release: release?,
        read: read?,
        reserve_percent: reserve_percent?,
        concurrency: concurrency?,
        request_timeout: request_timeout?,
        reconcile_grace: reconcile_grace?,
    })
}

fn windows(report: &mut Report<'_>, at: &KeyPath, raw: Option<Vec<RawWindow>>) -> Option<Vec<Window>> {
    let raw = report.need(at, raw)?;
    if raw.is_empty() || raw.len() > MOST_WINDOWS {
        let message = format!("must have 1 to {MOST_WINDOWS} windows, not {}", raw.len());
        report.error_with_hint(at, message, "leave it out for the default");
        return None;
    }
    let windows: Vec<Option<Window>> =
        raw.into_iter().enumerate().map(|(index, raw)| window(report, &at.index(index), raw)).collect();
    refuse_equal_lengths(report, at, &windows);
    windows.into_iter().collect()
}

fn window(report: &mut Report<'_>, at: &KeyPath, raw: RawWindow) -> Option<Window> {
    let calls = report.whole(&at.key("calls"), raw.calls, 1..=u32::MAX.into());
    let per = report.long_span(&at.key("per"), raw.per);
    Some(Window { calls: calls?, per: per? })
}

/// Of two windows of one length only the smaller one would count.
fn refuse_equal_lengths(report: &mut Report<'_>, at: &KeyPath, windows: &[Option<Window>]) {
    let length = |window: &Option<Window>| window.as_ref().map(|window| window.per.duration());
    for (index, window) in windows.iter().enumerate() {
        let same =
            windows.iter().take(index).any(|earlier| length(earlier).is_some() && length(earlier) == length(window));
        if same {
            let message = "an earlier window is as long";
            report.error_with_hint(&at.index(index).key("per"), message, "keep the one with fewer calls");
        }
    }
}
