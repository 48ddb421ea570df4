//! Scans: their headers, and their data freed of everything that is not bits of symbols.

use std::ops::Range;

use crate::imaging::bytes::Bytes;
use crate::imaging::jpeg::Declined;
use crate::imaging::jpeg::bits::Bits;
use crate::imaging::jpeg::frame::Frame;

/// What a component needs in a scan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ScanComponent {
    /// Place of the component in the frame.
    pub nth: usize,
    /// Which Huffman table for DC differences.
    pub dc: usize,
    /// Which Huffman table for AC coefficients.
    pub ac: usize,
}

/// What a scan header says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ScanHeader {
    /// The components of the scan, in the order of the frame.
    pub components: Vec<ScanComponent>,
    /// First and last coefficient in zigzag order.
    pub first: u8,
    /// See `first`.
    pub last: u8,
    /// Bits of the coefficients that earlier scans have left open; 0 if this is the first one for them.
    pub high: u8,
    /// Bits that this scan leaves open.
    pub low: u8,
}

impl ScanHeader {
    /// Reads a scan header, length included. What follows it is left in `bytes`.
    ///
    /// # Errors
    ///
    /// [`Declined`] for incomplete or contradictory headers.
    pub(super) fn read(bytes: &mut Bytes<'_>, frame: &Frame) -> Result<Self, Declined> {
        let length = bytes.u16().and_then(|length| length.checked_sub(2));
        let data = length.and_then(|length| bytes.take(usize::from(length)));
        let header = data.and_then(|data| fields(data, frame));
        header
            .filter(|header| header.is_possible(frame))
            .ok_or(Declined("an unusual scan header"))
    }

    /// Sequential files have all coefficients in each scan, whatever it says of them: some cameras write zeros, and libjpeg
    /// takes no notice either (`jdhuff.c`). Source: ITU-T T.81, B.2.3 and G.1.1.1.
    fn is_possible(&self, frame: &Frame) -> bool {
        let orders = self.components.iter().map(|component| component.nth);
        let is_ordered = orders.is_sorted_by(|one, next| one < next) && !self.components.is_empty();
        let coefficients = match (self.first, self.last) {
            (0, 0) => true,
            (0, _) => false,
            (first, last) => first <= last && last <= 63 && self.components.len() == 1,
        };
        let is_next_bit = self.high == 0 || self.high == self.low.saturating_add(1);
        let is_progression = coefficients && is_next_bit && self.low <= 13;
        is_ordered && (is_progression || !frame.is_progressive)
    }
}

fn fields(data: &[u8], frame: &Frame) -> Option<ScanHeader> {
    let mut bytes = Bytes::new(data);
    let count = bytes.u8()?;
    let components: Option<Vec<ScanComponent>> = (0..count)
        .map(|_| {
            let id = bytes.u8()?;
            let tables = bytes.u8()?;
            let mut components = frame.components.iter();
            Some(ScanComponent {
                nth: components.position(|component| component.id == id)?,
                dc: usize::from(tables >> 4),
                ac: usize::from(tables & 15),
            })
        })
        .collect();
    let (first, last, bits) = (bytes.u8()?, bytes.u8()?, bytes.u8()?);
    Some(ScanHeader {
        components: components?,
        first,
        last,
        high: bits >> 4,
        low: bits & 15,
    })
}

/// The data of one scan, cut at its restart markers. Keeps its memory for the next scan.
#[derive(Debug, Default)]
pub(super) struct ScanData {
    bytes: Vec<u8>,
    segments: Vec<Range<usize>>,
}

impl ScanData {
    /// Takes in the data of a scan. Tells what comes after it: the next marker that is none of its own, or nothing.
    ///
    /// The stuffed zeros are removed here, once, at the speed of a copy: so the bit reader need not look for them.
    ///
    /// # Errors
    ///
    /// [`Declined`] if restart markers are not in order.
    pub(super) fn read<'a>(&mut self, data: &'a [u8]) -> Result<&'a [u8], Declined> {
        self.bytes.clear();
        self.segments.clear();
        let mut start = 0;
        let mut restarts = (0xD0..=0xD7).cycle();
        let mut rest = data;
        while let Some((plain, from_marker)) = split_at_marker(rest) {
            self.bytes.extend_from_slice(plain);
            rest = match from_marker {
                [_, 0, after @ ..] => {
                    self.bytes.push(0xFF);
                    after
                }
                // A marker may be preceded by any number of these.
                [_, 0xFF, ..] => from_marker.get(1..).unwrap_or_default(),
                [_, marker @ 0xD0..=0xD7, after @ ..] => {
                    if restarts.next() != Some(*marker) {
                        return Err(Declined("restart markers out of order"));
                    }
                    self.segments.push(start..self.bytes.len());
                    start = self.bytes.len();
                    after
                }
                _ => {
                    self.segments.push(start..self.bytes.len());
                    return Ok(from_marker);
                }
            };
        }
        self.bytes.extend_from_slice(rest);
        self.segments.push(start..self.bytes.len());
        Ok(&[])
    }

    /// The bits from the nth restart marker on; those before the first one with 0.
    pub(super) fn bits(&self, nth: usize) -> Option<Bits<'_>> {
        let segment = self.segments.get(nth)?.clone();
        self.bytes.get(segment).map(Bits::new)
    }
}

/// Divides what follows a scan header into the scan's data, and everything from the next marker on. `None` if there is none.
pub(super) fn split_at_end(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut position = 0_usize;
    loop {
        let (plain, from_marker) = split_at_marker(rest.get(position..)?)?;
        let marker = position.checked_add(plain.len())?;
        position = marker.checked_add(match from_marker {
            [_, 0 | 0xD0..=0xD7, ..] => 2,
            [_, 0xFF, ..] => 1,
            [_, _, ..] => return rest.split_at_checked(marker),
            _ => return None,
        })?;
    }
}

fn split_at_marker(data: &[u8]) -> Option<(&[u8], &[u8])> {
    data.split_at_checked(memchr::memchr(0xFF, data)?)
}

/// Counts MCUs between restart markers.
#[derive(Debug)]
pub(super) struct Restarts<'a> {
    data: &'a ScanData,
    interval: u32,
    left: u32,
    nth: usize,
}

impl<'a> Restarts<'a> {
    /// Begins a scan: the bits before its first restart marker. With an interval of 0 there are no markers.
    pub(super) fn begin(data: &'a ScanData, interval: u32) -> Result<(Self, Bits<'a>), Declined> {
        let restarts = Self {
            data,
            interval,
            left: interval,
            nth: 0,
        };
        let bits = data.bits(0).ok_or(Declined("no data"))?;
        Ok((restarts, bits))
    }

    /// To be called before each MCU. Tells whether a marker has been passed, and goes on behind it.
    ///
    /// # Errors
    ///
    /// [`Declined`] if the marker is missing, or what was before it was damaged.
    #[inline]
    pub(super) fn next(&mut self, bits: &mut Bits<'a>) -> Result<bool, Declined> {
        if self.interval == 0 {
            return Ok(false);
        }
        if self.left > 0 {
            self.left = self.left.saturating_sub(1);
            return Ok(false);
        }
        self.left = self.interval.saturating_sub(1);
        self.nth = self.nth.saturating_add(1);
        let next = self.data.bits(self.nth).filter(|_| bits.is_sound());
        *bits = next.ok_or(Declined("damaged data"))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_data_is_freed_of_stuffing_and_cut_at_restarts() {
        let file = b"ab\xFF\0c\xFF\xFF\xD0d\xFF\xD1\xFF\xD9tail";
        let mut data = ScanData::default();

        let (scan, rest) = split_at_end(file).unwrap();
        let after = data.read(file).unwrap();

        assert_eq!(after, rest);
        assert_eq!(data.read(scan), Ok(&[][..]));
        assert_eq!(rest, b"\xFF\xD9tail");
        assert_eq!(data.bytes, b"ab\xFFcd");
        assert_eq!(data.segments, [0..4, 4..5, 5..5]);
    }

    #[test]
    fn scan_data_without_an_end_or_out_of_order_is_none() {
        assert_eq!(split_at_end(b"abc"), None);
        assert_eq!(split_at_end(b"abc\xFF"), None);
        assert!(ScanData::default().read(b"a\xFF\xD1b").is_err());
    }

    #[test]
    fn restarts_come_after_their_interval() {
        let mut data = ScanData::default();
        data.read(b"\x00\xFF\xD0\x80").unwrap();
        let (mut restarts, mut bits) = Restarts::begin(&data, 2).unwrap();

        let passed: Vec<bool> = (0..4).map(|_| restarts.next(&mut bits).unwrap()).collect();

        assert_eq!(passed, [false, false, true, false]);
        bits.refill();
        assert_eq!(bits.take(1), 1);
        assert!(restarts.next(&mut bits).is_err());
    }
}
