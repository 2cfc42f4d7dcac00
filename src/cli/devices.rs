//! `devices list|show|restrict|release`: what is restricted, and doing or undoing it by hand.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::actions::{self, Changed};
use super::arguments::{Filters, Many, Query, Tenant, Why, one_of};
use super::exit::{Exit, No};
use super::listing::Listing;
use super::output::{Table, Tone, flowing, part, plain, time, whole};
use super::session::Session;
use crate::model::MachineId;
use crate::model::view::{DeviceView, RestrictedBy, Restriction};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List devices
    List(ListArguments),
    /// Show one device and its restriction
    Show(ShowArguments),
    /// Restrict a device by hand
    Restrict(RestrictArguments),
    /// Release a device, or all that stanch restricted
    Release(ReleaseArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Only those that are restricted so
    #[arg(long, value_name = "RESTRICTION", value_parser = one_of(RESTRICTIONS.map(Restriction::as_str), restriction))]
    state: Option<Restriction>,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    #[command(flatten)]
    device: Device,
}

#[derive(Debug, Args)]
pub(super) struct RestrictArguments {
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").args(["machine_id", "rule", "all"]).required(true)))]
pub(super) struct ReleaseArguments {
    /// The device's machine id
    #[arg(value_name = "MACHINE_ID")]
    machine_id: Option<String>,
    #[command(flatten)]
    many: Many,
    #[command(flatten)]
    tenant: Tenant,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Args)]
struct Device {
    /// The device's machine id
    #[arg(value_name = "MACHINE_ID")]
    machine_id: String,
    #[command(flatten)]
    tenant: Tenant,
}

const RESTRICTIONS: [Restriction; 4] =
    [Restriction::None, Restriction::Pending, Restriction::Restricted, Restriction::Releasing];

fn restriction(name: &str) -> Option<Restriction> {
    RESTRICTIONS.into_iter().find(|restriction| restriction.as_str() == name)
}

const LISTING: Listing<DeviceView> = Listing {
    noun: "devices",
    columns: &[
        whole("RESTRICTION"),
        whole("MACHINE ID"),
        flowing("NAME"),
        flowing("TENANT"),
        flowing("OS"),
        flowing("BY"),
        flowing("SINCE"),
        flowing("EXPIRES"),
    ],
    row,
};

/// Looks at devices, and acts on them.
pub(super) async fn run(command: Command, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    match command {
        Command::List(arguments) => {
            let mut query = arguments.filters.query(session.now);
            query.extend(arguments.state.map(|state| ("state", state.as_str().to_owned())));
            LISTING.print(session, query, arguments.filters.limit).await
        }
        Command::Show(ShowArguments { device }) => {
            let id = machine_id(&device.machine_id)?;
            let path = ["api", "v1", "devices", id.as_str()];
            let answer = session.client.get(&path, &device.tenant.query()).await?;
            if session.json {
                session.out.json(answer.text())?;
            } else {
                show(&answer.read()?, session)?;
            }
            Ok(Exit::Done)
        }
        Command::Restrict(RestrictArguments { device, why }) => {
            change("restrict", &device.machine_id, &device.tenant, &why, session).await
        }
        Command::Release(ReleaseArguments { machine_id: Some(id), tenant, why, .. }) => {
            change("release", &id, &tenant, &why, session).await
        }
        Command::Release(ReleaseArguments { machine_id: None, many, tenant, why }) => {
            let body = actions::many(&many, &tenant, &why);
            let answer = session.client.post(&["api", "v1", "devices", "release"], &Query::new(), &body).await?;
            actions::print_changed(&answer, &Changed { done: "to be released", none: "nothing to release" }, session)
        }
    }
}

async fn change(verb: &str, id: &str, tenant: &Tenant, why: &Why, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    let id = machine_id(id)?;
    let body = serde_json::json!({ "why": why.why });
    let answer = session.client.post(&["api", "v1", "devices", id.as_str(), verb], &tenant.query(), &body).await?;
    actions::print(&answer, session)
}

/// What is no machine id is the id of no device.
fn machine_id(text: &str) -> Result<MachineId, No> {
    MachineId::new(text).map_err(|error| {
        No(format!("no such device: {error}; stanch devices list --device NAME finds one by its name"))
    })
}

const fn by(device: &DeviceView) -> &'static str {
    match device.by {
        Some(RestrictedBy::Stanch) => "stanch",
        Some(RestrictedBy::Human) => "human",
        None => "-",
    }
}

fn row(device: &DeviceView, now: Timestamp) -> (Tone, Vec<String>) {
    let cells = vec![
        device.restriction.as_str().to_owned(),
        device.machine_id.to_string(),
        device.device_name.clone().unwrap_or_else(|| "-".to_owned()),
        device.tenant.to_string(),
        device.os_platform.clone().unwrap_or_else(|| "-".to_owned()),
        by(device).to_owned(),
        time::short_or_none(now, device.since),
        time::short_or_none(now, device.expires_at),
    ];
    (Tone::of_restriction(device.restriction), cells)
}

fn show(device: &DeviceView, session: &mut Session<'_>) -> anyhow::Result<()> {
    let now = session.now;
    session.out.line(&[
        part(Tone::Strong, format_args!("device {}", device.device_name.as_deref().unwrap_or("without a known name"))),
        plain("  "),
        part(Tone::of_restriction(device.restriction), word(device.restriction)),
    ])?;
    let mut facts = Table::facts();
    facts.fact("machine id", device.machine_id.as_str());
    facts.fact("tenant", device.tenant.as_str());
    facts.fact("os", device.os_platform.as_deref().unwrap_or("-"));
    if let Some(since) = device.since {
        facts.fact("since", format!("{}, by {}", time::full(now, since), by(device)));
    }
    if device.restriction != Restriction::None {
        let until = device.expires_at.map(|expires| time::full(now, expires));
        facts.fact("expires", until.as_deref().unwrap_or("not by itself"));
    }
    if let Some(action) = device.action_id {
        facts.fact("action", format!("stanch actions show {action}"));
    }
    let verb = match device.restriction {
        Restriction::None => "restrict",
        _ => "release",
    };
    session.out.table(&facts)?;
    session.out.commands(&[format!("stanch devices {verb} {} --why TEXT", device.machine_id)])?;
    Ok(())
}

const fn word(restriction: Restriction) -> &'static str {
    match restriction {
        Restriction::None => "not restricted",
        Restriction::Pending => "pending",
        Restriction::Restricted => "restricted",
        Restriction::Releasing => "releasing",
    }
}
