//! TensorBoard's event files: records of a protocol buffer between checksums (TFRecord).
//!
//! A record is its length (u64), the masked crc32c of the length, the bytes, the masked crc32c of the bytes. The few
//! fields that scalars need are encoded by hand; a protocol buffer compiler for twelve bytes would be more code.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::error::{Error, Result};

/// Castagnoli's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

/// TFRecord's checksum: rotated and shifted, so that a checksum over checksums is no weak one.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn framed(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(event.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(event);
    record.extend(masked(event).to_le_bytes());
    record
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field of bytes: the number, wire type 2.
fn bytes_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// `Event { wall_time = 1, step = 2, .. }`, to be followed by what happened.
fn event(wall_time_s: f64, step: u64) -> Vec<u8> {
    let mut out = vec![0x09];
    out.extend(wall_time_s.to_le_bytes());
    out.push(0x10);
    varint(&mut out, step);
    out
}

/// `Event.summary = 5 { value = 1 { tag = 1, simple_value = 2 } }`.
fn scalars(wall_time_s: f64, step: u64, values: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in values {
        let mut value = Vec::new();
        bytes_field(&mut value, 1, tag.as_bytes());
        value.push(0x15);
        value.extend((*number as f32).to_le_bytes());
        bytes_field(&mut summary, 1, &value);
    }
    let mut out = event(wall_time_s, step);
    bytes_field(&mut out, 5, &summary);
    out
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// A metric's name in TensorBoard: `val_loss` is `val/loss`, others are `train/...`.
fn tag(name: &str) -> String {
    match name.strip_prefix("val_") {
        Some(rest) => format!("val/{rest}"),
        None => format!("train/{name}"),
    }
}

/// A file being written; one a process.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Makes a new file in `folder` for a run that goes on after `step`. TensorBoard forgets what earlier files have
    /// beyond it.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create(folder: &Path, step: u64) -> Result<EventFile> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let now_s = now_s();
        // TensorBoard knows the file by this word, and reads files in the order of their names.
        let name = format!("events.out.tfevents.{:010}.{}", now_s as u64, std::process::id());
        let path = folder.join(name);
        let file = File::create(&path).map_err(Error::io(&path))?;
        let mut file = EventFile { path, file };
        let mut version = event(now_s, 0);
        bytes_field(&mut version, 3, b"brain.Event:2");
        file.append(&version)?;
        if step > 0 {
            // `session_log = 7 { status = 1: START }`.
            let mut start = event(now_s, step + 1);
            bytes_field(&mut start, 7, &[0x08, 1]);
            file.append(&start)?;
        }
        Ok(file)
    }

    fn append(&mut self, event: &[u8]) -> Result<()> {
        self.file.write_all(&framed(event)).map_err(Error::io(&self.path))
    }

    /// Adds the numbers of a record of `metrics.jsonl` as scalars.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn record(&mut self, record: &impl serde::Serialize) -> Result<()> {
        let Ok(Value::Object(fields)) = serde_json::to_value(record) else { return Ok(()) };
        let step = fields.get("step").and_then(Value::as_u64).unwrap_or(0);
        let numbers = fields.iter().filter(|(name, _)| *name != "step");
        let values: Vec<(String, f64)> =
            numbers.filter_map(|(name, value)| Some((tag(name), value.as_f64()?))).collect();
        self.append(&scalars(now_s(), step, &values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_record_stands_between_checksums_of_length_and_bytes() {
        let record = framed(b"abc");
        assert_eq!(&record[..8], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&record[12..15], b"abc");
        assert_eq!(record.len(), 19);
        assert_eq!(record[15..], masked(b"abc").to_le_bytes());
    }

    #[test]
    fn a_scalar_is_encoded_as_the_protocol_buffer_says() {
        let encoded = scalars(0.0, 300, &[("a".into(), 1.0)]);
        let expected =
            [9, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0xac, 2, 0x2a, 10, 0x0a, 8, 0x0a, 1, b'a', 0x15, 0, 0, 0x80, 0x3f];
        assert_eq!(encoded, expected);
    }

    #[test]
    fn training_and_validation_have_their_own_group() {
        assert_eq!((tag("loss"), tag("val_loss")), ("train/loss".into(), "val/loss".into()));
    }
}
