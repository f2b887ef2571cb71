//! A time that a machine can read out of a picture: how the demo camera writes it and how a test reads it back, whatever
//! lies between them (encoders, scaling, JPEG), so that latency can be measured from pixels.
//!
//! The bottom 1/18 of the picture (20 of 360 lines) is a row of 64 cells of equal width over the whole width, each black
//! or white (luma 16 or 235), read from left to right, most significant bit first:
//!
//! ```text
//!  cells   what
//!   0– 3   white black white black: where black and white lie
//!   4–51   48 bits: milliseconds since 1970-01-01T00:00:00Z
//!  52–59   8 bits: CRC-8 of the six bytes before (polynomial x⁸+x²+x+1, initial value 0, no reflection)
//!  60–63   black white black white
//! ```
//!
//! A reader takes the middle of each cell, puts the threshold half way between the darkest and the lightest of the eight
//! known cells, and believes what the CRC confirms.

/// Cells in the row.
pub const CELLS: usize = 64;

/// The row is this part of the picture's height.
pub const HEIGHT_DIVISOR: usize = 18;

const LEADER: [bool; 4] = [true, false, true, false];
const TRAILER: [bool; 4] = [false, true, false, true];
const TIME_BITS: usize = 48;

/// Known cells must differ by at least this much luma, or what is seen is no barcode.
const CONTRAST: u16 = 40;

/// The cells for a time in milliseconds, white as `true`. Only the low 48 bits are written.
pub fn cells(unix_millis: u64) -> [bool; CELLS] {
    let word = (unix_millis << 8 | u64::from(crc8(unix_millis))) & 0x00ff_ffff_ffff_ffff;
    let mut cells = [false; CELLS];
    for (i, cell) in cells.iter_mut().enumerate() {
        *cell = match i {
            0..4 => LEADER[i],
            60.. => TRAILER[i - 60],
            _ => word >> (59 - i) & 1 == 1,
        };
    }
    cells
}

/// The time in a picture of `width` × `height` whose luma `luma(x, y)` gives; `None` if there is no readable row.
pub fn read(width: usize, height: usize, luma: impl Fn(usize, usize) -> u8) -> Option<u64> {
    let row = height / HEIGHT_DIVISOR;
    if width < CELLS * 2 || row < 2 {
        return None;
    }
    // The middle of the row first; lines above and below it in case the picture was cropped or padded a little.
    let middle = height - 1 - row / 2;
    let near = (0..=row / 2 + 2).flat_map(|d| [middle.saturating_sub(d), middle + d]);
    near.filter(|y| *y < height).find_map(|y| read_line(width, |x| luma(x, y)))
}

/// [`read`] for a plane of luma with `stride` bytes per line.
pub fn read_luma(plane: &[u8], width: usize, height: usize, stride: usize) -> Option<u64> {
    read(width, height, |x, y| plane.get(y * stride + x).copied().unwrap_or(0))
}

/// [`read`] for packed pixels of `pixel` bytes that begin with red, green and blue, without padding between lines.
pub fn read_rgb(pixels: &[u8], width: usize, height: usize, pixel: usize) -> Option<u64> {
    read(width, height, |x, y| match pixels.get((y * width + x) * pixel..) {
        Some([r, g, b, ..]) => ((u32::from(*r) * 77 + u32::from(*g) * 150 + u32::from(*b) * 29) >> 8) as u8,
        _ => 0,
    })
}

fn read_line(width: usize, luma: impl Fn(usize) -> u8) -> Option<u64> {
    // The mean of three samples around the middle of a cell: encoders ring at its edges.
    let sample = |cell: usize| {
        let (middle, aside) = ((2 * cell + 1) * width / (2 * CELLS), width / (CELLS * 5));
        [middle - aside, middle, middle + aside].map(|x| u16::from(luma(x))).iter().sum::<u16>() / 3
    };
    let known = || LEADER.iter().enumerate().chain(TRAILER.iter().enumerate().map(|(i, white)| (60 + i, white)));
    let white = known().filter(|(_, white)| **white).map(|(cell, _)| sample(cell)).min()?;
    let black = known().filter(|(_, white)| !**white).map(|(cell, _)| sample(cell)).max()?;
    if white < black + CONTRAST {
        return None;
    }
    let threshold = (white + black) / 2;
    let bits = |from: usize, count: usize| {
        (from..from + count).fold(0_u64, |word, cell| word << 1 | u64::from(sample(cell) > threshold))
    };
    let (time, crc) = (bits(4, TIME_BITS), bits(4 + TIME_BITS, 8));
    (u64::from(crc8(time)) == crc).then_some(time)
}

fn crc8(unix_millis: u64) -> u8 {
    unix_millis.to_be_bytes()[2..].iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: u64 = 1_795_169_700_123;

    fn drawn(width: usize, height: usize, black: u8, white: u8) -> Vec<u8> {
        let cells = cells(TIME);
        let row = height - height / HEIGHT_DIVISOR;
        let pixel = |i: usize| match i / width {
            y if y < row => (i * 7 % 251) as u8,
            _ if cells[i % width * CELLS / width] => white,
            _ => black,
        };
        (0..width * height).map(pixel).collect()
    }

    #[test]
    fn a_time_is_read_at_every_size_and_range() {
        for (width, height) in [(640, 360), (1920, 1080), (320, 240), (640, 480), (333, 187), (160, 90)] {
            for (black, white) in [(16, 235), (0, 255), (60, 120)] {
                let plane = drawn(width, height, black, white);
                assert_eq!(read_luma(&plane, width, height, width), Some(TIME), "{width}×{height} {black}–{white}");
            }
        }
    }

    #[test]
    fn a_time_is_read_from_packed_pixels() {
        let plane = drawn(640, 360, 0, 255);
        let rgba: Vec<u8> = plane.iter().flat_map(|y| [*y, *y, *y, 255]).collect();
        assert_eq!(read_rgb(&rgba, 640, 360, 4), Some(TIME));
    }

    #[test]
    fn a_blurred_and_noisy_row_is_read() {
        let mut plane = drawn(640, 360, 16, 235);
        let sharp = plane.clone();
        for i in 3..plane.len() - 3 {
            let blurred: u32 = sharp[i - 3..=i + 3].iter().map(|y| u32::from(*y)).sum::<u32>() / 7;
            plane[i] = (blurred as u8).saturating_add((i * 31 % 17) as u8);
        }
        assert_eq!(read_luma(&plane, 640, 360, 640), Some(TIME));
    }

    #[test]
    fn a_wrong_cell_or_no_row_at_all_is_no_time() {
        let mut plane = drawn(640, 360, 16, 235);
        for y in 340..360 {
            for x in 200..210 {
                plane[y * 640 + x] ^= 0xff;
            }
        }
        assert_eq!(read_luma(&plane, 640, 360, 640), None);
        assert_eq!(read_luma(&[128; 640 * 360], 640, 360, 640), None);
        assert_eq!(read_luma(&[], 640, 360, 640), None);
        assert_eq!(read_luma(&[0; 100], 10, 10, 10), None);
    }

    #[test]
    fn the_format_is_the_one_the_documentation_gives() {
        let bits: String = cells(TIME).map(|white| if white { '1' } else { '0' }).iter().collect();
        assert_eq!(bits, format!("1010{TIME:048b}{:08b}0101", crc8(TIME)));
        // "123456" under CRC-8 as catalogued (check value 0xf4 over "123456789").
        assert_eq!(crc8(0x3132_3334_3536), 0xfd);
    }
}
