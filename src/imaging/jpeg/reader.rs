//! From scan to scan through a file: the frame, and the tables as they stand at each scan. Decodes nothing.

use crate::imaging::bytes::Bytes;
use crate::imaging::jpeg::Declined;
use crate::imaging::jpeg::SCANS_MAX;
use crate::imaging::jpeg::frame::Frame;
use crate::imaging::jpeg::scan::ScanHeader;
use crate::imaging::jpeg::segments::End;
use crate::imaging::jpeg::segments::Segments;
use crate::imaging::jpeg::segments::is_frame;
use crate::imaging::jpeg::tables::Tables;

/// A scan, not yet decoded.
pub(super) struct Scan<'a> {
    /// What is in it.
    pub header: ScanHeader,
    /// All tables as they are defined at this point of the file.
    pub tables: Tables,
    /// Its data, as it stands in the file, and everything after it.
    pub data: &'a [u8],
}

/// Where in a file we are.
pub(super) struct Reader<'a> {
    segments: Segments<'a>,
    tables: Tables,
    frame: Option<Frame>,
    scans: u32,
}

impl<'a> Reader<'a> {
    /// The beginning of a file.
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self {
            segments: Segments::new(file),
            tables: Tables::default(),
            frame: None,
            scans: 0,
        }
    }

    /// The next scan and its frame; `None` at the end of the image. After a scan call [`Reader::go_on`] first.
    ///
    /// # Errors
    ///
    /// [`Declined`] for what is not sound, and for what photos do not have.
    pub(super) fn next_scan(&mut self) -> Result<Option<(&Frame, Scan<'a>)>, Declined> {
        for segment in self.segments.by_ref() {
            match segment.marker {
                marker if is_frame(marker) => {
                    if self.frame.is_some() {
                        return Err(Declined("two frames"));
                    }
                    self.frame = Some(Frame::read(marker, segment.data)?);
                }
                marker => self.tables.read(marker, segment.data)?,
            }
        }
        let rest = match self.segments.end() {
            End::Scan(rest) => rest,
            End::Image => return Ok(None),
            End::Cut => return Err(Declined("no end of image")),
        };
        self.scans = self.scans.saturating_add(1);
        if self.scans > SCANS_MAX {
            return Err(Declined("too many scans"));
        }
        let frame = self.frame.as_ref();
        let frame = frame.ok_or(Declined("a scan without a frame"))?;
        let mut bytes = Bytes::new(rest);
        let scan = Scan {
            header: ScanHeader::read(&mut bytes, frame)?,
            tables: self.tables.clone(),
            data: bytes.rest(),
        };
        Ok(Some((frame, scan)))
    }

    /// Goes on with what comes after the data of a scan.
    pub(super) const fn go_on(&mut self, rest: &'a [u8]) {
        self.segments = Segments::between_scans(rest);
    }
}
