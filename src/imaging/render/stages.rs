//! The stages of a picture one at a time, for measurements: what each costs, and what a change to one of them brings.
//! The way of an upload is [`Tools::render`]; this goes the same one, over the same functions.

use crate::config;
use crate::imaging::Error;
use crate::imaging::Native;
use crate::imaging::Unencoded;
use crate::imaging::geometry::Size;
use crate::imaging::layout::Layout;
use crate::imaging::raster;
use crate::imaging::raster::Model;
use crate::imaging::raster::Request;
use crate::imaging::render::Source;
use crate::imaging::render::Tools;
use crate::imaging::render::largest;

/// The stages, with everything that is kept from one picture to the next.
#[derive(Debug)]
pub struct Stages {
    config: config::Picture,
    tools: Tools,
}

/// What a decoder delivered: the samples that are shown, not yet at their final size.
#[derive(Debug)]
pub struct Decoded {
    decoded: raster::Decoded,
    request: Request,
}

/// A picture at its final size, in the colours of its file.
#[derive(Clone, Debug)]
pub struct Resized {
    model: Model,
    samples: Vec<u8>,
}

impl Stages {
    /// The stages under this configuration, which has been validated.
    #[must_use]
    pub fn new(config: config::Picture) -> Self {
        Self {
            config,
            tools: Tools::new(),
        }
    }

    /// Reads the header, plans, and decodes what the largest rendition shows.
    ///
    /// # Errors
    ///
    /// Those of [`crate::imaging::Renderer::render`].
    pub fn decode(&mut self, upload: &[u8]) -> Result<Decoded, Error> {
        let source = Source::open(upload, &self.config, Native::Allowed)?;
        let layout = Layout::fit(&source.view()?, self.config.fit, largest(&self.config));
        let request = Request {
            source: layout.source,
            target: layout.content,
        };
        let (decoded, _) = self
            .tools
            .decode(&self.config, source, &request, Native::Allowed)?;
        Ok(Decoded { decoded, request })
    }

    /// Resizes what was decoded.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    pub fn resize(&mut self, decoded: &Decoded) -> Result<Resized, Error> {
        let pixels = &decoded.decoded.pixels;
        let (model, samples) = self.tools.resized(pixels, &decoded.request)?;
        Ok(Resized { model, samples })
    }

    /// Converts what was resized to sRGB. Returns the samples.
    pub fn convert(&mut self, decoded: &Decoded, resized: Resized) -> Vec<u8> {
        let Resized { model, samples } = resized;
        let profile = &decoded.decoded.profile;
        self.tools.converter.convert(model, samples, profile).0
    }

    /// Encodes a picture as its largest rendition. Returns the file's length, in bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    pub fn encode(&mut self, picture: &Unencoded) -> Result<usize, Error> {
        let size = Size {
            width: picture.width.into(),
            height: picture.height.into(),
        };
        let encoder = &mut self.tools.encoder;
        Ok(encoder.encode(&self.config, size, &picture.rgb)?.len())
    }
}
