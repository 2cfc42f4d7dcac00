//! `stanch completions SHELL`: what a shell completes.
//!
//! It is made of the command tree itself, so it knows each command and option that there is. Absent: where
//! a shell looks for it (`docs/reference/shell.md`).

use clap::Args;
use clap_complete::{Shell, generate};

use super::exit::Exit;
use super::surroundings::Surroundings;

/// For which shell.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Target {
    /// The shell that is to complete
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the shell's script.
pub(super) fn run(target: Target, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let mut tree = super::command_tree();
    let name = tree.get_name().to_owned();
    // Written to memory first: a reader that goes away must not end the program halfway.
    let mut script = Vec::new();
    generate(target.shell, &mut tree, name, &mut script);
    around.out.write_all(&script)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::super::test_daemon::run_with;

    fn script(shell: &str) -> String {
        let ran = run_with(&format!("completions {shell}"), None, &|_| None);
        assert_eq!((ran.code(), ran.err.as_str()), (0, ""), "{shell}");
        ran.out
    }

    /// What bash says when it is given `input`.
    fn bash(arguments: &[&str], input: &str) -> String {
        let mut bash = Command::new("bash")
            .args(["--norc", "--noprofile"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        bash.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = bash.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What bash offers for the last of `words`.
    fn offered(words: &[&str]) -> Vec<String> {
        let (last, before) = (words.len() - 1, words[words.len() - 2]);
        let quoted = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let ask = format!(
            "COMP_WORDS=({quoted}) COMP_CWORD={last}; _stanch stanch '{}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words[last]
        );
        bash(&["-s"], &format!("{}\n{ask}\n", script("bash"))).lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_accepts_its_script_and_offers_commands_options_and_values() {
        bash(&["-n"], &script("bash"));
        assert_eq!(offered(&["stanch", "dev"]), ["devices"]);
        assert_eq!(offered(&["stanch", "actions", "app"]), ["approve"]);
        assert_eq!(offered(&["stanch", "devices", "release", "--ru"]), ["--rule"]);
        assert_eq!(offered(&["stanch", "actions", "list", "--state", "he"]), ["held"]);
    }

    #[test]
    fn every_shell_has_its_script_and_another_word_is_refused() {
        for (shell, sign) in [
            ("zsh", "#compdef stanch"),
            ("fish", "complete -c stanch"),
            ("elvish", "set edit:completion:arg-completer[stanch]"),
            ("powershell", "Register-ArgumentCompleter"),
        ] {
            let script = script(shell);
            assert!(script.contains(sign) && script.contains("approve"), "{shell}: {script}");
        }
        assert_eq!(run_with("completions tcsh", None, &|_| None).code(), 2);
    }
}
