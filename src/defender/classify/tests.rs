//! The table of answers and outcomes.

mod documented;
mod random;

use super::super::http::BodyError;
use super::*;
use serde_json::json;

const MACHINE: &str = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07";
const HTML: &str = "<html><head><title>Blocked</title></head><body>The proxy says no</body></html>";

fn answer(status: u16, body: &str) -> Exchange {
    Exchange::Answered(Answer {
        status,
        retry_after: None,
        date: Some("2026-11-24T05:00:00Z".parse().unwrap()),
        received_at: "2026-11-24T05:00:01Z".parse().unwrap(),
        body: Ok(body.as_bytes().to_vec()),
    })
}

fn cut(status: u16) -> Exchange {
    let Exchange::Answered(whole) = answer(status, "") else { unreachable!() };
    Exchange::Answered(Answer { body: Err(BodyError::Cut("connection reset".to_owned())), ..whole })
}

fn error(code: &str, message: &str) -> String {
    json!({"error": {"code": code, "message": message, "target": "|0adc7a2c-4f9b8e1a."}}).to_string()
}

fn action(extra: serde_json::Value) -> String {
    let mut record = json!({
        "@odata.context": "https://api.security.microsoft.com/api/$metadata#MachineActions/$entity",
        "id": "7b1c9e40-0d52-4f6e-9a3b-5c8e2f61d704", "type": "RestrictCodeExecution", "status": "Pending",
        "machineId": MACHINE, "requestorComment": "why", "creationDateTimeUtc": "2026-11-24T05:00:00.1234567Z"
    });
    for (key, value) in extra.as_object().unwrap() {
        if value.is_null() {
            record.as_object_mut().unwrap().remove(key);
        } else {
            record[key] = value.clone();
        }
    }
    record.to_string()
}

/// An outcome in one word, with what matters of it.
fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(action) => format!("accepted {} {}", action.kind, action.status),
        Outcome::Busy { .. } => "busy".to_owned(),
        Outcome::Refused { code, .. } => format!("refused {code}"),
        Outcome::NotFound { code, .. } => format!("not found {code}"),
        Outcome::Disallowed { code, .. } => format!("disallowed {code}"),
        Outcome::Forbidden { code, missing_roles, .. } => format!("forbidden {code} {missing_roles}"),
        Outcome::Unauthorized { again, .. } => format!("unauthorized {again}"),
        Outcome::Throttled { retry_after, .. } => format!("throttled {retry_after:?}"),
        Outcome::NotSignedIn(_) => "not signed in".to_owned(),
        Outcome::NotSent { .. } => "not sent".to_owned(),
        Outcome::Unanswered { .. } => "unanswered".to_owned(),
    }
}

fn classified(exchange: &Exchange) -> Outcome {
    let machine = MachineId::new(MACHINE).unwrap();
    classify(exchange, Asked::Act { kind: Kind::Restrict, machine: &machine }, false)
}

const OTHER_ROLES: &str = "The application does not have any of the required application permissions \
                           (Machine.RestrictExecution) to access the resource.";

#[test]
fn every_answer_has_its_outcome() {
    let roles = "Missing application roles. API required roles: Machine.RestrictExecution, application roles: .";
    let busy = "Action is already in progress";
    let long = "x".repeat(100_000);
    let cases = [
        // A machine action, whole or in part.
        (answer(201, &action(json!({}))), "accepted RestrictCodeExecution Pending"),
        (answer(200, &action(json!({}))), "accepted RestrictCodeExecution Pending"),
        (answer(201, &action(json!({"status": "InProgress"}))), "accepted RestrictCodeExecution InProgress"),
        (answer(201, &format!("\u{feff}{}", action(json!({})))), "accepted RestrictCodeExecution Pending"),
        (answer(201, &action(json!({"machineId": null, "type": null}))), "accepted RestrictCodeExecution Pending"),
        (answer(201, &action(json!({"machineId": MACHINE.to_uppercase()}))), "accepted RestrictCodeExecution Pending"),
        (answer(201, &action(json!({"type": "SomethingNew"}))), "unanswered"),
        (answer(201, &action(json!({"type": "Isolate"}))), "unanswered"),
        (answer(200, &action(json!({"type": "UnrestrictCodeExecution"}))), "busy"),
        (answer(201, &action(json!({"machineId": "0".repeat(40)}))), "unanswered"),
        (answer(201, &action(json!({"id": null}))), "unanswered"),
        (answer(201, &action(json!({"id": 7}))), "unanswered"),
        (answer(201, "INVALID RESPONSE"), "unanswered"),
        (answer(201, ""), "unanswered"),
        (answer(201, "null"), "unanswered"),
        (answer(201, &action(json!({}))[..60]), "unanswered"),
        (answer(200, HTML), "unanswered"),
        (cut(201), "unanswered"),
        (answer(202, &action(json!({}))), "unanswered"),
        (answer(204, ""), "unanswered"),
        (answer(206, &action(json!({}))), "unanswered"),
        // 400
        (answer(400, &error("ActiveRequestAlreadyExists", busy)), "busy"),
        (answer(400, &error("activerequestalreadyexists", "")), "busy"),
        (answer(400, &error("", busy)), "busy"),
        (answer(400, &error("BadRequest", busy)), "busy"),
        (answer(400, &json!({"message": busy}).to_string()), "busy"),
        (answer(400, "<p>ACTION is already in progress</p>"), "busy"),
        (answer(400, &error("InvalidInput", busy)), "refused InvalidInput"),
        (answer(400, &error("OsPlatformNotSupported", "no")), "refused OsPlatformNotSupported"),
        (answer(400, &error("ClientVersionNotSupported", "no")), "refused ClientVersionNotSupported"),
        (answer(400, &error("MissingRequiredParameter", "Comment")), "refused MissingRequiredParameter"),
        (answer(400, &error("BadRequest", "no")), "refused BadRequest"),
        (answer(400, &json!({"error": {"message": "no"}}).to_string()), "refused http_400"),
        (answer(400, HTML), "unanswered"),
        (answer(400, ""), "unanswered"),
        (answer(400, r#"{"error":{"code":"ActiveReq"#), "unanswered"),
        (cut(400), "unanswered"),
        // 401
        (answer(401, &error("Unauthorized", "invalid or expired authorization header")), "unauthorized false"),
        (answer(401, ""), "unauthorized false"),
        (answer(401, HTML), "unauthorized false"),
        (cut(401), "unauthorized false"),
        // 403
        (answer(403, &error("Forbidden", roles)), "forbidden Forbidden true"),
        (answer(403, roles), "forbidden http_403 true"),
        (answer(403, &error("Forbidden", OTHER_ROLES)), "forbidden Forbidden true"),
        (answer(403, &error("DisabledFeature", "no")), "disallowed DisabledFeature"),
        (answer(403, &error("DisallowedOperation", "no")), "disallowed DisallowedOperation"),
        (answer(403, &error("Forbidden", "no")), "forbidden Forbidden false"),
        (answer(403, ""), "forbidden http_403 false"),
        (answer(403, HTML), "unanswered"),
        (cut(403), "unanswered"),
        // 404
        (answer(404, &error("ResourceNotFound", "Machine X was not found")), "not found ResourceNotFound"),
        (answer(404, &error("NotFound", "no")), "not found NotFound"),
        (answer(404, ""), "not found http_404"),
        (answer(404, HTML), "unanswered"),
        (cut(404), "unanswered"),
        // 429
        (answer(429, &error("TooManyRequests", "slow down")), "throttled None"),
        (answer(429, HTML), "throttled None"),
        (cut(429), "throttled None"),
        // Whatever else may have happened.
        (answer(301, ""), "unanswered"),
        (answer(307, ""), "unanswered"),
        (answer(405, ""), "unanswered"),
        (answer(407, HTML), "unanswered"),
        (answer(408, ""), "unanswered"),
        (answer(409, &error("Conflict", "no")), "unanswered"),
        (answer(412, ""), "unanswered"),
        (answer(423, ""), "unanswered"),
        (answer(500, &error("InternalServerError", "")), "unanswered"),
        (answer(502, HTML), "unanswered"),
        (answer(503, &error("ServiceUnavailable", busy)), "unanswered"),
        (answer(504, ""), "unanswered"),
        (answer(599, &long), "unanswered"),
        (cut(500), "unanswered"),
        // No answer at all.
        (Exchange::NotSent { message: "connection refused".to_owned() }, "not sent"),
        (Exchange::Unanswered { message: "timed out".to_owned() }, "unanswered"),
    ];
    for (exchange, expected) in cases {
        assert_eq!(word(&classified(&exchange)), expected, "{exchange:?}");
    }
}

#[test]
fn an_accepted_action_is_ours_unless_it_says_otherwise() {
    let Outcome::Accepted(action) = classified(&answer(201, &action(json!({"machineId": null})))) else {
        panic!("not accepted")
    };
    assert_eq!(action.machine_id.unwrap().as_str(), MACHINE);
    assert_eq!(action.comment, "why");
}

#[test]
fn a_429_carries_its_wait() {
    let Exchange::Answered(whole) = answer(429, "") else { unreachable!() };
    let exchange = Exchange::Answered(Answer { retry_after: Some("17".to_owned()), ..whole });
    assert_eq!(word(&classified(&exchange)), "throttled Some(17s)");
}

#[test]
fn a_cancel_must_be_answered_with_the_same_action() {
    let id = MachineActionId::new("7b1c9e40-0d52-4f6e-9a3b-5c8e2f61d704").unwrap();
    let other = MachineActionId::new("0").unwrap();
    let exchange = answer(200, &action(json!({"status": "Cancelled"})));
    assert_eq!(word(&classify(&exchange, Asked::Cancel(&id), false)), "accepted RestrictCodeExecution Cancelled");
    assert_eq!(word(&classify(&exchange, Asked::Cancel(&other), false)), "unanswered");
}

#[test]
fn a_message_is_bounded_and_fit_for_a_terminal() {
    let nasty = error("InvalidInput", &format!("\u{1b}[2J\u{0}\r\nno{}", "x".repeat(10_000)));
    let Outcome::Refused { message, .. } = classified(&answer(400, &nasty)) else { panic!("not refused") };
    assert!(message.chars().count() <= 301, "{}", message.len());
    assert!(!message.contains(char::is_control), "{message:?}");
    let Outcome::Unanswered { message } = classified(&answer(502, HTML)) else { panic!("answered") };
    assert!(message.starts_with("HTTP 502"), "{message}");
}
