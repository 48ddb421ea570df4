//! Our own decoder: baseline and progressive files of luma and colour differences, or luma alone, straight to the scale
//! that is needed.
//!
//! It decodes what is sound beyond doubt and declines everything else; there is always libjpeg-turbo.

use std::rc::Rc;

use crate::imaging::jpeg::Declined;
use crate::imaging::jpeg::Header;
use crate::imaging::jpeg::LEFT_OF_DIFFERENCES;
use crate::imaging::jpeg::LEFT_OF_LUMA;
use crate::imaging::jpeg::baseline;
use crate::imaging::jpeg::baseline::Channel;
use crate::imaging::jpeg::baseline::Units;
use crate::imaging::jpeg::eighths;
use crate::imaging::jpeg::frame::Component;
use crate::imaging::jpeg::frame::Frame;
use crate::imaging::jpeg::huffman::Definition;
use crate::imaging::jpeg::lookahead::BlockTables;
use crate::imaging::jpeg::planes::Plane;
use crate::imaging::jpeg::planes::Scale;
use crate::imaging::jpeg::planes::Window;
use crate::imaging::jpeg::progressive;
use crate::imaging::jpeg::reader::Reader;
use crate::imaging::jpeg::reader::Scan;
use crate::imaging::jpeg::scan;
use crate::imaging::jpeg::scan::ScanComponent;
use crate::imaging::jpeg::scan::ScanData;
use crate::imaging::jpeg::tables::Tables;
use crate::imaging::luma::Matrix;
use crate::imaging::raster::Decoded;
use crate::imaging::raster::Model;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Raster;
use crate::imaging::raster::Request;

/// The decoder. Keeps its memory for the next picture.
#[derive(Debug, Default)]
pub(in crate::imaging) struct Scaled {
    data: ScanData,
}

impl Scaled {
    /// Decodes what the request shows.
    ///
    /// # Errors
    ///
    /// [`Declined`], if another decoder should try.
    pub(in crate::imaging) fn decode(
        &mut self,
        file: &[u8],
        header: &Header,
        request: &Request,
    ) -> Result<Decoded, Declined> {
        let mut reader = Reader::new(file);
        let first = reader.next_scan()?.ok_or(Declined("no scan"))?;
        let (frame, first) = (first.0.clone(), first.1);
        if !is_luma_first(header, &frame) {
            return Err(Declined("RGB"));
        }
        let window = Window::new(&frame, request);
        let scaled = frame.components.iter().map(|component| {
            let scale = scale(component, &frame, request);
            Plane::new(component, &window, scale)
        });
        let mut planes: Vec<Plane> = scaled.collect();
        if frame.is_progressive {
            let scans = all_scans(first, &mut reader)?;
            progressive::decode(&frame, &scans, &window, &mut planes, &mut self.data)?;
        } else {
            self.decode_sequential(&frame, first, &mut reader, &window, &mut planes)?;
        }
        Ok(Decoded {
            pixels: pixels(planes, &frame)?,
            profile: header.profile.clone(),
            deep: false,
            toned: false,
        })
    }

    fn decode_sequential<'a>(
        &mut self,
        frame: &Frame,
        first: Scan<'a>,
        reader: &mut Reader<'a>,
        window: &Window,
        planes: &mut [Plane],
    ) -> Result<(), Declined> {
        let mut left: Vec<Option<&mut Plane>> = planes.iter_mut().map(Some).collect();
        let mut next = Some(first);
        while let Some(scan) = next {
            let (units, mut channels) = channels(frame, &scan, window, &mut left)?;
            reader.go_on(self.data.read(scan.data)?);
            let interval = scan.tables.restart_interval;
            baseline::decode(&self.data, interval, &units, &mut channels)?;
            next = reader.next_scan()?.map(|(_, scan)| scan);
        }
        if left.iter().any(Option::is_some) {
            return Err(Declined("a component without a scan"));
        }
        Ok(())
    }
}

/// All scans: which ones of a progressive file are needed is known at its end.
fn all_scans<'a>(first: Scan<'a>, reader: &mut Reader<'a>) -> Result<Vec<Scan<'a>>, Declined> {
    let mut scans = Vec::new();
    let mut next = Some(first);
    while let Some(mut scan) = next {
        let (data, rest) = scan::split_at_end(scan.data).ok_or(Declined("no end"))?;
        scan.data = data;
        scans.push(scan);
        reader.go_on(rest);
        next = reader.next_scan()?.map(|(_, scan)| scan);
    }
    Ok(scans)
}

/// Whether the components are luma and colour differences, by the rules of libjpeg (`jdapimin.c`).
fn is_luma_first(header: &Header, frame: &Frame) -> bool {
    let ids: Vec<u8> = frame
        .components
        .iter()
        .map(|component| component.id)
        .collect();
    match (ids.as_slice(), header.is_jfif, header.adobe_transform) {
        ([_], ..) | (_, true, _) => true,
        // Transforms that nobody knows are taken for the one of luma and colour differences.
        (_, false, Some(transform)) => transform != 0,
        (ids, false, None) => ids != b"RGB",
    }
}

/// The scale of a component. Colour differences are encoded at half the size of luma in the end, and need no more.
fn scale(component: &Component, frame: &Frame, request: &Request) -> Scale {
    let (luma_across, luma_down) = frame.mcu_blocks();
    let is_luma = frame.components.first() == Some(component);
    let (needed, scales) = if is_luma {
        (1.0, LEFT_OF_LUMA)
    } else {
        (0.5, LEFT_OF_DIFFERENCES)
    };
    let reduction = |length: f64, target: u32, luma: u32, own: u32| {
        length * f64::from(own) / f64::from(luma) / (f64::from(target) * needed)
    };
    let Request { source, target } = request;
    let across = reduction(source.width, target.width, luma_across, component.across);
    let down = reduction(source.height, target.height, luma_down, component.down);
    Scale::from_eighths(eighths(across.min(down), scales))
}

/// The units of a sequential scan, and its components with their tables. Takes their planes: each is filled once.
fn channels<'p>(
    frame: &Frame,
    scan: &Scan<'_>,
    window: &Window,
    planes: &mut [Option<&'p mut Plane>],
) -> Result<(Units, Vec<Channel<'p>>), Declined> {
    let mut shared = SharedTables::default();
    let mut channels = Vec::new();
    for component in &scan.header.components {
        let tables = shared.tables(&scan.tables, component)?;
        let ScanComponent { nth, .. } = *component;
        let plane = planes.get_mut(nth).and_then(Option::take);
        let component = frame
            .components
            .get(nth)
            .ok_or(Declined("no such component"))?;
        channels.push(Channel {
            tables,
            steps: steps(&scan.tables, component)?,
            blocks: (component.across, component.down),
            plane: plane.ok_or(Declined("a component with two scans"))?,
            last_dc: 0,
            next: 0,
        });
    }
    let (count, window) = match (scan.header.components.as_slice(), channels.as_mut_slice()) {
        ([only], [channel]) => {
            // Not interleaved: the units are single blocks.
            channel.blocks = (1, 1);
            let component = frame
                .components
                .get(only.nth)
                .ok_or(Declined("no such component"))?;
            (frame.own_blocks(component), window.blocks(component))
        }
        (all, _) if all.len() == frame.components.len() => (frame.mcus(), window.clone()),
        _ => return Err(Declined("a scan of two components of three")),
    };
    Ok((Units { count, window }, channels))
}

/// The quantization steps of a component.
pub(super) fn steps(tables: &Tables, component: &Component) -> Result<[i32; 64], Declined> {
    let place = usize::from(component.quantization);
    let steps = tables.quantization.get(place).and_then(Option::as_deref);
    Ok(steps
        .ok_or(Declined("no quantization table"))?
        .map(i32::from))
}

/// Huffman tables that have been arranged: colour differences use the same ones.
#[derive(Default)]
struct SharedTables(Vec<([Rc<Definition>; 2], Rc<BlockTables>)>);

impl SharedTables {
    fn tables(
        &mut self,
        tables: &Tables,
        component: &ScanComponent,
    ) -> Result<Rc<BlockTables>, Declined> {
        let missing = Declined("no Huffman table");
        let dc = tables.dc.get(component.dc).and_then(Option::as_ref);
        let ac = tables.ac.get(component.ac).and_then(Option::as_ref);
        let (dc, ac) = (dc.ok_or(missing)?, ac.ok_or(missing)?);
        let known = self
            .0
            .iter()
            .find(|([known_dc, known_ac], _)| Rc::ptr_eq(known_dc, dc) && Rc::ptr_eq(known_ac, ac));
        if let Some((_, known)) = known {
            return Ok(Rc::clone(known));
        }
        let arranged = Rc::new(BlockTables::new(dc, ac)?);
        self.0
            .push(([Rc::clone(dc), Rc::clone(ac)], Rc::clone(&arranged)));
        Ok(arranged)
    }
}

fn pixels(planes: Vec<Plane>, frame: &Frame) -> Result<Pixels, Declined> {
    let placed = planes.into_iter().zip(&frame.components);
    let rasters: Vec<Raster> = placed
        .map(|(plane, component)| plane.into_raster(component, frame))
        .collect();
    match <[Raster; 3]>::try_from(rasters) {
        Ok(rasters) => Ok(Pixels::Planar(Matrix::JFIF, Box::new(rasters))),
        Err(mut rasters) => {
            let gray = rasters.pop().ok_or(Declined("no components"))?;
            Ok(Pixels::Interleaved(Model::Gray, gray))
        }
    }
}
