//! Lists of values, lists in events, and words that may stand anywhere.

use super::{ABSENT, Sentence};

const LISTS: &str = "rules, detection, lists";
const KEYWORDS: &str = "rules, detection, keywords search";
const GENERIC: &str = "modifiers, generic modifiers";
const ARRAYS: &str = "the library's array matching, Sigma 3";

pub(super) const SENTENCES: &[Sentence] = &[
    Sentence {
        section: GENERIC,
        says: "the values of a list are alternatives",
        rows: &[
            ("f: [a, b]", &[r#""a""#, r#""B""#], &[r#""ab""#, r#""c""#]),
            ("f|contains: [ab, cd]", &[r#""xcd""#], &[r#""ac""#]),
            ("f: [a]", &[r#""a""#], &[r#""b""#]),
        ],
    },
    Sentence {
        section: GENERIC,
        says: "with all, each value of a list must match",
        rows: &[
            ("f|contains|all: [a, b]", &[r#""b-a""#, r#""B\nA""#], &[r#""a""#, r#""b""#, "null", ABSENT]),
            ("f|contains|all: ['a*c', 'x?z']", &[r#""a\nc x\nz""#, r#""xyzabc""#], &[r#""abc""#, r#""xz ac""#]),
            ("f|contains|all: ['-a', 'b*c']", &[r#""bxc -a""#], &[r#""bxc""#]),
            ("f|all: ['a*', '*c']", &[r#""abc""#], &[r#""ab""#]),
            ("f|startswith|all: [a, 'a?c']", &[r#""abcd""#], &[r#""acd""#]),
            ("f|contains|all|cased: [A, 'b*C']", &[r#""AbxC""#], &[r#""abxC""#]),
            ("f|re|all: ['a.c', '^x']", &[r#""xabc""#], &[r#""abc""#, r#""xac""#]),
        ],
    },
    Sentence {
        section: ARRAYS,
        says: "of a list in an event any member may match",
        rows: &[
            ("f: a", &[r#"["b", "A"]"#], &[r#"["b"]"#, "[]", r#"[["b"]]"#]),
            ("f: 'a*c'", &[r#"["b", "a\nc"]"#], &[r#"["a", "c"]"#]),
            ("f|endswith: '*x.exe'", &[r#"["b", "ax.exe"]"#], &[r#"["x.exe.bak"]"#]),
            ("f: 9007199254740993", &["[1, 9007199254740993]"], &["[9007199254740992]"]),
            ("f|re: '^a$'", &[r#"["b", "a"]"#], &[r#"["ab"]"#]),
            ("f.k: 'a*c'", &[r#"[{"k": "b"}, {"k": "a\nc"}]"#, r#"{"k": "abc"}"#], &[r#"[{"l": "abc"}]"#]),
            ("'f[any]': 'a*c'", &[r#"["b", "a\nc"]"#], &[r#"["ab"]"#]),
            ("'f[all]|startswith': 'a*c'", &[r#"["abcd", "a\nc"]"#], &[r#"["abc", "xabc"]"#, "[]"]),
            ("'f[none]|endswith': 'a*c'", &[r#"["acx"]"#, "[]"], &[r#"["x", "xac"]"#]),
            ("'f[any]|contains|all': [a, 'b*c']", &[r#"["abxc"]"#], &[r#"["a", "bxc"]"#]),
            (
                "'f[any]': { k|startswith: 'a*c', l: 5 }",
                &[r#"[{"k": "abcd", "l": 5}]"#],
                &[r#"[{"k": "xabc", "l": 5}]"#, r#"[{"k": "abc"}, {"l": 5}]"#],
            ),
            ("'f[any]': { k|exists: false, l: 5 }", &[r#"[{"l": 5}]"#], &[r#"[{"l": 5, "k": null}]"#]),
            ("'f[any]': { k|exists: true, l: 5 }", &[r#"[{"l": 5, "k": null}]"#], &[r#"[{"l": 5}]"#]),
            ("'f[0]': 'a*c'", &[r#"["a\nc"]"#], &[r#"["b", "ac"]"#]),
        ],
    },
    Sentence {
        section: LISTS,
        says: "a list of strings is applied to the whole message, any of them",
        rows: &[
            (
                "- EVILSERVICE\n    - 'svchost.exe -n evil'",
                &[r#""an evilservice""#, r#"{"k": ["x svchost.exe -n evil"]}"#],
                &[r#""svchost.exe""#, "null", ABSENT],
            ),
            ("- 'a*z'\n    - nothing", &[r#""x a\nz x""#, r#"["xx", "axz"]"#], &[r#""za""#]),
            ("- 'k?z'", &[r#""xk\nzx""#], &[r#""kz""#]),
            (r"- 'k\*z'", &[r#""k*z""#], &[r#""kxz""#]),
            ("- 4625\n    - nothing", &[r#""event 4625""#, "4625", r#"{"k": 4625}"#], &["462", r#""4 625""#]),
            ("- true", &[r#""it is true""#], &[r#""yes""#]),
            ("- 'ΟΔΟΣ'", &[r#""η ΟΔΟΣΑ""#], &[r#""οδο""#]),
        ],
    },
    Sentence {
        section: LISTS,
        says: "the maps of a list are alternatives",
        rows: &[("- f: 'a*c'\n    - f|endswith: '?d'", &[r#""a\nc""#, r#""xd""#], &[r#""d""#, r#""acx""#])],
    },
    Sentence {
        section: KEYWORDS,
        says: "with all, every word must be somewhere in the event",
        rows: &[
            (
                "'|all': [OabVirtualDirectory, ' -ExternalUrl ']",
                &[
                    r#""set oabvirtualdirectory -externalurl x""#,
                    r#"["OabVirtualDirectory", "a -ExternalUrl b"]"#,
                    r#"{"k": "OabVirtualDirectory", "l": "a -ExternalUrl b"}"#,
                ],
                &[r#""OabVirtualDirectory""#, r#"" -ExternalUrl ""#, ABSENT],
            ),
            ("'|all': ['k*z', 4625]", &[r#"{"k": "k\nz", "l": 4625}"#], &[r#""kz""#, "4625"]),
            ("{ '|all': [kay, zed], f: '*k*' }", &[r#""kay zed""#], &[r#""kay""#, r#""zed k""#]),
            ("'|contains|all': [kay, zed]", &[r#""kay zed""#, r#"["zeds", "okay"]"#], &[r#""kay""#]),
        ],
    },
    Sentence {
        section: KEYWORDS,
        says: "modifiers apply to words as to values",
        rows: &[
            ("'|re': 'k.y$'", &[r#""a kay""#, r#"["kzy"]"#], &[r#""kayo""#]),
            ("'|cased': Kay", &[r#""okKay""#], &[r#""kay""#]),
            ("'|startswith': 'k*y'", &[r#""k\nyo""#], &[r#""okay""#]),
            ("'|windash': ' -kay'", &[r#""a /kay""#], &[r#""a kay""#]),
        ],
    },
];
