//! What was looked at and how it is: a line each as soon as it is known, or one JSON document at the end.
//!
//! Absent: any looking.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::cli::check::many;
use crate::cli::exit::Exit;
use crate::cli::output::{Screen, Tone, part, plain};
use crate::model::TenantName;

/// What nobody can see through the API, though restricting a device depends on it.
const UNSEEN: [&str; 3] = [
    "Microsoft Defender Antivirus: restricting needs it on the device, and the API does not show it",
    "code integrity policy: restricting needs a device that meets its requirements (Windows 10 from 1709, \
     Windows 11, Windows Server from 2019), and the API does not show whether it does",
    "Defender for Endpoint Plan 2: restricting needs it, and the API does not show the plan",
];

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Well,
    /// Worth knowing, and nothing that keeps the daemon from working.
    Note,
    Finding,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Check {
    name: &'static str,
    tenant: Option<TenantName>,
    ok: bool,
    detail: String,
    mend: Option<String>,
    #[serde(skip)]
    verdict: Verdict,
}

impl Check {
    /// All is well with it.
    pub(super) fn well(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, detail, Verdict::Well)
    }

    /// It works, but somebody should know.
    pub(super) fn note(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, detail, Verdict::Note)
    }

    /// It does not work.
    pub(super) fn finding(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, detail, Verdict::Finding)
    }

    fn new(name: &'static str, detail: impl Into<String>, verdict: Verdict) -> Self {
        let (tenant, mend) = (None, None);
        Self { name, tenant, ok: verdict != Verdict::Finding, detail: detail.into(), mend, verdict }
    }

    /// The same with its mend.
    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// The same of one tenant.
    pub(super) fn of(mut self, tenant: &TenantName) -> Self {
        self.tenant = Some(tenant.clone());
        self
    }
}

/// All that was looked at.
pub(super) struct Report<'a> {
    out: Screen<'a>,
    json: bool,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Document<'a> {
    findings: Vec<&'a Check>,
    checks: &'a [Check],
    unseen: [&'static str; 3],
}

impl<'a> Report<'a> {
    pub(super) const fn new(out: Screen<'a>, json: bool) -> Self {
        Self { out, json, checks: Vec::new() }
    }

    /// Adds a check, and prints it at once for people: the next may take a while.
    pub(super) fn add(&mut self, check: Check) -> io::Result<()> {
        if !self.json {
            self.print(&check)?;
            self.out.flush()?;
        }
        self.checks.push(check);
        Ok(())
    }

    fn print(&mut self, check: &Check) -> io::Result<()> {
        let (tone, word) = match check.verdict {
            Verdict::Well => (Tone::Good, "ok"),
            Verdict::Note => (Tone::Warn, "note"),
            Verdict::Finding => (Tone::Bad, "finding"),
        };
        let padding = " ".repeat(INDENT.len() - word.len());
        let of = check.tenant.iter().map(|tenant| format!("{tenant} ")).collect::<String>();
        self.out.line(&[part(tone, word), plain(format_args!("{padding}{of}{}: {}", check.name, check.detail))])?;
        match &check.mend {
            Some(mend) => self.out.line(&[plain(INDENT), plain(format_args!("mend: {mend}"))]),
            None => Ok(()),
        }
    }

    /// Says what can not be looked at, and how it all went.
    pub(super) fn finish(mut self) -> anyhow::Result<Exit> {
        let findings: Vec<&Check> = self.checks.iter().filter(|check| !check.ok).collect();
        let count = findings.len();
        let exit = if count == 0 { Exit::Done } else { Exit::No };
        if self.json {
            let document = Document { findings, checks: &self.checks, unseen: UNSEEN };
            self.out.json(&serde_json::to_string(&document)?)?;
            return Ok(exit);
        }
        for unseen in UNSEEN {
            self.out.line(&[part(Tone::Faint, "unseen"), plain("   "), plain(unseen)])?;
        }
        self.out.line(&[match count {
            0 => part(Tone::Good, "all is well"),
            count => part(Tone::Bad, many(count, "finding")),
        }])?;
        Ok(exit)
    }
}

/// Where details begin.
const INDENT: &str = "         ";
