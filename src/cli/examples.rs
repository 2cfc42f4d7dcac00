//! What each command is called like: the examples at the end of its help and of its page in the manual.
//!
//! They stand here together so that a test can ask for each command's, and try them. Absent: what the
//! commands do.

use clap::Command;

/// A command by its words, and lines that somebody could type.
type Examples = (&'static str, &'static [&'static str]);

const EXAMPLES: &[Examples] = &[
    ("audit export", &["stanch audit export > audit.jsonl", "stanch audit export --since 7d"]),
    ("audit verify", &["stanch audit verify", "stanch audit verify --file audit.jsonl"]),
    ("drill", &["stanch drill", "stanch drill --tenant contoso --json"]),
    ("run", &["stanch run", "stanch --config stanch.yaml run"]),
    ("demo", &["stanch demo", "stanch demo --keep"]),
    ("check", &["stanch check", "stanch check --strict rules/", "stanch check rules/ --annotate github"]),
    (
        "explain",
        &[
            "stanch explain --alert alert.json --rules rules/",
            "stanch explain --alert da637551227677560813_-961444813 --tenant contoso",
        ],
    ),
    ("test", &["stanch test", "stanch test rules/ransomware.yml --json"]),
    ("schema", &["stanch schema rule > stanch-rule.schema.json", "stanch schema config"]),
    (
        "replay",
        &["stanch replay --since 30d --rules new-rules/", "stanch replay --alerts past.jsonl --rules a/ --against b/"],
    ),
    ("doctor", &["stanch doctor", "stanch --config stanch.yaml doctor --json"]),
    ("simulate", &["stanch simulate", "stanch simulate --devices 5000 --fault throttle=0.05 --seed 7 --time-scale 60"]),
    ("status", &["stanch status", "stanch status --json", "stanch status --url https://stanch.example.org:8787"]),
    (
        "alerts list",
        &["stanch alerts list --since 24h --limit 20", "stanch alerts list --device pc-17.contoso.example --json"],
    ),
    ("alerts show", &["stanch alerts show da637551227677560813_-961444813"]),
    ("actions list", &["stanch actions list --state held", "stanch actions list --kind restrict --since 7d --json"]),
    ("actions show", &["stanch actions show 0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"]),
    (
        "actions approve",
        &[
            "stanch actions approve 0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --why 'confirmed with the owner'",
            "stanch actions approve --rule 7c1d9c8e-2f0a-4b57-9d35-3f8a1b6c5d4e --why 'a real outbreak'",
        ],
    ),
    ("actions reject", &["stanch actions reject --all --why 'a test of the red team'"]),
    ("actions cancel", &["stanch actions cancel 0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --why 'wrong device'"]),
    ("actions retry", &["stanch actions retry 0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --why 'the device is back'"]),
    ("devices list", &["stanch devices list --state restricted", "stanch devices list --tenant contoso --json"]),
    ("devices show", &["stanch devices show 1e5bc9d7e413ddd7902c2932e418702b84d0cc07"]),
    (
        "devices restrict",
        &["stanch devices restrict 1e5bc9d7e413ddd7902c2932e418702b84d0cc07 --why 'seen in the proxy log'"],
    ),
    (
        "devices release",
        &[
            "stanch devices release 1e5bc9d7e413ddd7902c2932e418702b84d0cc07 --why 'cleaned'",
            "stanch devices release --all --why 'the outbreak is over'",
        ],
    ),
    ("pause", &["stanch pause --why 'the rule set is being looked at'"]),
    ("resume", &["stanch resume --why 'the rules are mended'"]),
    (
        "token create",
        &[
            "stanch token create --name night-shift --role operator --why 'for the desk'",
            "stanch token create --name ci --role viewer --expires 30d --why 'a dashboard'",
        ],
    ),
    ("rules acknowledge", &["stanch rules acknowledge --why 'the kiosks are gone'"]),
    ("token list", &["stanch token list"]),
    ("token revoke", &["stanch token revoke night-shift --why 'the desk has moved'"]),
    ("backup", &["stanch backup /var/backups/stanch.db"]),
    ("health", &["stanch health"]),
    ("completions", &["stanch completions bash > /etc/bash_completion.d/stanch", "stanch completions fish"]),
    ("man", &["stanch man | man -l -", "stanch man --out /usr/local/share/man/man1"]),
];

/// The tree, with its examples at the end of each command's help.
pub(super) fn added_to(tree: Command) -> Command {
    EXAMPLES.iter().fold(tree, |tree, (path, lines)| {
        let words: Vec<&str> = path.split(' ').collect();
        at(tree, &words, lines)
    })
}

/// The command, with these examples at the one below it that `path` leads to.
fn at(command: Command, path: &[&str], lines: &[&str]) -> Command {
    match path.split_first() {
        None => command.after_help(written(lines)),
        Some((first, rest)) => match command.find_subcommand(first).is_some() {
            true => command.mut_subcommand(*first, |below| at(below, rest, lines)),
            false => command,
        },
    }
}

fn written(lines: &[&str]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
    format!("{}:\n{}", if lines.len() == 1 { "Example" } else { "Examples" }, lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::super::command_tree;
    use super::super::test_daemon::words;
    use super::*;

    /// Every command that has none below it, by its words.
    fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
        let below: Vec<&Command> = command.get_subcommands().collect();
        if below.is_empty() {
            found.push(path.trim_start().to_owned());
        }
        for command in below {
            leaves(command, &format!("{path} {}", command.get_name()), found);
        }
    }

    #[test]
    fn every_command_has_examples_and_every_example_its_command() {
        let mut commands = Vec::new();
        leaves(&command_tree(), "", &mut commands);
        let mut named: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        commands.sort();
        named.sort_unstable();
        assert_eq!(named, commands);
    }

    #[test]
    fn every_example_is_a_call_that_would_be_understood() {
        for (path, lines) in EXAMPLES {
            for line in *lines {
                // What follows is for the shell.
                let call =
                    line.split([' ']).take_while(|word| !["|", ">"].contains(word)).collect::<Vec<_>>().join(" ");
                let understood = command_tree().try_get_matches_from(words(&call));
                assert!(understood.is_ok(), "{line}: {}", understood.unwrap_err());
                assert!(call.contains(path.split(' ').next_back().unwrap()), "{line} is no example of {path}");
            }
        }
    }

    #[test]
    fn they_stand_at_the_end_of_the_help() {
        let ran = super::super::test_daemon::run_with("devices release --help", None, &|_| None);
        let (_, examples) = ran.out.split_once("Examples:\n").unwrap();
        assert!(examples.starts_with("  stanch devices release 1e5bc9d7"), "{examples}");
    }
}
