//! The users of this machine, as passwd(5) lists them: `name:password:UID:...`. Absent: reading the file.

/// Where they are listed.
pub const PASSWD: &str = "/etc/passwd";

/// No list of local users is longer, in bytes.
pub const MOST_PASSWD_BYTES: u64 = 4 << 20;

/// Names that act in the history without being a user, and the one that every machine has.
const OURS: [&str; 4] = ["stanch", "microsoft", "rule", "root"];

/// The name of a user: the first that is listed.
#[must_use]
pub fn name_of(uid: u32, passwd: &str) -> Option<&str> {
    listed(passwd).find(|(_, id)| *id == Some(uid)).map(|(name, _)| name)
}

/// Why an API token must not have this name; `None` when it may. It would be taken for somebody else.
#[must_use]
pub fn taken(name: &str, passwd: &str) -> Option<&'static str> {
    if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return Some("stanch uses that name for itself or the system");
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("a user without a name is called by such a number");
    }
    let is_user = listed(passwd).any(|(user, _)| user.eq_ignore_ascii_case(name));
    is_user.then_some("a user of this machine has that name")
}

fn listed(passwd: &str) -> impl Iterator<Item = (&str, Option<u32>)> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        Some((name, fields.nth(1).and_then(|id| id.parse().ok())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "root:x:0:0:root:/root:/bin/sh\n# a remark\n::7:\n\nAna:x:1000:1000::/home/ana:/bin/sh\n\
                          toor:x:0:0::/:/bin/sh\nbroken:x\nbad:x:-1:0\n";

    #[test]
    fn a_user_has_the_first_name_that_is_listed() {
        assert_eq!(name_of(0, LISTED), Some("root"));
        assert_eq!(name_of(1000, LISTED), Some("Ana"));
        assert_eq!(name_of(7, LISTED), None);
        assert_eq!(name_of(1001, LISTED), None);
        assert_eq!(name_of(0, ""), None);
    }

    #[test]
    fn names_of_users_and_of_our_own_actors_are_taken_in_any_case() {
        for name in ["stanch", "microsoft", "rule", "root", "ana", "toor", "broken", "bad", "1000"] {
            assert!(taken(name, LISTED).is_some(), "{name}");
            assert!(taken(&name.to_uppercase(), LISTED).is_some(), "{name}");
        }
        for name in ["bob", "an", "anas", "x", "7f", "stanch2"] {
            assert_eq!(taken(name, LISTED), None, "{name}");
        }
        assert!(taken("rule", "").is_some());
    }
}
