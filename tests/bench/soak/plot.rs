//! What a soak found, as SVG: memory, descriptors and latency over time, with the faults behind.

use std::fmt::Write as _;

use crate::Look;

const WIDTH: f64 = 800.0;
/// Of one panel.
const HEIGHT: f64 = 150.0;
/// Room for what is written beside the lines.
const MARGIN: f64 = 56.0;

struct Panel<'a> {
    title: &'a str,
    /// Name, colour and values of each line.
    lines: Vec<(&'a str, &'a str, Vec<Option<f64>>)>,
    /// Whether it is drawn by powers of ten, from 0.1 on.
    is_logarithmic: bool,
}

impl Panel<'_> {
    fn most(&self) -> f64 {
        let most = self.lines.iter().flat_map(|(.., values)| values.iter().flatten()).copied().fold(1.0, f64::max);
        if self.is_logarithmic { 10f64.powf(most.log10().ceil()) } else { most * 1.25 }
    }

    /// How far up a value stands, 0 to 1.
    fn up(&self, value: f64) -> f64 {
        if self.is_logarithmic {
            (value.max(0.1).log10() + 1.0) / (self.most().log10() + 1.0)
        } else {
            value / self.most()
        }
    }

    fn marks(&self) -> Vec<f64> {
        if !self.is_logarithmic {
            return vec![0.0, self.most() / 2.0, self.most()];
        }
        let marks = std::iter::successors(Some(0.1), |mark| Some(mark * 10.0));
        marks.take_while(|mark| *mark <= self.most() * 1.01).collect()
    }
}

/// Draws all of it.
pub fn draw(looks: &[Look]) -> String {
    let minutes = looks.last().map_or(1.0, |look| look.minute);
    let x = |minute: f64| MARGIN + minute / minutes * (WIDTH - 2.0 * MARGIN);
    let of = |what: &dyn Fn(&Look) -> Option<f64>| looks.iter().map(what).collect::<Vec<_>>();
    let panels = [
        Panel {
            title: "memory, MB",
            lines: vec![("", "#1f77b4", of(&|look| Some(look.memory)))],
            is_logarithmic: false,
        },
        Panel {
            title: "descriptors",
            lines: vec![("", "#2ca02c", of(&|look| Some(look.descriptors)))],
            is_logarithmic: false,
        },
        Panel {
            title: "logins, ms",
            lines: vec![("p99", "#ff9896", of(&|look| look.p99)), ("median", "#d62728", of(&|look| look.median))],
            is_logarithmic: true,
        },
    ];
    let height = HEIGHT * 3.0 + 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <title>Memory, descriptors and latency over a soak; grey: a fault</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    // Writing to a text does not fail.
    for pair in looks.windows(2) {
        if let [before, look] = pair
            && look.fault.is_some()
        {
            let (left, width) = (x(before.minute), x(look.minute) - x(before.minute));
            let _ = writeln!(
                svg,
                "<rect x=\"{left:.1}\" y=\"10\" width=\"{width:.1}\" height=\"{}\" fill=\"#eee\"/>",
                HEIGHT * 3.0
            );
        }
    }
    for (place, panel) in (0u8..).zip(&panels) {
        let bottom = HEIGHT * f64::from(place + 1) - 4.0;
        let y = |value: f64| bottom - panel.up(value) * (HEIGHT - 30.0);
        let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{}\">{}</text>", bottom - HEIGHT + 24.0, panel.title);
        for mark in panel.marks() {
            let (y, right) = (y(mark), WIDTH - MARGIN);
            let _ = writeln!(svg, "<path d=\"M{MARGIN} {y:.1}H{right}\" stroke=\"#ccc\"/>");
            let _ =
                writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{mark:.4}</text>", MARGIN - 6.0, y + 4.0);
        }
        for (offset, (name, colour, values)) in (0u8..).zip(&panel.lines) {
            let points = looks.iter().zip(values).filter_map(|(look, value)| Some((x(look.minute), y((*value)?))));
            let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>", points.join(" "));
            let left = MARGIN + 80.0 + 50.0 * f64::from(offset);
            let _ =
                writeln!(svg, "<text x=\"{left}\" y=\"{}\" fill=\"{colour}\">{name}</text>", bottom - HEIGHT + 24.0);
        }
    }
    for tenth in 0..=6u8 {
        let minute = minutes * f64::from(tenth) / 6.0;
        let (x, y) = (x(minute), HEIGHT * 3.0 + 20.0);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{minute:.0} min</text>");
    }
    svg + "</svg>\n"
}
