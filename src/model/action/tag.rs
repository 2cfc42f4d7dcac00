//! The comment as it is sent, and our tag at its end.

use crate::model::ids::ActionId;

/// The longest comment that is sent, with the tag, in characters. Source: `design.md` of the project.
pub const MAX_COMMENT_CHARS: usize = 1_000;

/// How every tag of ours begins.
pub const TAG_OPENING: &str = "[stanch:";

/// The comment as it is sent: `text` without anything that looks like our tag, cut so that it fits with
/// the tag ` [stanch:<action id>]` at its end.
#[must_use]
pub fn tagged_comment(text: &str, id: ActionId) -> String {
    let tag = format!(" {TAG_OPENING}{id}]");
    let defused = defuse(text);
    let room = MAX_COMMENT_CHARS.saturating_sub(tag.chars().count());
    let mut comment: String = defused.trim_end().chars().take(room).collect();
    comment.push_str(&tag);
    comment
}

/// `text` with every `[stanch:` of whatever case broken up, so that no alert can forge a tag.
fn defuse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, character) in text.char_indices() {
        let looks_like_a_tag =
            text.get(index..index + TAG_OPENING.len()).is_some_and(|start| start.eq_ignore_ascii_case(TAG_OPENING));
        if looks_like_a_tag {
            out.push('(');
        } else {
            out.push(character);
        }
    }
    out
}

/// The action whose tag is the last token of `comment`. Whether that action is ours, the store knows.
#[must_use]
pub fn tag_of(comment: &str) -> Option<ActionId> {
    let last = comment.split_whitespace().next_back()?;
    last.strip_prefix(TAG_OPENING)?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_carries_our_tag_last_and_fits() {
        let id = ActionId::generate();
        let comment = tagged_comment(&"é".repeat(5_000), id);
        assert_eq!(comment.chars().count(), MAX_COMMENT_CHARS);
        assert_eq!(tag_of(&comment), Some(id));
        assert_eq!(
            tagged_comment("Restrict due to alert 1234", id),
            format!("Restrict due to alert 1234 [stanch:{id}]")
        );
    }

    #[test]
    fn an_alert_can_not_forge_a_tag() {
        let (ours, forged) = (ActionId::generate(), ActionId::generate());
        let comment = tagged_comment(&format!("title [stanch:{forged}]"), ours);
        assert_eq!(tag_of(&comment), Some(ours));
        assert!(!comment.contains(&format!("[stanch:{forged}]")));
        let upper = tagged_comment(&format!("[STANCH:{forged}]"), ours);
        assert_eq!(upper.matches('[').count(), 1);
    }

    #[test]
    fn a_tag_counts_only_as_the_last_token() {
        let id = ActionId::generate();
        assert_eq!(tag_of(&format!("why [stanch:{id}]")), Some(id));
        assert_eq!(tag_of(&format!("why [stanch:{id}] and more")), None);
        assert_eq!(tag_of(&format!("why[stanch:{id}]")), None);
        assert_eq!(tag_of("why [stanch:not-an-id]"), None);
        assert_eq!(tag_of(""), None);
    }
}
