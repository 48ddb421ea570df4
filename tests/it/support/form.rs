//! `multipart/form-data`, as phones and curl send it.

/// A form; parts in the order of the calls.
#[derive(Clone, Debug)]
pub struct Form {
    boundary: String,
    parts: Vec<u8>,
}

impl Form {
    pub fn new() -> Self {
        Self {
            boundary: "----pockitd-test-0123456789".to_owned(),
            parts: Vec::new(),
        }
    }

    /// A form with one file in the field `image`.
    pub fn image(bytes: &[u8]) -> Self {
        Self::new().file("image", "photo.jpg", "image/jpeg", bytes)
    }

    pub fn file(self, field: &str, name: &str, kind: &str, bytes: &[u8]) -> Self {
        let head = format!(
            "Content-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n"
        );
        self.part(head.as_bytes(), bytes)
    }

    pub fn text(self, field: &str, value: &str) -> Self {
        let head = format!("Content-Disposition: form-data; name=\"{field}\"\r\n");
        self.part(head.as_bytes(), value.as_bytes())
    }

    /// A part with this head, each line with its end, and this content.
    pub fn part(mut self, head: &[u8], content: &[u8]) -> Self {
        self.parts
            .extend_from_slice(format!("--{}\r\n", self.boundary).as_bytes());
        self.parts.extend_from_slice(head);
        self.parts.extend_from_slice(b"\r\n");
        self.parts.extend_from_slice(content);
        self.parts.extend_from_slice(b"\r\n");
        self
    }

    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.parts.clone();
        bytes.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        bytes
    }
}
