//! What the simulator is told.

use serde_json::{Value, json};
use stanch::model::MachineId;

/// A rule that restricts every device with a ransomware alert, with `{}` for more of its response.
pub const RANSOMWARE: &str = "
title: Contain ransomware
id: contain-ransomware
level: critical
detection:
  ransomware:
    category: Ransomware
  condition: ransomware
response:
  action: restrict
  comment: 'Restrict code execution due to alert {{ alert.id }}'
";

/// The n-th device.
pub fn machine_id(n: usize) -> MachineId {
    MachineId::new(&format!("{n:040x}")).unwrap()
}

/// A workstation that can be restricted.
pub fn machine(n: usize) -> Value {
    json!({
        "id": machine_id(n).as_str(), "computerDnsName": format!("pc-{n}.contoso.test"), "osPlatform": "Windows11",
        "onboardingStatus": "Onboarded", "healthStatus": "Active",
    })
}

/// An alert on the n-th device, updated just now.
pub fn alert(id: &str, n: usize, category: &str) -> Value {
    let now = now();
    json!({
        "id": id, "machineId": machine_id(n).as_str(), "category": category, "severity": "High", "status": "New",
        "title": "Suspicious file encryption", "lastUpdateTime": now, "lastEventTime": now, "alertCreationTime": now,
    })
}

/// A ransomware alert on the n-th device, updated just now.
pub fn ransomware(id: &str, n: usize) -> Value {
    alert(id, n, "Ransomware")
}

fn now() -> String {
    use stanch::clock::Clock as _;
    stanch::clock::SystemClock.now().to_string()
}
