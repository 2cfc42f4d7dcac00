//! Text: case, wildcards, escapes, and where in a field it is expected.

use super::{ABSENT, Sentence};

const RULES: &str = "rules, detection, general";
const WILDCARD: &str = "rules, detection, string wildcard";
const ESCAPE: &str = "rules, detection, escape character";
const MODIFIERS: &str = "modifiers, generic modifiers";

pub(super) const SENTENCES: &[Sentence] = &[
    Sentence {
        section: RULES,
        says: "values are strings, compared without regard to case",
        rows: &[
            ("f: abc", &[r#""abc""#, r#""ABC""#, r#""aBc""#], &[r#""abcd""#, r#""xabc""#, r#""""#, "null", ABSENT]),
            ("f: ABC", &[r#""abc""#], &[r#""ab""#]),
            ("f: 'café'", &[r#""CAFÉ""#, r#""café""#], &[r#""cafe""#]),
            ("f: 'ΟΔΟΣ'", &[r#""οδος""#, r#""οδοσ""#, r#""ΟΔΟΣ""#], &[r#""οδο""#]),
            ("f|contains: 'ΟΔΟΣ'", &[r#""ΟΔΟΣΑ""#, r#""οδοσα""#], &[r#""οδο""#]),
            ("f|startswith: 'ΟΔΟΣ'", &[r#""ΟΔΟΣΑ""#], &[r#""ΑΟΔΟΣ""#]),
            ("f: 'a b'", &[r#""A B""#], &[r#""a  b""#, r#""a\nb""#]),
            (r"f: 'a.c'", &[r#""a.c""#], &[r#""abc""#]),
            (r"f: 'a+(b)[c]{d}^$|'", &[r#""a+(b)[c]{d}^$|""#], &[r#""aa(b)[c]{d}^$|""#]),
            ("f: '%name%'", &[r#""%name%""#], &[r#""abc""#]),
            ("f: '${source.x}'", &[r#""${source.x}""#], &[r#""x""#]),
        ],
    },
    Sentence {
        section: WILDCARD,
        says: "a question mark stands for exactly one character",
        rows: &[
            (
                "f: 'prog?.exe'",
                &[r#""progA.exe""#, r#""PROGb.EXE""#, r#""prog\n.exe""#, r#""prog漢.exe""#],
                &[r#""prog.exe""#, r#""progAB.exe""#],
            ),
            ("f: '?'", &[r#""a""#, r#""\n""#, r#""é""#], &[r#""""#, r#""ab""#, "null", ABSENT]),
            ("f: '??'", &[r#""ab""#], &[r#""a""#, r#""abc""#]),
            ("f|contains: 'a?c'", &[r#""xxabcxx""#, r#""a\nc""#], &[r#""ac""#, r#""abbc""#]),
            ("f|startswith: 'a?c'", &[r#""abcd""#, r#""a\ncd""#], &[r#""xabc""#, r#""ac""#]),
            ("f|endswith: 'a?c'", &[r#""xabc""#, r#""x\na\nc""#], &[r#""abcx""#, r#""xac""#]),
            ("f|cased: 'a?C'", &[r#""abC""#], &[r#""abc""#, r#""ABC""#]),
        ],
    },
    Sentence {
        section: WILDCARD,
        says: "a star stands for any number of characters, of any kind",
        rows: &[
            (
                "f: 'antivirus_V*.exe'",
                &[r#""antivirus_V1.exe""#, r#""ANTIVIRUS_v21.2.1.exe""#, r#""antivirus_V.exe""#],
                &[r#""antivirus_V1.exe.bak""#, r#""xantivirus_V1.exe""#],
            ),
            ("f: 'a*c'", &[r#""ac""#, r#""abc""#, r#""a\nb\r\nc""#, r#""a\u2028c""#], &[r#""acd""#, r#""bac""#]),
            (
                "f: '*powershell*-enc*'",
                &[r#""c:\\x\\powershell.exe -nop\n-enc AAAA""#, r#""POWERSHELL -Enc""#, r#""\npowershell\n-enc\n""#],
                &[r#""powershell -e""#, r#""-enc powershell""#],
            ),
            ("f: '*'", &[r#""""#, r#""a""#, r#""a\nb""#, r#""\n""#, "5", "true"], &["null", "[]", ABSENT]),
            ("f: '**'", &[r#""a\nb""#], &["null", ABSENT]),
            ("f: '*?*'", &[r#""a""#, r#""\n""#], &[r#""""#]),
            ("f: '*.exe'", &[r#""a.exe""#, r#""a\nb.exe""#, r#"".EXE""#], &[r#""a.exe\n""#, r#""a.exe x""#]),
            ("f: 'a*'", &[r#""a""#, r#""a\nb""#], &[r#""ba""#]),
            ("f: '*b*'", &[r#""abc""#, r#""a\nb\nc""#], &[r#""ac""#]),
            ("f: ['a*c', 'x*z']", &[r#""a\nc""#, r#""xyz""#], &[r#""ayz""#]),
            ("f: ['a*c', 'x*z', 'k?l', plain]", &[r#""k\nl""#, r#""PLAIN""#, r#""A--C""#], &[r#""plains""#, r#""kl""#]),
            ("f: 'İ*l'", &[r#""İstanbul""#], &[r#""stanbul""#]),
            ("f: ['?stanbul', '?ondon']", &[r#""İstanbul""#, r#""London""#], &[r#""stanbul""#]),
        ],
    },
    Sentence {
        section: MODIFIERS,
        says: "startswith expects the value at the beginning",
        rows: &[
            ("f|startswith: ab", &[r#""ab""#, r#""ABc""#, r#""ab\nc""#], &[r#""cab""#, r#""a""#, "null", ABSENT]),
            (
                "f|startswith: 'dc*.corp'",
                &[r#""dc01.corp.example""#, r#""DC01.CORP""#, r#""dc\n.corp""#],
                &[r#""xdc01.corp""#, r#""dc01.example""#, r#""notdc01.corp.example""#],
            ),
            ("f|startswith: 'srv*dc'", &[r#""srv1dc""#, r#""srv1dc.example""#], &[r#""notsrv1dc""#]),
            ("f|startswith: '*dc'", &[r#""adc1""#, r#""dc""#, r#""a\ndc\nb""#], &[r#""ad""#]),
            ("f|startswith: 'dc*'", &[r#""dc""#, r#""dc1""#], &[r#""adc""#]),
            (r"f|startswith: 'a\*'", &[r#""a*b""#], &[r#""ab""#]),
            ("f|startswith: ''", &[r#""""#, r#""a""#], &["null", ABSENT]),
            ("f|startswith: [a, 'b*c']", &[r#""ax""#, r#""bxcx""#], &[r#""xa""#, r#""xbxc""#]),
            ("f|startswith: 5", &["512", r#""5a""#], &["15", r#""a5""#]),
            ("f|startswith|cased: 'A*b'", &[r#""Axbx""#], &[r#""axbx""#, r#""AxB""#]),
        ],
    },
    Sentence {
        section: MODIFIERS,
        says: "endswith expects the value at the end",
        rows: &[
            ("f|endswith: bc", &[r#""bc""#, r#""aBC""#, r#""a\nbc""#], &[r#""bca""#, r#""bc\n""#, "null", ABSENT]),
            (
                r"f|endswith: '*\cmd.exe'",
                &[r#""c:\\x\\cmd.exe""#, r#""\\CMD.EXE""#],
                &[r#""c:\\x\\cmd.exe.bak""#, r#""cmd.exe""#, r#""c:\\x\\cmd.exe\n""#],
            ),
            ("f|endswith: 'a?c.exe'", &[r#""x\\abc.exe""#, r#""a\nc.exe""#], &[r#""abc.exe.bak""#, r#""ac.exe""#]),
            ("f|endswith: 'a*c'", &[r#""xa\nc""#, r#""ac""#], &[r#""acx""#]),
            ("f|endswith: 'a*'", &[r#""xab""#, r#""a""#], &[r#""b""#]),
            (r"f|endswith: '\*'", &[r#""a*""#], &[r#""a""#]),
            ("f|endswith: ''", &[r#""""#, r#""a""#], &["null", ABSENT]),
            ("f|endswith: [c, 'a?']", &[r#""xc""#, r#""xab""#], &[r#""cx""#]),
            ("f|endswith: 5", &["15", r#""a5""#], &["51"]),
            ("f|endswith|cased: 'a*C'", &[r#""xabC""#], &[r#""xabc""#]),
        ],
    },
    Sentence {
        section: MODIFIERS,
        says: "contains puts stars around the value",
        rows: &[
            ("f|contains: b", &[r#""b""#, r#""aBc""#, r#""a\nb\nc""#], &[r#""ac""#, "null", ABSENT]),
            ("f|contains: 'a*c'", &[r#""xa\nb\ncx""#, r#""xACx""#], &[r#""ca""#]),
            ("f|contains: '*b*'", &[r#""abc""#], &[r#""ac""#]),
            (r"f|contains: '\*'", &[r#""a*b""#], &[r#""ab""#]),
            ("f|contains: ''", &[r#""""#, r#""a""#], &["null", ABSENT]),
            ("f|contains: '*'", &[r#""""#, r#""a\nb""#], &["null", ABSENT]),
            ("f|contains: [a, 'x*z']", &[r#""bab""#, r#""x\nz""#], &[r#""xy""#]),
            ("f|contains: [a1, a2, a3, a4, a5, a6, a7, a8, 'b*c']", &[r#""xa8""#, r#""B\nC""#], &[r#""a9""#]),
            ("f|contains: 62", &["4625", r#""a62""#], &["4655"]),
            ("f|contains: true", &[r#""is true now""#, "true"], &["false", r#""yes""#]),
            ("f|contains|cased: 'B*d'", &[r#""aBcd""#], &[r#""abcd""#]),
        ],
    },
    Sentence {
        section: MODIFIERS,
        says: "cased compares with regard to case",
        rows: &[
            ("f|cased: aBc", &[r#""aBc""#], &[r#""abc""#, r#""ABC""#]),
            ("f|cased: 'É'", &[r#""É""#], &[r#""é""#]),
            ("f|cased: ['a*C', B]", &[r#""a\nC""#, r#""B""#], &[r#""a\nc""#, r#""b""#]),
        ],
    },
    Sentence {
        section: ESCAPE,
        says: "a backslash before a wildcard makes it a plain character",
        rows: &[
            (r"f: 'a\*c'", &[r#""a*c""#], &[r#""abc""#, r#""a\\*c""#]),
            (r"f: 'a\?c'", &[r#""a?c""#], &[r#""abc""#]),
            (r"f: '\*\?'", &[r#""*?""#], &[r#""ab""#]),
            (r"f: 'a\*c*'", &[r#""a*cd""#], &[r#""abcd""#]),
        ],
    },
    Sentence {
        section: ESCAPE,
        says: "a plain backslash is one or two of them",
        rows: &[
            (r"f: 'a\b'", &[r#""a\\b""#], &[r#""ab""#, r#""a\\\\b""#]),
            (r"f: 'a\\b'", &[r#""a\\b""#], &[r#""a\\\\b""#]),
            (r"f: 'a\'", &[r#""a\\""#], &[r#""a""#]),
            (r"f: 'C:\Windows\System32'", &[r#""c:\\windows\\system32""#], &[r#""c:windowssystem32""#]),
        ],
    },
    Sentence {
        section: ESCAPE,
        says: "two backslashes before a wildcard are a backslash and a wildcard",
        rows: &[
            (r"f: 'a\\*'", &[r#""a\\b""#, r#""a\\""#], &[r#""ab""#, r#""a*""#]),
            (r"f: 'a\\?'", &[r#""a\\b""#], &[r#""a\\""#]),
            (r"f|endswith: 'a\\*\c'", &[r#""xa\\b\\c""#], &[r#""xa*\\c""#]),
        ],
    },
    Sentence {
        section: ESCAPE,
        says: "three backslashes before a wildcard are a backslash and the plain character",
        rows: &[(r"f: 'a\\\*'", &[r#""a\\*""#], &[r#""a\\b""#, r#""a*""#])],
    },
    Sentence {
        section: ESCAPE,
        says: "three or four backslashes are two plain ones",
        rows: &[(r"f: 'a\\\\b'", &[r#""a\\\\b""#], &[r#""a\\b""#]), (r"f: 'a\\\b'", &[r#""a\\\\b""#], &[r#""a\\b""#])],
    },
];
