# Read by CMake as a toolchain file (see .cargo/config.toml): what libheif's build must not find.
# Left visible: libde265, the HEVC decoder. Everything else would add attack surface (AVIF, JPEG 2000,
# uncompressed items), a licence that does not fit (x264, x265), or a library that the next machine lacks.
foreach(package
    X265 X264 kvazaar UVG266 vvdec vvenc OpenH264 DAV1D AOM SvtEnc RAV1E JPEG OpenJPEG FFMPEG OPENJPH
    libsharpyuv ZLIB Brotli Doxygen)
  set(CMAKE_DISABLE_FIND_PACKAGE_${package} ON)
endforeach()
