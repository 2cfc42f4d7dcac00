//! What holds whatever comes.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Bodies of every sort, the API's own and their pieces among them.
fn bodies() -> impl Strategy<Value = Result<Vec<u8>, BodyError>> {
    let known = vec![
        action(json!({})),
        action(json!({"type": "UnrestrictCodeExecution"})),
        action(json!({"machineId": "0".repeat(40)})),
        action(json!({"id": null})),
        error("ActiveRequestAlreadyExists", "Action is already in progress"),
        error("Forbidden", "Missing application roles"),
        error("", ""),
        HTML.to_owned(),
    ];
    let value = prop_oneof![Just(json!(null)), Just(json!(7)), Just(json!({})), ".{0,20}".prop_map(|text| json!(text))];
    let document = prop::collection::btree_map(
        select(vec!["id", "type", "status", "machineId", "error", "code", "message", "requestorComment"]),
        value,
        0..6,
    );
    prop_oneof![
        (select(known), 0..400usize).prop_map(|(text, length)| Ok(text
            .into_bytes()
            .into_iter()
            .take(length)
            .collect())),
        document.prop_map(|document| Ok(json!(document).to_string().into_bytes())),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Ok),
        ".{0,60}".prop_map(|text| Err(BodyError::Cut(text))),
        Just(Err(BodyError::TooLarge { limit: 1 })),
    ]
}

fn exchanges() -> impl Strategy<Value = Exchange> {
    let usual = select(vec![200, 201, 202, 204, 307, 400, 401, 403, 404, 429, 500, 503]);
    let answered = (prop_oneof![usual, 100..1_000u16], prop::option::of(".{0,40}"), bodies());
    let answered = answered.prop_map(|(status, retry_after, body)| {
        let Exchange::Answered(whole) = answer(status, "") else { unreachable!() };
        Exchange::Answered(Answer { retry_after, body, ..whole })
    });
    prop_oneof![
        9 => answered,
        1 => ".{0,60}".prop_map(|message| Exchange::NotSent { message }),
        1 => ".{0,60}".prop_map(|message| Exchange::Unanswered { message }),
    ]
}

/// The status, and the `id` of the JSON that came with it.
fn status_and_id(exchange: &Exchange) -> (Option<u16>, Option<String>) {
    let Exchange::Answered(answer) = exchange else { return (None, None) };
    let body = answer.body.clone().unwrap_or_default();
    let record: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    (Some(answer.status), record["id"].as_str().map(str::to_owned))
}

proptest! {
    /// Nothing is called submitted without a machine action, and nothing is called untaken unless the API said so
    /// or no byte can have reached it.
    #[test]
    fn what_may_have_been_taken_is_never_called_untaken(exchange in exchanges(), again in any::<bool>()) {
        let machine = MachineId::new(MACHINE).unwrap();
        let outcome = classify(&exchange, Asked::Act { kind: Kind::Restrict, machine: &machine }, again);
        let (status, id) = status_and_id(&exchange);
        match &outcome {
            Outcome::Accepted(action) => {
                prop_assert!(matches!(status, Some(200 | 201)));
                prop_assert_eq!(Some(action.id.as_str()), id.as_deref());
                prop_assert_eq!(action.machine_id.as_ref(), Some(&machine));
                prop_assert_ne!(action.kind.as_str(), "UnrestrictCodeExecution");
            }
            Outcome::Unauthorized { .. } => prop_assert_eq!(status, Some(401)),
            Outcome::Throttled { retry_after, .. } => {
                prop_assert_eq!(status, Some(429));
                prop_assert!(*retry_after <= Some(Duration::from_secs(86_400)));
            }
            Outcome::Forbidden { .. } | Outcome::Disallowed { .. } => prop_assert_eq!(status, Some(403)),
            Outcome::NotSent { .. } => {
                let unsent = matches!(exchange, Exchange::NotSent { .. });
                prop_assert!(unsent);
            }
            Outcome::Refused { .. } => prop_assert_eq!(status, Some(400)),
            Outcome::NotFound { .. } => prop_assert_eq!(status, Some(404)),
            Outcome::Busy { .. } => prop_assert!(matches!(status, Some(200 | 201 | 400))),
            Outcome::Unanswered { .. } => prop_assert!(!matches!(status, Some(401 | 429))),
            Outcome::NotSignedIn(_) => prop_assert!(false, "there was a call"),
        }
    }
}
