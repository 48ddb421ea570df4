//! Progressive files: coefficients come in several scans, by bands and by bits.
//!
//! Others hold all coefficients of the picture, 72 MB for 12 megapixels. Here scans that do not matter are not read, values are
//! kept only of what is shown, and of the rest no more than which coefficients are zero: about a seventh of that.

mod band;
mod plan;
mod store;

use crate::imaging::jpeg::Declined;
use crate::imaging::jpeg::bits::Bits;
use crate::imaging::jpeg::frame::Component;
use crate::imaging::jpeg::frame::Frame;
use crate::imaging::jpeg::huffman::Class;
use crate::imaging::jpeg::huffman::Table;
use crate::imaging::jpeg::planes::Plane;
use crate::imaging::jpeg::planes::Window;
use crate::imaging::jpeg::progressive::band::Band;
use crate::imaging::jpeg::progressive::store::Store;
use crate::imaging::jpeg::reader::Scan;
use crate::imaging::jpeg::scaled::steps;
use crate::imaging::jpeg::scan::Restarts;
use crate::imaging::jpeg::scan::ScanComponent;
use crate::imaging::jpeg::scan::ScanData;
use crate::imaging::jpeg::scan::ScanHeader;

/// Decodes the scans of a progressive file into planes. `data` is working memory.
///
/// # Errors
///
/// [`Declined`] for damaged data and unusual progressions.
pub(super) fn decode(
    frame: &Frame,
    scans: &[Scan<'_>],
    window: &Window,
    planes: &mut [Plane],
    data: &mut ScanData,
) -> Result<(), Declined> {
    let headers: Vec<&ScanHeader> = scans.iter().map(|scan| &scan.header).collect();
    let shown = planes.iter().map(|plane| store::shown_places(plane.scale));
    let shown: Vec<plan::Places> = shown.collect();
    let plan = plan::needed_scans(&headers, &shown)?;
    let scales = planes.iter().zip(&shown).zip(&frame.components);
    let mut stores: Vec<Store> = scales
        .map(|((plane, shown), component)| {
            Store::new(component, frame, window, plane.scale, *shown == 1)
        })
        .collect();
    for (scan, _) in scans.iter().zip(plan).filter(|(_, is_needed)| *is_needed) {
        data.read(scan.data)?;
        if scan.header.first == 0 {
            decode_dc(frame, scan, window, &mut stores, data)?;
        } else {
            decode_ac(frame, scan, window, &mut stores, data)?;
        }
    }
    for (nth, (store, plane)) in stores.iter().zip(planes).enumerate() {
        let component = frame.components.get(nth);
        let component = component.ok_or(Declined("no such component"))?;
        // The table that stood when the component's first scan came.
        let first = scans.iter().find(|scan| has_component(scan, nth));
        let tables = &first.ok_or(Declined("a component without a scan"))?.tables;
        store.fill(plane, &steps(tables, component)?);
    }
    Ok(())
}

fn has_component(scan: &Scan<'_>, nth: usize) -> bool {
    let mut components = scan.header.components.iter();
    components.any(|component| component.nth == nth)
}

/// One component of a DC scan.
struct Channel {
    /// Place of the component in the frame.
    nth: usize,
    /// Blocks across and down in a unit of the scan.
    blocks: (u32, u32),
    /// The scan's Huffman table, which refining scans do not have.
    table: Option<Table>,
    /// The DC value of the last block.
    last: i32,
}

fn decode_dc(
    frame: &Frame,
    scan: &Scan<'_>,
    window: &Window,
    stores: &mut [Store],
    data: &ScanData,
) -> Result<(), Declined> {
    let mut channels = Vec::new();
    for component in &scan.header.components {
        channels.push(channel(frame, scan, component)?);
    }
    let (count, rows) = match channels.as_mut_slice() {
        [only] => {
            let component = component(frame, only.nth)?;
            only.blocks = (1, 1);
            (frame.own_blocks(component), window.blocks(component).rows)
        }
        all if all.len() == frame.components.len() => (frame.mcus(), window.rows.clone()),
        _ => return Err(Declined("a scan of two components of three")),
    };
    let interval = scan.tables.restart_interval;
    let (mut restarts, mut bits) = Restarts::begin(data, interval)?;
    for row in 0..rows.end.min(count.height) {
        for column in 0..count.width {
            if restarts.next(&mut bits)? {
                for channel in &mut channels {
                    channel.last = 0;
                }
            }
            for channel in &mut channels {
                if let Some(store) = stores.get_mut(channel.nth) {
                    channel.decode(&mut bits, store, (column, row), u32::from(scan.header.low));
                }
            }
        }
        if !bits.is_sound() {
            return Err(Declined("damaged data"));
        }
    }
    Ok(())
}

fn channel(
    frame: &Frame,
    scan: &Scan<'_>,
    scan_component: &ScanComponent,
) -> Result<Channel, Declined> {
    let component = component(frame, scan_component.nth)?;
    let table = if scan.header.high == 0 {
        let definition = scan.tables.dc.get(scan_component.dc);
        let definition = definition.and_then(Option::as_deref);
        let definition = definition.ok_or(Declined("no Huffman table"))?;
        Some(Table::new(Class::Dc, definition)?)
    } else {
        None
    };
    Ok(Channel {
        nth: scan_component.nth,
        blocks: (component.across, component.down),
        table,
        last: 0,
    })
}

impl Channel {
    /// Decodes the blocks of a unit. Source: ITU-T T.81, G.1.2.1.
    #[inline]
    fn decode(&mut self, bits: &mut Bits<'_>, store: &mut Store, unit: (u32, u32), low: u32) {
        let (across, down) = self.blocks;
        for y in 0..down {
            for x in 0..across {
                let column = unit.0.wrapping_mul(across).wrapping_add(x);
                let row = unit.1.wrapping_mul(down).wrapping_add(y);
                bits.refill();
                let Some(table) = &self.table else {
                    let bit = bits.take(1).cast_signed();
                    if let Some([lowest, ..]) = store.values(column, row) {
                        *lowest |= band::shifted(bit, low);
                    }
                    continue;
                };
                let symbol = bits.symbol(table);
                self.last = self.last.wrapping_add(bits.number_of(symbol));
                bits.drop(symbol.bits());
                if let Some([lowest, ..]) = store.values(column, row) {
                    *lowest = band::shifted(self.last, low);
                }
            }
        }
    }
}

fn decode_ac(
    frame: &Frame,
    scan: &Scan<'_>,
    window: &Window,
    stores: &mut [Store],
    data: &ScanData,
) -> Result<(), Declined> {
    let header = &scan.header;
    let [only] = header.components[..] else {
        return Err(Declined("an interleaved AC scan"));
    };
    let definition = scan.tables.ac.get(only.ac).and_then(Option::as_deref);
    let definition = definition.ok_or(Declined("no Huffman table"))?;
    let table = Table::new(Class::Ac, definition)?;
    let component = component(frame, only.nth)?;
    let store = stores
        .get_mut(only.nth)
        .ok_or(Declined("no such component"))?;
    let mut band = Band {
        table: &table,
        first: u32::from(header.first),
        last: u32::from(header.last),
        low: u32::from(header.low),
        ended: 0,
    };
    let is_first = header.high == 0;
    let count = frame.own_blocks(component);
    let rows = window.blocks(component).rows;
    let (mut restarts, mut bits) = Restarts::begin(data, scan.tables.restart_interval)?;
    for row in 0..rows.end.min(count.height) {
        for column in 0..count.width {
            if restarts.next(&mut bits)? {
                band.ended = 0;
            }
            let Some(mut block) = store.block(column, row) else {
                return Err(Declined("a block outside"));
            };
            if is_first {
                band.read(&mut bits, &mut block);
            } else {
                band.refine(&mut bits, &mut block);
            }
        }
        if !bits.is_sound() {
            return Err(Declined("damaged data"));
        }
    }
    Ok(())
}

fn component(frame: &Frame, nth: usize) -> Result<&Component, Declined> {
    let component = frame.components.get(nth);
    component.ok_or(Declined("no such component"))
}
