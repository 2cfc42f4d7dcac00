//! Nothing that stands in a file or in the environment makes loading panic.

use std::path::Path;

use proptest::prelude::*;

use super::{LEAST, text_of, variables};
use crate::config::parse;

proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in any::<String>(), name in "STANCH_[A-Z_0-9]{0,20}", value in ".{0,40}") {
        let environment = variables(&[(&name, &value)]);
        let _ = parse(Path::new("stanch.yaml"), &text, &environment);
    }

    #[test]
    fn no_slip_in_a_good_file_makes_loading_panic(at in any::<prop::sample::Index>(), slip in ".{0,6}", cut in 0_usize..12) {
        let good: Vec<char> = text_of("config/stanch.example.yaml").chars().collect();
        let at = at.index(good.len());
        let text: String =
            good[..at].iter().chain(slip.chars().collect::<Vec<_>>().iter()).chain(good.iter().skip(at + cut)).collect();
        // The secret that the example names is not there, so that there is a problem in any case.
        let problems = parse(Path::new("/nonexistent/stanch.yaml"), &text, &variables(&[])).unwrap_err();
        // YAML breaks lines at more than a line feed.
        let lines = text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1;
        prop_assert!(problems.0.iter().all(|problem| (1..=lines).contains(&problem.line) && problem.column >= 1));
    }

    #[test]
    fn no_value_anywhere_makes_loading_panic(
        key in prop::sample::select(vec![
            "TENANTS", "TENANTS__0", "TENANTS__0__CREDENTIAL", "TENANTS__0__API_URL", "SOURCES", "SOURCES__0",
            "SOURCES__0__START", "STORE__URL", "LIMITS__RESTRICT", "LIMITS__RESTRICT__0__CALLS", "SERVER__LISTEN",
            "SERVER__SOCKET", "GUARDS__BLAST_RADIUS", "NOTIFY", "RULES__DIR",
        ]),
        value in prop_oneof![
            any::<String>(), "[0-9.eE+-]{1,30}", "\\[[a-z:{}, 0-9]{0,20}\\]", "\\{[a-z: ,0-9]{0,20}\\}", "![a-z]{1,5} x",
            "&a \\[\\*a, \\*a\\]",
        ],
    ) {
        let name = format!("STANCH_{key}");
        let _ = parse(Path::new("/nonexistent/stanch.yaml"), LEAST, &variables(&[(&name, &value)]));
    }
}

#[test]
fn a_short_text_cannot_stand_for_more_than_memory_holds() {
    let nested = (1..40).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        format!("{text}a{level}: &a{level} [{below}]\n")
    });
    let wide = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 30_000].join(", "));
    for text in [nested, wide] {
        let problems = parse(Path::new("stanch.yaml"), &text, &variables(&[])).unwrap_err().to_string();
        assert_eq!(problems, "stanch.yaml:1:1: the anchors of the configuration stand for too many values");
        let problems = parse(Path::new("stanch.yaml"), LEAST, &variables(&[("STANCH_NOTIFY", &text)])).unwrap_err();
        let expected = "notify (from STANCH_NOTIFY): the anchors in it stand for too many values";
        assert!(problems.0.iter().any(|problem| problem.message == expected), "{problems}");
    }
}
