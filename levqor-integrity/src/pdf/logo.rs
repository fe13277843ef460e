//! Logos: PNG, made opaque on white, since archives allow no transparency.

use super::write::Picture;

/// No logo has more pixels.
const LARGEST: usize = 4_000_000;

/// Reads a PNG; the error is a sentence.
pub(crate) fn read(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16 | png::Transformations::ALPHA);
    let bad = |e: png::DecodingError| format!("the logo is no PNG that can be read: {e}");
    let mut reader = decoder.read_info().map_err(bad)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    if width * height > LARGEST {
        return Err(format!("the logo has {width} x {height} pixels; at most {LARGEST} are taken"));
    }
    let size = reader.output_buffer_size().ok_or("the logo is too large")?;
    let mut data = vec![0; size];
    let frame = reader.next_frame(&mut data).map_err(bad)?;
    let step = match frame.color_type {
        png::ColorType::GrayscaleAlpha => 2,
        png::ColorType::Rgba => 4,
        other => return Err(format!("the logo has pixels of an unexpected kind, {other:?}")),
    };
    let pixels = data[..frame.buffer_size()]
        .chunks_exact(step)
        .flat_map(|p| {
            let alpha = u32::from(p[step - 1]);
            let on_white = |v: u8| u8::try_from((u32::from(v) * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX);
            if step == 2 {
                [on_white(p[0]); 3]
            } else {
                [on_white(p[0]), on_white(p[1]), on_white(p[2])]
            }
        })
        .collect();
    Ok(Picture { width, height, pixels })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn png_of(color: png::ColorType, width: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, 1);
        encoder.set_color(color);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    #[test]
    fn pictures_become_opaque() {
        let rgba = png_of(png::ColorType::Rgba, 2, &[10, 20, 30, 255, 0, 0, 0, 0]);
        assert_eq!(read(&rgba).unwrap().pixels, [10, 20, 30, 255, 255, 255]);
        let grey = png_of(png::ColorType::Grayscale, 1, &[7]);
        assert_eq!(
            read(&grey).unwrap(),
            Picture {
                width: 1,
                height: 1,
                pixels: vec![7; 3]
            }
        );
        assert!(read(b"GIF89a").is_err());
        assert!(read(&rgba[..40]).is_err());
    }
}
