//! Versioned encodings.
