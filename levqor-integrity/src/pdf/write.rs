//! From pages to the bytes of a PDF. Equal pages give equal bytes.
//!
//! printpdf writes pages, fonts and links. What it does not write is added to its objects: the outline with its levels, the
//! language, dates that follow from the document, the metadata and colour profile that archives (PDF/A-1b) ask for, and
//! an `/ID` that follows from the content.

use std::collections::{BTreeMap, BTreeSet};

use levqor_core::error::{Error, Result};
use lopdf::{Dictionary, Document, Object, ObjectId, Stream, StringFormat};
use printpdf::{
    Actions, BorderArray, Color, ColorArray, Destination, FontId, HighlightingMode, Line, LinePoint, LinkAnnotation, Mm, Op,
    PaintMode, PdfDocument, PdfFont, PdfFontHandle, PdfPage, PdfSaveOptions, Point, Polygon, PolygonRing, Pt, RawImage,
    RawImageData, RawImageFormat, Rect, TextItem, WindingOrder, XObject, XObjectId, XObjectTransform,
};

use super::canvas::{Item, Page, Paint, Rgb};
use super::font::{Fonts, Run};
use super::icc;

/// A picture: three bytes a pixel, from the top left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<u8>,
}

/// A line of the outline.
#[derive(Clone, Debug)]
pub(crate) struct Bookmark {
    pub(crate) title: String,
    pub(crate) page: usize,
    /// From the top of the page, in points.
    pub(crate) y: f32,
    /// 0 is a chapter, 1 stands below the chapter before it.
    pub(crate) level: u8,
}

/// Everything that becomes a PDF.
pub(crate) struct Script<'a> {
    pub(crate) fonts: &'a Fonts,
    pub(crate) size: (f32, f32),
    pub(crate) pages: Vec<Page>,
    /// Page (from 0) and height of every name that a link can lead to.
    pub(crate) anchors: BTreeMap<String, (usize, f32)>,
    pub(crate) bookmarks: Vec<Bookmark>,
    pub(crate) pictures: BTreeMap<String, Picture>,
    pub(crate) title: String,
    pub(crate) author: String,
    pub(crate) subject: String,
    /// RFC 3339 in UTC.
    pub(crate) date: String,
}

/// Half a hundredth of a point is nothing, and fewer digits are fewer bytes.
fn pt(v: f32) -> Pt {
    Pt((v * 100.0).round() / 100.0)
}

fn color(c: Rgb) -> Color {
    let part = |v: u8| (f32::from(v) / 255.0 * 1000.0).round() / 1000.0;
    Color::Rgb(printpdf::Rgb {
        r: part(c.0),
        g: part(c.1),
        b: part(c.2),
        icc_profile: None,
    })
}

/// The operations of a page, and which colours are set.
struct Drawing<'a> {
    script: &'a Script<'a>,
    ops: Vec<Op>,
    fill: Option<Rgb>,
    stroke: Option<(Rgb, f32)>,
}

impl Drawing<'_> {
    fn fill(&mut self, c: Rgb) {
        if self.fill != Some(c) {
            self.ops.push(Op::SetFillColor { col: color(c) });
            self.fill = Some(c);
        }
    }

    fn stroke(&mut self, c: Rgb, width: f32) {
        if self.stroke != Some((c, width)) {
            self.ops.push(Op::SetOutlineColor { col: color(c) });
            self.ops.push(Op::SetOutlineThickness { pt: pt(width) });
            self.stroke = Some((c, width));
        }
    }

    fn point(&self, at: (f32, f32)) -> Point {
        Point {
            x: pt(at.0),
            y: pt(self.script.size.1 - at.1),
        }
    }

    fn outline(&mut self, points: Vec<LinePoint>, closed: bool, paint: Paint) {
        let mode = match (paint.fill, paint.stroke) {
            (None, None) => return,
            (Some(_), None) => PaintMode::Fill,
            (None, Some(_)) => PaintMode::Stroke,
            (Some(_), Some(_)) => PaintMode::FillStroke,
        };
        if let Some(c) = paint.fill {
            self.fill(c);
        }
        if let Some((c, width)) = paint.stroke {
            self.stroke(c, width);
        }
        if closed {
            let polygon = Polygon {
                rings: vec![PolygonRing { points }],
                mode,
                winding_order: WindingOrder::NonZero,
            };
            self.ops.push(Op::DrawPolygon { polygon });
        } else {
            let line = Line {
                points,
                is_closed: false,
            };
            self.ops.push(Op::DrawLine { line });
        }
    }

    /// A rectangle with round corners, a circle if they are round enough: four curves, which are circles as near as eyes
    /// can tell.
    fn round(&mut self, at: (f32, f32), size: (f32, f32), radius: f32, paint: Paint) {
        const K: f32 = 0.552_284_8;
        let r = radius.min(size.0 / 2.0).min(size.1 / 2.0);
        let (x0, y0, x1, y1) = (at.0, at.1, at.0 + size.0, at.1 + size.1);
        let mut points = Vec::new();
        let mut push = |x: f32, y: f32, bezier: bool| {
            points.push(LinePoint {
                p: self.point((x, y)),
                bezier,
            });
        };
        if r <= 0.0 {
            for (x, y) in [(x0, y0), (x1, y0), (x1, y1), (x0, y1)] {
                push(x, y, false);
            }
        } else {
            let c = r * (1.0 - K);
            push(x0 + r, y0, false);
            push(x1 - r, y0, false);
            for (x, y, bezier) in [
                (x1 - c, y0, true),
                (x1, y0 + c, true),
                (x1, y0 + r, false),
                (x1, y1 - r, false),
            ] {
                push(x, y, bezier);
            }
            for (x, y, bezier) in [
                (x1, y1 - c, true),
                (x1 - c, y1, true),
                (x1 - r, y1, false),
                (x0 + r, y1, false),
            ] {
                push(x, y, bezier);
            }
            for (x, y, bezier) in [
                (x0 + c, y1, true),
                (x0, y1 - c, true),
                (x0, y1 - r, false),
                (x0, y0 + r, false),
            ] {
                push(x, y, bezier);
            }
            for (x, y, bezier) in [(x0, y0 + c, true), (x0 + c, y0, true), (x0 + r, y0, false)] {
                push(x, y, bezier);
            }
        }
        self.outline(points, true, paint);
    }

    fn text(&mut self, at: (f32, f32), runs: &[Run], size: f32, c: Rgb) {
        self.fill(c);
        self.ops.push(Op::StartTextSection);
        self.ops.push(Op::SetTextCursor { pos: self.point(at) });
        for run in runs {
            self.ops.push(Op::SetFont {
                font: PdfFontHandle::External(font_id(run.font)),
                size: pt(size),
            });
            self.ops.push(Op::ShowText {
                items: vec![TextItem::Text(run.text.clone())],
            });
        }
        self.ops.push(Op::EndTextSection);
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Rect { at, size, radius, paint } => self.round(*at, *size, *radius, *paint),
            Item::Circle { centre, radius, paint } => {
                let at = (centre.0 - radius, centre.1 - radius);
                self.round(at, (2.0 * radius, 2.0 * radius), *radius, *paint);
            }
            Item::Path { points, closed, paint } => {
                let points = points
                    .iter()
                    .map(|at| LinePoint {
                        p: self.point(*at),
                        bezier: false,
                    })
                    .collect();
                self.outline(points, *closed, *paint);
            }
            Item::Text { at, runs, size, color } => self.text(*at, runs, *size, *color),
            Item::PageOf {
                anchor,
                right,
                face,
                size,
                color,
            } => {
                if let Some((page, _)) = self.script.anchors.get(anchor) {
                    let runs = self.script.fonts.runs(*face, &(page + 1).to_string());
                    let width = self.script.fonts.width_of(&runs, *size);
                    self.text((right.0 - width, right.1), &runs, *size, *color);
                }
            }
            Item::Link { at, size, to } => self.link(*at, *size, to),
            Item::Image { at, size, name } => {
                let Some(picture) = self.script.pictures.get(name) else {
                    return;
                };
                let transform = XObjectTransform {
                    translate_x: Some(pt(at.0)),
                    translate_y: Some(pt(self.script.size.1 - at.1 - size.1)),
                    scale_x: Some(size.0 / picture.width as f32),
                    scale_y: Some(size.1 / picture.height as f32),
                    dpi: Some(72.0),
                    ..XObjectTransform::default()
                };
                let id = XObjectId(name.clone());
                self.ops.push(Op::UseXobject { id, transform });
            }
        }
    }

    fn link(&mut self, at: (f32, f32), size: (f32, f32), to: &str) {
        let Some((page, y)) = self.script.anchors.get(to) else {
            return;
        };
        let actions = Actions::go_to(Destination::Xyz {
            page: page + 1,
            left: Some(0.0),
            top: Some((self.script.size.1 - y).round()),
            zoom: None,
        });
        let rect = Rect::from_xywh(pt(at.0), pt(self.script.size.1 - at.1 - size.1), pt(size.0), pt(size.1));
        let link = LinkAnnotation::new(
            rect,
            actions,
            Some(BorderArray::Solid([0.0, 0.0, 0.0])),
            Some(ColorArray::Transparent),
            Some(HighlightingMode::None),
        );
        self.ops.push(Op::LinkAnnotation { link });
    }
}

fn font_id(index: usize) -> FontId {
    FontId(format!("T{index}"))
}

/// The characters that are used of every font.
fn used(script: &Script<'_>) -> BTreeMap<usize, BTreeSet<char>> {
    let mut used: BTreeMap<usize, BTreeSet<char>> = BTreeMap::new();
    for item in script.pages.iter().flat_map(|p| &p.items) {
        match item {
            Item::Text { runs, .. } => {
                for run in runs {
                    used.entry(run.font).or_default().extend(run.text.chars());
                }
            }
            Item::PageOf { face, .. } => used.entry(*face as usize).or_default().extend('0'..='9'),
            _ => {}
        }
    }
    used
}

/// Writes the PDF.
pub(crate) fn write(script: &Script<'_>) -> Result<Vec<u8>> {
    let mut pdf = PdfDocument::new(&script.title);
    let mut glyphs = BTreeMap::new();
    for (index, (name, font)) in script.fonts.cut_down(&used(script))? {
        glyphs.insert(name, font.glyph_widths.len());
        pdf.resources.fonts.map.insert(font_id(index), PdfFont::new(font));
    }
    for (name, picture) in &script.pictures {
        let image = RawImage {
            pixels: RawImageData::U8(picture.pixels.clone()),
            width: picture.width,
            height: picture.height,
            data_format: RawImageFormat::RGB8,
            tag: Vec::new(),
        };
        let id = XObjectId(name.clone());
        pdf.resources.xobjects.map.insert(id, XObject::Image(image));
    }
    for page in &script.pages {
        let mut drawing = Drawing {
            script,
            ops: Vec::new(),
            fill: None,
            stroke: None,
        };
        page.items.iter().for_each(|item| drawing.item(item));
        let (width, height): (Mm, Mm) = (Pt(script.size.0).into(), Pt(script.size.1).into());
        let mut page = PdfPage::new(width, height, drawing.ops);
        // Through millimetres and back a page would not have its exact size.
        for area in [&mut page.media_box, &mut page.trim_box, &mut page.crop_box] {
            *area = Rect::from_wh(Pt(script.size.0), Pt(script.size.1));
        }
        pdf.pages.push(page);
    }
    let options = PdfSaveOptions {
        optimize: false,
        subset_fonts: false,
        secure: true,
        image_optimization: None,
    };
    let mut doc = pdf.to_lopdf_document(&options, &mut Vec::new());
    complete(&mut doc, script, &glyphs);
    // Before anything is compressed, so that the id follows from what the document says.
    let mut plain = Vec::new();
    let broken = |e: std::io::Error| Error::internal(format!("the PDF cannot be written: {e}"));
    doc.trailer.remove(b"ID");
    doc.save_to(&mut plain).map_err(broken)?;
    let digest = crate::sha256_hex(&plain);
    let id = Object::String(digest.as_bytes()[..32].to_vec(), StringFormat::Literal);
    doc.trailer.set("ID", Object::Array(vec![id.clone(), id]));
    doc.compress();
    let mut bytes = Vec::with_capacity(plain.len() / 4);
    doc.save_to(&mut bytes).map_err(broken)?;
    Ok(bytes)
}

/// Adds what printpdf leaves out.
fn complete(doc: &mut Document, script: &Script<'_>, glyphs: &BTreeMap<String, usize>) {
    "1.4".clone_into(&mut doc.version);
    describe(doc, script);
    let page_ids: Vec<ObjectId> = doc.get_pages().into_values().collect();
    let metadata = Stream::new(
        Dictionary::from_iter([("Type", Object::from("Metadata")), ("Subtype", Object::from("XML"))]),
        xmp(script).into_bytes(),
    )
    .with_compression(false);
    let metadata = doc.add_object(metadata);
    let profile = doc.add_object(Stream::new(Dictionary::from_iter([("N", Object::Integer(3))]), icc::srgb()));
    let literal = |s: &str| Object::String(s.as_bytes().to_vec(), StringFormat::Literal);
    let intent = Dictionary::from_iter([
        ("Type", Object::from("OutputIntent")),
        ("S", Object::from("GTS_PDFA1")),
        ("OutputConditionIdentifier", literal("sRGB")),
        ("Info", literal("sRGB")),
        ("RegistryName", literal("http://www.color.org")),
        ("DestOutputProfile", Object::Reference(profile)),
    ]);
    let outline = outline(doc, script, &page_ids);
    if let Ok(catalog) = doc.catalog_mut() {
        catalog.set("Lang", literal("en"));
        catalog.set("Metadata", Object::Reference(metadata));
        catalog.set("OutputIntents", Object::Array(vec![Object::Dictionary(intent)]));
        let preferences = Dictionary::from_iter([("DisplayDocTitle", Object::Boolean(true))]);
        catalog.set("ViewerPreferences", Object::Dictionary(preferences));
        catalog.set("PageLayout", Object::from("SinglePage"));
        if let Some(outline) = outline {
            catalog.set("Outlines", Object::Reference(outline));
            catalog.set("PageMode", Object::from("UseOutlines"));
        }
    }
    for id in page_ids {
        let Ok(page) = doc.get_dictionary_mut(id) else { continue };
        let Ok(Object::Array(links)) = page.get_mut(b"Annots") else {
            continue;
        };
        for link in links.iter_mut().filter_map(|l| l.as_dict_mut().ok()) {
            // Printed, and without a frame: bit 3 of the flags (ISO 32000-1, 12.5.3).
            link.set("F", Object::Integer(4));
            link.remove(b"C");
        }
    }
    // Which glyphs a part of a font has: all of it, since it was cut to them (ISO 19005-1, 6.3.5).
    let descriptors: Vec<(ObjectId, usize)> = doc
        .objects
        .iter()
        .filter_map(|(id, object)| {
            let dict = object.as_dict().ok()?;
            let name = dict.get(b"FontName").ok()?.as_name().ok()?;
            Some((*id, *glyphs.get(std::str::from_utf8(name).ok()?)?))
        })
        .collect();
    for (id, count) in descriptors {
        let mut bits = vec![0u8; count.div_ceil(8)];
        (0..count).for_each(|i| bits[i / 8] |= 0x80 >> (i % 8));
        let set = doc.add_object(Stream::new(Dictionary::new(), bits));
        if let Ok(descriptor) = doc.get_dictionary_mut(id) {
            descriptor.set("CIDSet", Object::Reference(set));
        }
    }
}

/// UTF-16 with its mark, as texts outside of pages are written.
fn utf16(text: &str) -> Object {
    let bytes = [0xfe, 0xff].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes));
    Object::String(bytes.collect(), StringFormat::Hexadecimal)
}

/// `2026-11-21T10:06:31.000Z` as `D:20261121100631Z`.
fn pdf_date(rfc3339: &str) -> String {
    let digits: String = rfc3339.chars().filter(char::is_ascii_digit).take(14).collect();
    format!("D:{digits}Z")
}

const PRODUCER: &str = concat!("levqor ", env!("CARGO_PKG_VERSION"));

fn describe(doc: &mut Document, script: &Script<'_>) {
    let date = Object::String(pdf_date(&script.date).into_bytes(), StringFormat::Literal);
    let info = Dictionary::from_iter([
        ("Title", utf16(&script.title)),
        ("Author", utf16(&script.author)),
        ("Subject", utf16(&script.subject)),
        ("Creator", utf16("Levqor")),
        ("Producer", utf16(PRODUCER)),
        ("CreationDate", date.clone()),
        ("ModDate", date),
    ]);
    if let Ok(id) = doc.trailer.get(b"Info").and_then(Object::as_reference) {
        doc.set_object(id, info);
    }
}

fn xmp(script: &Script<'_>) -> String {
    let plain = |s: &str| -> String { s.chars().filter(|c| !c.is_control()).collect() };
    let text = |s: &str| plain(s).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let seconds = script.date.split('.').next().unwrap_or_default().trim_end_matches('Z');
    format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n\
         <rdf:Description rdf:about=\"\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\" xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\" \
         xmlns:pdf=\"http://ns.adobe.com/pdf/1.3/\" xmlns:pdfaid=\"http://www.aiim.org/pdfa/ns/id/\">\n\
         <pdfaid:part>1</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>\n\
         <dc:title><rdf:Alt><rdf:li xml:lang=\"x-default\">{title}</rdf:li></rdf:Alt></dc:title>\n\
         <dc:creator><rdf:Seq><rdf:li>{author}</rdf:li></rdf:Seq></dc:creator>\n\
         <dc:description><rdf:Alt><rdf:li xml:lang=\"x-default\">{subject}</rdf:li></rdf:Alt></dc:description>\n\
         <xmp:CreatorTool>Levqor</xmp:CreatorTool><pdf:Producer>{PRODUCER}</pdf:Producer>\n\
         <xmp:CreateDate>{seconds}Z</xmp:CreateDate><xmp:ModifyDate>{seconds}Z</xmp:ModifyDate>\n\
         </rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end=\"w\"?>",
        title = text(&script.title),
        author = text(&script.author),
        subject = text(&script.subject),
    )
}

/// The outline: chapters, and below each what stands in it.
fn outline(doc: &mut Document, script: &Script<'_>, page_ids: &[ObjectId]) -> Option<ObjectId> {
    let marks: Vec<&Bookmark> = script.bookmarks.iter().filter(|b| b.page < page_ids.len()).collect();
    let root = (!marks.is_empty()).then(|| doc.new_object_id())?;
    let ids: Vec<ObjectId> = marks.iter().map(|_| doc.new_object_id()).collect();
    let mut parent_of = Vec::with_capacity(marks.len());
    let mut chapter = root;
    for (mark, id) in marks.iter().zip(&ids) {
        parent_of.push(if mark.level == 0 { root } else { chapter });
        if mark.level == 0 {
            chapter = *id;
        }
    }
    let children = |of: ObjectId| -> Vec<ObjectId> {
        let pairs = parent_of.iter().zip(&ids);
        pairs.filter(|(p, _)| **p == of).map(|(_, id)| *id).collect()
    };
    let dictionaries: Vec<(ObjectId, Dictionary)> = marks
        .iter()
        .enumerate()
        .map(|(i, mark)| {
            let siblings = children(parent_of[i]);
            let place = siblings.iter().position(|s| *s == ids[i]).unwrap_or_default();
            let top = (script.size.1 - mark.y).round();
            let dest = vec![
                Object::Reference(page_ids[mark.page]),
                Object::from("XYZ"),
                Object::Integer(0),
                Object::Real(top),
                Object::Null,
            ];
            let mut dict = Dictionary::from_iter([
                ("Title", utf16(&mark.title)),
                ("Parent", Object::Reference(parent_of[i])),
                ("Dest", Object::Array(dest)),
            ]);
            if let Some(before) = place.checked_sub(1) {
                dict.set("Prev", Object::Reference(siblings[before]));
            }
            if let Some(after) = siblings.get(place + 1) {
                dict.set("Next", Object::Reference(*after));
            }
            let below = if mark.level == 0 { children(ids[i]) } else { Vec::new() };
            if let (Some(first), Some(last)) = (below.first(), below.last()) {
                dict.set("First", Object::Reference(*first));
                dict.set("Last", Object::Reference(*last));
                // Less than nothing means that it is closed.
                let count = i64::try_from(below.len()).unwrap_or(i64::MAX);
                dict.set("Count", Object::Integer(-count));
            }
            (ids[i], dict)
        })
        .collect();
    let chapters = children(root);
    for (id, dict) in dictionaries {
        doc.set_object(id, dict);
    }
    let mut dict = Dictionary::from_iter([("Type", Object::from("Outlines"))]);
    dict.set("Count", Object::Integer(i64::try_from(chapters.len()).unwrap_or(i64::MAX)));
    dict.set("First", Object::Reference(*chapters.first()?));
    dict.set("Last", Object::Reference(*chapters.last()?));
    doc.set_object(root, dict);
    Some(root)
}
