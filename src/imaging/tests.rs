//! The whole way from upload to rendition, over files that are made here.

mod formats;
mod oddities;
mod quality;
mod refusals;
pub(in crate::imaging) mod samples;
mod shapes;
