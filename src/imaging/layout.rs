//! What goes where: which part of a stored picture is shown, which way up, and how it fills a rendition.
//!
//! Three frames of reference: *stored* (pixels as the file holds them), *upright* (as a viewer shows them), and
//! *canvas* (the rendition). A [`View`] joins the first two, a [`Layout`] the last two.

use crate::domain::picture::Crop;
use crate::domain::picture::Fit;
use crate::imaging::geometry::Orientation;
use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::geometry::rounded;

/// The part of the stored picture that is the picture, and how it is turned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct View {
    /// Left edge of the part, in stored pixels.
    pub x: u32,
    /// Upper edge of the part, in stored pixels.
    pub y: u32,
    /// Size of the part, in stored pixels.
    pub size: Size,
    /// How the part is turned upright.
    pub orientation: Orientation,
}

impl View {
    /// All of a stored picture, turned.
    pub(super) const fn whole(size: Size, orientation: Orientation) -> Self {
        Self {
            x: 0,
            y: 0,
            size,
            orientation,
        }
    }

    /// The upright picture's size.
    pub(super) fn upright(&self) -> Size {
        self.orientation.turned(self.size)
    }

    /// The view after one more turn or mirroring.
    pub(super) fn turned(self, next: Orientation) -> Self {
        Self {
            orientation: self.orientation.then(next),
            ..self
        }
    }

    /// The view of a rectangle of the upright picture. `None` unless it lies inside and has pixels.
    pub(super) fn cut(self, crop: Crop) -> Option<Self> {
        let upright = self.upright();
        let inside = crop.x.checked_add(crop.width)? <= upright.width
            && crop.y.checked_add(crop.height)? <= upright.height;
        if !inside || crop.width == 0 || crop.height == 0 {
            return None;
        }
        let region = self.orientation.to_stored(Region::from(crop), self.size);
        let size = self.orientation.turned(Size {
            width: crop.width,
            height: crop.height,
        });
        Some(Self {
            x: self.x.checked_add(rounded(region.x))?,
            y: self.y.checked_add(rounded(region.y))?,
            size,
            ..self
        })
    }
}

/// What of a picture goes where in a rendition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layout {
    /// The part of the stored picture that is shown.
    pub source: Region,
    /// Pixels of the rendition that it fills, before it is turned upright.
    pub content: Size,
    /// Size of the rendition. Larger than the (turned) content where there are bars.
    pub canvas: Size,
    /// Whether parts of the view are not shown.
    pub cropped: bool,
    /// Whether the content is larger than its source.
    pub enlarged: bool,
}

impl Layout {
    /// Fits a view into a square with sides of `side` pixels, or into its longer side (`Fit::Inside`).
    pub(super) fn fit(view: &View, fit: Fit, side: u32) -> Self {
        let shown = Region::whole(view.upright());
        let square = Size::square(side);
        let (source, content, canvas) = match fit {
            Fit::Cover => (shown.centred(1.0, 1.0), square, square),
            Fit::Pad => (shown, scaled_into(view.upright(), side), square),
            Fit::Inside => {
                let content = scaled_into(view.upright(), side);
                (shown, content, content)
            }
        };
        let stored = view.orientation.to_stored(source, view.size);
        Self {
            source: stored.moved(f64::from(view.x), f64::from(view.y)),
            content: view.orientation.turned(content),
            canvas,
            cropped: source != shown,
            enlarged: source.width < f64::from(content.width)
                || source.height < f64::from(content.height),
        }
    }

    /// Whether there are bars beside the content, once it is turned like `orientation`.
    pub(super) fn padded(&self, orientation: Orientation) -> bool {
        orientation.turned(self.content) != self.canvas
    }
}

/// The size with these proportions whose longer side is `longer`; the shorter one is at least 1.
fn scaled_into(size: Size, longer: u32) -> Size {
    let scale = f64::from(longer) / f64::from(size.width.max(size.height).max(1));
    let length = |pixels: u32| rounded(f64::from(pixels) * scale).clamp(1, longer);
    Size {
        width: length(size.width),
        height: length(size.height),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: Size = Size {
        width: 6,
        height: 4,
    };

    fn view(orientation: u32) -> View {
        View::whole(STORED, Orientation::from_exif(orientation))
    }

    #[test]
    fn view_cut_of_the_upper_left_pixel_finds_it_in_each_orientation() {
        // Where the upright picture's first pixel is stored, by the EXIF standard's table.
        let expected = [
            (1, 0, 0),
            (2, 5, 0),
            (3, 5, 3),
            (4, 0, 3),
            (5, 0, 0),
            (6, 0, 3),
            (7, 5, 3),
            (8, 5, 0),
        ];
        let pixel = Crop {
            x: 0,
            y: 0,
            width: 1,
            height: 1,
        };

        for (orientation, x, y) in expected {
            let cut = view(orientation).cut(pixel).unwrap();
            assert_eq!((cut.x, cut.y), (x, y), "orientation {orientation}");
        }
    }

    #[test]
    fn view_cut_outside_or_empty_is_none() {
        let crop = |x, y, width, height| Crop {
            x,
            y,
            width,
            height,
        };

        assert_eq!(view(6).cut(crop(0, 0, 5, 6)), None);
        assert_eq!(view(1).cut(crop(1, 0, u32::MAX, 1)), None);
        assert_eq!(view(1).cut(crop(0, 0, 0, 1)), None);
        assert!(view(6).cut(crop(0, 0, 4, 6)).is_some());
    }

    #[test]
    fn layout_cover_is_the_centre_square() {
        let layout = Layout::fit(&view(6), Fit::Cover, 512);

        assert_eq!(
            layout.source,
            Region {
                x: 1.0,
                y: 0.0,
                width: 4.0,
                height: 4.0
            }
        );
        assert!(layout.cropped && layout.enlarged && !layout.padded(Orientation::from_exif(6)));
    }

    #[test]
    fn layout_pad_and_inside_keep_the_proportions() {
        let pad = Layout::fit(&view(8), Fit::Pad, 300);
        let inside = Layout::fit(&view(8), Fit::Inside, 300);

        assert_eq!(
            pad.content,
            Size {
                width: 300,
                height: 200
            }
        );
        assert!(pad.padded(Orientation::from_exif(8)) && !pad.cropped);
        assert_eq!(
            inside.canvas,
            Size {
                width: 200,
                height: 300
            }
        );
        assert!(!inside.padded(Orientation::from_exif(8)));
    }

    #[test]
    fn layout_of_a_line_keeps_one_pixel() {
        let line = View::whole(
            Size {
                width: 10_000,
                height: 1,
            },
            Orientation::UPRIGHT,
        );

        assert_eq!(
            Layout::fit(&line, Fit::Inside, 512).canvas,
            Size {
                width: 512,
                height: 1
            }
        );
    }
}
