//! A replay for people: what it was, what it came to, then the devices that differ. Short, whatever its size.

use std::io;

use super::compare::Standing;
use super::run::Replayed;
use super::totals::{Device, Outcomes};
use crate::cli::check::many;
use crate::cli::output::{Column, Screen, Table, Tone, flowing, part, plain, whole};
use crate::model::{MachineId, TenantName};

/// The most devices of a group that are shown.
const MOST_SHOWN: usize = 10;

/// The most malformed rows that are named.
const MOST_FAULTS: usize = 3;

const STANDINGS: [Standing; 5] =
    [Standing::Restricted, Standing::Held, Standing::Shadowed, Standing::Protected, Standing::Suppressed];

/// Prints what a replay came to.
pub(super) fn result(replayed: &Replayed<'_>, out: &mut Screen<'_>) -> io::Result<()> {
    what_it_was(replayed, out)?;
    warnings(replayed, out)?;
    counts(replayed, out)?;
    match &replayed.beside {
        Some(_) => differences(replayed, out),
        None => chosen(replayed, out),
    }
}

fn what_it_was(replayed: &Replayed<'_>, out: &mut Screen<'_>) -> io::Result<()> {
    let alerts = many_of(replayed.alerts, "alert");
    let devices = many(replayed.devices, "device");
    out.line(&[part(Tone::Strong, format_args!("{alerts} on {devices}")), plain(span(replayed))])?;
    let mut facts = Table::facts();
    facts.fact("now", replayed.setting.rules.name.as_str());
    if let Some(beside) = &replayed.beside {
        facts.fact("then", beside.as_str());
    }
    if replayed.superseded > 0 {
        facts.fact("left out", format!("{}, older or the same again", many_of(replayed.superseded, "version")));
    }
    out.table(&facts)
}

fn span(replayed: &Replayed<'_>) -> String {
    let form = |time: jiff::Timestamp| time.strftime("%Y-%m-%d %H:%MZ").to_string();
    replayed.span.map_or_else(String::new, |(first, last)| format!(", {} to {}", form(first), form(last)))
}

fn many_of(count: u64, noun: &str) -> String {
    many(usize::try_from(count).unwrap_or(usize::MAX), noun)
}

fn warnings(replayed: &Replayed<'_>, out: &mut Screen<'_>) -> io::Result<()> {
    for warning in replayed.warnings() {
        out.line(&[part(Tone::Warn, "warning: "), plain(warning)])?;
    }
    for fault in replayed.faults.named.iter().take(MOST_FAULTS) {
        out.line(&[plain("  "), plain(fault)])?;
    }
    for note in &replayed.notes {
        out.line(&[part(Tone::Faint, "note: "), plain(note)])?;
    }
    Ok(())
}

fn counts(replayed: &Replayed<'_>, out: &mut Screen<'_>) -> io::Result<()> {
    let totals = &replayed.totals;
    out.section("Devices, by the most that was done to each")?;
    let compared = replayed.beside.is_some();
    let columns = [whole(""), flowing("NOW"), flowing("THEN"), flowing("MORE"), flowing("LESS")];
    let mut table = Table::new(columns.get(..if compared { 5 } else { 2 }).unwrap_or_default());
    for standing in STANDINGS {
        let count = |are: &dyn Fn(&Device) -> bool| totals.devices_that(are).to_string();
        let is_usual = standing >= Standing::Held;
        if !is_usual && totals.devices_that(|device| [device.now, device.then].contains(&standing)) == 0 {
            continue;
        }
        let mut cells = vec![standing.as_str().to_owned(), count(&|device| device.now == standing)];
        if compared {
            cells.push(count(&|device| device.then == standing));
            cells.push(signed('+', &count(&|device| device.now == standing && !device.is_the_same())));
            cells.push(signed('-', &count(&|device| device.then == standing && !device.is_the_same())));
        }
        table.row(tone(standing), cells);
    }
    out.table(&table)?;
    out.blank()?;
    let mut facts = Table::facts();
    facts.fact(if compared { "pairs now" } else { "pairs" }, outcomes(&totals.now));
    if compared {
        facts.fact("pairs then", outcomes(&totals.then));
    }
    let ([minute, hour], [of_minute, of_hour]) = (totals.peaks.most(), replayed.quotas());
    facts.fact(
        "peak",
        format!("{minute} restricts in a minute (quota {of_minute}), {hour} in an hour (quota {of_hour})"),
    );
    out.table(&facts)
}

fn signed(sign: char, count: &str) -> String {
    if count == "0" { String::new() } else { format!("{sign}{count}") }
}

/// `12 acted, 30 coalesced, 1162 none`
fn outcomes(outcomes: &Outcomes) -> String {
    let some = outcomes.by_name().filter(|(_, count)| *count > 0);
    let words: Vec<String> = some.map(|(name, count)| format!("{count} {name}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

const fn tone(standing: Standing) -> Tone {
    match standing {
        Standing::Restricted => Tone::Good,
        Standing::Held => Tone::Warn,
        _ => Tone::Faint,
    }
}

/// Which devices a group has.
type Are = fn(&Device) -> bool;

/// Each device that differs is in the first group that it fits.
const GROUPS: [(&str, Are); 5] = [
    ("newly restricted", Device::is_newly_restricted),
    ("no longer restricted", Device::is_no_longer_restricted),
    ("newly chosen", |device| device.then == Standing::NotChosen),
    ("no longer chosen", |device| device.now == Standing::NotChosen),
    ("changed otherwise", |_| true),
];

fn differences(replayed: &Replayed<'_>, out: &mut Screen<'_>) -> io::Result<()> {
    let mut left: Vec<Entry<'_>> = replayed.totals.devices.iter().filter(|(_, device)| !device.is_the_same()).collect();
    if left.is_empty() {
        out.blank()?;
        return out.line(&[part(Tone::Good, "no device differs")]);
    }
    for (title, are) in GROUPS {
        let (group, others): (Vec<Entry<'_>>, _) = left.into_iter().partition(|(_, device)| are(device));
        left = others;
        let columns =
            [flowing("DEVICE"), whole("THEN"), whole("NOW"), flowing("RULE"), flowing("ALERT"), flowing("WHY")];
        let title = format!("{} {title}", many(group.len(), "device"));
        list(&title, &columns, &group, out, |device| {
            vec![device.then.as_str().to_owned(), device.now.as_str().to_owned()]
        })?;
    }
    Ok(())
}

fn chosen(replayed: &Replayed<'_>, out: &mut Screen<'_>) -> io::Result<()> {
    for (title, standing) in [("would be restricted", Standing::Restricted), ("would be held", Standing::Held)] {
        let group: Vec<Entry<'_>> =
            replayed.totals.devices.iter().filter(|(_, device)| device.now == standing).collect();
        let columns = [flowing("DEVICE"), flowing("RULE"), flowing("ALERT"), flowing("WHY")];
        list(&format!("{} {title}", many(group.len(), "device")), &columns, &group, out, |_| Vec::new())?;
    }
    Ok(())
}

type Entry<'a> = (&'a (TenantName, MachineId), &'a Device);

fn list(
    title: &str,
    columns: &[Column],
    group: &[Entry<'_>],
    out: &mut Screen<'_>,
    standings: fn(&Device) -> Vec<String>,
) -> io::Result<()> {
    if group.is_empty() {
        return Ok(());
    }
    out.section(title)?;
    let mut table = Table::new(columns);
    for ((_, machine), device) in group.iter().take(MOST_SHOWN) {
        let mut cells = vec![device.name.clone().unwrap_or_else(|| machine.to_string())];
        cells.extend(standings(device));
        cells.push(device.because.rule_id.to_string());
        cells.push(device.because.alert_id.to_string());
        cells.push(why(device));
        table.row(tone(device.now), cells);
    }
    out.table(&table)?;
    if group.len() > MOST_SHOWN {
        let more = format!("and {} more: --json has them all", group.len() - MOST_SHOWN);
        out.line(&[part(Tone::Faint, more)])?;
    }
    Ok(())
}

fn why(device: &Device) -> String {
    if device.now == Standing::NotChosen {
        "no rule chooses it any more".to_owned()
    } else {
        device.because.reason.clone()
    }
}
