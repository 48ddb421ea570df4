//! Our decoder against libjpeg-turbo and against itself.

mod agreement;
mod damage;
mod samples;
