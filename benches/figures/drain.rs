//! How fast a full queue drains through the windows, against the fastest that they allow.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use stanch::config::Limits;
use stanch::guards::GateVerdict;
use stanch::model::{AlertTime, Kind, MachineAction, MachineActionId, RemoteStatus, Window};
use stanch::simulator::Api;
use stanch::store::{Answered, ClaimedAction, LaneTrouble, Settlement, Store};

use crate::support::binary::Process;
use crate::support::{TestApp, machine, ransomware};
use crate::work::{self, Draws, queue};
use crate::{Figures, Unit};

/// The devices that wait at the beginning.
const DEVICES: usize = 1_500;
/// A hundred go at once, and a hundred each minute from then on.
const OPTIMUM_MILLIS: i64 = 14 * 60_000;
/// A call and its answer take so long each, in milliseconds.
const WAYS: std::ops::Range<f64> = 10.0..150.0;

/// What an enterprise has by default, and nothing kept for operators.
fn limits() -> Limits {
    work::limits(&[
        Window { calls: 100, per: "60s".parse().unwrap() },
        Window { calls: 1_500, per: "1h".parse().unwrap() },
    ])
}

/// The quota as Microsoft counts it: by arrival, in each window that has just gone by.
#[derive(Default)]
struct Server {
    arrivals: Vec<i64>,
    throttled: usize,
}

impl Server {
    /// A call arrives; whether it is let in.
    fn takes(&mut self, now: i64) -> bool {
        let within = |window: &Window| {
            let start = now - window.per.millis();
            self.arrivals.len() - self.arrivals.partition_point(|&arrived| arrived <= start) < window.calls as usize
        };
        if limits().restrict.iter().all(within) {
            self.arrivals.push(now);
            return true;
        }
        self.throttled += 1;
        false
    }
}

enum Happening {
    Arrives(ClaimedAction),
    Answers(ClaimedAction, bool),
}

/// The send loop, called by hand over the real store, with a clock that jumps to whatever comes next.
struct Drain {
    store: Store,
    begun: Timestamp,
    server: Server,
    draws: Draws,
    coming: BTreeMap<(i64, usize), Happening>,
    number: usize,
}

impl Drain {
    fn at(&self, now: i64) -> Timestamp {
        self.begun + SignedDuration::from_millis(now)
    }

    fn later(&mut self, now: i64, what: Happening) {
        let way = WAYS.start + (WAYS.end - WAYS.start) * self.draws.draw();
        self.number += 1;
        self.coming.insert((now + way as i64, self.number), what);
    }

    /// Claims as long as there is a place on the wire; gives when there may be something to claim.
    async fn fill(&mut self, now: i64) -> Option<i64> {
        let gate = |_: &_| GateVerdict::Pass;
        loop {
            let room = limits().concurrency.saturating_sub(self.coming.len());
            if room == 0 {
                return None;
            }
            let at = self.at(now);
            let claim = self.store.claim(&TestApp::tenant(), Kind::Restrict, room, &limits(), &gate, at).await.unwrap();
            if claim.claimed.is_empty() {
                return claim.next.map(|next| next.duration_since(self.begun).as_millis() as i64);
            }
            for claimed in claim.claimed {
                self.later(now, Happening::Arrives(claimed));
            }
        }
    }

    async fn happens(&mut self, now: i64, what: Happening) {
        match what {
            Happening::Arrives(claimed) => {
                let taken = self.server.takes(now);
                self.later(now, Happening::Answers(claimed, taken));
            }
            Happening::Answers(claimed, taken) => {
                let (settlement, trouble) = if taken { (accepted(&claimed), LaneTrouble::None) } else { throttled() };
                let at = self.at(now);
                self.store.settle(&claimed, &settlement, Answered::Now, &trouble, at, 0.5).await.unwrap();
            }
        }
    }

    async fn run(&mut self) {
        let mut now = 0;
        loop {
            let next = self.fill(now).await;
            let first = self.coming.first_key_value().map(|((at, _), _)| *at);
            let Some(moment) = first.into_iter().chain(next).min() else { return };
            now = moment;
            while let Some(entry) = self.coming.first_entry().filter(|entry| entry.key().0 <= now) {
                let what = entry.remove();
                self.happens(now, what).await;
            }
        }
    }
}

fn accepted(claimed: &ClaimedAction) -> Settlement {
    Settlement::Accepted(MachineAction {
        id: MachineActionId::new(claimed.id.to_string()).unwrap(),
        kind: Kind::Restrict.spec().microsoft_type.to_owned(),
        status: RemoteStatus::Pending,
        machine_id: Some(claimed.machine_id.clone()),
        comment: claimed.comment.clone(),
        cancel_comment: String::new(),
        created: Some(AlertTime::from_timestamp(TestApp::now())),
        last_update: None,
        error_hresult: None,
    })
}

fn throttled() -> (Settlement, LaneTrouble) {
    let (code, message) = ("TooManyRequests".to_owned(), "slow down".to_owned());
    (Settlement::NotTaken { code, message }, LaneTrouble::Throttled(None))
}

/// Microsoft's own limits, in virtual time.
pub async fn in_virtual_time(figures: &mut Figures) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("stanch.db")).await.unwrap();
    // The windows count in whole milliseconds.
    let begun = Timestamp::from_millisecond(TestApp::now().as_millisecond()).unwrap();
    queue(&store, 0..DEVICES, begun).await;
    let mut drain =
        Drain { store, begun, server: Server::default(), draws: Draws::new(), coming: BTreeMap::new(), number: 0 };
    drain.run().await;
    let arrivals = &drain.server.arrivals;
    let took = arrivals.last().unwrap() - arrivals.first().unwrap();
    figures.promise(
        "drain of 1,500 devices in virtual time ÷ the optimum of 840 s",
        took as f64 / OPTIMUM_MILLIS as f64,
        1.01,
        Unit::Ratio,
    );
    figures.promise("  429s in it, as the server counts", drain.server.throttled as f64, 0.0, Unit::Count);
    figures.promise("  devices not restricted just once", DEVICES.abs_diff(arrivals.len()) as f64, 0.0, Unit::Count);
}

/// Sixty devices through windows of 10 calls per 2 s, with the real binary: the first call goes at once, the last
/// can not go before five windows have passed.
pub async fn over_loopback(figures: &mut Figures) {
    const DEVICES: usize = 60;
    let window = Window { calls: 10, per: "2s".parse().unwrap() };
    let app = TestApp::builder()
        .set("LIMITS__RESTRICT", "[{ calls: 10, per: 2s }]")
        .set("LIMITS__RESERVE_PERCENT", "0")
        .simulator(|options| {
            options.quota_of.insert(Api::Restrict, vec![window]);
        })
        .prepare(|simulator| {
            for device in 0..DEVICES {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    let process = Process::run(&app);
    app.until("every device is restricted", async || {
        (app.simulator.ledger().of(Api::Restrict).count() >= DEVICES).then_some(())
    })
    .await;
    let ledger = app.simulator.ledger();
    let times: Vec<_> = ledger.of(Api::Restrict).map(|call| call.at.timestamp()).collect();
    let took = times.last().unwrap().duration_since(*times.first().unwrap()).as_secs_f64();
    figures.at_most("drain of 60 devices over loopback ÷ the optimum of 10 s", took / 10.0, 1.05, Unit::Ratio);
    figures.promise("  429s in it, as the server counts", ledger.genuine_429s() as f64, 0.0, Unit::Count);
    process.kill();
}
