//! The fields of an alert and of its evidence.

use super::{Field, Kind, MACHINE, STANCH};

/// The fields of an alert, and what is added to it.
pub(super) const EVENT: &[Field] = &[
    Field::text("id", "Microsoft's id of the alert."),
    Field::text("title", "The title of the alert, as the portal shows it."),
    Field::text("description", "What the alert is about, in a few sentences for people."),
    Field::text("severity", "How much harm Microsoft thinks that it can do.").closed(SEVERITIES),
    Field::text("status", "How far people are with it.").closed(STATUSES),
    Field::text("category", "The kind of attack, mostly named after a MITRE ATT&CK tactic.").known(CATEGORIES),
    Field::text("detectionSource", "Which of Microsoft's products or functions raised it.").known(SOURCES),
    Field::text("serviceSource", "Which of Microsoft's products it comes from, where Microsoft Graph says so.")
        .known(SERVICES),
    Field::text("detectorId", "The id of the detector that raised it."),
    Field::new("mitreTechniques", Kind::Texts, "The MITRE ATT&CK techniques seen, as T1059 or T1059.001."),
    Field::text("threatFamilyName", "The family of the malware, where it is known."),
    Field::text("threatName", "The name of the malware, where it is known."),
    Field::text("classification", "What people made of it in the end.").closed(CLASSIFICATIONS),
    Field::text("determination", "What it turned out to be.").closed(DETERMINATIONS),
    Field::text("investigationState", "How far Microsoft's automated investigation is.").closed(INVESTIGATIONS),
    Field::new("investigationId", Kind::Number, "The id of the automated investigation."),
    Field::new("incidentId", Kind::Number, "The id of the incident that the alert belongs to."),
    Field::text(
        "providerAlertId",
        "The id that the product which raised the alert gives it, where Microsoft Graph names it.",
    ),
    Field::text("assignedTo", "Whom the alert is assigned to."),
    Field::text("machineId", "The id of the device: 40 hex digits."),
    Field::text("computerDnsName", "The full name of the device."),
    Field::text("rbacGroupName", "The device group of the device."),
    Field::text("aadTenantId", "Entra's id of the tenant."),
    Field::time("alertCreationTime", "When the alert was raised."),
    Field::time("firstEventTime", "When the first event of it happened on the device."),
    Field::time("lastEventTime", "When the last event of it happened on the device."),
    Field::time("lastUpdateTime", "When the alert last changed."),
    Field::time("resolvedTime", "When the alert was resolved."),
    Field::new("relatedUser", Kind::Fields(RELATED_USER), "The user that the alert is about."),
    Field::new("comments", Kind::List(COMMENTS), "What people wrote on the alert."),
    Field::new("evidence", Kind::List(EVIDENCE), "The files, processes, users and addresses that were seen."),
    Field::new("machine", Kind::Fields(MACHINE), "The device's record in MDE, added by stanch."),
    Field::new("stanch", Kind::Fields(STANCH), "What stanch knows of the alert's way to it."),
    Field::new("original", Kind::Anything, "The alert as it came, where it came in another form than MDE's."),
];

const RELATED_USER: &[Field] =
    &[Field::text("userName", "The name of the account."), Field::text("domainName", "The domain of the account.")];

const COMMENTS: &[Field] = &[
    Field::text("comment", "What was written."),
    Field::text("createdBy", "Who wrote it."),
    Field::time("createdTime", "When it was written."),
];

/// The fields of one member of `evidence`; those that do not fit its type are null.
pub const EVIDENCE: &[Field] = &[
    Field::text("entityType", "What was seen.").known(&["File", "Process", "User", "Ip", "Url"]),
    Field::time("evidenceCreationTime", "When it became evidence of the alert."),
    Field::text("detectionStatus", "What became of it.").known(&["Detected"]),
    Field::text("sha1", "The SHA-1 of the file, in hex."),
    Field::text("sha256", "The SHA-256 of the file, in hex."),
    Field::text("fileName", "The name of the file, or of the process's file."),
    Field::text("filePath", "The folder of the file, without its name."),
    Field::new("processId", Kind::Number, "The number of the process on the device."),
    Field::text("processCommandLine", "The whole command line of the process."),
    Field::time("processCreationTime", "When the process began."),
    Field::new("parentProcessId", Kind::Number, "The number of the process that started it."),
    Field::time("parentProcessCreationTime", "When the process that started it began."),
    Field::text("parentProcessFileName", "The name of the file of the process that started it."),
    Field::text("parentProcessFilePath", "The folder of the file of the process that started it."),
    Field::text("ipAddress", "The address that was spoken to."),
    Field::text("url", "The address of the page or download."),
    Field::text("registryKey", "The key in the registry."),
    Field::text("registryHive", "The hive of the registry that the key is in."),
    Field::text("registryValueType", "The type of the value in the registry."),
    Field::text("registryValue", "The value in the registry."),
    Field::text("accountName", "The name of the account, without its domain."),
    Field::text("domainName", "The domain of the account."),
    Field::text("userSid", "The security identifier of the account."),
    Field::text("aadUserId", "Entra's id of the user."),
    Field::text("userPrincipalName", "The name that the user signs in with."),
];

const SEVERITIES: &[&str] = &["UnSpecified", "Informational", "Low", "Medium", "High"];

const STATUSES: &[&str] = &["Unknown", "New", "InProgress", "Resolved"];

/// MITRE's tactics, and the words that Microsoft uses beside them.
const CATEGORIES: &[&str] = &[
    "InitialAccess",
    "Execution",
    "Persistence",
    "PrivilegeEscalation",
    "DefenseEvasion",
    "CredentialAccess",
    "Discovery",
    "LateralMovement",
    "Collection",
    "CommandAndControl",
    "Exfiltration",
    "Impact",
    "Malware",
    "Ransomware",
    "SuspiciousActivity",
    "UnwantedSoftware",
    "Exploit",
];

const SOURCES: &[&str] = &[
    "WindowsDefenderAtp",
    "WindowsDefenderAv",
    "WindowsDefenderSmartScreen",
    "AutomatedInvestigation",
    "CustomDetection",
    "CustomerTI",
    "MTP",
    "OfficeATP",
    "AzureATP",
    "MCAS",
    "ThreatExperts",
    "ThirdPartySensors",
];

/// In Graph's own words, for MDE's alerts have no such field. Source: the `alert` resource of
/// `microsoft.graph.security`.
const SERVICES: &[&str] = &[
    "microsoftDefenderForEndpoint",
    "microsoftDefenderForIdentity",
    "microsoftDefenderForCloudApps",
    "microsoftDefenderForOffice365",
    "microsoft365Defender",
    "azureAdIdentityProtection",
    "microsoftAppGovernance",
    "dataLossPrevention",
    "microsoftDefenderForCloud",
    "microsoftSentinel",
];

/// The alert page and the update-alert page differ in some names; old alerts have those of older copies of
/// both. The same holds for the lists below.
const CLASSIFICATIONS: &[&str] =
    &["TruePositive", "InformationalExpectedActivity", "FalsePositive", "Informational, expected activity", "Unknown"];

const DETERMINATIONS: &[&str] = &[
    "MultiStagedAttack",
    "MaliciousUserActivity",
    "CompromisedUser",
    "Malware",
    "Phishing",
    "UnwantedSoftware",
    "SecurityTesting",
    "LineOfBusinessApplication",
    "ConfirmedUserActivity",
    "ConfirmedActivity",
    "Clean",
    "NotMalicious",
    "InsufficientData",
    "Other",
    "NotAvailable",
    "Apt",
    "SecurityPersonnel",
];

const INVESTIGATIONS: &[&str] = &[
    "Unknown",
    "Terminated",
    "SuccessfullyRemediated",
    "Benign",
    "Failed",
    "PartiallyRemediated",
    "Running",
    "PendingApproval",
    "PendingResource",
    "PartiallyInvestigated",
    "TerminatedByUser",
    "TerminatedBySystem",
    "Queued",
    "InnerFailure",
    "PreexistingAlert",
    "UnsupportedOs",
    "UnsupportedAlertType",
    "SuppressedAlert",
];
