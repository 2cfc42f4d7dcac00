//! Loading rules and asking them about one alert, each beside the plain Sigma library with the same rules
//! and the JSON of the same event, taken turn by turn. Run it with `cargo bench --bench rules`.
//!
//! What stanch is timed for: the event made from alert and machine record, all rules asked, protect rules
//! among them, and of each rule that chose its matched values; where the line says so, its comment too. The
//! library is given an event that is built already, and has no comments.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]
#![allow(clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::{Date, date};
use rsigma_eval::{Engine, Event as _, JsonEvent};
use rsigma_parser::parse_sigma_yaml;
use serde_json::{Map, Value, json};
use stanch::model::{SourceName, TenantName};
use stanch::rules::{Event, LoadContext, RuleFile, RuleSet};

const TODAY: Date = date(2026, 11, 24);
const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// With `TENTH` in the environment the last is left out.
fn sizes() -> impl Iterator<Item = usize> {
    let most = if std::env::var_os("TENTH").is_some() { 1_000 } else { usize::MAX };
    SIZES.into_iter().filter(move |size| *size <= most)
}
/// One rule of so many protects.
const PROTECT_EVERY: usize = 50;
/// How long one sample of an evaluation takes, so that the clock's own cost is nothing beside it.
const SAMPLE: Duration = Duration::from_millis(1);
const SAMPLES: usize = 200;

#[derive(Clone, Copy)]
enum Kind {
    Equalities,
    Substrings,
    Wildcards,
    Mixed,
}

impl Kind {
    const ALL: [(Self, &str); 4] = [
        (Self::Equalities, "equalities"),
        (Self::Substrings, "substrings"),
        (Self::Wildcards, "wildcards"),
        (Self::Mixed, "mixed"),
    ];

    /// What one rule looks for. Each looks for something of its own.
    fn selection(self, index: usize) -> String {
        match self {
            Self::Equalities => format!("threatFamilyName: Family{index}\n    severity: [Medium, High]"),
            Self::Substrings => {
                format!("title|contains: 'tool {index:05}'\n    machine.osPlatform|startswith: Windows")
            }
            // Within a value: what is compiled here and not by the library.
            Self::Wildcards => format!("title: '*tool {index:05}*run*'\n    machine.computerDnsName: 'desk*.example'"),
            Self::Mixed => match index % 3 {
                0 => Self::Equalities.selection(index),
                1 => Self::Substrings.selection(index),
                _ => format!("evidence[any]:\n      entityType: File\n      fileName|endswith: 'drop{index:05}.exe'"),
            },
        }
    }

    /// An alert that the rule of that index chooses, and no other does; of none, one that no rule chooses.
    fn alert(self, chosen: Option<usize>) -> Map<String, Value> {
        let mut alert = alert();
        let Some(index) = chosen else { return alert };
        match (self, index % 3) {
            (Self::Equalities, _) | (Self::Mixed, 0) => alert["threatFamilyName"] = json!(format!("Family{index}")),
            (Self::Substrings | Self::Wildcards, _) | (Self::Mixed, 1) => {
                alert["title"] = json!(format!("Saw the tool {index:05} run"))
            }
            _ => alert["evidence"][2]["fileName"] = json!(format!("drop{index:05}.exe")),
        }
        alert
    }
}

fn main() {
    load();
    evaluate();
}

/// Rules of the size that people write, ten to a file when they are many.
fn files(kind: Kind, count: usize) -> Vec<RuleFile> {
    let per_file = count.div_ceil(1_000);
    let rules: Vec<String> = (0..count).map(|index| rule(kind, index)).collect();
    let texts = rules.chunks(per_file).map(|chunk| chunk.join("---\n"));
    texts.enumerate().map(|(index, text)| RuleFile { path: PathBuf::from(format!("{index:05}.yml")), text }).collect()
}

fn rule(kind: Kind, index: usize) -> String {
    let response = if index.is_multiple_of(PROTECT_EVERY) {
        "action: protect\n  comment: '{{ machine.computerDnsName }} is left alone'".to_owned()
    } else {
        "action: restrict\n  comment: '{{ rule.title }}: alert {{ alert.id }} ({{ alert.title }})'\n  expires_after: 24h\n  limit: { devices: 10, per: 1h }".to_owned()
    };
    format!(
        "title: Contain threat number {index}\nid: 3f2c6c8e-6d52-4c0b-9f58-{index:012}\nsigma-version: 3\nstatus: stable\ndescription: Restricts a workstation as soon as this threat is seen on it.\nlevel: high\ndetection:\n  threat:\n    {}\n  resolved:\n    status: Resolved\n  condition: threat and not resolved\nresponse:\n  {response}\ntests:\n  - name: nothing else is touched\n    alert: {{ category: Malware, severity: High }}\n    machine: {{ osPlatform: Windows11 }}\n    expect: none\n",
        kind.selection(index)
    )
}

/// An alert as MDE sends it.
fn alert() -> Map<String, Value> {
    let file = |name: &str| json!({"entityType": "File", "evidenceCreationTime": "2026-11-20T08:12:31.1Z", "sha1": "0f3b1e1e0d1d6f4a7a4a3f6f0a9f6a4f5c6d7e8f", "sha256": null, "fileName": name, "filePath": "C:\\Users\\kim\\Downloads", "processId": null, "detectionStatus": "Detected", "accountName": null});
    let process = json!({"entityType": "Process", "fileName": "powershell.exe", "filePath": "C:\\Windows\\System32", "processId": 4312, "processCommandLine": "powershell.exe -nop -w hidden -c Get-Date", "parentProcessId": 988, "accountName": "kim", "domainName": "CONTOSO"});
    let alert = json!({
        "id": "da638999120000451177_-1203664512", "incidentId": 4711, "investigationId": null, "assignedTo": null,
        "severity": "High", "status": "New", "classification": null, "determination": null,
        "investigationState": "Queued", "detectionSource": "WindowsDefenderAtp", "detectorId": "17e10bbc",
        "category": "Execution", "threatFamilyName": "Wacatac", "threatName": null,
        "title": "Suspicious behaviour by a script host was observed",
        "description": "A script host behaved as no script host should. This may be the first step of an attack.",
        "alertCreationTime": "2026-11-20T08:14:05.3391271Z", "firstEventTime": "2026-11-20T08:11:47.0256113Z",
        "lastEventTime": "2026-11-20T08:12:30.8814905Z", "lastUpdateTime": "2026-11-20T08:14:09.2Z",
        "resolvedTime": null, "machineId": "9f0c3b7a1d24e6885c0b7e3fa2d41960b8c75e13",
        "computerDnsName": "desk-7.contoso.example", "rbacGroupName": "Workstations",
        "aadTenantId": "11111111-1111-4111-8111-111111111111", "mitreTechniques": ["T1059.001", "T1204"],
        "relatedUser": {"userName": "kim", "domainName": "CONTOSO"}, "comments": [],
        "evidence": [process, file("a.txt"), file("b.exe"), {"entityType": "User", "accountName": "kim", "userSid": "S-1-5-21-1"}],
    });
    alert.as_object().unwrap().clone()
}

fn machine() -> Map<String, Value> {
    let machine = json!({
        "id": "9f0c3b7a1d24e6885c0b7e3fa2d41960b8c75e13", "computerDnsName": "desk-7.contoso.example",
        "osPlatform": "Windows11", "osBuild": 22631, "version": "23H2", "osProcessor": "x64",
        "healthStatus": "Active", "onboardingStatus": "Onboarded", "riskScore": "Low", "exposureLevel": "Medium",
        "deviceValue": "Normal", "rbacGroupName": "Workstations", "rbacGroupId": 3, "machineTags": ["till"],
        "lastIpAddress": "10.1.2.3", "lastExternalIpAddress": "203.0.113.9", "aadDeviceId": null,
        "firstSeen": "2025-01-02T03:04:05Z", "lastSeen": "2026-11-20T08:10:00Z", "agentVersion": "10.8760.1",
    });
    machine.as_object().unwrap().clone()
}

fn load() {
    println!(
        "loading, 2% of the rules protect             plain median (min)      stanch median (min)   ratio   held against"
    );
    for (kind, name) in Kind::ALL {
        for size in sizes() {
            let files = files(kind, size);
            let repeat = (3_000 / size).clamp(3, 15);
            let mut plain = Vec::new();
            let mut ours = Vec::new();
            for _ in 0..repeat {
                plain.push(timed(1, || drop(black_box(load_plain(&files)))));
                ours.push(timed(1, || drop(black_box(load_ours(&files)))));
            }
            let against = if size == 1_000 { "100 ms" } else { "" };
            print(&format!("{size:>6} rules of {name}"), plain, ours, against);
        }
    }
}

fn load_ours(files: &[RuleFile]) -> RuleSet {
    RuleSet::load(files, &LoadContext { tenants: None, today: TODAY }).unwrap().set
}

fn load_plain(files: &[RuleFile]) -> Engine {
    let rules: Vec<_> = files.iter().flat_map(|file| parse_sigma_yaml(&file.text).unwrap().rules).collect();
    let mut engine = Engine::new();
    assert!(engine.add_rules(&rules).is_empty());
    engine
}

fn evaluate() {
    println!();
    println!(
        "one alert, with its comment if it hits  plain median (min)      stanch median (min)   ratio   held against"
    );
    for (kind, name) in Kind::ALL {
        for size in sizes() {
            let files = files(kind, size);
            let (plain, ours) = (load_plain(&files), load_ours(&files));
            // Not of the rules that protect; of a block where there are some.
            let hit = Some(size / 2 + 3);
            for (chosen, comment, what) in
                [(None, false, "no hit"), (hit, false, "a hit"), (hit, true, "a hit, its comment")]
            {
                let (plain, ours) = compare(&plain, &ours, kind.alert(chosen), chosen.is_some(), comment);
                print(&format!("{size:>6} {name}, {what}"), plain, ours, "1.2");
            }
        }
    }
}

/// Seconds of one evaluation, of each sample.
fn compare(
    plain: &Engine,
    ours: &RuleSet,
    alert: Map<String, Value>,
    hits: bool,
    comment: bool,
) -> (Vec<f64>, Vec<f64>) {
    let machine = machine();
    let (tenant, source) = (TenantName::new("contoso").unwrap(), SourceName::new("defender").unwrap());
    let event = || Event::new(black_box(&alert), Some(&machine), &tenant, &source, Timestamp::UNIX_EPOCH);
    let whole = event().to_json();
    let ask_plain = || plain.evaluate(&JsonEvent::borrow(black_box(&whole)));
    let memory = ours.memory();
    let ask_ours = || {
        let event = event();
        let evaluation = ours.evaluate(&event, &memory, TODAY);
        let commented = evaluation.hits.iter().filter(|_| comment);
        let comments: Vec<_> = commented.map(|hit| hit.rule.comment(&event).unwrap()).collect();
        (evaluation, comments)
    };
    assert_eq!((ask_plain().len(), ask_ours().0.hits.len()), (usize::from(hits), usize::from(hits)));
    let one = timed(10, || drop(black_box(ask_plain())));
    let times = ((SAMPLE.as_secs_f64() / one) as usize).max(1);
    let mut measured = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES.min((4_000.0 * SAMPLE.as_secs_f64() / one) as usize).max(20) {
        measured.0.push(timed(times, || drop(black_box(ask_plain()))));
        measured.1.push(timed(times, || drop(black_box(ask_ours()))));
    }
    measured
}

/// Seconds that one call takes, over so many.
fn timed(times: usize, mut call: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..times {
        call();
    }
    begun.elapsed().as_secs_f64() / times as f64
}

fn print(what: &str, mut plain: Vec<f64>, mut ours: Vec<f64>, against: &str) {
    plain.sort_by(f64::total_cmp);
    ours.sort_by(f64::total_cmp);
    let (plain_median, ours_median) = (plain[plain.len() / 2], ours[ours.len() / 2]);
    let both = |median, min| format!("{} ({})", human(median), human(min));
    println!(
        "{what:<44} {:>20} {:>24} {:>7.2}   {against}",
        both(plain_median, plain[0]),
        both(ours_median, ours[0]),
        ours_median / plain_median
    );
}

fn human(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    if value < 10.0 { format!("{value:.2} {unit}") } else { format!("{value:.0} {unit}") }
}
