//! `stanch man`: the manual, a page for the program and one for each command.
//!
//! The pages are made of the command tree, so they say what `--help` says. Absent: formatting for a screen,
//! which is `man`'s work.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;

use super::exit::Exit;
use super::output::plain;
use super::surroundings::Surroundings;

/// Where the pages go.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// Write all pages into this folder, and make it if it is not there: stanch.1, stanch-run.1 and so on
    /// [default: print stanch(1)]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints the page of the program, or writes all pages.
pub(super) fn run(target: &Target, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let mut tree = super::command_tree().disable_help_subcommand(true);
    tree.build();
    let Some(folder) = &target.out else {
        around.out.write_all(&page(tree)?)?;
        return Ok(Exit::Done);
    };
    fs::create_dir_all(folder).with_context(|| format!("can not make the folder {}", folder.display()))?;
    let written = write_all(tree, folder)?;
    let told = format!("{written} pages are in {}", folder.display());
    super::screen(around.out, around.out_terminal).line(&[plain(told)])?;
    Ok(Exit::Done)
}

/// Writes the page of a command and those of the commands below it, and counts them.
fn write_all(command: Command, folder: &Path) -> anyhow::Result<usize> {
    let below: Vec<Command> = command.get_subcommands().cloned().collect();
    let file = folder.join(Man::new(command.clone()).get_filename());
    fs::write(&file, page(command)?).with_context(|| format!("can not write {}", file.display()))?;
    below.into_iter().try_fold(1, |written, command| Ok(written + write_all(command, folder)?))
}

/// One page, as roff.
fn page(command: Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    let source = concat!("stanch ", env!("CARGO_PKG_VERSION"));
    Man::new(command).manual("stanch").source(source).render(&mut page)?;
    page.flush()?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::test_daemon::run_with;

    /// Sees to it that `text` is a page of `title`, and gives it.
    #[track_caller]
    fn is_page(text: String, title: &str) -> String {
        let head = text.lines().find(|line| line.starts_with(".TH")).unwrap();
        assert!(head.starts_with(&format!(".TH {title} 1")), "{head}");
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH EXTRA"] {
            assert!(text.contains(section), "{title} has no {section}");
        }
        // What is not known to roff would be dropped without a word. Source: groff_man(7).
        let known = [".TH", ".SH", ".TP", ".PP", ".br", ".sp", ".RS", ".RE", ".nf", ".fi", ".ie", ".el", ".in"];
        for line in text.lines().filter(|line| line.starts_with('.')) {
            assert!(known.iter().any(|request| line.starts_with(request)), "{title}: {line}");
        }
        text
    }

    #[test]
    fn without_a_folder_the_page_of_the_program_is_printed() {
        let ran = run_with("man", None, &|_| None);
        assert_eq!((ran.code(), ran.err.as_str()), (0, ""));
        let page = is_page(ran.out, "stanch");
        assert!(page.contains(".SH \"GLOBAL OPTIONS\"") && page.contains("stanch\\-devices(1)"), "{page}");
    }

    #[test]
    fn into_a_folder_goes_a_page_for_each_command() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("man/man1");
        let ran = run_with(&format!("man --out {}", pages.display()), None, &|_| None);
        assert_eq!(ran.code(), 0, "{}", ran.err);
        let names: BTreeSet<String> =
            std::fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        for name in ["stanch.1", "stanch-run.1", "stanch-actions.1", "stanch-actions-approve.1", "stanch-man.1"] {
            assert!(names.contains(name), "{names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
        assert!(ran.out.starts_with(&format!("{} pages", names.len())), "{}", ran.out);
        let page = std::fs::read_to_string(pages.join("stanch-devices-release.1")).unwrap();
        let page = is_page(page, "stanch-devices-release");
        assert!(page.contains("\\-\\-rule") && page.contains("Examples:"), "{page}");
    }

    #[test]
    fn a_folder_that_can_not_be_made_is_named() {
        let ran = run_with("man --out /dev/null/man", None, &|_| None);
        assert_eq!(ran.code(), 2);
        assert!(ran.err.contains("can not make the folder /dev/null/man"), "{}", ran.err);
    }
}
