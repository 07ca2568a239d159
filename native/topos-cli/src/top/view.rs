//! Draws statistics as a table: a line a peer and channel, with sparklines of the last half minute.

use super::client::{Row, Stats};
use crate::render::Style;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Samples of a sparkline, two a second.
const SAMPLES: usize = 16;
const HEADINGS: [&str; 11] =
    ["PEER", "CHANNEL", "STATUS", "LANES", "QUEUE", "CREDIT", "OUT/s", "IN/s", "p50", "p99", "DROPPED"];
/// The first of these columns stand to the left, numbers to the right.
const TEXTS: usize = 3;

/// The whole view, its lines cut to a width in characters.
pub(super) fn draw(stats: &Stats, width: usize, style: Style) -> String {
    let up = stats.members.iter().filter(|member| member.status == "up").count();
    let mut lines = vec![(
        format!(
            "{} · {} · cluster {} · {up} of {} members up",
            clean(&stats.node),
            clean(&stats.engine),
            clean(&stats.cluster),
            stats.members.len(),
        ),
        None,
    )];
    for member in stats.members.iter().filter(|member| member.status != "up") {
        lines.push((format!("{} is {}", clean(&member.node), clean(&member.status)), Some("33")));
    }
    if stats.channels.is_empty() {
        lines.push(("nothing was sent or received yet".to_owned(), None));
    } else {
        lines.push((String::new(), None));
        lines.extend(table(&stats.channels));
    }
    lines.into_iter().map(|(line, colour)| paint(&cut(&line, width), colour, style)).collect()
}

fn table(rows: &[Row]) -> Vec<(String, Option<&'static str>)> {
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|i| cells.iter().map(|row| row[i].chars().count()).chain([HEADINGS[i].len()]).max().unwrap_or(0))
        .collect();
    let line = |row: &[String], sparks: &str| {
        let mut out = String::new();
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            out += &if i < TEXTS { format!("{cell}{gap}  ") } else { format!("{gap}{cell}  ") };
        }
        format!("{out}{sparks}").trim_end().to_owned()
    };
    let headings: Vec<String> = HEADINGS.iter().map(|&heading| heading.to_owned()).collect();
    let mut lines = vec![(line(&headings, &format!("{:SAMPLES$} IN", "OUT")), Some("1"))];
    for (row, cells) in rows.iter().zip(&cells) {
        let sparks = format!("{} {}", spark(&row.rates.history_out), spark(&row.rates.history_in));
        let colour = match row.status.as_str() {
            "ok" => None,
            "congested" => Some("33"),
            _ => Some("31"),
        };
        lines.push((line(cells, &sparks), colour));
    }
    lines
}

fn cells(row: &Row) -> Vec<String> {
    let dropped = [row.superseded, row.expired, row.lost, row.in_doubt, row.overloaded, row.undeliverable];
    vec![
        clean(&row.node),
        clean(&row.channel),
        clean(&row.status),
        row.lanes.to_string(),
        row.queue_messages.to_string(),
        row.credit.to_string(),
        amount(row.rates.messages_out),
        amount(row.rates.messages_in),
        time(row.rtt.p50),
        time(row.rtt.p99),
        if row.retries == 0 {
            dropped.iter().sum::<u64>().to_string()
        } else {
            format!("{} ({} retries)", dropped.iter().sum::<u64>(), row.retries)
        },
    ]
}

/// The latest samples, the highest of them at full height; blanks where there are none yet.
fn spark(history: &[f64]) -> String {
    let latest = &history[history.len().saturating_sub(SAMPLES)..];
    let highest = latest.iter().copied().fold(0.0, f64::max);
    let mut out = " ".repeat(SAMPLES - latest.len());
    for &sample in latest {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the highest: 0 to 7")]
        let height = if highest > 0.0 { (sample / highest * 7.0).round().clamp(0.0, 7.0) as usize } else { 0 };
        out.push(BARS[height]);
    }
    out
}

/// 950, 1.2k, 3.4M.
fn amount(number: f64) -> String {
    match number {
        n if n >= 999_950.0 => format!("{:.1}M", n / 1_000_000.0),
        n if n >= 999.5 => format!("{:.1}k", n / 1_000.0),
        n => format!("{n:.0}"),
    }
}

/// Microseconds as people say them; nothing was timed: a dash.
fn time(microseconds: u64) -> String {
    match microseconds {
        0 => "-".to_owned(),
        n if n < 1_000 => format!("{n}µs"),
        n if n < 1_000_000 => format!("{}.{}ms", n / 1_000, n % 1_000 / 100),
        n => format!("{}.{}s", n / 1_000_000, n % 1_000_000 / 100_000),
    }
}

/// Names come from the network: no control characters reach the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        line.to_owned()
    } else {
        line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    }
}

fn paint(line: &str, colour: Option<&str>, style: Style) -> String {
    match (style, colour) {
        (Style::Coloured, Some(code)) => format!("\x1b[{code}m{line}\x1b[0m\n"),
        _ => format!("{line}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::client;

    const STATS: &str = r#"{"node":"a@127.0.0.1","engine":"partisan","cluster":"shop",
        "members":[{"node":"a@127.0.0.1","status":"up"},{"node":"b@127.0.0.1","status":"up"},
                   {"node":"c@127.0.0.1","status":"down"}],
        "channels":[
          {"node":"b@127.0.0.1","channel":"data","status":"ok","lanes":1,"queue_messages":3,"credit":7,"retries":0,
           "superseded":0,"expired":0,"lost":0,"in_doubt":0,"overloaded":0,"undeliverable":0,"unknown":[1],
           "rtt":{"p50":180,"p95":900,"p99":1250,"count":12},
           "rates":{"messages_out":1234.5,"bytes_out":9.0,"messages_in":0.0,"bytes_in":0.0,
                    "history_out":[0.0,10.0,20.0,40.0],"history_in":[]}},
          {"node":"b@127.0.0.1","channel":"orders\u001b[2J","status":"head_of_line","lanes":4,"queue_messages":5000,
           "credit":0,"retries":2,"superseded":1,"expired":2,"lost":3,"in_doubt":4,"overloaded":5,"undeliverable":6,
           "rtt":{"p50":0,"p95":0,"p99":2300000,"count":0},
           "rates":{"messages_out":0.0,"bytes_out":0.0,"messages_in":2500000.0,"bytes_in":0.0,
                    "history_out":[0.0,0.0],"history_in":[5.0,1.0]}}]}"#;

    #[test]
    fn a_node_with_two_channels() {
        let stats = client::parse("x", STATS).unwrap();
        insta::assert_snapshot!(draw(&stats, 140, Style::Plain));
    }

    #[test]
    fn what_is_not_well_is_coloured() {
        let stats = client::parse("x", STATS).unwrap();
        insta::assert_snapshot!(draw(&stats, 60, Style::Coloured).replace('\x1b', "ESC"));
    }

    #[test]
    fn a_node_without_traffic() {
        let text =
            r#"{"node":"a@h","engine":"otp","cluster":"c","members":[{"node":"a@h","status":"up"}],"channels":[]}"#;
        insta::assert_snapshot!(draw(&client::parse("x", text).unwrap(), 80, Style::Plain));
    }

    #[test]
    fn another_answer_is_an_error_with_a_help_line() {
        insta::assert_snapshot!(client::parse("127.0.0.1:80", r#"{"node":7}"#).unwrap_err().to_string());
    }

    #[test]
    fn amounts_and_times_keep_their_width() {
        assert_eq!([0.0, 999.4, 999.6, 999_960.0].map(amount), ["0", "999", "1.0k", "1.0M"]);
        assert_eq!([0, 1, 999, 1_000, 1_000_000].map(time), ["-", "1µs", "999µs", "1.0ms", "1.0s"]);
    }
}
