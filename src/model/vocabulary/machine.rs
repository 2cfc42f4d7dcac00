//! The fields of a machine record.

use super::{Field, Kind};

/// The fields of a machine record, which rules read behind `machine.`.
pub const MACHINE: &[Field] = &[
    Field::text("id", "The id of the device: 40 hex digits."),
    Field::text("computerDnsName", "The full name of the device."),
    Field::text("osPlatform", "The operating system.").known(PLATFORMS),
    Field::text("osVersion", "The version of the operating system, null in most records."),
    Field::text("version", "The release of the operating system, as 23H2 or 1809."),
    Field::new("osBuild", Kind::Number, "The build number of the operating system, null on some systems."),
    Field::text("osProcessor", "The processor, as x64: Microsoft would rather have osArchitecture used."),
    Field::text("osArchitecture", "The architecture of the operating system.").known(&["32-bit", "64-bit"]),
    Field::text("onboardingStatus", "Whether the device reports to MDE.").closed(ONBOARDING),
    Field::text("healthStatus", "Whether the device's sensor works.").closed(HEALTH),
    Field::text("riskScore", "How endangered Microsoft thinks the device.").closed(RISKS),
    Field::text("exposureLevel", "How open the device is to attacks.").closed(&["None", "Low", "Medium", "High"]),
    Field::text("deviceValue", "How much the device matters, as people set it.").closed(&["Normal", "Low", "High"]),
    Field::new("machineTags", Kind::Texts, "The tags that people or policies gave to the device."),
    Field::text("rbacGroupName", "The device group of the device."),
    Field::new("rbacGroupId", Kind::Number, "The id of the device group."),
    Field::time("firstSeen", "When MDE first saw the device."),
    Field::time("lastSeen", "When the last full report of the device came, which is sent about once a day."),
    Field::text("lastIpAddress", "The device's last own address."),
    Field::text("lastExternalIpAddress", "The last address through which the device reached the internet."),
    Field::new("ipAddresses", Kind::List(IP_ADDRESSES), "The addresses of the device's network adapters."),
    Field::text("agentVersion", "The version of MDE's sensor."),
    Field::new("isAadJoined", Kind::Flag, "Whether the device is joined to Entra."),
    Field::text("aadDeviceId", "Entra's id of the device."),
    Field::text("managedBy", "What manages the device, as Intune or MicrosoftDefenderForEndpoint."),
    Field::text("managedByStatus", "Whether managing it works, as Success or Unknown."),
    Field::text("mergedIntoMachineId", "The record that this one was merged into: rules see that one instead."),
    Field::new("isPotentialDuplication", Kind::Flag, "Whether Microsoft takes it for another record's double."),
    Field::new("isExcluded", Kind::Flag, "Whether people excluded the device from vulnerability management."),
    Field::text("exclusionReason", "Why people excluded it."),
    Field::new("vmMetadata", Kind::Anything, "What the cloud says of a virtual machine."),
];

const IP_ADDRESSES: &[Field] = &[
    Field::text("ipAddress", "The address, which may be empty."),
    Field::text("macAddress", "The adapter's own address."),
    Field::text("type", "The kind of adapter, as Ethernet or SoftwareLoopback."),
    Field::text("operationalStatus", "Whether the adapter is in use.").known(&["Up", "Down"]),
];

const PLATFORMS: &[&str] = &[
    "Windows10",
    "Windows11",
    "Windows10WVD",
    "WindowsServer2019",
    "WindowsServer2022",
    "WindowsServer2025",
    "WindowsServer2016",
    "WindowsServer2012R2",
    "macOS",
    "Linux",
    "Ubuntu",
    "RedHatEnterpriseLinux",
];

/// Written `Onboarded` in records, though the page has it in small letters.
const ONBOARDING: &[&str] = &["Onboarded", "CanBeOnboarded", "Unsupported", "InsufficientInfo"];

const HEALTH: &[&str] =
    &["Active", "Inactive", "ImpairedCommunication", "NoSensorData", "NoSensorDataImpairedCommunication", "Unknown"];

const RISKS: &[&str] = &["None", "Informational", "Low", "Medium", "High"];
