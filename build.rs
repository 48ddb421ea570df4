//! Finds the static libavcodec of `scripts/libavcodec` for the feature `libavcodec`, and has a C compiler prove that its
//! headers, and libheif's, say what `src/imaging/heif` believes. Without the feature there is nothing to do.

#[cfg(feature = "libavcodec")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    libavcodec::link()
}

#[cfg(not(feature = "libavcodec"))]
const fn main() {}

#[cfg(feature = "libavcodec")]
mod libavcodec {
    use std::env;
    use std::error::Error;
    use std::path::PathBuf;

    const PROOF: &str = "src/imaging/heif/abi.c";

    pub(super) fn link() -> Result<(), Box<dyn Error>> {
        println!("cargo::rerun-if-changed=build.rs");
        println!("cargo::rerun-if-env-changed=LIBAVCODEC_PREFIX");
        println!("cargo::rerun-if-changed={PROOF}");
        let prefix = match env::var_os("LIBAVCODEC_PREFIX") {
            Some(prefix) => PathBuf::from(prefix),
            None => PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("target/libavcodec"),
        };
        let libraries = prefix.join("lib");
        let archive = libraries.join("libavcodec.a");
        if !archive.is_file() {
            let sentence = format!(
                "the feature libavcodec needs {}: run scripts/libavcodec, or set LIBAVCODEC_PREFIX to where its build is",
                archive.display()
            );
            return Err(sentence.into());
        }
        println!("cargo::rerun-if-changed={}", archive.display());
        let heif = env::var("DEP_HEIF_INCLUDE")?;
        let mut proof = cc::Build::new();
        proof.file(PROOF).include(prefix.join("include"));
        for folder in env::split_paths(&heif) {
            proof.include(folder);
        }
        proof.warnings_into_errors(true).try_compile("abi")?;
        println!("cargo::rustc-link-search=native={}", libraries.display());
        println!("cargo::rustc-link-lib=static=avcodec");
        println!("cargo::rustc-link-lib=static=avutil");
        Ok(())
    }
}
