//! Numbers, times, networks, other fields, and what is different.

use super::{ABSENT, Sentence};

const NUMERIC: &str = "modifiers, numeric modifiers";
const TIME: &str = "modifiers, time modifiers";
const IP: &str = "modifiers, IP modifiers";
const SPECIFIC: &str = "modifiers, specific modifiers";
const GENERIC: &str = "modifiers, generic modifiers";

pub(super) const SENTENCES: &[Sentence] = &[
    Sentence {
        section: NUMERIC,
        says: "gt, gte, lt and lte compare a field with a number",
        rows: &[
            (
                "f|gt: 5",
                &["6", "5.1", r#""6""#, "[1, 6]", "9007199254740993"],
                &["5", "-6", r#""x""#, "true", "null", ABSENT],
            ),
            ("f|gte: 5", &["5", "5.0", r#""5""#], &["4", "4.9", "null", ABSENT]),
            ("f|lt: 5", &["4", "-9007199254740993", "4.9"], &["5", "6", r#""""#, "null", ABSENT]),
            ("f|lte: 5", &["5", "4"], &["5.1", "6", ABSENT]),
            ("f|gt: '5'", &["6"], &["5"]),
            ("f|gt: 1.5", &["2", "1.6"], &["1.5", "1"]),
            ("f|lt: [5, 10]", &["7"], &["10"]),
        ],
    },
    Sentence {
        section: NUMERIC,
        says: "integers are compared by all their digits",
        rows: &[
            (
                "f|gt: 9007199254740992",
                &["9007199254740993", "10000000000000000", r#""9007199254740993""#, r#""9007199254740992.5""#],
                &["9007199254740992", "9007199254740991", "8999999999999999", "5", "-9007199254740993", "null", ABSENT],
            ),
            (
                "f|gte: 9007199254740993",
                &["9007199254740993", "9007199254740994", "18446744073709551615"],
                &["9007199254740992", "0"],
            ),
            (
                "f|lt: 9007199254740994",
                &["9007199254740993", "0", "-1", "1.5", "-9007199254740995"],
                &["9007199254740994", "9007199254740995", "10000000000000000"],
            ),
            ("f|lte: 9007199254740993", &["9007199254740993", "9007199254740992"], &["9007199254740994"]),
            (
                "f|gt: -9007199254740994",
                &["-9007199254740993", "0", "9007199254740995", "-1.5"],
                &["-9007199254740994", "-9007199254740995", "-10000000000000000"],
            ),
            (
                "f|lt: -9007199254740993",
                &["-9007199254740994", "-9223372036854775808"],
                &["-9007199254740993", "-1", "1"],
            ),
            ("f|gte: -9007199254740993", &["-9007199254740993"], &["-9007199254740994"]),
            ("f|lte: -9007199254740993", &["-9007199254740993"], &["-9007199254740992"]),
            ("f|gt: 9223372036854775807", &["18446744073709551615", "9223372036854775808"], &["9223372036854775807"]),
        ],
    },
    Sentence {
        section: GENERIC,
        says: "neq: the field is different from the values; an absent field is not there to differ, and null differs",
        rows: &[
            ("f|neq: abc", &[r#""abd""#, r#""""#, "5", "null", r#"["x"]"#], &[r#""ABC""#, r#"["x", "abc"]"#, ABSENT]),
            ("f|neq: [a, b]", &[r#""c""#], &[r#""A""#, r#""b""#, ABSENT]),
            ("f|neq: 'a*c'", &[r#""acd""#, r#""xac""#], &[r#""a\nc""#, ABSENT]),
            ("f|neq: 5", &["6", r#""a""#], &["5", r#""5""#, ABSENT]),
            ("f|neq: 9007199254740993", &["9007199254740992"], &["9007199254740993"]),
            ("f|neq: ''", &[r#""a""#, "null"], &[r#""""#, ABSENT]),
            ("f|neq: null", &[r#""a""#, r#""""#], &["null", ABSENT]),
            ("f|neq: true", &["false"], &["true", r#""TRUE""#]),
            ("f|contains|neq: 'b'", &[r#""ac""#], &[r#""abc""#]),
            ("f|startswith|neq: 'a?c'", &[r#""xabc""#], &[r#""abcd""#]),
            ("f|neq|cased: Abc", &[r#""abc""#], &[r#""Abc""#]),
            ("f|re|neq: '^a.c$'", &[r#""abcd""#], &[r#""abc""#]),
            ("f|fieldref|neq: g", &[r#""abd""#], &[r#""ABC""#, ABSENT]),
            ("f|cidr|neq: 10.0.0.0/8", &[r#""11.0.0.1""#], &[r#""10.0.0.1""#]),
            ("f|gt|neq: 5", &["5"], &["6"]),
        ],
    },
    Sentence {
        section: TIME,
        says: "minute, hour, day, week, month and year are numbers taken from a date",
        rows: &[
            ("f|minute: 30", &[r#""2026-11-23T10:30:59Z""#], &[r#""2026-11-23T10:31:00Z""#, "null", ABSENT]),
            ("f|hour: 0", &[r#""2026-11-23T00:30:00.1234567Z""#], &[r#""2026-11-23T10:00:00Z""#]),
            ("f|hour: [22, 23]", &[r#""2026-11-23T23:30:00Z""#], &[r#""2026-11-23T21:30:00Z""#]),
            ("f|day: 23", &[r#""2026-11-23T10:30:00Z""#], &[r#""2026-11-24T10:30:00Z""#]),
            ("f|week: 48", &[r#""2026-11-23T10:30:00Z""#], &[r#""2026-11-16T10:30:00Z""#]),
            ("f|month: 11", &[r#""2026-11-23T10:30:00Z""#], &[r#""2026-12-23T10:30:00Z""#, r#""november""#]),
            ("f|year: 2026", &[r#""2026-11-23T10:30:00Z""#], &[r#""2027-11-23T10:30:00Z""#]),
            ("f|hour: '7'", &[r#""2026-11-23T07:30:00Z""#], &[r#""2026-11-23T17:30:00Z""#]),
            ("f|hour|neq: 7", &[r#""2026-11-23T08:30:00Z""#], &[r#""2026-11-23T07:30:00Z""#]),
        ],
    },
    Sentence {
        section: IP,
        says: "cidr: the address is in the network, IPv4 or IPv6",
        rows: &[
            (
                "f|cidr: 10.0.0.0/8",
                &[r#""10.1.2.3""#, r#"["1.1.1.1", "10.0.0.1"]"#],
                &[r#""11.1.2.3""#, r#""10.1.2""#, r#""::1""#, "10", "null", ABSENT],
            ),
            ("f|cidr: 'fe80::/10'", &[r#""fe80::1""#, r#""FE80::1""#], &[r#""::1""#]),
            ("f|cidr: [192.168.0.0/16, 'fe80::/10']", &[r#""192.168.3.4""#, r#""fe80::2""#], &[r#""10.0.0.1""#]),
        ],
    },
    Sentence {
        section: SPECIFIC,
        says: "fieldref: the value is the name of a field, whose value is compared with",
        rows: &[
            ("f|fieldref: g", &[r#""abc""#, r#""ABC""#], &[r#""abcd""#, r#""g""#, "null", ABSENT]),
            ("f|fieldref|cased: g", &[r#""abc""#], &[r#""ABC""#]),
            ("f|fieldref|startswith: g", &[r#""abcd""#], &[r#""dabc""#]),
            ("f|fieldref|endswith: g", &[r#""dABC""#], &[r#""abcd""#]),
            ("f|fieldref|contains: g", &[r#""xabcx""#], &[r#""abxc""#, ABSENT]),
            ("f|fieldref: [x, g]", &[r#""abc""#], &[r#""x""#]),
            ("f|fieldref: h", &[], &["null", r#""a""#, ABSENT]),
            ("f|fieldref: g", &[r#"["x", "ABC"]"#], &[r#"["x"]"#, "[]"]),
            (
                "f.k|fieldref: g",
                &[r#"[{"k": "x"}, {"k": "abc"}]"#, r#"{"k": "abc"}"#],
                &[r#"[{"k": "x"}, {"l": "abc"}]"#],
            ),
            ("g|fieldref: f", &[r#"["x", "abc"]"#, r#""abc""#], &[r#"["x"]"#, ABSENT]),
            ("g|fieldref: f.k", &[r#"[{"k": "x"}, {"k": "abc"}]"#], &[r#"[{"k": "x"}]"#]),
            ("f|fieldref|neq: g", &[r#"["x"]"#, r#""x""#, "null"], &[r#"["x", "abc"]"#, r#""abc""#, ABSENT]),
            ("'f[any]': { k|fieldref: g }", &[r#"[{"k": ["x", "abc"]}]"#, r#"[{"k": "abc"}]"#], &[r#"[{"k": "x"}]"#]),
        ],
    },
];
