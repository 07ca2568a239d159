//! Line and bar plots as SVG, without anything from outside.

use std::fmt::Write;

/// A line of a plot.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) colour: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 40.0;
const TOP: f64 = 16.0;
const RIGHT: f64 = 16.0;

struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let part = |value: f64, (low, high): (f64, f64)| if high > low { (value - low) / (high - low) } else { 0.5 };
        (LEFT + part(x, self.x) * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - part(y, self.y) * (HEIGHT - BOTTOM - TOP))
    }

    /// The axes with five marks each.
    fn draw(&self, svg: &mut String, x_label: &str, y_label: &str) {
        for step in 0..=4 {
            let share = f64::from(step) / 4.0;
            let value = self.y.0 + share * (self.y.1 - self.y.0);
            let (_, y) = self.at((self.x.0, value));
            let end = WIDTH - RIGHT;
            // Writing to a string does not fail.
            let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{end}" y2="{y:.1}"/>"#);
            let (x, y) = (LEFT - 6.0, y + 4.0);
            let _ = write!(svg, r#"<text x="{x}" y="{y:.1}" text-anchor="end">{}</text>"#, mark(value));
            let value = self.x.0 + share * (self.x.1 - self.x.0);
            let (x, _) = self.at((value, self.y.0));
            let y = HEIGHT - BOTTOM + 16.0;
            let _ = write!(svg, r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{}</text>"#, mark(value));
        }
        let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0);
        let _ = write!(svg, r#"<text x="{x}" y="{y}" text-anchor="middle">{x_label}</text>"#);
        let _ = write!(svg, r#"<text x="{LEFT}" y="11">{y_label}</text>"#);
    }
}

fn mark(value: f64) -> String {
    if value.fract().abs() < 1e-9 {
        format!("{value:.0}")
    } else if value.abs() < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

fn open(title: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">"#)
}

/// Lines over a common axis; `y` is from 0 to `y_max`.
pub(crate) fn lines(title: &str, x_label: &str, y_label: &str, y_max: f64, lines: &[Line<'_>]) -> String {
    let xs = || lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x));
    let x = (xs().fold(f64::INFINITY, f64::min), xs().fold(f64::NEG_INFINITY, f64::max));
    let frame = Frame { x: if x.0.is_finite() { x } else { (0.0, 1.0) }, y: (0.0, y_max) };
    let mut svg = open(title);
    frame.draw(&mut svg, x_label, y_label);
    for (place, line) in lines.iter().enumerate() {
        let mut points = String::new();
        for &point in &line.points {
            let (x, y) = frame.at(point);
            let _ = write!(points, "{x:.1},{y:.1} ");
            let _ = write!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{}"/>"#, line.colour);
        }
        let points = points.trim_end();
        let _ = write!(svg, r#"<polyline points="{points}" fill="none" stroke="{}" stroke-width="2"/>"#, line.colour);
        let (x, y) = (WIDTH - RIGHT - 8.0, HEIGHT - BOTTOM - 10.0 - 16.0 * place as f64);
        let _ = write!(svg, r#"<text x="{x}" y="{y}" text-anchor="end" fill="{}">{}</text>"#, line.colour, line.name);
    }
    svg + "</svg>"
}

/// A bar for each value, from 0 on.
pub(crate) fn bars(title: &str, x_label: &str, y_label: &str, values: &[u32]) -> String {
    // Many bars become as many groups as can be seen.
    let group = values.len().div_ceil(64).max(1);
    let grouped: Vec<u32> = values.chunks(group).map(|chunk| chunk.iter().sum()).collect();
    let most = grouped.iter().copied().max().unwrap_or(0).max(1);
    let frame = Frame { x: (0.0, (grouped.len().max(1) * group) as f64), y: (0.0, f64::from(most)) };
    let mut svg = open(title);
    frame.draw(&mut svg, x_label, y_label);
    for (at, &value) in grouped.iter().enumerate() {
        let (x, y) = frame.at(((at * group) as f64, f64::from(value)));
        let (end, base) = frame.at((((at + 1) * group) as f64, 0.0));
        let (width, height) = ((end - x - 1.0).max(1.0), base - y);
        let _ = write!(
            svg,
            r##"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="#3b6ea5"><title>{}: {value}</title></rect>"##,
            at * group
        );
    }
    svg + "</svg>"
}
