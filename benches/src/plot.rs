//! One picture of a section: how many times better or worse than each peer, on a logarithmic scale.
//!
//! A section in which nothing has a peer shows its numbers themselves, on a scale of their own.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::results::{Row, number};

const WIDTH: u32 = 1_100;
/// Of a bar and the space below it.
const LINE: u32 = 26;
/// Left of the bars: what was measured; right of them: the numbers.
const LEFT: i32 = 560;
const RIGHT: i32 = 90;
const TOP: i32 = 60;

const BETTER: RGBColor = RGBColor(38, 128, 84);
const WORSE: RGBColor = RGBColor(196, 78, 62);
const PLAIN: RGBColor = RGBColor(70, 110, 170);
const INK: RGBColor = RGBColor(30, 34, 40);
const FAINT: RGBColor = RGBColor(205, 210, 216);

/// A bar: its label, its value on the logarithmic scale, and what is written behind it.
struct Bar {
    label: String,
    value: f64,
    text: String,
}

/// Draws the picture of a section. Without rows there is none.
pub(crate) fn draw(file: &Path, section: &str, rows: &[&Row]) -> Result<(), String> {
    let compared: Vec<Bar> = rows.iter().filter_map(|row| against(row)).collect();
    let (bars, title, relative) = if compared.is_empty() {
        let title = format!("{section}: measured, logarithmic scale");
        (rows.iter().filter_map(|row| alone(row)).collect(), title, false)
    } else {
        let title = format!("{section}: times better than the peer (1 = equal), logarithmic scale");
        (compared, title, true)
    };
    if bars.is_empty() {
        return Ok(());
    }
    let svg = picture(&bars, &title, relative).map_err(|e| format!("{}: {e}", file.display()))?;
    std::fs::write(file, svg).map_err(|e| format!("{}: {e}", file.display()))
}

fn against(row: &Row) -> Option<Bar> {
    let (peer, ratio) = (row.peer.as_ref()?, row.ratio.filter(|r| *r > 0.0 && r.is_finite())?);
    Some(Bar {
        label: format!("{}  |  {peer}", row.name),
        value: ratio,
        text: format!("{}x", number(ratio)),
    })
}

fn alone(row: &Row) -> Option<Bar> {
    Some(Bar {
        label: row.name.clone(),
        value: row.ours.filter(|n| *n > 0.0 && n.is_finite())?,
        text: row.amount(),
    })
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "pixels and a few hundred bars"
)]
fn picture(bars: &[Bar], title: &str, relative: bool) -> Result<String, String> {
    let fault = |e: DrawingAreaErrorKind<std::io::Error>| e.to_string();
    let height = TOP as u32 + LINE * bars.len() as u32 + 30;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).map_err(fault)?;
        let style = |size: i32| TextStyle::from(("sans-serif", size).into_font()).color(&INK);
        area.draw_text(title, &style(17), (14, 14)).map_err(fault)?;

        // One and the whole powers of ten around all bars.
        let decades = |f: fn(f64, f64) -> f64, from: f64| bars.iter().map(|b| b.value.log10()).fold(from, f);
        let start = if relative { 0.0 } else { f64::INFINITY };
        let low = decades(f64::min, start).floor();
        let high = decades(f64::max, if relative { 0.0 } else { f64::NEG_INFINITY })
            .ceil()
            .max(low + 1.0);
        let room = f64::from(WIDTH as i32 - LEFT - RIGHT);
        let x = |value: f64| LEFT + ((value.log10() - low) / (high - low) * room).round() as i32;

        let bottom = TOP + (LINE * bars.len() as u32) as i32;
        let mut decade = low;
        while decade <= high {
            let value = 10_f64.powf(decade);
            let line = if relative && decade == 0.0 { &INK } else { &FAINT };
            area.draw(&PathElement::new(vec![(x(value), TOP - 8), (x(value), bottom)], line))
                .map_err(fault)?;
            let centred = style(12).pos(Pos::new(HPos::Center, VPos::Top));
            area.draw_text(&power(decade), &centred, (x(value), bottom + 6))
                .map_err(fault)?;
            decade += 1.0;
        }
        for (i, bar) in bars.iter().enumerate() {
            let y = TOP + i as i32 * LINE as i32;
            let middle = y + LINE as i32 / 2 - 3;
            let from = if relative { x(1.0) } else { LEFT };
            let to = x(bar.value);
            let colour = match (relative, bar.value >= 1.0) {
                (false, _) => PLAIN,
                (true, true) => BETTER,
                (true, false) => WORSE,
            };
            let (a, b) = (from.min(to), from.max(to).max(from.min(to) + 2));
            area.draw(&Rectangle::new([(a, y + 2), (b, y + LINE as i32 - 8)], colour.filled()))
                .map_err(fault)?;
            let left = style(12).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw_text(&short(&bar.label), &left, (LEFT - 10, middle))
                .map_err(fault)?;
            let behind = style(12).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(&bar.text, &behind, (b + 6, middle)).map_err(fault)?;
        }
        area.present().map_err(fault)?;
    }
    Ok(svg)
}

/// A power of ten as people write it.
fn power(decade: f64) -> String {
    let value = 10_f64.powf(decade);
    if (-3.0..7.0).contains(&decade) {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

/// A label that fits left of its bar.
fn short(label: &str) -> String {
    const MOST: usize = 84;
    if label.chars().count() <= MOST {
        return label.to_owned();
    }
    let cut: String = label.chars().take(MOST - 1).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_comparison_gets_its_bar() {
        let file = std::env::temp_dir().join(format!("levqor-plot-{}.svg", std::process::id()));
        let rows = [
            Row::new("won", 1.0, "ns").beside("them", "1", 12.5),
            Row::new("lost", 1.0, "ns").beside("them", "1", 0.25),
            Row::new("alone", 1.0, "ns"),
        ];
        draw(&file, "limits", &rows.iter().collect::<Vec<_>>()).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        for text in ["12.5x", "0.25x", "won", "lost"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(!svg.contains("alone"));
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn without_peers_the_numbers_are_shown() {
        let file = std::env::temp_dir().join(format!("levqor-plot-alone-{}.svg", std::process::id()));
        draw(&file, "ground", &[&Row::new("an id", 441.0, "ns")]).unwrap();
        assert!(std::fs::read_to_string(&file).unwrap().contains("441 ns"));
        std::fs::remove_file(&file).unwrap();
    }
}
