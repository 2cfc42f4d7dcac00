//! `audit verify`: the chain, as the daemon or a file gives it, row after row; and whether the tokens and the histories of
//! actions follow from it, as the daemon finds.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::pages;
use crate::cli::arguments::{Global, Query};
use crate::cli::exit::{Exit, No};
use crate::cli::output::{Part, Screen, Table, Tone, part, plain};
use crate::cli::screen;
use crate::cli::session::{Session, with_daemon};
use crate::cli::surroundings::Surroundings;
use crate::model::chain::{Broken, Chain, Fault, Held, Origin, removed};
use crate::model::view::{AuditComparison, AuditFinding, AuditView};

/// How often, and after which rest, rows that were not sealed are asked for again. They are sealed within a second.
const TRIES: u32 = 20;
const REST: Duration = Duration::from_millis(500);
/// How often the whole is read again when a page and the next do not fit.
const AGAIN: u32 = 2;

/// What was changed and is printed line by line; of the rest there is a number.
const MOST_FINDINGS: usize = 100;

/// The longest line of a file, in bytes: far more than a row has.
const MOST_LINE_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Verify what `audit export` printed, without a daemon; a part may begin anywhere
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A head that was kept elsewhere: it must still be in the chain
    #[arg(long, value_name = "HASH", value_parser = hash)]
    head: Option<String>,
}

fn hash(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("a hash has 64 hex digits, as `audit verify` prints it".to_owned())
}

/// A chain as it is read, and whether a head was seen in it.
struct Watched<'a> {
    chain: Chain,
    head: Option<&'a str>,
    is_seen: bool,
}

impl<'a> Watched<'a> {
    fn new(head: Option<&'a str>) -> Self {
        Self { chain: Chain::default(), head, is_seen: false }
    }

    fn push(&mut self, row: &AuditView) -> Result<(), Broken> {
        self.chain.push(row)?;
        let names = [row.hash.as_deref(), removed(row).map(|(_, hash)| hash)];
        self.is_seen |= self.head.is_some() && names.contains(&self.head);
        Ok(())
    }

    fn end(self, part: bool) -> Verdict {
        let lost = self.head.filter(|_| !self.is_seen).map(str::to_owned);
        match self.chain.end(part) {
            Ok(held) => Verdict::Held(held, lost),
            Err(broken) => Verdict::Broken(broken),
        }
    }
}

enum Verdict {
    /// And the head that is not in it, if one was asked for.
    Held(Held, Option<String>),
    Broken(Broken),
}

#[derive(Serialize)]
struct Document<'a> {
    holds: bool,
    rows: Option<u64>,
    first: Option<i64>,
    from: Option<&'static str>,
    head: Option<Head<'a>>,
    unsealed: Option<u64>,
    broken: Option<BrokenDocument>,
    lost_head: Option<&'a str>,
    /// What was compared with the chain; null of a file, and of a chain that does not hold.
    compared: Option<ComparedDocument>,
    findings: &'a [AuditFinding],
}

#[derive(Serialize)]
struct ComparedDocument {
    actions: u64,
    tokens: u64,
    unproven: u64,
}

#[derive(Serialize)]
struct Head<'a> {
    seq: i64,
    hash: &'a str,
}

#[derive(Serialize)]
struct BrokenDocument {
    seq: i64,
    fault: &'static str,
    detail: String,
}

/// Exit 0 when every row holds, 1 when one does not.
pub(super) fn run(arguments: &Arguments, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let head = arguments.head.as_deref();
    if let Some(file) = &arguments.file {
        let verdict = of_file(file, head)?;
        return tell(&verdict, None, global.json, &mut screen(around.out, around.out_terminal));
    }
    with_daemon(global, around, async |session| {
        let mut verdict = of_daemon(session, head).await?;
        // Retention may have removed rows between two pages, and the sealer may have come between them.
        for _ in 0..AGAIN {
            if !matches!(verdict, Verdict::Broken(Broken { fault: Fault::Missing | Fault::Unsealed, .. })) {
                break;
            }
            tokio::time::sleep(REST).await;
            verdict = of_daemon(session, head).await?;
        }
        let compared = match &verdict {
            Verdict::Held(..) => Some(compare(session).await?),
            Verdict::Broken(_) => None,
        };
        tell(&verdict, compared.as_ref(), session.json, &mut session.out)
    })
}

/// What retention removes in several steps may be half there for a moment.
async fn compare(session: &Session<'_>) -> anyhow::Result<AuditComparison> {
    let compared = compare_once(session).await?;
    if compared.findings.is_empty() {
        return Ok(compared);
    }
    tokio::time::sleep(REST).await;
    compare_once(session).await
}

/// Part after part: a large store is not read within one request.
async fn compare_once(session: &Session<'_>) -> anyhow::Result<AuditComparison> {
    let mut compared = AuditComparison::default();
    for part in 0..AuditComparison::PARTS {
        let query = vec![("part", part.to_string())];
        compared.add(session.client.get(&["api", "v1", "audit", "comparison"], &query).await?.read()?);
    }
    Ok(compared)
}

async fn of_daemon(session: &mut Session<'_>, head: Option<&str>) -> anyhow::Result<Verdict> {
    let mut watched = Watched::new(head);
    let mut pages = pages(Query::new());
    // The page in which the rows begin that are not sealed, and the last of them at the first reading.
    let (mut tail, mut target, mut tries) = (None, None, 0);
    loop {
        if watched.chain.unsealed().is_none() {
            tail.clone_from(&pages.cursor);
        }
        let page = pages.next(session).await?;
        for row in &page.items {
            let row: AuditView = serde_json::from_str(row.get()).context("a row of the audit can not be read")?;
            let is_known = tries > 0 && watched.chain.last_sealed().is_some_and(|last| row.seq <= last);
            if !is_known && let Err(broken) = watched.push(&row) {
                return Ok(Verdict::Broken(broken));
            }
        }
        if !pages.is_at_the_end(&page)? {
            continue;
        }
        let Some((first, last)) = watched.chain.unsealed() else { break };
        let target = *target.get_or_insert(last);
        if watched.chain.last_sealed().is_some_and(|sealed| sealed >= target) {
            break;
        }
        if tries == TRIES {
            return Ok(Verdict::Broken(Broken { seq: first, fault: Fault::Unsealed }));
        }
        tries += 1;
        tokio::time::sleep(REST).await;
        watched.chain.forget_unsealed();
        pages.cursor.clone_from(&tail);
    }
    Ok(watched.end(false))
}

fn of_file(path: &Path, head: Option<&str>) -> anyhow::Result<Verdict> {
    let file = File::open(path).with_context(|| format!("{} can not be read", path.display()))?;
    let (mut reader, mut line, mut watched) = (BufReader::new(file), Vec::new(), Watched::new(head));
    for number in 1u64.. {
        line.clear();
        let read = reader.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line);
        if read.with_context(|| format!("{} can not be read", path.display()))? == 0 {
            break;
        }
        let row = serde_json::from_slice(&line).map_err(|error| {
            No(format!("{}:{number} is no row of an audit, so it does not hold: {error}", path.display()))
        })?;
        if let Err(broken) = watched.push(&row) {
            return Ok(Verdict::Broken(broken));
        }
    }
    Ok(watched.end(true))
}

fn tell(
    verdict: &Verdict,
    compared: Option<&AuditComparison>,
    json: bool,
    out: &mut Screen<'_>,
) -> anyhow::Result<Exit> {
    let follows = compared.is_none_or(|compared| compared.findings.is_empty());
    let exit = match verdict {
        Verdict::Held(_, None) if follows => Exit::Done,
        Verdict::Held(..) | Verdict::Broken(_) => Exit::No,
    };
    if json {
        out.json(&serde_json::to_string(&document(verdict, compared))?)?;
        return Ok(exit);
    }
    match verdict {
        Verdict::Broken(broken) => out.line(&[part(Tone::Bad, "broken"), plain(format_args!(": {broken}"))])?,
        Verdict::Held(held, lost) => {
            out.line(&summary(held, lost.as_deref()))?;
            if let Some(compared) = compared {
                tell_compared(compared, out)?;
            }
            out.table(&facts(held))?;
        }
    }
    Ok(exit)
}

/// What was changed without the program, which writes a row of the audit with each change.
fn tell_compared(compared: &AuditComparison, out: &mut Screen<'_>) -> anyhow::Result<()> {
    let AuditComparison { actions, tokens, unproven, findings, more } = compared;
    if findings.is_empty() {
        let follow = format_args!(": the histories of {actions} actions and {tokens} tokens follow from them");
        out.line(&[part(Tone::Good, "holds"), plain(follow)])?;
    }
    for AuditFinding { about, detail } in findings.iter().take(MOST_FINDINGS) {
        out.line(&[part(Tone::Bad, "changed"), plain(format_args!(": {about}: {detail}"))])?;
    }
    let more = findings.len().saturating_sub(MOST_FINDINGS) as u64 + more;
    if more > 0 {
        out.line(&[plain(format_args!("and {more} more"))])?;
    }
    if *unproven > 0 {
        out.line(&[part(Tone::Faint, format_args!("{unproven} of them are older than the audit, which cannot tell"))])?;
    }
    Ok(())
}

fn summary(held: &Held, lost: Option<&str>) -> Vec<Part> {
    let rows = held.rows;
    match lost {
        None => vec![part(Tone::Good, "holds"), plain(format_args!(": {rows} rows are what was sealed"))],
        Some(hash) => vec![
            part(Tone::Bad, "not the same"),
            plain(format_args!(
                ": {rows} rows hold together, but none has the hash {hash}: rows were cut off, or all were rewritten"
            )),
        ],
    }
}

fn facts(held: &Held) -> Table {
    let mut facts = Table::facts();
    if let Some(first) = held.first {
        let from = match held.origin {
            Origin::Beginning => "the first that there was",
            Origin::Checkpoint => "those before it were removed, as a checkpoint says",
            Origin::Unread => "those before it were not read, so its own hash is taken as it is",
        };
        facts.fact("from", format!("row {first}: {from}"));
    }
    if let Some((seq, hash)) = &held.last {
        facts.fact("to", format!("row {seq}"));
        facts.fact("head", hash);
    }
    if held.unsealed > 0 {
        facts.fact("not yet", format!("{} rows of the last moment are not sealed yet", held.unsealed));
    }
    facts
}

fn document<'a>(verdict: &'a Verdict, compared: Option<&'a AuditComparison>) -> Document<'a> {
    let findings = compared.map_or(&[][..], |compared| compared.findings.as_slice());
    let numbers = |compared: &AuditComparison| {
        let AuditComparison { actions, tokens, unproven, .. } = *compared;
        ComparedDocument { actions, tokens, unproven }
    };
    let compared = compared.map(numbers);
    match verdict {
        Verdict::Broken(broken) => Document {
            holds: false,
            rows: None,
            first: None,
            from: None,
            head: None,
            unsealed: None,
            broken: Some(BrokenDocument {
                seq: broken.seq,
                fault: broken.fault.as_str(),
                detail: broken.fault.to_string(),
            }),
            lost_head: None,
            compared,
            findings,
        },
        Verdict::Held(held, lost) => Document {
            holds: lost.is_none() && findings.is_empty(),
            rows: Some(held.rows),
            first: held.first,
            from: held.first.map(|_| held.origin.as_str()),
            head: held.last.as_ref().map(|(seq, hash)| Head { seq: *seq, hash }),
            unsealed: Some(held.unsealed),
            broken: None,
            lost_head: lost.as_deref(),
            compared,
            findings,
        },
    }
}
