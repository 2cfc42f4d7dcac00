//! Regular expressions.

use super::{ABSENT, Sentence};

const REGEX: &str = "modifiers, string modifiers, regular expression";

pub(super) const SENTENCES: &[Sentence] = &[
    Sentence {
        section: REGEX,
        says: "an expression is matched with regard to case, anywhere in the field",
        rows: &[
            ("f|re: 'b'", &[r#""abc""#], &[r#""aBc""#, "null", ABSENT]),
            ("f|re: '^a.c$'", &[r#""abc""#], &[r#""ABC""#, r#""xabc""#, r#""abcd""#]),
            ("f|re|cased: 'a'", &[r#""a""#], &[r#""A""#]),
            ("f|re: '^5$'", &["5"], &["55"]),
            ("f|re: 46", &["4625"], &["45"]),
            ("f|re: ''", &[r#""""#, r#""a""#], &["null", ABSENT]),
        ],
    },
    Sentence {
        section: REGEX,
        says: "its flavor is PCRE: a dot is any character but a line break, and a dollar the end, before a last line break too",
        rows: &[
            ("f|re: 'a.c'", &[r#""abc""#, r#""a\rc""#], &[r#""a\nc""#]),
            ("f|re: '^a$'", &[r#""a""#, r#""a\n""#], &[r#""a\nb""#, r#""a\n\n""#, r#""b\na""#]),
            (r"f|re: 'a\$'", &[r#""a$""#], &[r#""a""#]),
            ("f|re: 'a[$]b'", &[r#""a$b""#], &[r#""ab""#]),
            ("f|re: 'a(b$|c)d?'", &[r#""ab""#, r#""acd""#], &[r#""abd""#]),
        ],
    },
    Sentence {
        section: REGEX,
        says: "quantifiers, classes, alternatives and groups",
        rows: &[
            ("f|re: '^ab*c$'", &[r#""ac""#, r#""abbc""#], &[r#""adc""#]),
            ("f|re: '^ab+c$'", &[r#""abc""#], &[r#""ac""#]),
            ("f|re: '^ab?c$'", &[r#""ac""#, r#""abc""#], &[r#""abbc""#]),
            ("f|re: '^a{2,3}$'", &[r#""aa""#, r#""aaa""#], &[r#""a""#, r#""aaaa""#]),
            ("f|re: '^[a-c]$'", &[r#""b""#], &[r#""d""#, r#""B""#]),
            ("f|re: '^[^a-c]$'", &[r#""d""#, r#""B""#, r#""\n""#], &[r#""b""#]),
            ("f|re: '^(ab|cd)+$'", &[r#""abcd""#], &[r#""abc""#]),
            (r"f|re: 'a\*b\\'", &[r#""a*b\\""#], &[r#""aab""#]),
            ("f|re: ['^a', 'z$']", &[r#""ax""#, r#""xz""#, r#""xz\n""#], &[r#""xax""#]),
            ("f|re: ['(?i)ab(?-i)CD', '(?i)xy']", &[r#""ABCD""#, r#""XY""#], &[r#""ABcd""#]),
        ],
    },
    Sentence {
        section: REGEX,
        says: "i matches without regard to case",
        rows: &[
            ("f|re|i: '^a.c$'", &[r#""ABC""#], &[r#""abbc""#]),
            ("f|re|ignorecase: ['^a', '^É']", &[r#""Ab""#, r#""éa""#], &[r#""ba""#]),
        ],
    },
    Sentence {
        section: REGEX,
        says: "m: the anchors match at the start and end of each line",
        rows: &[
            ("f|re|m: '^b$'", &[r#""a\nb\nc""#, r#""b""#], &[r#""abc""#]),
            ("f|re|multiline: 'a$'", &[r#""a\nb""#], &[r#""ab""#]),
            ("f|re|i|m: '^B$'", &[r#""a\nb""#], &[r#""ab""#]),
        ],
    },
    Sentence {
        section: REGEX,
        says: "s: a dot matches a line break too",
        rows: &[
            ("f|re|s: '^a.c$'", &[r#""a\nc""#], &[r#""a\n\nc""#]),
            ("f|re|dotall: 'a.*c'", &[r#""a\n\nc""#], &[r#""ab""#]),
            ("f|re|i|m|s: '^b.c$'", &[r#""a\nB\nC\nd""#], &[r#""abc""#]),
        ],
    },
];
