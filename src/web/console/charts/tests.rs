//! What the charts show, from nothing to far too much.

use super::*;

const NOW: i64 = 1_795_500_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn volume(alerts: &[u64]) -> Vec<Stretch> {
    let stretches = Stretches::until(now(), Duration::from_mins(1), u32::try_from(alerts.len()).unwrap());
    let stretch = |(begins, alerts): (Timestamp, &u64)| Stretch { begins, alerts: *alerts, restricts: 0, releases: 0 };
    stretches.each().zip(alerts).map(stretch).collect()
}

fn overview_of(charts: [Chart; 3]) -> String {
    let reaches = Reach::ALL.map(|one| (one, one == Reach::Hour)).into();
    Overview { reaches, charts }.render().unwrap()
}

#[test]
fn nothing_makes_charts_without_columns_that_say_so() {
    let stretches = Reach::Day.stretches(now());
    let charts = [alerts(Reach::Day, &[]), actions(Reach::Day, &[]), took(Reach::Day, &stretches, &[])];
    assert!(charts.iter().all(|chart| chart.rectangles.is_empty() && chart.rows.is_empty()));
    let html = overview_of(charts);
    assert!(html.contains("0 alerts in the last 24 hours") && html.contains("Nothing yet"), "{html}");
    assert!(html.contains("no restriction was sent") && !html.contains("NaN"), "{html}");
}

#[test]
fn one_point_is_a_column_with_its_numbers_as_text_and_in_a_table() {
    let mut chart = alerts(Reach::Hour, &volume(&[3]));
    assert_eq!((chart.rectangles.len(), chart.hints.len(), chart.labels.len()), (1, 1, 1));
    let column = chart.rectangles.pop().unwrap();
    assert_eq!((column.y.as_str(), column.height.as_str(), chart.top.as_str()), ("40.00", "60.00", "5"));
    assert!(chart.hints[0].text.ends_with("Alerts: 3"), "{:?}", chart.hints);
    assert_eq!(chart.rows[0].1, ["3"]);
    assert_eq!(chart.summary, "3 alerts in the last hour");
}

#[test]
fn what_is_little_next_to_much_is_still_seen() {
    let chart = alerts(Reach::Hour, &volume(&[1, 0, 1_000_000]));
    let heights: Vec<&str> = chart.rectangles.iter().map(|one| one.height.as_str()).collect();
    assert_eq!(heights, ["1.50", "100.00"]);
    assert_eq!(chart.labels.len(), 3);
}

#[test]
fn numbers_without_sense_do_no_harm() {
    let chart = alerts(Reach::Hour, &volume(&[u64::MAX, 1]));
    assert!(chart.rectangles.iter().all(|one| one.height.parse::<f64>().unwrap() <= 100.0), "{chart:?}");
    assert!(chart.top.parse::<u64>().unwrap() > 0);
    assert!(Scale::time(Duration::MAX).top_time() > Duration::from_hours(24));
}

#[test]
fn restricts_and_releases_stand_on_each_other() {
    let mut stretches = volume(&[0]);
    stretches[0].restricts = 3;
    stretches[0].releases = 2;
    let chart = actions(Reach::Hour, &stretches);
    let marks: Vec<_> = chart.rectangles.iter().map(|one| (one.class, one.y.as_str(), one.height.as_str())).collect();
    assert_eq!(marks, [("mark-restricts", "40.00", "60.00"), ("mark-releases", "0.00", "40.00")]);
}

#[test]
fn times_are_drawn_where_there_are_some() {
    let stretches = Reach::Hour.stretches(now());
    let begins = stretches.each().nth(10).unwrap();
    let times = SubmitTimes { begins, count: 7, half: Duration::from_millis(400), most: Duration::from_secs(2) };
    let chart = took(Reach::Hour, &stretches, &[times]);
    assert_eq!((chart.rectangles.len(), chart.top.as_str()), (2, "2.0 s"));
    assert_eq!(chart.rows[0].1, ["0.40 s", "2.0 s", "7"]);
    assert!(chart.summary.starts_with("7 restrictions in the last hour"), "{}", chart.summary);
}

#[test]
fn a_chart_needs_no_style_in_place_and_no_script() {
    let html = overview_of([0, 1, 2].map(|_| alerts(Reach::Hour, &volume(&[1, 2]))));
    assert!(html.contains("Alerts: 2</title>") && html.contains("<th scope=\"row\">"), "{html}");
    assert!(!html.contains("style=") && !html.contains("<script"), "the content policy forbids both: {html}");
}
