//! What is legal but likely not meant, each at its place and with the mend.

use super::{file, load, load_files};

/// A rule with tests and that detection, whose selections begin on line 4.
fn rule(detection: &str) -> String {
    format!(
        "title: A rule\nsigma-version: 3\ndetection:\n{detection}\n  condition: s\n\
         response: {{ action: restrict }}\ntests: [{{ name: a, alert: {{}}, expect: none }}]\n"
    )
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let loaded = load(text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let shown: Vec<String> =
        loaded.warnings.iter().map(|warning| warning.to_string().replacen("rule.yml:", "", 1)).collect();
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn a_key_at_the_top_that_is_nobodys_is_told_and_those_of_sigmahq_are_known() {
    for own in ["enrichment: [asset]", "ticket: 7", "custom_attributes: {}", "x-owner: ana"] {
        let key = own.split(':').next().unwrap();
        let text = format!("{own}\n{}", rule("  s: { severity: High }"));
        check(&text, &[&format!("1:1: unknown key {key:?}: it has no effect")]);
    }
    let sigmahq = "regression_tests_path: tests/a\nsimulation: [{ type: atomic-red-team }]\n";
    check(&format!("{sigmahq}{}", rule("  s: { severity: High }")), &[]);
}

#[test]
fn a_field_that_nothing_has_is_told_with_the_nearest_one() {
    let cases = [
        ("  s: { Severity: High }", r#"4:8: no alert has a field "Severity" (did you mean "severity"?)"#),
        ("  s: { catgory|contains: x }", r#"4:8: no alert has a field "catgory" (did you mean "category"?)"#),
        (
            "  s: { machine.osplatform: Windows11 }",
            r#"4:8: no machine record has a field "osplatform" (did you mean "machine.osPlatform"?)"#,
        ),
        (
            "  s: { osPlatform: Windows11 }",
            r#"4:8: no alert has a field "osPlatform" (did you mean "machine.osPlatform"?)"#,
        ),
        ("  s: { sha256: x }", r#"4:8: no alert has a field "sha256" (did you mean "evidence.sha256"?)"#),
        (
            "  s: { zzzzzzzz: x }",
            r#"4:8: no alert has a field "zzzzzzzz" (docs/reference/fields.md lists the fields; case counts)"#,
        ),
        (
            "  s:\n    - title: x\n    - evidence[any]:\n        filename: x",
            r#"7:9: no evidence of an alert has a field "filename" (did you mean "evidence.fileName"?)"#,
        ),
        (
            "  s: { 'evidence[any].shal': x }",
            r#"4:8: no evidence of an alert has a field "shal" (did you mean "evidence.sha1"?)"#,
        ),
        ("  s: { stanch.tennant: x }", r#"4:8: "stanch" has no field "tennant" (did you mean "stanch.tenant"?)"#),
    ];
    for (detection, expected) in cases {
        check(&rule(detection), &[expected]);
    }
}

#[test]
fn a_block_that_nothing_has_is_told_once() {
    let block = "  s:\n    evidnce[any]:\n      x: { sha1: a }\n      y: { sha256: b }\n      condition: x or y";
    check(&rule(block), &[r#"5:5: no alert has a field "evidnce" (did you mean "evidence"?)"#]);
}

#[test]
fn fields_that_are_there_are_not_told_whatever_stands_around_them() {
    for detection in [
        "  s: { 'evidence[any]': { x: { entityType: File }, condition: x } }",
        "  s: { 'machine.ipAddresses[any]': { ipAddress|cidr: 10.0.0.0/8 } }",
        "  s: { 'machine.machineTags[any]': till, machine.machineTags|contains: x }",
        "  s: { 'mitreTechniques[0]|startswith': T1, 'evidence[-1].sha1': a }",
        "  s: { original.host.anything: x, machine.vmMetadata.vmId: x }",
        "  s: [mimikatz, rubeus]",
        "  s: { relatedUser.userName: x, comments.comment|contains: x }",
    ] {
        check(&rule(detection), &[]);
    }
}

#[test]
fn a_value_that_microsoft_does_not_use_is_told() {
    let known = "known: UnSpecified, Informational, Low, Medium, High";
    check(&rule("  s: { severity: Hgih }"), &[r#"4:8: Microsoft has no severity "Hgih" (did you mean "High"?)"#]);
    check(
        &rule("  s: { severity: 3 }"),
        &[r#"4:8: Microsoft has no severity "3" (known: UnSpecified, Informational, Low, Medium, High)"#],
    );
    check(
        &rule("  s: { severity: [High, Critical] }"),
        &[&format!(r#"4:25: Microsoft has no severity "Critical" ({known})"#)],
    );
    check(
        &rule("  s: { category: Ransomwre }"),
        &[r#"4:8: Microsoft has no category "Ransomwre" (did you mean "Ransomware"?)"#],
    );
    check(
        &rule("  s: { category|cased: ransomware }"),
        &[r#"4:8: under 'cased' "ransomware" matches nothing: Microsoft writes "Ransomware""#],
    );
    check(
        &rule("  s:\n    machine.osPlatform:\n      - Windows11\n      - WindowServer2022"),
        &[r#"7:9: Microsoft has no osPlatform "WindowServer2022" (did you mean "WindowsServer2022"?)"#],
    );
}

#[test]
fn a_value_that_may_be_meant_is_not_told() {
    for detection in [
        "  s: { severity: high, category: ransomware }",
        "  s: { severity: 'H*', category: SomethingNew }",
        "  s: { severity|contains: ig, status|re: 'N.w' }",
        "  s: { severity|startswith: Inf, classification: null }",
        "  s: { machine.osPlatform: [Windows12, WindowsServer2028] }",
        "  s: { machineId|fieldref: machine.id, severity|exists: true }",
    ] {
        check(&rule(detection), &[]);
    }
}

#[test]
fn a_restrict_rule_without_tests_is_told_and_a_protect_rule_is_not() {
    let text = "title: A\ndetection: { s: { severity: High }, condition: s }\nresponse: { action: restrict }\n";
    let expected = "3:1: the rule restricts devices and has no tests \
                    (write 'tests' with an alert that it must match and one that it must not)";
    check(text, &[expected]);
    check(&text.replace("restrict", "protect"), &[]);
}

#[test]
fn two_rules_that_do_the_same_are_told() {
    let one = rule("  s: { severity: [High, Medium] }\n  t: { 'evidence[any]': { sha1: a } }")
        .replace("condition: s", "condition: s and t");
    let two = one.replace("A rule", "Another");
    let twin = |two: &str| -> Vec<String> {
        let loaded = load_files(&[file("a.yml", &one), file("b.yml", two)]).unwrap();
        loaded.warnings.iter().map(ToString::to_string).collect()
    };
    let expected =
        r#"b.yml:1:1: the rule has the detection of "A rule", in a.yml:1 (delete one of them, or tell them apart)"#;
    assert_eq!(twin(&two), [expected]);
    assert_eq!(twin(&two.replace("High, Medium", "High, Low")), [""; 0]);
    assert_eq!(twin(&two.replace("sha1: a", "sha1: b")), [""; 0]);
    for meant in ["action: protect", "action: restrict, mode: shadow"] {
        assert_eq!(twin(&two.replace("action: restrict", meant)), [""; 0], "{meant}");
    }
    let (here, there) = (
        one.replace("restrict }", "restrict, tenants: [contoso] }"),
        two.replace("restrict }", "restrict, tenants: [fabrikam] }"),
    );
    assert!(load_files(&[file("a.yml", &here), file("b.yml", &there)]).unwrap().warnings.is_empty());
}
