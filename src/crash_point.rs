//! Crash points: named places between a call and its record, where a debug build dies if it is told to.
//!
//! `STANCH_CRASH_AT=send.answered` ends the process when it first comes to that place, `send.answered:3` at
//! the third time, and says so in the log. It ends by `abort`: no destructor runs, nothing is flushed and no
//! transaction is ended, so what is left is what SIGKILL leaves. (A process can send itself SIGKILL only
//! through `unsafe` or another process, and then it would run on until that one acts.) In a release build
//! the places are empty, and the variable means nothing.
//!
//! `tests/it/crash_points.rs` dies at every one of them, and `tests/it/house.rs` compares the list with the
//! places. Absent: what must hold afterwards.

/// The places, each by its name and what is done there and what is not.
pub const CRASH_POINTS: [(&str, &str); 44] = [
    ("hook.stored", "a webhook's batch is stored, its sender not answered"),
    ("hook.told", "the alerts that a change notification names are kept, its sender not answered"),
    ("api.changed", "what a person asked for is stored, the person not answered"),
    ("brake.put_on", "the brake is on, the person not answered"),
    ("brake.taken_off", "the brake is off, nobody is woken, the person not answered"),
    ("poll.floor_stored", "the place to begin is stored, nothing is read"),
    ("poll.slot_taken", "a call of the alert list is counted, not made"),
    ("poll.page_read", "a page of alerts is read, its call not recorded as answered"),
    ("poll.slot_answered", "the answer is recorded, the page not stored"),
    ("poll.page_stored", "a page of alerts is stored; the watermark only if it is the last"),
    ("fetch.slot_taken", "a call of a single alert is counted, not made"),
    ("fetch.alert_read", "a single alert is read, its call not recorded as answered"),
    ("fetch.slot_answered", "the answer is recorded, the alert not stored"),
    ("fetch.alert_stored", "a single alert is stored, its request not ended"),
    ("inventory.slot_taken", "a call of the machine list is counted, not made"),
    ("inventory.page_read", "a page of machines is read, its call not recorded as answered"),
    ("inventory.slot_answered", "the answer is recorded, the page not stored"),
    ("inventory.page_saved", "a page of machines is stored, the list not finished"),
    ("inventory.finished", "the whole list is stored, nobody is woken"),
    ("inventory.machine_slot_taken", "a call of a single machine is counted, not made"),
    ("inventory.machine_read", "a single machine is read, its call not recorded as answered"),
    ("inventory.machine_answered", "the answer is recorded, the machine not stored"),
    ("inventory.machine_saved", "a single machine is stored, its request not ended"),
    ("inventory.machine_asked", "the request is ended, the alerts that waited for it are not woken"),
    ("decide.machines_requested", "unknown machines are requested, nothing is decided"),
    ("decide.judged", "a device is judged, nothing is written"),
    ("decide.decided", "decisions and their actions are stored, nobody is woken"),
    ("send.claimed", "an action is claimed, its POST not made"),
    ("send.answered", "a POST is answered, its outcome not recorded"),
    ("send.settled", "an outcome is recorded, nobody is woken"),
    ("cancel.slot_taken", "a cancellation is counted as a call, not put off"),
    ("cancel.put_off", "a cancellation is put off, its POST not made"),
    ("cancel.answered", "a cancellation is answered, neither call nor outcome recorded"),
    ("cancel.slot_answered", "the call is recorded as answered, the outcome not"),
    ("cancel.recorded", "what came of a cancellation is recorded, nobody is woken"),
    ("look.orphans_adopted", "what a dead process was sending is uncertain, nothing is read"),
    ("look.slot_taken", "a call of the machine-action list is counted, not made"),
    ("look.page_read", "a page of machine actions is read, its call not recorded as answered"),
    ("look.slot_answered", "the answer is recorded, the page not"),
    ("look.page_recorded", "a page of machine actions is recorded, the look not finished"),
    ("look.finished", "a look is recorded, nobody is woken"),
    ("audit.sealed", "a batch of rows of the audit is sealed, the next is not"),
    ("timers.due", "nothing of what is due is carried out"),
    ("timers.carried_out", "what was due is stored, nobody is woken"),
];

/// A place of [`CRASH_POINTS`].
#[inline]
pub(crate) fn crash_point(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    const VARIABLE: &str = "STANCH_CRASH_AT";

    /// The place to die at, and how often it is still passed until then, that time included.
    struct Armed {
        name: String,
        passings: AtomicU32,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| read(&std::env::var(VARIABLE).ok()?));

    fn read(text: &str) -> Option<Armed> {
        let (name, passings) = text.split_once(':').unwrap_or((text, "1"));
        Some(Armed { name: name.to_owned(), passings: AtomicU32::new(passings.parse().ok()?) })
    }

    pub(super) fn pass(name: &'static str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.name == name) else { return };
        if armed.passings.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::error!(name, "dies here, as {VARIABLE} says");
            std::process::abort();
        }
    }
}
