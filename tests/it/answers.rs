//! `docs/reference/answers.md` says what each outcome of a POST does; here each is brought about in a running daemon.

use serde_json::json;
use stanch::model::view::ActionView;
use stanch::model::{Lane, State};
use stanch::simulator::{Api, Fault, Tokens};

use crate::support::{TestApp, machine, machine_id, ransomware};

const PAGE: &str = include_str!("../../docs/reference/answers.md");

/// A row of the table: outcome, state, whether it counts, the error, and whether the lane rests.
type Row = [&'static str; 5];

fn rows() -> Vec<Row> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with("What an outcome does")).unwrap();
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| cells.try_into().unwrap_or_else(|cells| panic!("{cells:?}"))).collect()
}

/// What makes the next POST come to that outcome.
async fn bring_about(app: &mut TestApp, outcome: &str) {
    let fault = match outcome {
        "accepted" | "forbidden to the application" => return,
        "refused" => {
            assert!(app.simulator.set_machine(&machine_id(1), &json!({"osPlatform": "Ubuntu"})));
            return;
        }
        "not found" => {
            assert!(app.simulator.remove_machine(&machine_id(1)));
            return;
        }
        "not found, and the machine is there" => Fault::NotFound,
        "disallowed" => Fault::Disallowed,
        "not sent" => {
            app.stop_simulator().await;
            // Connections that were open before are found closed by a look, and not by the POST.
            let looked = |app: &TestApp| app.work().board.loops().into_iter().find(|one| one.name.starts_with("look"));
            app.until("a look has failed", async || looked(app).filter(|one| !one.said.ends_with("machine actions")))
                .await;
            return;
        }
        "busy" => Fault::InProgress,
        "forbidden" => Fault::Forbidden,
        "unauthorized" => Fault::ExpiredToken,
        "throttled" => Fault::ThrottleBare,
        "unanswered" => Fault::CutBefore,
        other => panic!("nothing here brings about {other}"),
    };
    app.simulator.next_fault(Api::Restrict, fault);
}

/// Tokens of an application that may do what is needed for the outcome.
fn tokens(outcome: &str) -> Tokens {
    let mut tokens = Tokens::default();
    if outcome == "forbidden to the application" {
        tokens.roles.as_mut().unwrap().retain(|role| role != "Machine.RestrictExecution");
    }
    tokens
}

/// The action once the POST has come to something, and what that made of it.
async fn after_the_post(app: &TestApp) -> (ActionView, State) {
    app.until("the POST has come to something", async || {
        let action = app.actions().await.pop()?;
        let settled = action.history.iter().find(|row| row.from == Some(State::Sending))?.to;
        Some((action, settled))
    })
    .await
}

async fn check([outcome, becomes, counts, error, rests]: Row) {
    let mut app = TestApp::builder()
        .set("LIMITS__RECONCILE_GRACE", "1h")
        .simulator(|options| options.tokens = tokens(outcome))
        .start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap())
        .await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    app.store().pause(&TestApp::operator(), "until all is ready", TestApp::now()).await.unwrap();
    app.simulator.hold_progress(true);
    app.send(&[ransomware("alert", 1)]).await;
    app.action_in(State::Queued).await;
    bring_about(&mut app, outcome).await;
    app.store().resume(&TestApp::operator(), "go", TestApp::now()).await.unwrap();
    app.work().wake_all_send();

    let (action, settled) = after_the_post(&app).await;
    let state = becomes.split('`').nth(1).unwrap();
    assert_eq!(settled.as_str(), state, "{outcome}: {action:#?}");
    let lane = app.store().quota(&TestApp::tenant(), &app.work().config.limits, TestApp::now()).await.unwrap();
    let paused = lane.iter().any(|window| window.lane == Lane::Restrict && window.paused_until.is_some());
    assert_eq!(paused, rests.starts_with("yes"), "{outcome}: {lane:#?}");
    // What was not taken may be on its way again already.
    let again = action.state != settled;
    assert_eq!(action.attempts, u32::from(counts == "yes") + u32::from(again), "{outcome}: {action:#?}");
    let code = action.error.as_ref().map_or("none", |error| &error.code);
    assert!(again || is_the_error(error, code), "{outcome}: {code}");
}

/// Whether the cell names that code, or one made of the status.
fn is_the_error(cell: &str, code: &str) -> bool {
    cell == code || cell.contains(&format!("`{code}`")) || (cell.starts_with("Microsoft's code") && code != "none")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_does_what_the_table_says() {
    for row in rows() {
        check(row).await;
    }
}
