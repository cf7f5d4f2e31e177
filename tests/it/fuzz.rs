//! The fuzz targets, on mutations of their seeds: the same each time. cargo-fuzz looks further: `tests/fuzz/README.md`.

#[path = "../fuzz/lots.rs"]
mod lots;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

use lots::Lots;

/// Inputs of each target.
const MUTATIONS: u64 = 300;

/// Changes a few octets, takes some out, or puts some of another in.
fn mutated(lots: &mut Lots, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = seeds[lots.below(seeds.len())].clone();
    for _ in 0..=lots.below(6) {
        let place = lots.below(octets.len() + 1);
        let end = (place + lots.below(16)).min(octets.len());
        match lots.below(5) {
            0 if place < octets.len() => octets[place] ^= 1 << lots.below(8),
            1 if place < octets.len() => octets[place] = u8::try_from(lots.below(256)).unwrap(),
            2 => drop(octets.drain(place..end)),
            3 => {
                let other = &seeds[lots.below(seeds.len())];
                let from = lots.below(other.len() + 1);
                let to = (from + lots.below(64)).min(other.len());
                octets.splice(place..place, other[from..to].iter().copied());
            }
            _ => octets.splice(place..end, [0, 0xFF, 0x7F, 0x80][..lots.below(5)].iter().copied()).for_each(drop),
        }
    }
    octets
}

#[test]
fn no_target_falls_over_its_seeds_or_what_is_like_them() {
    for (name, target) in targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(name);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.extend(
            (name == "configuration").then(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("config/spotgate.toml")),
        );
        files.sort();
        let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        seeds.iter().for_each(|seed| target(seed));
        let mut lots = Lots::default();
        for _ in 0..MUTATIONS {
            target(&mutated(&mut lots, &seeds));
        }
    }
}
