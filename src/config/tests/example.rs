//! `config/stanch.example.yaml` and the code know the same keys and the same defaults.

use std::collections::BTreeSet;

use serde::Deserialize as _;
use serde_yaml::{Mapping, Value};

use super::{LEAST, Scratch, text_of};
use crate::config::raw::RawConfig;
use crate::config::reference::all_on;

const EXAMPLE: &str = "config/stanch.example.yaml";

fn keys_of(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let key = format!("{at}.{}", key.as_str().unwrap());
                keys_of(value, &key, found);
                found.insert(key);
            }
        }
        Value::Sequence(list) => list.iter().for_each(|member| keys_of(member, &format!("{at}[]"), found)),
        _ => {}
    }
}

/// Every key that the code knows, asked of it by writing one that it does not know at every place.
fn known_keys(at: &str, around: &dyn Fn(Value) -> Value, found: &mut BTreeSet<String>) {
    let odd = Value::Mapping(Mapping::from_iter([("?".into(), 1.into())]));
    let list = |member: Value| Value::Sequence(vec![member]);
    let (at, is_list, keys) = if let Some(keys) = expected(around(odd.clone())) {
        (at.to_owned(), false, keys)
    } else if let Some(keys) = expected(around(list(odd))) {
        (format!("{at}[]"), true, keys)
    } else {
        return;
    };
    for key in keys {
        let below = |value: Value| {
            let mapping = Value::Mapping(Mapping::from_iter([(key.as_str().into(), value)]));
            around(if is_list { list(mapping) } else { mapping })
        };
        let at = format!("{at}.{key}");
        known_keys(&at, &below, found);
        found.insert(at);
    }
}

/// The keys that stand in for the odd one, if that is what is refused.
fn expected(document: Value) -> Option<Vec<String>> {
    let message = RawConfig::deserialize(document).err()?.to_string();
    let known = message.strip_prefix("unknown field `?`, expected ")?;
    Some(known.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

#[test]
fn the_example_names_every_key_that_the_code_knows_and_no_other() {
    let mut written = BTreeSet::new();
    keys_of(&serde_yaml::from_str(&all_on(&text_of(EXAMPLE))).unwrap(), "", &mut written);
    // The keys of a map are fields of an alert, and as many as people like.
    written.retain(|key| !key.starts_with(".sources[].map."));
    let mut known = BTreeSet::new();
    known_keys("", &|value| value, &mut known);
    assert!(known.contains(".limits.restrict[].calls") && known.contains(".notify[].url_file"), "{known:?}");
    assert_eq!(written, known);
}

#[test]
fn every_key_of_the_example_is_explained_beside_it_or_above_it() {
    let text = text_of(EXAMPLE);
    let mut explained = false;
    for line in text.lines() {
        let body = line.trim_start();
        let is_prose = body.starts_with("# ");
        let is_key_that_is_off = body.starts_with("#  ");
        if is_prose && !is_key_that_is_off {
            explained = true;
            continue;
        }
        assert!(explained || body.is_empty() || body == "#" || line.contains(" # "), "not explained: {line}");
        explained = false;
    }
}

#[test]
fn the_example_loads_and_shows_the_defaults() {
    let scratch = Scratch::new();
    let secret = scratch.path("secret").display().to_string();
    let folder = scratch.path("rules").display().to_string();
    let there = [("STANCH_TENANTS__0__CREDENTIAL__SECRET_FILE", secret.as_str())];
    let example = scratch.load(&text_of(EXAMPLE), &there).unwrap();
    assert_eq!(example.warnings, []);
    let same = [
        ("STANCH_STORE__URL", "sqlite:///var/lib/stanch/stanch.db"),
        ("STANCH_TENANTS__0__TENANT_ID", "11111111-1111-4111-8111-111111111111"),
        ("STANCH_TENANTS__0__CLIENT_ID", "22222222-2222-4222-8222-222222222222"),
        ("STANCH_RULES__DIR", folder.as_str()),
    ];
    let least = scratch.load(LEAST, &same).unwrap();
    assert_eq!(format!("{:#?}", example.config), format!("{:#?}", least.config));
}

#[test]
fn with_everything_on_only_what_excludes_itself_is_refused() {
    let scratch = Scratch::new();
    let secret = scratch.path("secret").display().to_string();
    let tls = super::tls::files_in(&scratch);
    scratch.secret("url", "https://hooks.example/T1/B1\n");
    let url = scratch.path("url").display().to_string();
    let there = [
        ("STANCH_TENANTS__0__CREDENTIAL__SECRET_FILE", secret.as_str()),
        ("STANCH_NOTIFY__0__URL_FILE", url.as_str()),
        ("STANCH_NOTIFY__0__HMAC_FILE", secret.as_str()),
        ("STANCH_SOURCES__1__AUTH", &format!("{{ bearer_file: {secret} }}")),
        ("STANCH_SERVER__TLS", &tls),
        ("CONTOSO_SECRET", "s3cret"),
    ];
    let problems = scratch.load(&all_on(&text_of(EXAMPLE)), &there).unwrap_err().0;
    let refused: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    let credential = "tenants[0].credential: has secret_file and secret_env and certificate_file and \
                      federated_token_file and managed_identity, and takes one of them";
    assert_eq!(refused, [credential]);
}
