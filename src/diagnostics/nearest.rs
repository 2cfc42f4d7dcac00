//! The nearest known word.

/// The candidate that `word` was most likely meant to be, if one is near enough to be worth saying.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let most = (word.chars().count() / 3).max(1) + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= most && distance < candidate.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The candidate that `word` is by two slips at most, digits aside: for words that may well be right, as
/// `WindowsServer2028` may be one day. `None` for a candidate itself.
#[must_use]
pub fn slip<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const MOST: usize = 2;
    let lower = word.to_lowercase();
    let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    candidates
        .into_iter()
        .map(|candidate| (candidate.to_lowercase(), candidate))
        .filter(|(known, _)| known.chars().count() > 2 * MOST && letters(known) != letters(&lower))
        .map(|(known, candidate)| (distance(&lower, &known), candidate))
        .filter(|&(distance, _)| distance <= MOST)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The candidate that `word` is by one wrong letter in three, two at most: for words that may well be another's.
/// `None` for a candidate itself.
#[must_use]
pub fn typo<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const MOST: usize = 2;
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance > 0 && distance <= MOST.min(candidate.chars().count() / 3))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The candidate that `word` nearly is, or is but for case: by one edit where the candidate has four letters, by two from
/// five and by three from eight on. For words that may be anybody's own, so that short candidates are not found in
/// everything.
#[must_use]
pub fn near_miss<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let most = |candidate: &str| match candidate.chars().count() {
        0..=3 => 0,
        4 => 1,
        5..=7 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= most(candidate))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words, each cut to 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&last, j) + usize::from(from != to)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(&to) && b.get(j - 1) == Some(&from);
            if swapped {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let words = ["response", "detection", "title", "level"];
        assert_eq!(nearest("respone", words), Some("response"));
        assert_eq!(nearest("detecton", words), Some("detection"));
        assert_eq!(nearest("Tilte", words), Some("title"));
        assert_eq!(nearest("zzzzzz", words), None);
        assert_eq!(nearest("", words), None);
    }

    #[test]
    fn a_typo_is_nearer_than_another_word() {
        let words = ["guards", "store", "rules"];
        for (word, found) in [("gaurds", "guards"), ("gards", "guards"), ("stor", "store"), ("rule", "rules")] {
            assert_eq!(typo(word, words), Some(found));
        }
        for fine in ["guards", "stage", "state", "guest", "role", "x", ""] {
            assert_eq!(typo(fine, words), None, "{fine}");
        }
    }

    #[test]
    fn a_near_miss_of_a_long_word_may_have_more_slips_than_one_of_a_short() {
        let words = ["id", "name", "title", "status", "response"];
        for (word, near) in
            [("ID", "id"), ("nam", "name"), ("titel", "title"), ("Status", "status"), ("rspons", "response")]
        {
            assert_eq!(near_miss(word, words), Some(near), "{word}");
        }
        for own in ["enrichment", "ticket", "note", "source", "owner", "ids", "custom", ""] {
            assert_eq!(near_miss(own, words), None, "{own}");
        }
    }

    #[test]
    fn a_slip_is_near_and_no_other_number() {
        let words = ["Ransomware", "WindowsServer2022", "MTP"];
        assert_eq!(slip("ransomwre", words), Some("Ransomware"));
        assert_eq!(slip("WindowServer2022", words), Some("WindowsServer2022"));
        for fine in ["ransomware", "WindowsServer2028", "MCP", "Ransom", "Software"] {
            assert_eq!(slip(fine, words), None, "{fine}");
        }
    }
}
