//! Tokens and their guests, as every bench has them: by number.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use spotgate::clock::Clock;
use spotgate::core::ident::Mac;

/// The code of a token.
pub fn code(number: usize) -> String {
    format!("kx7q-{number:07}")
}

/// The device of a guest.
pub fn mac(number: usize) -> Mac {
    let [.., x, y, z] = number.to_be_bytes();
    Mac::new([0x3C, 6, 0x30, x, y, z])
}

pub fn wall() -> Timestamp {
    Clock::system().now().wall
}

/// Writes the file of so many tokens into a folder, each good for so many devices at once, as if an hour ago: one just written is read
/// again and again, until it cannot have been written once more within its time stamp.
pub fn store(folder: &Path, count: usize, user_limit: u32) {
    let mut file = BufWriter::new(File::create(folder.join("tokens.json")).expect("a file"));
    write!(file, "[").expect("a disk");
    for number in 0..count {
        let record = serde_json::json!({
            "Id": number + 1, "BusinessId": 1, "AccessCode": code(number), "MinutesIncluded": 100_000_000,
            "MinutesLeft": 100_000_000, "ValidFrom": null, "ValidTo": null, "UserLimit": user_limit, "MacAddress": null
        });
        write!(file, "{}{record}", if number == 0 { "" } else { ",\n" }).expect("a disk");
    }
    writeln!(file, "]").expect("a disk");
    let hour_ago = std::time::SystemTime::try_from(wall() - SignedDuration::from_hours(1)).expect("a time");
    file.into_inner().expect("a disk").set_modified(hour_ago).expect("a time");
}
