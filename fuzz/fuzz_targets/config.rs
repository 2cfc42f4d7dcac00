//! Any text as the configuration: it is read, or every problem stands at a place of the file or names a
//! variable of the environment.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Names of files stand in it, and what is read from them is no part of this.
    if text.contains("_file") {
        return;
    }
    let environment = BTreeMap::from([("SECRET".to_owned(), "x".to_owned())]);
    if let Err(problems) = stanch::config::parse(Path::new("/nowhere/stanch.yaml"), text, &environment) {
        assert!(!problems.0.is_empty());
        for problem in &problems.0 {
            let lines = text.lines().count().max(1);
            assert!((1..=lines).contains(&problem.line), "of {lines} lines: {problem}");
            let columns = text.lines().nth(problem.line - 1).unwrap_or("").chars().count() + 1;
            assert!((1..=columns).contains(&problem.column), "of {columns} columns: {problem}");
        }
    }
});
