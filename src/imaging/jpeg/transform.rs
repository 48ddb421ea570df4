//! Inverse cosine transforms of the lowest 1, 4, 9, 16 or all 64 coefficients of a block: the block at one, two, three, four
//! or eight eighths of its size.
//!
//! To leave the higher coefficients out is an ideal low-pass filter within the block: sharper than the average of its pixels,
//! and for a single sample the same. Numbers wrap where a hostile file makes them too large: the picture is nonsense
//! then, but no more.

use std::num::Wrapping;

/// Fractional bits of the constants.
const CONSTANT_BITS: usize = 13;

/// Fractional bits kept between the passes over columns and rows. Source: libjpeg, `jidctint.c`.
const PASS_BITS: usize = 2;

/// The middle of the sample range, which coefficients do not include. Source: ITU-T T.81, A.3.1.
const LEVEL: Wrapping<i32> = Wrapping(128);

type Number = Wrapping<i32>;

/// A constant of the transforms, times 2¹³.
const fn constant(value: i32) -> Number {
    Wrapping(value)
}

/// One sample from the lowest coefficient.
#[inline]
pub(super) fn eighth(lowest: i32) -> u8 {
    sample(Wrapping(lowest), 3)
}

/// Two by two samples from coefficients 0, 1, 2 and 4 of the zigzag order: mean, across, down, both.
#[inline]
pub(super) fn quarter([mean, across, down, both]: [i32; 4]) -> [[u8; 2]; 2] {
    let [mean, across, down, both] = [mean, across, down, both].map(Wrapping);
    let (left, right) = (mean + across, mean - across);
    let (left_down, right_down) = (down + both, down - both);
    [
        [sample(left + left_down, 3), sample(right + right_down, 3)],
        [sample(left - left_down, 3), sample(right - right_down, 3)],
    ]
}

/// Three by three samples from the lowest three rows and columns of coefficients.
pub(super) fn three_eighths(coefficients: &[i32; 9]) -> [[u8; 3]; 3] {
    let rows = coefficients.as_chunks().0;
    let mut columns = [[Wrapping(0); 3]; 3];
    for (to, from) in columns.iter_mut().zip(transposed(rows)) {
        let values = three_eighths_row(from.map(Wrapping));
        *to = values.map(|value| rounded(value, CONSTANT_BITS - PASS_BITS));
    }
    let mut samples = [[0; 3]; 3];
    for (to, from) in samples.iter_mut().zip(transposed(&columns)) {
        *to = three_eighths_row(from).map(|value| sample(value, CONSTANT_BITS + PASS_BITS + 3));
    }
    samples
}

/// The transform of three coefficients, times 2¹³ · √8.
#[inline]
fn three_eighths_row([zero, one, two]: [Number; 3]) -> [Number; 3] {
    let mean = zero << CONSTANT_BITS;
    // √2 · cos(π/6), √2 · cos(π/3) and √2.
    let (across, outer, inner) = (
        one * constant(10_033),
        two * constant(5_793),
        two * constant(11_585),
    );
    [mean + outer + across, mean - inner, mean + outer - across]
}

/// Four by four samples from the lowest four rows and columns of coefficients.
pub(super) fn half(coefficients: &[i32; 16]) -> [[u8; 4]; 4] {
    let rows = coefficients.as_chunks().0;
    let mut columns = [[Wrapping(0); 4]; 4];
    for (to, from) in columns.iter_mut().zip(transposed(rows)) {
        *to = half_row(from.map(Wrapping)).map(|value| rounded(value, CONSTANT_BITS - 4));
    }
    let mut samples = [[0; 4]; 4];
    for (to, from) in samples.iter_mut().zip(transposed(&columns)) {
        *to = half_row(from).map(|value| sample(value, CONSTANT_BITS + 5));
    }
    samples
}

/// The transform of four coefficients, times 2¹³ and half of the usual scale.
#[inline]
fn half_row([zero, one, two, three]: [Number; 4]) -> [Number; 4] {
    // √½ · cos(π/8) and √½ · sin(π/8).
    let (cosine, sine) = (constant(5_352), constant(2_217));
    let even = [
        (zero + two) << (CONSTANT_BITS - 1),
        (zero - two) << (CONSTANT_BITS - 1),
    ];
    let odd = [one * cosine + three * sine, one * sine - three * cosine];
    let ([outer, inner], [outer_odd, inner_odd]) = (even, odd);
    [
        outer + outer_odd,
        inner + inner_odd,
        inner - inner_odd,
        outer - outer_odd,
    ]
}

/// All samples from all coefficients, the same as libjpeg's "islow" method.
pub(super) fn full(coefficients: &[i32; 64]) -> [[u8; 8]; 8] {
    let rows = coefficients.as_chunks().0;
    let mut columns = [[Wrapping(0); 8]; 8];
    for (to, from) in columns.iter_mut().zip(transposed(rows)) {
        let values = full_row(from.map(Wrapping));
        *to = values.map(|value| rounded(value, CONSTANT_BITS - PASS_BITS));
    }
    let mut samples = [[0; 8]; 8];
    for (to, from) in samples.iter_mut().zip(transposed(&columns)) {
        *to = full_row(from).map(|value| sample(value, CONSTANT_BITS + PASS_BITS + 3));
    }
    samples
}

/// The transform of eight coefficients, times 2¹³ · √8.
/// Source: Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications", 1989.
#[inline]
fn full_row(row: [Number; 8]) -> [Number; 8] {
    let [zero, one, two, three, four, five, six, seven] = row;
    let turned = (two + six) * constant(4_433);
    let (low, high) = (
        turned - six * constant(15_137),
        turned + two * constant(6_270),
    );
    let (sum, difference) = (
        (zero + four) << CONSTANT_BITS,
        (zero - four) << CONSTANT_BITS,
    );
    let even = [sum + high, difference + low, difference - low, sum - high];

    let all = (seven + three + five + one) * constant(9_633);
    let outer = (seven + one) * constant(-7_373);
    let inner = (five + three) * constant(-20_995);
    let falling = (seven + three) * constant(-16_069) + all;
    let rising = (five + one) * constant(-3_196) + all;
    let odd = [
        one * constant(12_299) + outer + rising,
        three * constant(25_172) + inner + falling,
        five * constant(16_819) + inner + rising,
        seven * constant(2_446) + outer + falling,
    ];

    let [even_0, even_1, even_2, even_3] = even;
    let [odd_0, odd_1, odd_2, odd_3] = odd;
    [
        even_0 + odd_0,
        even_1 + odd_1,
        even_2 + odd_2,
        even_3 + odd_3,
        even_3 - odd_3,
        even_2 - odd_2,
        even_1 - odd_1,
        even_0 - odd_0,
    ]
}

/// Rows become columns.
#[inline]
fn transposed<T: Copy, const N: usize>(rows: &[[T; N]]) -> [[T; N]; N] {
    std::array::from_fn(|x| {
        std::array::from_fn(|y| {
            #[expect(clippy::indexing_slicing, reason = "as many rows as columns")]
            rows[y][x]
        })
    })
}

/// Divided by a power of two, to the nearest.
#[inline]
fn rounded(value: Number, bits: usize) -> Number {
    (value + (Wrapping(1) << bits.wrapping_sub(1))) >> bits
}

/// A sample from a number with fractional bits.
#[inline]
#[expect(
    clippy::as_conversions,
    clippy::cast_sign_loss,
    reason = "clamped to 8 bits just before"
)]
fn sample(value: Number, bits: usize) -> u8 {
    (rounded(value, bits) + LEVEL).0.clamp(0, 255) as u8
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a reference in floating point"
)]
mod tests {
    use super::*;

    /// The transform as its definition says, of the lowest `N` by `N` coefficients. Source: ITU-T T.81, A.3.3.
    fn reference<const N: usize>(coefficients: &[[i32; 8]; 8]) -> [[f64; N]; N] {
        let number = |value: usize| f64::from(u32::try_from(value).unwrap());
        let basis = |frequency: usize, position: usize| {
            let scale = if frequency == 0 { 0.5_f64.sqrt() } else { 1.0 };
            let angle = number((2 * position + 1) * frequency) / number(2 * N);
            scale * (angle * std::f64::consts::PI).cos()
        };
        std::array::from_fn(|y| {
            std::array::from_fn(|x| {
                let rows = coefficients.iter().take(N).enumerate();
                let values = rows.flat_map(|(down, row)| {
                    let columns = row.iter().take(N).enumerate();
                    columns.map(move |(across, value)| (down, across, f64::from(*value)))
                });
                let waves =
                    values.map(|(down, across, value)| value * basis(down, y) * basis(across, x));
                128.0 + waves.sum::<f64>() / 4.0
            })
        })
    }

    /// Blocks with plausible coefficients, the same every time.
    fn blocks() -> impl Iterator<Item = [[i32; 8]; 8]> {
        let mut state = 1_u32;
        let mut noise = move |frequency: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = i32::try_from(state >> 16).unwrap() % 201 - 100;
            noise / i32::try_from(1 + frequency).unwrap()
        };
        let block =
            move || std::array::from_fn(|down| std::array::from_fn(|across| noise(down + across)));
        std::iter::repeat_with(block).take(500)
    }

    fn assert_close<const N: usize>(samples: [[u8; N]; N], expected: [[f64; N]; N], off: f64) {
        for (sample, expected) in samples.iter().flatten().zip(expected.iter().flatten()) {
            let expected = expected.clamp(0.0, 255.0);
            assert!((f64::from(*sample) - expected).abs() <= off);
        }
    }

    #[test]
    fn transforms_are_the_definition_rounded() {
        for block in blocks() {
            let nine: [i32; 9] = std::array::from_fn(|nth| block[nth / 3][nth % 3]);
            let lowest: [i32; 16] = std::array::from_fn(|nth| block[nth / 4][nth % 4]);
            let all: [i32; 64] = std::array::from_fn(|nth| block[nth / 8][nth % 8]);
            let four = [block[0][0], block[0][1], block[1][0], block[1][1]];

            assert_close([[eighth(four[0])]], reference(&block), 0.501);
            assert_close(quarter(four), reference(&block), 0.501);
            assert_close(three_eighths(&nine), reference(&block), 0.6);
            assert_close(half(&lowest), reference(&block), 0.6);
            assert_close(full(&all), reference(&block), 0.6);
        }
    }

    #[test]
    fn transforms_of_impossible_numbers_do_not_panic() {
        for extreme in [i32::MIN, i32::MAX] {
            eighth(extreme);
            quarter([extreme; 4]);
            three_eighths(&[extreme; 9]);
            half(&[extreme; 16]);
            full(&[extreme; 64]);
        }
    }
}
