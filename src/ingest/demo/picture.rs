//! The picture of the demo camera: a bell that swings in its tower, the time in letters, and the time as a barcode.
//!
//! The background is drawn once; per frame only what moves is restored and drawn. Sans-IO: the time comes in. Colours are
//! luma and chroma of the limited range (ITU-T H.273 matrix 6).

use openh264::formats::YUVSource;

use super::{barcode, font};

pub(super) const WIDTH: usize = 640;
pub(super) const HEIGHT: usize = 360;

/// Lines of the barcode.
const ROW: usize = HEIGHT / barcode::HEIGHT_DIVISOR;

/// Luma, blue and red difference.
type Colour = [u8; 3];

const BLACK: Colour = [16, 128, 128];
const WHITE: Colour = [235, 128, 128];
const STONE: Colour = [74, 124, 134];
const MORTAR: Colour = [58, 125, 133];
const BRONZE: Colour = [150, 92, 152];
const GLOW: Colour = [205, 70, 150];
const PALE: Colour = [190, 132, 126];

/// Where the bell hangs, how long it is, and how far to either side it swings.
const PIVOT: (f32, f32) = (132.0, 118.0);
const BELL: f32 = 104.0;
const SWING: f32 = 0.55;

/// A rectangle whose edges are even, so that it has whole chroma samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

const BELFRY: Area = Area { x: 40, y: 108, width: 184, height: 136 };
const CLOCK: Area = Area { x: 268, y: 120, width: 344, height: 36 };
const DATE: Area = Area { x: 268, y: 172, width: 344, height: 20 };

#[derive(Clone, Debug)]
struct Planes {
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

impl Planes {
    fn fill(&mut self, area: Area, [y, u, v]: Colour) {
        for line in area.y..area.y + area.height {
            self.y[line * WIDTH + area.x..][..area.width].fill(y);
        }
        for line in area.y / 2..(area.y + area.height) / 2 {
            let start = line * (WIDTH / 2) + area.x / 2;
            self.u[start..][..area.width / 2].fill(u);
            self.v[start..][..area.width / 2].fill(v);
        }
    }

    fn copy(&mut self, area: Area, from: &Self) {
        for line in area.y..area.y + area.height {
            let range = line * WIDTH + area.x..line * WIDTH + area.x + area.width;
            self.y[range.clone()].copy_from_slice(&from.y[range]);
        }
        for line in area.y / 2..(area.y + area.height) / 2 {
            let start = line * (WIDTH / 2) + area.x / 2;
            let range = start..start + area.width / 2;
            self.u[range.clone()].copy_from_slice(&from.u[range.clone()]);
            self.v[range.clone()].copy_from_slice(&from.v[range]);
        }
    }

    /// Letters of `dot` × `dot` pixels per dot, from the corner of `area` on.
    fn text(&mut self, area: Area, dot: usize, text: &str, colour: Colour) {
        for (i, letter) in text.bytes().enumerate() {
            let left = area.x + i * (font::WIDTH + 1) * dot;
            if left + font::WIDTH * dot > WIDTH {
                return;
            }
            for (row, dots) in font::glyph(letter).into_iter().enumerate() {
                for column in (0..font::WIDTH).filter(|column| dots >> (font::WIDTH - 1 - column) & 1 == 1) {
                    let (x, y) = (left + column * dot, area.y + row * dot);
                    self.fill(Area { x, y, width: dot, height: dot }, colour);
                }
            }
        }
    }

    fn set(&mut self, x: usize, y: usize, [luma, u, v]: Colour) {
        self.y[y * WIDTH + x] = luma;
        let chroma = y / 2 * (WIDTH / 2) + x / 2;
        (self.u[chroma], self.v[chroma]) = (u, v);
    }
}

/// The frame that is drawn into, over and over.
#[derive(Debug)]
pub(super) struct Picture {
    background: Planes,
    frame: Planes,
    /// What the clock shows, so that only letters that change are drawn.
    clock: String,
    date: String,
}

impl Picture {
    pub(super) fn new() -> Self {
        let background = background();
        Self { frame: background.clone(), background, clock: String::new(), date: String::new() }
    }

    /// Draws the moment `unix_millis`.
    pub(super) fn draw(&mut self, unix_millis: i64) {
        let (date, clock) = words(unix_millis);
        if date != self.date {
            self.letters(DATE, 2, &date, PALE);
            self.date = date;
        }
        for i in 0..clock.len() {
            let letter = clock.get(i..=i).unwrap_or_default();
            if self.clock.get(i..=i) != Some(letter) {
                let width = (font::WIDTH + 1) * 4;
                let place = Area { x: CLOCK.x + i * width, width, ..CLOCK };
                self.letters(place, 4, letter, WHITE);
            }
        }
        self.clock = clock;
        self.swing(unix_millis);
        let cells = barcode::cells(u64::try_from(unix_millis).unwrap_or(0));
        let width = WIDTH / barcode::CELLS;
        for (i, white) in cells.into_iter().enumerate() {
            let cell = Area { x: i * width, y: HEIGHT - ROW, width, height: ROW };
            self.frame.fill(cell, if white { WHITE } else { BLACK });
        }
    }

    fn letters(&mut self, area: Area, dot: usize, text: &str, colour: Colour) {
        self.frame.copy(area, &self.background);
        self.frame.text(area, dot, text, colour);
    }

    /// The bell, which is struck at every full second and glows for a moment.
    fn swing(&mut self, unix_millis: i64) {
        self.frame.copy(BELFRY, &self.background);
        let phase = unix_millis.rem_euclid(2000) as f32 / 1000.0;
        let colour = if unix_millis.rem_euclid(1000) < 120 { GLOW } else { BRONZE };
        let (sin, cos) = (SWING * (phase * std::f32::consts::PI).cos()).sin_cos();
        for y in BELFRY.y..BELFRY.y + BELFRY.height {
            for x in BELFRY.x..BELFRY.x + BELFRY.width {
                let (dx, dy) = (x as f32 - PIVOT.0, y as f32 - PIVOT.1);
                // Turned back by the angle of the swing, the bell hangs straight.
                let (across, down) = (dx * cos - dy * sin, dx * sin + dy * cos);
                if across.abs() < half_width(down) {
                    self.frame.set(x, y, colour);
                }
            }
        }
    }
}

/// Half the width of the bell so far below where it hangs; negative where there is none.
fn half_width(down: f32) -> f32 {
    match down {
        d if d < 0.0 => -1.0,
        d if d < 20.0 => 3.0,
        d if d < 36.0 => 22.0 - (d - 36.0).powi(2) / 16.0,
        d if d < 78.0 => 22.0 + (d - 36.0) / 6.0,
        d if d < 90.0 => 29.0 + (d - 78.0) * 0.9,
        d if d < BELL => 6.0 - (d - 97.0).abs() * 0.6,
        _ => -1.0,
    }
}

/// Date and time of day in UTC.
fn words(unix_millis: i64) -> (String, String) {
    match jiff::Timestamp::from_millisecond(unix_millis) {
        Ok(time) => (time.strftime("%Y-%m-%d UTC").to_string(), time.strftime("%H:%M:%S.%3f").to_string()),
        Err(_) => (String::new(), String::new()),
    }
}

fn background() -> Planes {
    let chroma = WIDTH * HEIGHT / 4;
    let mut planes = Planes { y: vec![0; WIDTH * HEIGHT], u: vec![0; chroma], v: vec![0; chroma] };
    // An evening sky, in bands of four lines.
    for y in (0..HEIGHT).step_by(4) {
        let sky = [(34 + y / 5) as u8, (158 - y / 18) as u8, (112 + y / 12) as u8];
        planes.fill(Area { x: 0, y, width: WIDTH, height: 4 }, sky);
    }
    let tower = Area { x: 28, y: 84, width: 208, height: HEIGHT - 84 - ROW };
    planes.fill(tower, STONE);
    for (i, y) in (tower.y..HEIGHT - ROW).step_by(16).enumerate() {
        planes.fill(Area { x: tower.x, y, width: tower.width, height: 2 }, MORTAR);
        for x in (tower.x + i % 2 * 16..tower.x + tower.width - 2).step_by(32) {
            let height = 16.min(HEIGHT - ROW - y);
            planes.fill(Area { x, y, width: 2, height }, MORTAR);
        }
    }
    // The roof, and the opening in which the bell hangs.
    for i in 0..28 {
        let y = 28 + 2 * i;
        let width = (i + 1) * 4 * 2;
        planes.fill(Area { x: (132 - width / 2) & !1, y, width, height: 2 }, MORTAR);
    }
    planes.fill(BELFRY, [24, 136, 122]);
    planes.text(Area { x: 268, y: 76, width: 0, height: 0 }, 4, "CAMPANILE", PALE);
    planes.text(Area { x: 508, y: 76, width: 0, height: 0 }, 4, "DEMO", BRONZE);
    planes
}

impl YUVSource for Picture {
    fn dimensions(&self) -> (usize, usize) {
        (WIDTH, HEIGHT)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (WIDTH, WIDTH / 2, WIDTH / 2)
    }

    fn y(&self) -> &[u8] {
        &self.frame.y
    }

    fn u(&self) -> &[u8] {
        &self.frame.u
    }

    fn v(&self) -> &[u8] {
        &self.frame.v
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_depends_on_the_time_alone() {
        let mut one = Picture::new();
        let mut other = Picture::new();
        for time in [1_795_169_700_000, 1_795_169_700_040, 1_795_169_699_123, 1_795_169_761_999] {
            one.draw(time);
        }
        other.draw(1_795_169_761_999);
        assert!(one.y() == other.y() && one.u() == other.u() && one.v() == other.v(), "drawing in steps left traces");
    }

    #[test]
    fn the_barcode_is_in_the_picture() {
        let mut picture = Picture::new();
        picture.draw(1_795_169_700_123);
        assert_eq!(barcode::read_luma(picture.y(), WIDTH, HEIGHT, WIDTH), Some(1_795_169_700_123));
    }

    #[test]
    fn any_time_at_all_is_drawn() {
        let mut picture = Picture::new();
        for time in [i64::MIN, -1, 0, i64::MAX] {
            picture.draw(time);
        }
    }
}
