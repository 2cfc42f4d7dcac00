//! What a 403 is about: the application, one device, or nobody can tell from it. Absent: the roles of the token, which
//! speak where the words do not (see [`crate::defender::auth`]).

use super::{error_of, is_empty, says};
use crate::defender::http::Answer;
use crate::defender::wire::ApiError;

/// What a 403 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::defender) enum Denial {
    /// The application lacks a role: no call of the lane can succeed.
    Role,
    /// The device, its group or a feature that is off there: it says nothing of any other device.
    Device,
    /// The API refuses and does not say why.
    Unexplained,
    /// It is not the API that speaks.
    Foreign,
}

/// The codes about a device or its group. Source: the page "Common REST API error codes".
const DEVICE_CODES: [&str; 2] = ["DisallowedOperation", "DisabledFeature"];
/// The two wordings that are known for a missing role. They count wherever they stand, even in a gateway's page.
const ROLE_WORDS: [&str; 2] =
    ["missing application roles", "does not have any of the required application permissions"];

/// What the 403 `answer` is about. A documented code outranks all words.
pub(in crate::defender) fn denial(answer: &Answer) -> Denial {
    let error = error_of(answer);
    let code = error.as_ref().and_then(|error| error.code.as_deref());
    if code.is_some_and(|code| DEVICE_CODES.iter().any(|known| known.eq_ignore_ascii_case(code))) {
        return Denial::Device;
    }
    if ROLE_WORDS.iter().any(|words| says(answer, words)) {
        return Denial::Role;
    }
    match &error {
        Some(error) if is_about_a_role(error) => Denial::Role,
        None if !is_empty(answer) => Denial::Foreign,
        _ => Denial::Unexplained,
    }
}

/// Whether the API's error says in other words that the application lacks a role or permission. Words about a group
/// are about its devices.
fn is_about_a_role(error: &ApiError) -> bool {
    let text = [&error.code, &error.message].into_iter().flatten().map(|text| text.to_lowercase());
    let text = text.collect::<Vec<_>>().join(" ");
    let holds = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let of_the_application = holds(&["application", "app role", "app permission", "app-role", "appid"]);
    let of_a_role = holds(&["role", "permission"]);
    let is_lacking = holds(&[
        "missing",
        "does not have",
        "doesn't have",
        "has no",
        "have no",
        "has not been granted",
        "not granted",
        "lack",
        "insufficient",
        "required",
        "requires",
        "without",
    ]);
    of_the_application && of_a_role && is_lacking && !holds(&["group"])
}

/// Whether the API refused with a 403 that says neither that a role is missing nor that it is about the device: only
/// the token's roles can tell then.
pub(in crate::defender) fn is_unexplained(answer: &Answer) -> bool {
    answer.status == 403 && denial(answer) == Denial::Unexplained
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(code: &str, message: &str) -> Denial {
        of_body(&json!({"error": {"code": code, "message": message}}).to_string())
    }

    fn of_body(body: &str) -> Denial {
        denial(&Answer {
            status: 403,
            retry_after: None,
            date: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            body: Ok(body.as_bytes().to_vec()),
        })
    }

    #[test]
    fn a_missing_role_is_understood_in_any_words() {
        for message in [
            "Missing application roles. API required roles: Machine.RestrictExecution, application roles: .",
            "The application does not have any of the required application permissions (Machine.RestrictExecution) to \
             access the resource.",
            "The APPLICATION lacks the permission Machine.RestrictExecution",
            "Insufficient application permissions",
            "Required app role was not found in the token",
            "The permission Machine.RestrictExecution has not been granted to the application",
        ] {
            assert_eq!(of("Forbidden", message), Denial::Role, "{message}");
            assert_eq!(of("", message), Denial::Role, "{message}");
        }
        assert_eq!(of_body("<p>Missing application roles</p>"), Denial::Role);
    }

    #[test]
    fn words_about_a_device_or_about_nothing_are_not_about_a_role() {
        let roles = "Missing application roles";
        for code in ["DisallowedOperation", "disallowedoperation", "DisabledFeature"] {
            assert_eq!(of(code, "no"), Denial::Device, "{code}");
            assert_eq!(of(code, roles), Denial::Device, "{code}: the code outranks the words");
        }
        for message in [
            "no",
            "Access to the requested resource is forbidden",
            "The application has no permission on the device's machine group",
            "The user does not have the role of a responder",
            "The application is blocked",
        ] {
            assert_eq!(of("Forbidden", message), Denial::Unexplained, "{message}");
        }
        assert_eq!(of_body(""), Denial::Unexplained);
        assert_eq!(of_body("<p>The application requires the permission of your administrator</p>"), Denial::Foreign);
    }
}
