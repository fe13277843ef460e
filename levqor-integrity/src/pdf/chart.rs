//! Charts, as lines and areas. Nothing is said by colour alone: every bar has its number, every status its shape.

use super::canvas::{Page, Paint, Rgb};
use super::flow::{INK, LINE, MUTED, SMALL, TINY, color_of, mark};
use super::font::{Face, Fonts};
use crate::report::Past;
use crate::status::{Counts, Status, Verdict};

/// A place on a page: left, top, width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) width: f32,
}

fn label_width(fonts: &Fonts, labels: impl Iterator<Item = String>, most: f32) -> f32 {
    labels
        .map(|l| fonts.width(Face::Text, &l, SMALL))
        .fold(0.0, f32::max)
        .min(most)
        + 8.0
}

/// As much of a text as fits, with three dots where it was cut.
pub(crate) fn fitted(fonts: &Fonts, face: Face, text: &str, size: f32, width: f32) -> String {
    if fonts.width(face, text, size) <= width {
        return text.to_owned();
    }
    let mut kept: Vec<char> = text.chars().collect();
    while kept.pop().is_some() {
        let shorter: String = kept.iter().chain(&['…']).collect();
        if fonts.width(face, &shorter, size) <= width {
            return shorter;
        }
    }
    String::new()
}

/// Which statuses there are, each with its shape.
pub(crate) fn legend(page: &mut Page, fonts: &Fonts, at: (f32, f32), counts: Counts) {
    let mut x = at.0;
    for status in Status::ALL.into_iter().filter(|s| counts.get(*s) > 0) {
        mark(page, (x + 4.0, at.1), 2.8, status);
        page.text(fonts, (x + 10.0, at.1 + 2.6), Face::Text, TINY, MUTED, status.word());
        x += 16.0 + fonts.width(Face::Text, status.word(), TINY);
    }
}

/// How many of each category ended how, as bars of parts. Returns the height.
pub(crate) fn stacked(page: &mut Page, fonts: &Fonts, frame: Frame, rows: &[(String, Counts)]) -> f32 {
    const STEP: f32 = 15.0;
    let label = label_width(fonts, rows.iter().map(|(name, _)| name.clone()), frame.width * 0.3);
    let most = rows.iter().map(|(_, c)| c.total).max().unwrap_or(1).max(1);
    let room = frame.width - label - 26.0;
    for (i, (name, counts)) in rows.iter().enumerate() {
        let y = frame.y + i as f32 * STEP;
        let name = fitted(fonts, Face::Text, name, SMALL, label - 8.0);
        page.text(fonts, (frame.x, y + 9.0), Face::Text, SMALL, INK, &name);
        let mut x = frame.x + label;
        for status in Status::ALL.into_iter().filter(|s| counts.get(*s) > 0) {
            let width = room * counts.get(status) as f32 / most as f32;
            let color = color_of(status);
            page.rect((x, y), ((width - 1.0).max(0.5), 12.0), 1.5, Paint::fill(color));
            if width >= 18.0 {
                mark(page, (x + 7.0, y + 6.0), 2.7, status);
                // On its own ground the shape is seen by its light lines; the ring is drawn light as a whole.
                page.circle((x + 7.0, y + 6.0), 3.2, Paint::stroke(Rgb::WHITE, 0.5));
            }
            if width >= 28.0 {
                let number = counts.get(status).to_string();
                page.text(fonts, (x + 12.5, y + 8.7), Face::Strong, TINY, Rgb::WHITE, &number);
            }
            x += width;
        }
        page.text(
            fonts,
            (x + 4.0, y + 9.0),
            Face::Strong,
            TINY,
            MUTED,
            &counts.total.to_string(),
        );
    }
    rows.len() as f32 * STEP
}

/// A bar with its limit.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: i64,
    pub(crate) limit: Option<i64>,
}

/// Milliseconds as bars, each with the limit it is held against as a stroke. Returns the height.
pub(crate) fn bars(page: &mut Page, fonts: &Fonts, frame: Frame, rows: &[Bar], accent: Rgb) -> f32 {
    const STEP: f32 = 12.5;
    let label = label_width(fonts, rows.iter().map(|b| b.name.clone()), frame.width * 0.36);
    let room = frame.width - label - 58.0;
    // The scale ends at the longest bar; limits beyond it are named and not drawn.
    let most = rows.iter().map(|b| b.value).max().unwrap_or(1).max(1) as f32 * 1.05;
    for (i, bar) in rows.iter().enumerate() {
        let y = frame.y + i as f32 * STEP;
        let name = fitted(fonts, Face::Text, &bar.name, SMALL, label - 6.0);
        page.text(fonts, (frame.x, y + 7.6), Face::Text, SMALL, INK, &name);
        let x = frame.x + label;
        page.rect((x, y + 1.0), (room, 8.0), 1.5, Paint::fill(Rgb::WHITE.mix(LINE, 45)));
        let late = bar.limit.is_some_and(|l| bar.value > l);
        let color = if late { color_of(Status::Warn) } else { accent };
        let width = (room * bar.value.max(0) as f32 / most).max(1.0);
        page.rect((x, y + 1.0), (width, 8.0), 1.5, Paint::fill(color));
        if let Some(limit) = bar.limit.filter(|l| (*l as f32) <= most) {
            let at = x + room * limit as f32 / most;
            page.line((at, y - 1.0), (at, y + 11.0), INK, 1.0);
        }
        let text = match bar.limit {
            Some(limit) if late => format!("{} ms > {limit}", bar.value),
            Some(limit) => format!("{} / {limit} ms", bar.value),
            None => format!("{} ms", bar.value),
        };
        let text = fitted(fonts, Face::Text, &text, TINY, 56.0);
        page.text(
            fonts,
            (x + room + 4.0, y + 7.6),
            Face::Text,
            TINY,
            if late { color } else { MUTED },
            &text,
        );
    }
    rows.len() as f32 * STEP
}

/// The status that a verdict looks like.
pub(crate) fn like(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Ready => Status::Pass,
        Verdict::ReadyWithWarnings => Status::Warn,
        Verdict::NotReady => Status::Fail,
        Verdict::Indeterminate => Status::Error,
    }
}

/// The last runs: a column each, of the share that passed, with the verdict's shape above it. Returns the height.
pub(crate) fn runs(page: &mut Page, fonts: &Fonts, frame: Frame, history: &[Past]) -> f32 {
    const HEIGHT: f32 = 44.0;
    let base = frame.y + 14.0 + HEIGHT;
    page.line((frame.x, base), (frame.x + frame.width, base), LINE, 0.8);
    let step = (frame.width / history.len().max(1) as f32).min(44.0);
    for (i, run) in history.iter().enumerate() {
        let x = frame.x + i as f32 * step;
        let total = run.counts.total.max(1) as f32;
        let mut y = base;
        for status in Status::ALL.into_iter().filter(|s| run.counts.get(*s) > 0) {
            let height = HEIGHT * run.counts.get(status) as f32 / total;
            y -= height;
            page.rect(
                (x + 4.0, y),
                (step - 8.0, (height - 0.6).max(0.4)),
                0.0,
                Paint::fill(color_of(status)),
            );
        }
        mark(page, (x + step / 2.0, frame.y + 6.0), 3.4, like(run.verdict));
        let number = format!("#{}", run.number);
        let width = fonts.width(Face::Text, &number, TINY);
        page.text(
            fonts,
            (x + (step - width) / 2.0, base + 9.0),
            Face::Text,
            TINY,
            MUTED,
            &number,
        );
    }
    14.0 + HEIGHT + 14.0
}

/// A step of a scale that has round numbers: 1, 2 or 5 and zeros.
fn round_step(span: f64, parts: f64) -> f64 {
    let rough = (span / parts).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0);
    factor * power
}

/// A line over time, with points, on a scale with round numbers that begins at nothing. Returns the height.
pub(crate) fn line(page: &mut Page, fonts: &Fonts, frame: Frame, points: &[(String, f64)], accent: Rgb, unit: &str) -> f32 {
    const HEIGHT: f32 = 96.0;
    let top = points.iter().map(|p| p.1).fold(0.0, f64::max);
    let low = points.iter().map(|p| p.1).fold(0.0, f64::min);
    let step = if top > low { round_step(top - low, 4.0) } else { 1.0 };
    let (first, last) = ((low / step).floor(), (top / step).ceil().max((low / step).floor() + 1.0));
    let (low, high) = (first * step, last * step);
    let at = |v: f64| frame.y + 8.0 + HEIGHT * (1.0 - ((v - low) / (high - low)) as f32);
    let left = frame.x + 46.0;
    let room = frame.width - 52.0;
    let mut tick = first;
    while tick <= last {
        let value = tick * step;
        let y = at(value);
        page.line((left, y), (left + room, y), LINE, if tick == 0.0 { 0.9 } else { 0.4 });
        let text = format!("{}{unit}", short(value, step));
        page.text_left_of(fonts, (left - 5.0, y + 2.6), Face::Text, TINY, MUTED, &text);
        tick += 1.0;
    }
    let count = points.len().max(1);
    let x = |i: usize| left + room * (i as f32 + 0.5) / count as f32;
    let line: Vec<(f32, f32)> = points.iter().enumerate().map(|(i, p)| (x(i), at(p.1))).collect();
    if let (Some(first), Some(last)) = (line.first(), line.last()) {
        let mut area = line.clone();
        area.extend([(last.0, at(0.0)), (first.0, at(0.0))]);
        page.path(area, true, Paint::fill(Rgb::WHITE.mix(accent, 14)));
    }
    page.path(line.clone(), false, Paint::stroke(accent, 1.4));
    for (i, (place, point)) in line.iter().zip(points).enumerate() {
        page.circle(*place, 2.2, Paint::fill(accent));
        if count <= 14 || i % (count / 12) == 0 {
            let name = fitted(fonts, Face::Text, &point.0, TINY, (room / count.min(14) as f32).max(18.0));
            let width = fonts.width(Face::Text, &name, TINY);
            page.text(
                fonts,
                (place.0 - width / 2.0, frame.y + HEIGHT + 20.0),
                Face::Text,
                TINY,
                MUTED,
                &name,
            );
        }
    }
    HEIGHT + 28.0
}

/// A number of a scale: `1.5k`, `20M`, as many decimals as the step has.
fn short(value: f64, step: f64) -> String {
    for (size, name) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value.abs() >= size {
            let decimals = usize::from((step / size).fract() != 0.0);
            return format!("{:.decimals$}{name}", value / size);
        }
    }
    let decimals = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
    format!("{value:.decimals$}")
}

/// A text as a QR code with the given side. Nothing if it is too long for one.
pub(crate) fn qr(page: &mut Page, at: (f32, f32), side: f32, text: &str) {
    let Ok(code) = qrcode::QrCode::with_error_correction_level(text.as_bytes(), qrcode::EcLevel::M) else {
        return;
    };
    let width = code.width();
    let cell = side / width as f32;
    let colors = code.to_colors();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        while x < width {
            let run = row[x..].iter().take_while(|c| **c == qrcode::Color::Dark).count();
            if run > 0 {
                let place = (at.0 + x as f32 * cell, at.1 + y as f32 * cell);
                // A hair more than the cell, so that no light shows between rows.
                page.rect(place, (run as f32 * cell, cell + 0.05), 0.0, Paint::fill(Rgb(0, 0, 0)));
            }
            x += run.max(1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pdf::canvas::Item;

    #[test]
    fn scales_have_round_numbers() {
        for (span, step) in [(7.0, 2.0), (93.0, 50.0), (0.4, 0.1), (4.0, 1.0), (12_000.0, 5_000.0)] {
            assert!(
                (round_step(span, 4.0) - step).abs() < 1e-9,
                "{span}: {}",
                round_step(span, 4.0)
            );
        }
        for (value, step, text) in [
            (1_500.0, 500.0, "1.5k"),
            (2e6, 1e6, "2M"),
            (0.25, 0.05, "0.25"),
            (40.0, 10.0, "40"),
        ] {
            assert_eq!(short(value, step), text);
        }
    }

    #[test]
    fn charts_stay_in_their_frame() {
        let fonts = Fonts::new(&[]).unwrap();
        let frame = Frame {
            x: 50.0,
            y: 100.0,
            width: 300.0,
        };
        let long = "a.name.that.is.much.longer.than.any.chart.could.ever.be.wide.enough.for".to_owned();
        let counts = Counts::of([Status::Pass, Status::Fail, Status::Blocked]);
        let rows = [
            Bar {
                name: long.clone(),
                value: 90_000_000,
                limit: Some(5),
            },
            Bar {
                name: String::new(),
                value: -1,
                limit: None,
            },
        ];
        let points: Vec<(String, f64)> = (0..90).map(|i| (format!("day {i}"), f64::from(i) * -3.5 + 20.0)).collect();
        let mut page = Page::default();
        stacked(&mut page, &fonts, frame, &[(long, counts)]);
        bars(&mut page, &fonts, frame, &rows, INK);
        line(&mut page, &fonts, frame, &points, INK, "");
        line(&mut page, &fonts, frame, &[], INK, "");
        for item in &page.items {
            let (from, to) = match item {
                Item::Text { at, runs, size, .. } => (at.0, at.0 + fonts.width_of(runs, *size)),
                Item::Rect { at, size, .. } => (at.0, at.0 + size.0),
                Item::Path { points, .. } => points.iter().fold((f32::MAX, f32::MIN), |m, p| (m.0.min(p.0), m.1.max(p.0))),
                _ => continue,
            };
            assert!(from >= frame.x - 6.0 && to <= frame.x + frame.width + 6.0, "{item:?}");
        }
    }
}
