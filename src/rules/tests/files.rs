//! Rule files on a real disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::rules::RuleSet;

fn names(dir: &Path) -> Vec<String> {
    let files = RuleSet::read(dir).unwrap();
    files.iter().map(|file| file.path.strip_prefix(dir).unwrap().display().to_string()).collect()
}

fn refusal(path: &Path) -> String {
    RuleSet::read(path).unwrap_err().to_string()
}

#[test]
fn yml_and_yaml_files_are_read_in_order_and_hidden_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("team/.git")).unwrap();
    for name in ["b.yml", "a.yaml", "team/c.yml", ".hidden.yml", "team/.git/d.yml", "notes.txt", "b.yml.swp"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    assert_eq!(names(dir.path()), ["a.yaml", "b.yml", "team/c.yml"]);
    assert_eq!(RuleSet::read(&dir.path().join("b.yml")).unwrap()[0].text, "b.yml");
}

#[test]
fn a_config_map_is_read_through_its_links_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("..2026_11_23")).unwrap();
    fs::write(dir.path().join("..2026_11_23/rule.yml"), "title: A\n").unwrap();
    symlink("..2026_11_23", dir.path().join("..data")).unwrap();
    symlink("..data/rule.yml", dir.path().join("rule.yml")).unwrap();
    assert_eq!(names(dir.path()), ["rule.yml"]);
}

#[test]
fn a_link_back_to_a_folder_ends() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yml"), "").unwrap();
    symlink(dir.path(), dir.path().join("loop")).unwrap();
    assert_eq!(names(dir.path()), ["a.yml"]);
}

#[test]
fn what_can_not_be_read_is_refused_all_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("large.yml"), vec![b'a'; 1024 * 1024 + 1]).unwrap();
    fs::write(dir.path().join("latin.yml"), b"title: caf\xe9\n").unwrap();
    symlink("gone", dir.path().join("broken.yml")).unwrap();
    let problems = refusal(dir.path());
    let expected = [
        "broken.yml:1:1: can not be read: ",
        "large.yml:1:1: is larger than 1 MiB",
        "latin.yml:1:1: is not UTF-8: byte 10",
    ];
    for (line, expected) in problems.lines().zip(expected) {
        assert!(line.contains(expected), "{problems}");
    }
    assert_eq!(problems.lines().count(), 3, "{problems}");

    assert!(refusal(&dir.path().join("nowhere")).contains("nowhere:1:1: can not be read: "));
}

#[test]
fn a_named_pipe_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket.yml");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(refusal(dir.path()).ends_with("socket.yml:1:1: is no regular file"));
}
