//! Hostile input for every parser that reads what strangers send: the seeds of `tests/fuzz/corpus`, and what becomes of
//! them under a mutator. `CAMPANILE_SCALE` multiplies the rounds, `CAMPANILE_FUZZ_SEED` chooses them; a failure prints
//! entry, seed and input.

use std::{env, fs, panic, path::Path};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

#[path = "../fuzz/entries.rs"]
mod entries;

/// Mutated inputs per entry at scale 1.
const ROUNDS: usize = 2_000;

/// Inputs grow no longer than this.
const LONGEST: usize = 4_096;

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn seeds(entry: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(entry);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", folder.display());
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Some bytes flipped, overwritten, taken out, doubled, or spliced with another seed.
fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    const TELLING: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0x10, 0x40, 3];
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=input.len());
        let len = random.random_range(0..=(input.len() - at).min(32));
        match random.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = TELLING[random.random_range(0..TELLING.len())],
            2 if at < input.len() => input[at] = random.random(),
            3 => drop(input.drain(at..at + len)),
            4 => input.extend_from_within(at..at + len),
            5 => input.truncate(at),
            _ => {
                let from = random.random_range(0..=other.len());
                input.splice(at..at + len, other[from..(from + 64).min(other.len())].iter().copied());
            }
        }
    }
    input.truncate(LONGEST);
}

fn run(name: &str, seed: u64, input: &[u8]) {
    let entry = entries::ENTRIES.iter().find(|(known, _)| *known == name).unwrap().1;
    if panic::catch_unwind(|| entry(input)).is_err() {
        let digits: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{name} failed on {digits} (CAMPANILE_FUZZ_SEED={seed})");
    }
}

#[test]
fn every_entry_has_a_target_and_every_target_an_entry() {
    let manifest = include_str!("../fuzz/Cargo.toml");
    for (name, _) in entries::ENTRIES {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no target in tests/fuzz/Cargo.toml");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), entries::ENTRIES.len());
}

#[test]
fn no_parser_fails_on_what_becomes_of_its_seeds() {
    let (seed, rounds) = (number("CAMPANILE_FUZZ_SEED", 1), ROUNDS * number("CAMPANILE_SCALE", 1) as usize);
    for (name, _) in entries::ENTRIES {
        let seeds = seeds(name);
        for input in &seeds {
            run(name, seed, input);
        }
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..rounds {
            let mut input = seeds[random.random_range(0..seeds.len())].clone();
            let other = &seeds[random.random_range(0..seeds.len())];
            mutate(&mut input, other, &mut random);
            run(name, seed, &input);
        }
    }
}
