//! How pages look like the service's own: a colour that stays readable, and a logo.

use crate::config::error::{ConfigError, wrong};
use std::{fmt, str::FromStr, sync::Arc};

/// WCAG 2.2, 1.4.3: text against its ground.
const MIN_CONTRAST: f64 = 4.5;

/// What links and markers stand on: page, sheet and wash of the stylesheet.
const LIGHT: [Colour; 3] = [Colour([0xf6, 0xf5, 0xf1]), Colour([0xff, 0xff, 0xff]), Colour([0xf1, 0xf0, 0xea])];
const DARK: [Colour; 3] = [Colour([0x12, 0x15, 0x13]), Colour([0x1a, 0x1e, 0x1c]), Colour([0x22, 0x27, 0x25])];
const BLACK: Colour = Colour([0, 0, 0]);
const WHITE: Colour = Colour([255, 255, 255]);

/// Pages load it each time, so it is small.
const MAX_LOGO_BYTES: usize = 64 * 1024;

/// An sRGB colour, written `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour([u8; 3]);

impl FromStr for Colour {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit())).ok_or(())?;
        let [_, r, g, b] = u32::from_str_radix(digits, 16).map_err(|_| ())?.to_be_bytes();
        Ok(Self([r, g, b]))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

impl Colour {
    /// WCAG 2.2's relative luminance.
    fn luminance(self) -> f64 {
        let [r, g, b] = self.0.map(|channel| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// WCAG 2.2's contrast ratio, 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// `percent` of the way to another colour.
    fn mixed(self, other: Self, percent: u16) -> Self {
        let mix = |a: u8, b: u8| ((u16::from(a) * (100 - percent) + u16::from(b) * percent) / 100).to_le_bytes()[0];
        let ([r, g, b], [x, y, z]) = (self.0, other.0);
        Self([mix(r, x), mix(g, y), mix(b, z)])
    }

    /// The colour itself where it is readable on all of `grounds`, else the nearest shade on the way to `end` that is.
    fn readable_on(self, grounds: &[Self], end: Self) -> Self {
        let shades = (0..=100).step_by(5).map(|percent| self.mixed(end, percent));
        shades.into_iter().find(|shade| grounds.iter().all(|ground| shade.contrast(*ground) >= MIN_CONTRAST)).unwrap_or(end)
    }
}

/// One scheme's colours: for links and buttons, for what is written on buttons, and for buttons under the pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shades {
    pub accent: Colour,
    pub ink: Colour,
    pub over: Colour,
}

/// The accent of both schemes. No colour is readable on both grounds, so each has its own shade; and there always is
/// one: on the way to black or white the contrast only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accent {
    pub light: Shades,
    pub dark: Shades,
}

impl Accent {
    /// Derives the shades of both colour schemes from one colour.
    ///
    /// # Errors
    /// When it is no colour of the form `#rrggbb`.
    pub(super) fn read(text: &str) -> Result<Self, ConfigError> {
        let colour: Colour = text.parse().map_err(|()| wrong(format!("`brand.accent` = {text} must be a colour such as #1f5f4a")))?;
        let shades = |grounds: &[Colour], end, ink| {
            let accent = colour.readable_on(grounds, end);
            Shades { accent, ink, over: accent.mixed(end, 20) }
        };
        Ok(Self { light: shades(&LIGHT, BLACK, WHITE), dark: shades(&DARK, WHITE, BLACK) })
    }
}

/// An image to show instead of our mark.
#[derive(Clone)]
pub struct Logo {
    pub bytes: Arc<[u8]>,
    pub content_type: &'static str,
}

impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logo({}, {} bytes)", self.content_type, self.bytes.len())
    }
}

impl Logo {
    /// Reads the image once, at the start.
    ///
    /// # Errors
    /// When the file can't be read, is too large, is neither PNG nor SVG, or holds a script.
    pub(super) fn read(path: &str) -> Result<Self, ConfigError> {
        let bytes = std::fs::read(path).map_err(|error| wrong(format!("`brand.logo_file`: can't read {path}: {error}")))?;
        if bytes.len() > MAX_LOGO_BYTES {
            return Err(wrong(format!("`brand.logo_file`: {path} has {} bytes, and at most {MAX_LOGO_BYTES} are served", bytes.len())));
        }
        let text = std::str::from_utf8(&bytes).unwrap_or_default().to_ascii_lowercase();
        let content_type = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            "image/png"
        } else if text.contains("<svg") {
            "image/svg+xml"
        } else {
            return Err(wrong(format!("`brand.logo_file`: {path} is neither PNG nor SVG")));
        };
        // It is served so that no script in it would run; one that is there is a mistake all the same.
        if text.contains("<script") || text.contains("javascript:") {
            return Err(wrong(format!("`brand.logo_file`: {path} holds a script: save it as a plain picture")));
        }
        Ok(Self { bytes: bytes.into(), content_type })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accent_becomes_readable_in_both_schemes() {
        for colour in (0..=0xff_ffff).step_by(0x03_0511).map(|n| format!("#{n:06x}")) {
            let accent = Accent::read(&colour).unwrap();
            for (shades, grounds) in [(accent.light, LIGHT), (accent.dark, DARK)] {
                assert!(grounds.iter().all(|ground| shades.accent.contrast(*ground) >= MIN_CONTRAST), "{colour} as a link: {shades:?}");
                assert!(shades.accent.contrast(shades.ink) >= MIN_CONTRAST, "{colour} as a button: {shades:?}");
                assert!(shades.over.contrast(shades.ink) >= MIN_CONTRAST, "{colour} under the pointer: {shades:?}");
            }
        }
    }

    #[test]
    fn a_readable_accent_is_taken_as_it_is() {
        assert_eq!(Accent::read("#1f5f4a").unwrap().light.accent.to_string(), "#1f5f4a");
        assert_eq!(Accent::read("#9fd8c1").unwrap().dark.accent.to_string(), "#9fd8c1");
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        assert!((BLACK.contrast(WHITE) - 21.0).abs() < 1e-9);
        let grey: Colour = "#767676".parse().unwrap();
        assert!((grey.contrast(WHITE) - 4.54).abs() < 0.01);
    }

    #[test]
    fn what_is_no_colour_is_refused() {
        for text in ["red", "#12345", "#12345g", "1f5f4a", "#1f5f4a;}"] {
            assert!(Accent::read(text).is_err(), "{text}");
        }
    }
}
