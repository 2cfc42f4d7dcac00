//! A machine record of MDE, as far as deciding needs it.

use serde_json::{Map, Value};

use super::ids::MachineId;

/// A machine record as MDE sends it, with typed readings of the fields that guards look at.
///
/// Source: the machine resource of the MDE API; real records name the key `onboardingStatus`.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    id: MachineId,
    record: Map<String, Value>,
}

/// Whether the restrict API supports the operating system of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platform {
    /// It does, or nothing says that it does not.
    Supported,
    /// It does not, and why in words.
    Unsupported(String),
    /// A Windows that is neither known to be supported nor known to be too old: its name.
    Unrecognised(String),
    /// The record has no `osPlatform` yet, as new devices have for a while.
    Unknown,
}

impl Machine {
    /// The machine of a record; `None` when the record has no usable `id`.
    #[must_use]
    pub fn from_record(record: Map<String, Value>) -> Option<Self> {
        let id = MachineId::new(record.get("id")?.as_str()?).ok()?;
        Some(Self { id, record })
    }

    /// The machine's id.
    #[must_use]
    pub const fn id(&self) -> &MachineId {
        &self.id
    }

    /// The record as Microsoft sent it.
    #[must_use]
    pub const fn record(&self) -> &Map<String, Value> {
        &self.record
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.record.get(key)?.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// The name that people know the device by.
    #[must_use]
    pub fn dns_name(&self) -> Option<&str> {
        self.text("computerDnsName")
    }

    /// `osPlatform`, when known.
    #[must_use]
    pub fn os_platform(&self) -> Option<&str> {
        self.text("osPlatform")
    }

    /// The machine that this record was merged into.
    #[must_use]
    pub fn merged_into(&self) -> Option<MachineId> {
        MachineId::new(self.text("mergedIntoMachineId")?).ok()
    }

    /// Absent or null counts as onboarded.
    #[must_use]
    pub fn is_onboarded(&self) -> bool {
        self.text("onboardingStatus").is_none_or(|status| status.eq_ignore_ascii_case("onboarded"))
    }

    /// Whether the restrict API supports this operating system: Windows 10 from 1709, Windows 11 (the
    /// restrict API page) and Windows Server from 2019 (Microsoft's portal page).
    #[must_use]
    pub fn platform(&self) -> Platform {
        let Some(platform) = self.os_platform() else {
            return Platform::Unknown;
        };
        let name: String = platform.chars().filter(|char| !char.is_whitespace()).collect::<String>().to_lowercase();
        match name.as_str() {
            "windows11" | "windows11wvd" => return Platform::Supported,
            "windows10" | "windows10wvd" => return self.windows_10(),
            _ => {}
        }
        match name.strip_prefix("windows") {
            Some(version) if is_supported_server(version) => Platform::Supported,
            Some(version) if !is_too_old(version) => Platform::Unrecognised(platform.to_owned()),
            _ => Platform::Unsupported(format!(
                "{platform} is not supported by the restrict API (Windows 10 from 1709, Windows 11, Windows Server from 2019)"
            )),
        }
    }

    fn windows_10(&self) -> Platform {
        /// The build of Windows 10 version 1709.
        const FIRST_BUILD: i64 = 16_299;
        let build = self.record.get("osBuild").and_then(Value::as_i64).filter(|build| *build != 0);
        if let Some(build) = build {
            return if build < FIRST_BUILD {
                Platform::Unsupported(format!("Windows 10 build {build} is older than 1709 (build {FIRST_BUILD})"))
            } else {
                Platform::Supported
            };
        }
        match self.text("version") {
            // Releases of four digits compare as text.
            Some(version) if is_four_digits(version) && version < "1709" => {
                Platform::Unsupported(format!("Windows 10 version {version} is older than 1709"))
            }
            _ => Platform::Supported,
        }
    }
}

/// Whether what follows `windows` in a platform's name is a server of 2019 or later.
fn is_supported_server(version: &str) -> bool {
    // Years of four digits compare as text.
    version.strip_prefix("server").is_some_and(|year| is_four_digits(year) && year >= "2019")
}

/// Whether what follows `windows` in a platform's name is a release before Windows 10, or a server before 2019.
fn is_too_old(version: &str) -> bool {
    const OLD: [&str; 9] = ["7", "8", "xp", "vista", "2000", "server2003", "server2008", "server2012", "server2016"];
    let is = |old: &&str| {
        version.strip_prefix(*old).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    };
    OLD.iter().any(is)
}

fn is_four_digits(text: &str) -> bool {
    text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn machine(extra: Value) -> Machine {
        let mut record = json!({"id": "1e5bc9d7e413ddd7902c2932e418702b84d0cc07"});
        record.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Machine::from_record(record.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_restrict_api_supports_windows_10_from_1709_windows_11_and_server_from_2019() {
        let supported = [
            json!({"osPlatform": "Windows11"}),
            json!({"osPlatform": "Windows10"}),
            json!({"osPlatform": "Windows10", "osBuild": null, "version": "1709"}),
            json!({"osPlatform": "Windows10", "osBuild": 19045, "version": "1607"}),
            json!({"osPlatform": "Windows10", "version": "22H2"}),
            json!({"osPlatform": "WindowsServer2019"}),
            json!({"osPlatform": "WindowsServer2025"}),
            json!({"osPlatform": "Windows10WVD"}),
            json!({"osPlatform": "Windows11WVD"}),
            json!({"osPlatform": " windows 11 "}),
            json!({"osPlatform": "Windows Server 2022"}),
            json!({"osPlatform": "WINDOWSSERVER2019"}),
            json!({"osPlatform": "Windows10", "osBuild": 0}),
            json!({"osPlatform": "Windows10", "osBuild": 0, "version": "Other"}),
            json!({"osPlatform": "Windows10", "version": "+170"}),
        ];
        for record in supported {
            assert_eq!(machine(record.clone()).platform(), Platform::Supported, "{record}");
        }
        let unsupported = [
            json!({"osPlatform": "Windows10", "osBuild": 14393}),
            json!({"osPlatform": "Windows10", "version": "1607"}),
            json!({"osPlatform": "WindowsServer2016"}),
            json!({"osPlatform": "Windows8.1"}),
            json!({"osPlatform": "Ubuntu"}),
            json!({"osPlatform": "macOS"}),
            json!({"osPlatform": "Windows7"}),
            json!({"osPlatform": "Windows 7 SP1"}),
            json!({"osPlatform": "WindowsXP"}),
            json!({"osPlatform": "WindowsServer2012R2"}),
            json!({"osPlatform": "windows server 2016"}),
            json!({"osPlatform": "Windows10WVD", "osBuild": 14393}),
            json!({"osPlatform": "windows 10", "osBuild": 0, "version": "1607"}),
            json!({"osPlatform": "Linux"}),
            json!({"osPlatform": "Other"}),
        ];
        for record in unsupported {
            assert!(matches!(machine(record.clone()).platform(), Platform::Unsupported(_)), "{record}");
        }
        for name in ["Windows12", "WindowsServer", "WindowsServer02022", "Windows10Mobile", "Windows 11 SE", "Windows"]
        {
            let platform = machine(json!({"osPlatform": name})).platform();
            assert_eq!(platform, Platform::Unrecognised(name.to_owned()), "no reason to drop it");
        }
        assert_eq!(machine(json!({"osPlatform": null})).platform(), Platform::Unknown);
        assert_eq!(machine(json!({"osPlatform": ""})).platform(), Platform::Unknown);
    }

    #[test]
    fn an_absent_onboarding_status_counts_as_onboarded() {
        assert!(machine(json!({})).is_onboarded());
        assert!(machine(json!({"onboardingStatus": null})).is_onboarded());
        assert!(machine(json!({"onboardingStatus": "Onboarded"})).is_onboarded());
        assert!(!machine(json!({"onboardingStatus": "CanBeOnboarded"})).is_onboarded());
    }
}
