//! Dashes, UTF-16 and base64.

use super::{ABSENT, Sentence};

const STRING: &str = "modifiers, string modifiers";
const ENCODING: &str = "modifiers, string modifiers, encoding";
const ORDER: &str = "rules, detection, value modifiers";

pub(super) const SENTENCES: &[Sentence] = &[
    Sentence {
        section: STRING,
        says: "windash: dashes of every kind and the slash stand for each other",
        rows: &[
            (
                "f|windash|contains: ' -x '",
                &[r#""a -x b""#, r#""a /x b""#, r#""a \u2013x b""#, r#""a \u2014X b""#, r#""a \u2015x b""#],
                &[r#""a +x b""#, r#""a x b""#, "null", ABSENT],
            ),
            ("f|windash|contains: ' /x '", &[r#""a -x b""#, r#""a /x b""#, r#""a \u2014x b""#], &[r#""a \\x b""#]),
            ("f|windash|contains: ' \u{2013}x '", &[r#""a -x b""#, r#""a /x b""#], &[r#""ax b""#]),
            ("f|windash|contains: ' \u{2014}x '", &[r#""a -x b""#, r#""a \u2015x b""#], &[r#""ax b""#]),
            ("f|windash|contains: ' \u{2015}x '", &[r#""a -x b""#, r#""a /x b""#], &[r#""ax b""#]),
            ("f|contains|windash: ' -x -y'", &[r#""a /x -y""#, r#""a -x \u2013Y""#], &[r#""a -x y""#]),
            ("f|windash: '-a'", &[r#""-a""#, r#""/A""#], &[r#""-ab""#, r#""a""#]),
            ("f|windash|startswith: '-a*b'", &[r#""/a\nbc""#], &[r#""x/ab""#]),
            ("f|windash|endswith: '-a?b'", &[r#""x /acb""#], &[r#""/acbx""#]),
            ("f|windash|contains|all: ['-a', '/b']", &[r#""/a -b""#], &[r#""-a""#]),
            ("f|windash|contains|cased: '-A'", &[r#""/A""#], &[r#""/a""#]),
            ("f|windash: abc", &[r#""ABC""#], &[r#""abd""#]),
            ("f|windash|contains: '-----------'", &[r#""x-/-/-/-/-/-x""#], &[r#""----------""#]),
            ("f|windash|contains: -5", &["-5", r#""/5""#], &["5"]),
            (r"f|windash|contains: '-\*'", &[r#""/*""#], &[r#""/a""#]),
        ],
    },
    Sentence {
        section: ENCODING,
        says: "base64: the value is encoded",
        rows: &[
            ("f|base64: abc", &[r#""YWJj""#], &[r#""abc""#, r#""xYWJj""#, "null", ABSENT]),
            ("f|base64|contains: abc", &[r#""xYWJjx""#], &[r#""abc""#]),
            ("f|base64|cased: abc", &[r#""YWJj""#], &[r#""ywjj""#]),
            ("f|base64: 123", &[r#""MTIz""#], &["123"]),
            ("f|base64: true", &[r#""dHJ1ZQ==""#], &["true"]),
            ("f|base64: [abc, 'x y']", &[r#""eCB5""#], &[r#""x y""#]),
            (r"f|base64: 'a\*c'", &[r#""YSpj""#], &[r#""YWJj""#]),
        ],
    },
    Sentence {
        section: ENCODING,
        says: "base64offset: the part of the encoded value that is the same wherever it stands",
        rows: &[
            (
                "f|base64offset|contains: foobar",
                &[
                    r#""Zm9vYmFy""#,
                    r#""IGZvb2Jhcg==""#,
                    r#""ICBmb29iYXI=""#,
                    r#""IGZvb2JhciA=""#,
                    r#""IGZvb2Jhcn4=""#,
                    r#""ICBmb29iYXJ+""#,
                    r#""eHh4Zm9vYmFyfn4=""#,
                ],
                &[r#""foobar""#, r#""Zm9v""#, ABSENT],
            ),
            ("f|base64offset: foobar", &[r#""xxZm9vYmFyxx""#], &[r#""foobar""#]),
        ],
    },
    Sentence {
        section: ENCODING,
        says: "utf16le, its alias wide, utf16be and utf16 with its mark encode the value",
        rows: &[
            ("f|wide|base64: abc", &[r#""YQBiAGMA""#], &[r#""YWJj""#]),
            ("f|utf16le|base64: abc", &[r#""YQBiAGMA""#], &[r#""AGEAYgBj""#]),
            ("f|utf16be|base64: abc", &[r#""AGEAYgBj""#], &[r#""YQBiAGMA""#]),
            ("f|utf16|base64: abc", &[r#""//5hAGIAYwA=""#], &[r#""YWJj""#]),
            ("f|wide|base64: 'é'", &[r#""6QA=""#], &[r#""w6k=""#]),
            ("f|wide|base64offset|contains: abc", &[r#""YQBiAGMA""#, r#""IABhAGIAYwAgAA==""#], &[r#""YWJj""#]),
            ("f|wide: abc", &[r#""a\u0000b\u0000c\u0000""#], &[r#""abc""#]),
            ("f|utf16be|contains: abc", &[r#""x\u0000a\u0000b\u0000cx""#], &[r#""abc""#]),
        ],
    },
    Sentence {
        section: ORDER,
        says: "modifiers are applied to the value in the order in which they stand",
        rows: &[
            ("f|windash|base64: '-a'", &[r#""LWE=""#, r#""L2E=""#], &[r#""-a""#, r#""/a""#]),
            ("f|windash|wide|base64offset|contains: ' -a'", &[r#""IAAvAGEA""#, r#""IAAtAGEA""#], &[r#""IC1h""#]),
        ],
    },
];
