//! Empty, null, absent, numbers and booleans.

use super::{ABSENT, Sentence};

const SPECIAL: &str = "rules, detection, special field values";
const EXISTENCE: &str = "rules, detection, field existence; modifiers, generic modifiers";
const MAPS: &str = "rules, detection, maps";
const GENERAL: &str = "rules, detection, general";

pub(super) const SENTENCES: &[Sentence] = &[
    Sentence {
        section: SPECIAL,
        says: "two quotes are an empty value",
        rows: &[
            ("f: ''", &[r#""""#, r#"["a", ""]"#], &[r#"" ""#, r#""a""#, r#""\n""#, "null", "0", "[]", ABSENT]),
            ("f: ['', a]", &[r#""""#, r#""A""#], &["null", ABSENT]),
            ("f|cased: ''", &[r#""""#], &[r#""a""#, "null"]),
        ],
    },
    Sentence {
        section: SPECIAL,
        says: "null is a null value; how that applies depends on the system: here an absent field is one",
        rows: &[
            ("f: null", &["null", ABSENT], &[r#""""#, r#""null""#, "0", "false", "[]", "{}", "[null]"]),
            ("f: ~", &["null", ABSENT], &[r#""~""#]),
            ("f:", &["null", ABSENT], &[r#""a""#]),
        ],
    },
    Sentence {
        section: EXISTENCE,
        says: "exists asks whether the field is there, whatever it holds, empty or null",
        rows: &[
            ("f|exists: true", &[r#""a""#, r#""""#, "null", "0", "false", "[]", "{}", "[null]"], &[ABSENT]),
            ("f|exists: false", &[ABSENT], &[r#""a""#, r#""""#, "null", "0", "false", "[]", "{}"]),
            ("f|exists: yes", &["null", "1"], &[ABSENT]),
            ("f|exists: 'no'", &[ABSENT], &["null", "1"]),
            ("{ f|exists: false, g: abc }", &[ABSENT], &["null"]),
            ("f.k|exists: true", &[r#"{"k": null}"#, r#"[{"k": 1}]"#], &[r#"{"l": 1}"#, "{}", "null", ABSENT]),
            ("f.k|exists: false", &[r#"{"l": 1}"#, "null", ABSENT], &[r#"{"k": null}"#, r#"{"k": 1}"#]),
        ],
    },
    Sentence {
        section: MAPS,
        says: "a value may be an integer; a field equals it as a number, however it is written",
        rows: &[
            (
                "f: 5",
                &["5", "5.0", r#""5""#, r#""5.0""#, "[4, 5]"],
                &["6", "-5", r#""55""#, r#""a""#, "true", "null", ABSENT],
            ),
            ("f: -5", &["-5", r#""-5""#], &["5"]),
            ("f: 0", &["0", r#""0""#, "-0.0"], &["1", r#""""#, "false", "null"]),
            ("f: 1", &["1"], &["true", r#""true""#]),
            ("f: 1.5", &["1.5", r#""1.5""#], &["1", "15", r#""1,5""#]),
            ("f: [5, a]", &["5", r#""A""#], &["6"]),
            ("f: [5, 'a*c']", &["5", r#""a\nc""#], &["55"]),
            ("f: '5'", &["5", r#""5""#], &[r#""5.0""#, "55"]),
            ("f: '5*'", &["5", "512", r#""5a""#], &["15"]),
            ("f: '?'", &["5"], &["15"]),
        ],
    },
    Sentence {
        section: MAPS,
        says: "integers are equal when all their digits are",
        rows: &[
            (
                "f: 9007199254740993",
                &["9007199254740993", r#""9007199254740993""#, r#""09007199254740993.0""#],
                &[
                    "9007199254740992",
                    "9007199254740994",
                    r#""9007199254740992""#,
                    r#""19007199254740993""#,
                    "-9007199254740993",
                    "null",
                    ABSENT,
                ],
            ),
            ("f: 9007199254740992", &["9007199254740992"], &["9007199254740993", "9007199254740991"]),
            ("f: -9007199254740993", &["-9007199254740993"], &["-9007199254740992", "9007199254740993"]),
            ("f: 9223372036854775807", &["9223372036854775807"], &["9223372036854775806", "9223372036854775808"]),
            ("f: -9223372036854775808", &["-9223372036854775808"], &["-9223372036854775807"]),
            ("f: '18446744073709551615'", &["18446744073709551615"], &["18446744073709551614"]),
            ("f: [1, 9007199254740993]", &["1", "9007199254740993"], &["9007199254740992"]),
            ("f|contains: '0993'", &["9007199254740993"], &["9007199254740992"]),
            ("f: 9007199254740991", &["9007199254740991"], &["9007199254740992", "9007199254740990"]),
        ],
    },
    Sentence {
        section: GENERAL,
        says: "values are strings without regard to case: a boolean is its word",
        rows: &[
            (
                "f: true",
                &["true", r#""true""#, r#""True""#, "[false, true]"],
                &["false", "1", r#""1""#, r#""yes""#, "null", ABSENT],
            ),
            ("f: false", &["false", r#""FALSE""#], &["true", "0", r#""no""#, r#""""#, "null", ABSENT]),
            ("f: 'true'", &["true", r#""TRUE""#], &["false"]),
            ("f: ['true', 5]", &["true", "5"], &["false"]),
        ],
    },
];
