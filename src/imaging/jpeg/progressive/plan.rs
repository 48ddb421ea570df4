//! Which scans of a progressive file must be read, and whether they complete what is needed.
//!
//! A scan is needed if it has coefficients that the scale shows. A refining one can only be read by who knows which
//! coefficients of its band are not zero yet: then all earlier scans of that band are needed as well. For a picture at an
//! eighth of its size this leaves the DC scans alone.

use crate::imaging::jpeg::Declined;
use crate::imaging::jpeg::scan::ScanHeader;

/// A set of coefficients: one bit for each place of the zigzag order.
pub(super) type Places = u64;

/// The places of a scan.
pub(super) fn band(header: &ScanHeader) -> Places {
    let up_to = |place: u8| u64::MAX >> 63_u8.saturating_sub(place);
    let below = up_to(header.first) >> 1;
    up_to(header.last) & !below
}

/// Finds out which scans are needed, given the places that each component needs.
///
/// # Errors
///
/// [`Declined`] if bits are missing, come twice or in another order than the standard's.
pub(super) fn needed_scans(
    headers: &[&ScanHeader],
    needed: &[Places],
) -> Result<Vec<bool>, Declined> {
    check_order(headers, needed)?;
    let mut known = needed.to_vec();
    let mut plan = vec![false; headers.len()];
    for (header, is_needed) in headers.iter().zip(&mut plan).rev() {
        let band = band(header);
        for component in &header.components {
            if let Some(known) = known.get_mut(component.nth)
                && *known & band != 0
            {
                *is_needed = true;
                if header.high != 0 && header.first != 0 {
                    *known |= band;
                }
            }
        }
    }
    Ok(plan)
}

/// What has come of one component: for each place, how many bits are still open; `None` before the first scan.
type Progress = [Option<u8>; 64];

/// Source: ITU-T T.81, G.1.1.1.
fn check_order(headers: &[&ScanHeader], needed: &[Places]) -> Result<(), Declined> {
    let mut progress: Vec<Progress> = needed.iter().map(|_| [None; 64]).collect();
    for header in headers {
        for component in &header.components {
            let progress = progress
                .get_mut(component.nth)
                .ok_or(Declined("no such component"))?;
            let [lowest, ..] = *progress;
            let expected = if header.high == 0 {
                None
            } else {
                Some(header.high)
            };
            let places = progress
                .iter_mut()
                .take(usize::from(header.last).saturating_add(1));
            for open in places.skip(usize::from(header.first)) {
                if *open != expected || (header.first > 0 && lowest.is_none()) {
                    return Err(Declined("an unusual progression"));
                }
                *open = Some(header.low);
            }
        }
    }
    let is_complete = |(progress, needed): (&Progress, &Places)| {
        let mut places = progress.iter().zip(0..);
        places.all(|(open, place)| needed >> place & 1 == 0 || *open == Some(0))
    };
    if progress.iter().zip(needed).all(is_complete) {
        Ok(())
    } else {
        Err(Declined("an incomplete progression"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::jpeg::scan::ScanComponent;

    fn scan(components: &[usize], band: (u8, u8), bits: (u8, u8)) -> ScanHeader {
        let component = |nth: &usize| ScanComponent {
            nth: *nth,
            dc: 0,
            ac: 0,
        };
        ScanHeader {
            components: components.iter().map(component).collect(),
            first: band.0,
            last: band.1,
            high: bits.0,
            low: bits.1,
        }
    }

    /// What libjpeg writes for a colour picture, and with it nearly everyone.
    fn usual() -> Vec<ScanHeader> {
        vec![
            scan(&[0, 1, 2], (0, 0), (0, 1)),
            scan(&[0], (1, 5), (0, 2)),
            scan(&[2], (1, 63), (0, 1)),
            scan(&[1], (1, 63), (0, 1)),
            scan(&[0], (6, 63), (0, 2)),
            scan(&[0], (1, 63), (2, 1)),
            scan(&[0, 1, 2], (0, 0), (1, 0)),
            scan(&[2], (1, 63), (1, 0)),
            scan(&[1], (1, 63), (1, 0)),
            scan(&[0], (1, 63), (1, 0)),
        ]
    }

    fn plan(scans: &[ScanHeader], needed: [Places; 3]) -> Result<Vec<bool>, Declined> {
        needed_scans(&scans.iter().collect::<Vec<_>>(), &needed)
    }

    #[test]
    fn band_has_its_ends() {
        assert_eq!(band(&scan(&[0], (0, 0), (0, 0))), 1);
        assert_eq!(band(&scan(&[0], (1, 5), (0, 0))), 0b11_1110);
        assert_eq!(band(&scan(&[0], (1, 63), (0, 0))), !1);
    }

    #[test]
    fn plan_for_an_eighth_has_only_the_dc_scans() {
        let plan = plan(&usual(), [1; 3]).unwrap();

        let read: Vec<usize> = (0..)
            .zip(plan)
            .filter_map(|(nth, is)| is.then_some(nth))
            .collect();
        assert_eq!(read, [0, 6]);
    }

    #[test]
    fn plan_leaves_out_coarse_components() {
        let plan = plan(&usual(), [0b1_0111, 1, 1]).unwrap();

        let read: Vec<usize> = (0..)
            .zip(plan)
            .filter_map(|(nth, is)| is.then_some(nth))
            .collect();
        assert_eq!(read, [0, 1, 4, 5, 6, 9]);
    }

    #[test]
    fn plan_without_refinement_leaves_out_high_bands() {
        let scans = [
            scan(&[0], (0, 0), (0, 0)),
            scan(&[0], (1, 5), (0, 0)),
            scan(&[0], (6, 63), (0, 0)),
        ];

        let needed = needed_scans(&scans.iter().collect::<Vec<_>>(), &[0b1_0111]);

        assert_eq!(needed, Ok(vec![true, true, false]));
    }

    #[test]
    fn progression_that_is_incomplete_or_out_of_order_is_declined() {
        let mut without_end = usual();
        without_end.pop();
        let mut twice = usual();
        twice.push(scan(&[0], (1, 63), (1, 0)));
        let mut ac_first = usual();
        ac_first.swap(0, 1);

        for scans in [without_end, twice, ac_first] {
            assert!(plan(&scans, [u64::MAX; 3]).is_err());
        }
    }
}
