//! Lines on logarithmic ground, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
/// Room for what is written beside the lines.
const MARGIN: f64 = 48.0;
/// What is drawn at most, in times of the first.
const MOST: f64 = 2.0;
/// Powers of ten from left to right.
const DECADES: f64 = 6.0;
const COLOURS: [&str; 3] = ["#1f77b4", "#d62728", "#2ca02c"];

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn across(count: usize) -> f64 {
    MARGIN + (count.max(1) as f64).log10() / DECADES * (WIDTH - 2.0 * MARGIN)
}

fn up(ratio: f64) -> f64 {
    HEIGHT - MARGIN - ratio.min(MOST) / MOST * (HEIGHT - 2.0 * MARGIN)
}

/// What a login costs, in times of the first of each line, over how much there is.
pub fn draw(lines: &[(&str, Vec<(usize, f64)>)]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Processor time of a login, in times of the least there is</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    // Writing to a text does not fail.
    for ratio in [0.5, 1.0, 1.5, 2.0] {
        let (left, right, y) = (MARGIN, WIDTH - MARGIN, up(ratio));
        let _ = writeln!(svg, "<path d=\"M{left} {y}H{right}\" stroke=\"#ccc\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{ratio:.1}</text>", left - 6.0, y + 4.0);
    }
    for (place, label) in ["1", "10", "100", "1 000", "10 000", "100 000", "1 000 000"].into_iter().enumerate() {
        let x = across(10usize.pow(u32::try_from(place).unwrap_or_default()));
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", HEIGHT - MARGIN + 18.0);
    }
    for (place, ((name, line), colour)) in lines.iter().zip(COLOURS).enumerate() {
        let points: Vec<String> =
            line.iter().map(|(count, ratio)| format!("{:.1},{:.1}", across(*count), up(*ratio))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        for point in points.iter().filter_map(|point| point.split_once(',')) {
            let _ = writeln!(svg, "<circle cx=\"{}\" cy=\"{}\" r=\"3\" fill=\"{colour}\"/>", point.0, point.1);
        }
        let y = MARGIN + 16.0 * f64::from(u32::try_from(place).unwrap_or_default()) - 24.0;
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{name}</text>", MARGIN + 8.0);
    }
    svg + "</svg>\n"
}
