//! `Content-Disposition` of a form's part (RFC 7578 §4.2): its name, and whether it is a file.
//!
//! Read here and not by the form's parser, because clients write names of files in every way there is: bytes that are
//! not UTF-8, and `filename*` (RFC 5987), which RFC 7578 forbids and widely used clients send. The name of a file says
//! nothing to us; that there is one says that the part is a file.

/// What a part is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Disposition {
    /// The form field's name; bytes that are not UTF-8 are replaced.
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// Whether a part is a file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Kind {
    /// It has no file name.
    #[default]
    Text,
    /// Its file name is empty: a browser's form with no file chosen.
    NoFile,
    File,
}

impl Disposition {
    /// Reads the value of the field. What is malformed counts as absent.
    pub(super) fn parse(value: &[u8]) -> Self {
        let mut found = Self::default();
        for (name, value) in parameters(value) {
            match name.as_slice() {
                b"name" => found.name = String::from_utf8_lossy(&value).into_owned(),
                b"filename" => found.add(!value.is_empty()),
                // charset'language'name
                b"filename*" => found.add(value.rsplit(|byte| *byte == b'\'').next() != Some(b"")),
                _ => {}
            }
        }
        found
    }

    fn add(&mut self, is_named: bool) {
        if is_named {
            self.kind = Kind::File;
        } else if self.kind == Kind::Text {
            self.kind = Kind::NoFile;
        }
    }
}

/// The parameters of a field's value, behind its first word: names in lower case, values without their quotes. What is
/// malformed is left out.
pub(super) fn parameters(value: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let mut rest = value;
    // The first word is the value itself: `form-data`, or a media type.
    let parameters = std::iter::from_fn(move || {
        let (_, after) = split(rest, b';')?;
        let (parameter, next) = parameter(after);
        rest = next;
        Some(parameter)
    });
    parameters.filter_map(|parameter| {
        let (name, value) = split(parameter, b'=')?;
        let name = name.trim_ascii().to_ascii_lowercase();
        Some((name, unquoted(value.trim_ascii())))
    })
}

/// Up to the next semicolon outside quotes, and what begins with that semicolon.
fn parameter(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut quoted = false;
    let mut escaped = false;
    let end = bytes.iter().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' => return !quoted,
            _ => {}
        }
        false
    });
    bytes.split_at(end.unwrap_or(bytes.len()))
}

/// Without quotes, and without the backslashes in front of quotes and backslashes.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let inner = value.strip_prefix(b"\"");
    let Some(inner) = inner.and_then(|value| value.strip_suffix(b"\"")) else {
        return value.to_vec();
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for byte in inner {
        if *byte == b'\\' && !escaped {
            escaped = true;
            continue;
        }
        if escaped && !matches!(byte, b'"' | b'\\') {
            // Internet Explorer sent whole paths, unescaped.
            bytes.push(b'\\');
        }
        escaped = false;
        bytes.push(*byte);
    }
    bytes
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|byte| *byte == at)?;
    let (before, after) = bytes.split_at_checked(place)?;
    Some((before, after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_kinds_are_read_as_clients_write_them() {
        use Kind::{File, NoFile, Text};
        let cases: [(&[u8], &str, Kind); 15] = [
            (
                b"form-data; name=\"image\"; filename=\"a.jpg\"",
                "image",
                File,
            ),
            (b"form-data; name=image; filename=a.jpg", "image", File),
            (b"form-data; filename=\"a\"; name=\"image\"", "image", File),
            (b"FORM-DATA;NAME=\"image\";FILENAME=\"a\"", "image", File),
            (b"form-data; name=\"image\"; filename=\"\"", "image", NoFile),
            (b"form-data; name=\"image\"", "image", Text),
            (
                b"form-data; name=\"image\"; filename*=utf-8''caf%C3%A9.jpg",
                "image",
                File,
            ),
            (
                b"form-data; name=\"image\"; filename*=utf-8''",
                "image",
                NoFile,
            ),
            (
                b"form-data; name=\"image\"; filename=\"\"; filename*=utf-8''a",
                "image",
                File,
            ),
            (
                b"form-data; name=\"image\"; filename=\"caf\xe9.jpg\"",
                "image",
                File,
            ),
            (
                b"form-data; name=\"image\"; filename=\"a;name=\\\"crop\\\";.jpg\"",
                "image",
                File,
            ),
            (b"form-data; name=\"a\\\"b\\\\c\"", "a\"b\\c", Text),
            (b"form-data; name=\"a\\b\"", "a\\b", Text),
            (b"form-data", "", Text),
            (b"", "", Text),
        ];
        for (value, name, kind) in cases {
            let found = Disposition::parse(value);

            let told = String::from_utf8_lossy(value);
            assert_eq!((found.name.as_str(), found.kind), (name, kind), "{told}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(value: Vec<u8>) {
            Disposition::parse(&value);
        }
    }
}
