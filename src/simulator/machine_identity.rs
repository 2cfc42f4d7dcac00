//! The identity endpoint of a machine in Azure, which gives the token of its managed identity.
//!
//! Source: the page "How to use managed identities for Azure resources on an Azure VM to acquire an access
//! token". Absent: certificates, `object_id` and `msi_res_id`, and the endpoints of App Service and Arc.

use serde_json::json;

use crate::model::AlertTime;

use super::answer::Answer;
use super::moment::unix_seconds;
use super::quota::Account;
use super::rng::Rng;
use super::token::{Login, Tokens};

/// What is asked of the endpoint.
pub(super) struct Asked<'a> {
    pub(super) metadata: Option<&'a str>,
    pub(super) query: Option<&'a str>,
}

/// Answers one call.
pub(super) fn answer(login: &mut Login, asked: &Asked<'_>, tokens: &Tokens, now: AlertTime, rng: &mut Rng) -> Answer {
    let (account, resource) = match find(login.identities(), asked) {
        Ok(found) => found,
        Err(text) => return refusal(text),
    };
    let scope = format!("{resource}/.default");
    let token = login.grant(account.clone(), &scope, tokens, now, rng);
    let life = tokens.life.as_secs();
    let begins = unix_seconds(now);
    // Each number is a text here.
    Answer::json(
        200,
        &json!({
            "access_token": token,
            "client_id": account.client,
            "expires_in": life.to_string(),
            "expires_on": begins.saturating_add_unsigned(life).to_string(),
            "not_before": begins.to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
}

fn find(identities: &[Account], asked: &Asked<'_>) -> Result<(Account, String), &'static str> {
    if asked.metadata != Some("true") {
        return Err("Required metadata header not specified");
    }
    let parameter = |name: &str| {
        let query = asked.query.unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    if parameter("api-version").as_deref() != Some("2018-02-01") {
        return Err("Required query variable 'api-version' not specified");
    }
    let resource = parameter("resource").filter(|text| text.starts_with("https://") && !text.ends_with("/.default"));
    let resource = resource.ok_or("Required query variable 'resource' not specified")?;
    let named = parameter("client_id");
    let mut fitting = identities.iter().filter(|one| named.as_deref().is_none_or(|client| one.client == client));
    let found = fitting.next().ok_or("Identity not found")?;
    if fitting.next().is_some() {
        return Err(
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity \
                    in the token request",
        );
    }
    Ok((found.clone(), resource))
}

fn refusal(text: &str) -> Answer {
    Answer::json(400, &json!({ "error": "invalid_request", "error_description": text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "api-version=2018-02-01&resource=https%3A%2F%2Fapi.securitycenter.microsoft.com";

    #[test]
    fn a_machine_gives_the_token_of_the_identity_that_is_meant() {
        let mut login = Login::default();
        let ask = |login: &mut Login, metadata: Option<&str>, query: &str| {
            let asked = Asked { metadata, query: Some(query) };
            let now = AlertTime::from_ticks(0);
            let answer = answer(login, &asked, &Tokens::default(), now, &mut Rng::new(1));
            (answer.status, serde_json::from_str::<serde_json::Value>(&answer.body).unwrap())
        };
        let yes = Some("true");
        let refused = |(status, body): (u16, serde_json::Value), words: &str| {
            assert_eq!(status, 400);
            assert!(body["error_description"].as_str().unwrap().contains(words), "{body}");
        };
        refused(ask(&mut login, yes, GOOD), "Identity not found");
        login.assign(Account { tenant: "t".to_owned(), client: "one".to_owned() });

        let (status, body) = ask(&mut login, yes, GOOD);
        assert_eq!((status, &body["client_id"], &body["expires_in"]), (200, &json!("one"), &json!("3599")));
        let header = format!("Bearer {}", body["access_token"].as_str().unwrap());
        assert_eq!(login.check(Some(&header), AlertTime::from_ticks(0)).unwrap().account.client, "one");
        refused(ask(&mut login, None, GOOD), "metadata header");
        refused(ask(&mut login, yes, &GOOD.replace("2018-02-01", "1")), "api-version");
        refused(ask(&mut login, yes, &format!("{GOOD}%2F.default")), "resource");

        login.assign(Account { tenant: "t".to_owned(), client: "two".to_owned() });
        refused(ask(&mut login, yes, GOOD), "Multiple user assigned identities");
        assert_eq!(ask(&mut login, yes, &format!("{GOOD}&client_id=two")).1["client_id"], "two");
        refused(ask(&mut login, yes, &format!("{GOOD}&client_id=three")), "Identity not found");
    }
}
