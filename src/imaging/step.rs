//! The steps of a picture, as they are told to whoever measures them: this layer has no clock.

/// A part of the way from an upload to its renditions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Reads the header, plans, and decodes what the largest rendition shows.
    Decode,
    /// Resizes, converts to sRGB, turns upright. Comes again for each smaller size, and at last for the
    /// `ThumbHash`.
    Resize,
    /// Encodes a rendition.
    Encode,
}

/// Is told where a picture is.
pub trait Watcher {
    /// A step begins; the one before is over.
    fn begins(&mut self, step: Step);
}

/// For whoever does not want to know.
impl Watcher for () {
    fn begins(&mut self, _: Step) {}
}
