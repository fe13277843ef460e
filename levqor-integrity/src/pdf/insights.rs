//! The figures of a quarter as a report, drawn with the same parts as the evidence.

use levqor_core::error::Result;

use super::canvas::{Paint, Rgb};
use super::chart::{Frame as Place, fitted, line};
use super::cover::band;
use super::flow::{BAND, BODY, Cell, Flow, INK, MUTED, SIDE, SMALL, TINY, Width};
use super::font::{Face, Fonts};
use super::frame::{Frame, finish};
use super::look::Look;
use crate::insights::{Figures, Insights, money};

/// Draws the figures of a quarter. `date` (RFC 3339) is when they were made; equal figures at the same date give equal bytes.
pub fn render(insights: &Insights, look: &Look, date: &str) -> Result<Vec<u8>> {
    let fonts = Fonts::new(&look.fonts)?;
    let mut flow = Flow::new(&fonts, look.paper.size(), look.accent.readable_on(Rgb::WHITE));
    let title = if look.title.is_empty() {
        "Quarterly figures".to_owned()
    } else {
        look.title.clone()
    };
    flow.new_page(&title);
    band(&mut flow, look, &title, &look.company);
    flow.y = 292.0;
    let quarter = insights.quarter.to_string();
    let (y, page_fonts) = (flow.y, flow.fonts);
    flow.page().text(page_fonts, (SIDE, y), Face::Strong, 15.0, INK, &quarter);
    flow.gap(16.0);
    tiles(&mut flow, insights);
    flow.paragraph("Sums over many customers; nobody can be found in them. Chapter 2 says how they were made.");
    figures(&mut flow, insights);
    flow.chapter(2, "How the figures were made", false);
    flow.bullets(&insights.method);
    let frame = Frame {
        company: look.company.clone(),
        subject: format!("{title}, {quarter}"),
        title,
        foot: vec![quarter, look.classification.clone(), date.to_owned()],
        date: date.to_owned(),
        look,
    };
    finish(flow, &frame)
}

fn hundredths(bp: Option<i64>) -> String {
    bp.map_or_else(
        || "-".into(),
        |v| format!("{}{}.{:02} %", if v < 0 { "-" } else { "" }, v.abs() / 100, v.abs() % 100),
    )
}

fn count(n: Option<u64>) -> String {
    let text = n.and_then(|n| i64::try_from(n).ok()).map(|n| money(n.saturating_mul(100)));
    text.map_or_else(|| "-".into(), |t| t.trim_end_matches(".00").to_owned())
}

fn amount(minor: Option<i64>) -> String {
    minor.map_or_else(|| "-".into(), money)
}

fn percent(bp: Option<u64>) -> String {
    hundredths(bp.and_then(|v| i64::try_from(v).ok()))
}

fn tiles(flow: &mut Flow<'_>, insights: &Insights) {
    const HEIGHT: f32 = 62.0;
    let total = &insights.total;
    let currency = &insights.currency;
    let tiles = [
        (format!("Revenue, {currency}"), amount(total.revenue)),
        (format!("MRR at the end, {currency}"), amount(total.mrr)),
        ("Net margin".into(), hundredths(total.margin_bp)),
        ("API calls".into(), count(total.api_calls)),
        ("Uptime".into(), percent(total.uptime_bp)),
        ("Integrity runs, ready".into(), format!("{} of {}", total.ready, total.runs)),
    ];
    let width = (flow.width() - 2.0 * 10.0) / 3.0;
    let (y, fonts, accent) = (flow.y, flow.fonts, flow.accent);
    let page = flow.page();
    for (i, (name, value)) in tiles.iter().enumerate() {
        let at = (SIDE + (i % 3) as f32 * (width + 10.0), y + (i / 3) as f32 * (HEIGHT + 10.0));
        page.rect(at, (width, HEIGHT), 5.0, Paint::fill(BAND));
        page.rect(at, (3.0, HEIGHT), 1.5, Paint::fill(accent));
        page.text(fonts, (at.0 + 14.0, at.1 + 20.0), Face::Text, SMALL, MUTED, name);
        let size = if fonts.width(Face::Strong, value, 18.0) > width - 24.0 {
            12.0
        } else {
            18.0
        };
        let value = fitted(fonts, Face::Strong, value, size, width - 20.0);
        page.text(fonts, (at.0 + 14.0, at.1 + 45.0), Face::Strong, size, INK, &value);
    }
    flow.y += 2.0 * HEIGHT + 26.0;
    if let Some(why) = &total.hidden {
        flow.text(
            &format!("Sums over customers are not shown: {why}."),
            Face::Strong,
            BODY,
            INK,
            0.0,
        );
    }
}

fn figures(flow: &mut Flow<'_>, insights: &Insights) {
    flow.chapter(1, "The figures by month", true);
    let row = |f: &Figures| {
        vec![
            Cell::strong(f.name.as_str()),
            Cell::number(f.customers.map_or_else(|| "-".into(), |n| format!("{n}+"))),
            Cell::number(amount(f.revenue)),
            Cell::number(amount(f.mrr)),
            Cell::number(hundredths(f.margin_bp)),
            Cell::number(count(f.api_calls)),
            Cell::number(percent(f.uptime_bp)),
            Cell::number(format!("{}/{}", f.ready, f.runs)),
        ]
    };
    let rows: Vec<Vec<Cell>> = insights.months.iter().chain([&insights.total]).map(row).collect();
    flow.table(
        &[
            ("", Width::Fixed(54.0)),
            ("Customers", Width::Fixed(54.0)),
            ("Revenue", Width::Share(1.0)),
            ("MRR", Width::Share(1.0)),
            ("Margin", Width::Fixed(52.0)),
            ("API calls", Width::Share(0.8)),
            ("Uptime", Width::Fixed(52.0)),
            ("Runs", Width::Fixed(42.0)),
        ],
        &rows,
    );
    for f in insights.months.iter().filter(|f| f.hidden.is_some()) {
        let why = f.hidden.as_deref().unwrap_or_default();
        flow.text(
            &format!("{}: sums over customers are not shown, because of: {why}.", f.name),
            Face::Text,
            TINY,
            MUTED,
            0.0,
        );
    }
    let whole = |minor: i64| minor as f64 / 100.0;
    let charts: [(&str, Vec<Option<f64>>, &str); 4] = [
        ("Revenue", insights.months.iter().map(|m| m.revenue.map(whole)).collect(), ""),
        (
            "Monthly recurring revenue",
            insights.months.iter().map(|m| m.mrr.map(whole)).collect(),
            "",
        ),
        (
            "API calls",
            insights.months.iter().map(|m| m.api_calls.map(|n| n as f64)).collect(),
            "",
        ),
        (
            "Net margin",
            insights
                .months
                .iter()
                .map(|m| m.margin_bp.map(|n| n as f64 / 100.0))
                .collect(),
            " %",
        ),
    ];
    let (fonts, accent, width) = (flow.fonts, flow.accent, flow.width());
    let half = (width - 20.0) / 2.0;
    flow.heading("Over the months", 300.0);
    for pair in charts.chunks(2) {
        flow.need(150.0);
        let y = flow.y;
        let mut height: f32 = 0.0;
        for (i, (name, values, unit)) in pair.iter().enumerate() {
            let x = SIDE + i as f32 * (half + 20.0);
            let points: Vec<(String, f64)> = insights
                .months
                .iter()
                .zip(values)
                .filter_map(|(m, v)| v.map(|v| (m.name.clone(), v)))
                .collect();
            let page = flow.page();
            page.text(fonts, (x, y + 9.0), Face::Strong, BODY, INK, name);
            let place = Place {
                x,
                y: y + 16.0,
                width: half,
            };
            if points.is_empty() {
                page.text(fonts, (x, y + 60.0), Face::Text, SMALL, MUTED, "nothing that may be shown");
                height = height.max(130.0);
            } else {
                height = height.max(line(page, fonts, place, &points, accent, unit) + 22.0);
            }
        }
        flow.y += height + 8.0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::insights::{Quarter, Reading};

    #[test]
    fn figures_become_a_report_that_is_the_same_every_time() {
        let readings: Vec<Reading> = (0..60i64)
            .map(|i| Reading {
                account: format!("secret-customer-{}", i % 20),
                day: format!("2026-{:02}-11", 7 + i / 20),
                revenue: 100_000 + i * 1_700,
                cost: 31_000,
                mrr: 90_000 + i * 900,
                api_calls: 1_200 * u64::try_from(i).unwrap(),
            })
            .collect();
        let quarter = Quarter::parse("2026-Q3").unwrap();
        let insights = Insights::of(&readings, &[], quarter, "EUR", 5).unwrap();
        let look = Look {
            company: "Acme Ltd".into(),
            ..Look::default()
        };
        let pdf = render(&insights, &look, "2026-10-01T06:00:00.000Z").unwrap();
        assert_eq!(pdf, render(&insights, &look, "2026-10-01T06:00:00.000Z").unwrap());
        let doc = lopdf::Document::load_mem(&pdf).unwrap();
        let pages: Vec<u32> = doc.get_pages().into_keys().collect();
        let text = doc.extract_text(&pages).unwrap();
        assert!(
            text.contains("2026-Q3") && text.contains(&money(insights.total.revenue.unwrap())),
            "{text}"
        );
        assert!(!text.contains("secret-customer"));
        let nothing = Insights::of(&[], &[], quarter, "EUR", 5).unwrap();
        render(&nothing, &look, "2026-10-01T06:00:00.000Z").unwrap();
        if let Ok(folder) = std::env::var("LEVQOR_LOOK") {
            std::fs::write(format!("{folder}/insights.pdf"), &pdf).unwrap();
        }
    }
}
