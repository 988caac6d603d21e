//! Whole inputs through [`Reader`]: what lies between the bytes of a file and its records.

use std::io::Write;

use schemas::config::{Encoding, Read, TextFiles};
use schemas::rule::InvalidRule;

use super::*;

/// Offset, text and fields of a document.
type SeenDocument = (Option<u64>, String, Vec<(String, String)>);
/// Line, offset, rule, detail and raw bytes of a damaged line.
type SeenInvalid = (u64, Option<u64>, InvalidRule, String, Vec<u8>);

/// Everything a reader says of an input.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    documents: Vec<SeenDocument>,
    invalid: Vec<SeenInvalid>,
    lines: u64,
    blank: u64,
}

impl Seen {
    fn texts(&self) -> Vec<&str> {
        self.documents.iter().map(|(_, text, _)| text.as_str()).collect()
    }

    fn rules(&self) -> Vec<InvalidRule> {
        self.invalid.iter().map(|invalid| invalid.2).collect()
    }

    fn fields(&self, document: usize) -> Vec<(&str, &str)> {
        self.documents[document].2.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// A file in a folder of its own.
struct Made {
    _folder: tempfile::TempDir,
    input: Input,
}

fn made(name: &str, bytes: &[u8]) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let input = inputs::expand(&[path.display().to_string()], folder.path()).unwrap().remove(0);
    Made { _folder: folder, input }
}

fn options(change: impl FnOnce(&mut Read)) -> Options {
    let mut config = Read::default();
    change(&mut config);
    Options::from_config(&config).unwrap()
}

fn read_part(input: &Input, part: &Part, options: &Options, seen: &mut Seen) -> Digest {
    let first_line = seen.lines;
    let mut reader = Reader::open(input, part, options).unwrap();
    while let Some(block) = reader.next_block().unwrap() {
        let records = block.parse(options);
        seen.lines += records.lines;
        seen.blank += records.blank;
        for document in &records.documents {
            let field = |field: &crate::record::FieldValue| {
                (records.names[field.name as usize].clone(), records.str(field.value).to_owned())
            };
            let fields = records.fields_of(document).iter().map(field).collect();
            let text = records.str(document.text).to_owned();
            assert!(document.position.line < seen.lines - first_line);
            seen.documents.push((document.position.byte_offset, text, fields));
        }
        for invalid in records.invalid {
            let position = invalid.position;
            seen.invalid.push((
                first_line + position.line,
                position.byte_offset,
                invalid.rule,
                invalid.detail,
                invalid.raw,
            ));
        }
    }
    let digest = reader.finish().unwrap();
    assert_eq!(digest.lines, seen.lines - first_line);
    digest
}

fn read_with(name: &str, bytes: &[u8], options: &Options) -> Seen {
    let made = made(name, bytes);
    let mut seen = Seen::default();
    let parts = made.input.parts(0, u64::MAX);
    assert_eq!(parts.len(), 1);
    let digest = read_part(&made.input, &parts[0], options, &mut seen);
    let expected: Vec<u128> = bytes.chunks(inputs::BLOCK_BYTES as usize).map(xxhash_rust::xxh3::xxh3_128).collect();
    assert_eq!(digest.block_hashes, expected, "the digest is that of the file as stored");
    seen
}

fn read(name: &str, bytes: &[u8]) -> Seen {
    read_with(name, bytes, &options(|_| {}))
}

fn line(text: &str) -> String {
    format!("{{\"text\":\"{text}\"}}\n")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
    compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true)).unwrap();
    compressor.compress(bytes).unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn bzip2_stream(bytes: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;

const COMPRESSIONS: [(&str, Compress); 4] =
    [("a.jsonl.gz", gzip), ("a.jsonl.zst", zstd_frame), ("a.jsonl.xz", xz), ("a.jsonl.bz2", bzip2_stream)];

/// Lines that do not compress well, so that a cut falls into the middle of them.
fn many_lines() -> Vec<u8> {
    let mut state = 1_u64;
    let mut text = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{state:x}")
    };
    (0..60_000).flat_map(|_| line(&text()).into_bytes()).collect()
}

#[test]
fn lines_are_owned_once_wherever_the_file_is_cut() {
    let text = format!("{}\n{}\r\n \t\n{{bad\n{}", line("a"), line("b").trim_end(), line("好").trim_end());
    let made = made("a.jsonl", text.as_bytes());
    let options = options(|_| {});
    let end = text.len() as u64;
    let mut whole = Seen::default();
    read_part(&made.input, &Part { input: 0, start: 0, end }, &options, &mut whole);
    assert_eq!((whole.lines, whole.blank, whole.texts()), (6, 2, vec!["a", "b", "好"]));
    for first in 0..=end {
        for second in first..=end {
            let mut cut = Seen::default();
            for (start, end) in [(0, first), (first, second), (second, end)] {
                read_part(&made.input, &Part { input: 0, start, end }, &options, &mut cut);
            }
            assert_eq!(cut, whole, "cut at {first} and {second}");
        }
    }
}

#[test]
fn utf_16_lines_are_owned_once_wherever_the_file_is_cut() {
    let text = format!("\u{feff}{}{}", line("a\u{a0a}\u{a00}"), line("b"));
    for bytes in [
        text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
        text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    ] {
        let made = made("a.jsonl", &bytes);
        let end = bytes.len() as u64;
        // A byte order mark belongs to the line behind it; parts begin at blocks, never between the two.
        for cut in (0..=end).step_by(2).filter(|cut| *cut != 2) {
            let mut seen = Seen::default();
            for (start, end) in [(0, cut), (cut, end)] {
                read_part(&made.input, &Part { input: 0, start, end }, &options(|_| {}), &mut seen);
            }
            assert_eq!((seen.texts(), seen.lines), (vec!["a\u{a0a}\u{a00}", "b"], 2), "cut at {cut}");
        }
    }
}

#[test]
fn blocks_meet_without_losing_or_doubling_a_line() {
    let lines = many_lines();
    assert!(lines.len() > 1 << 20);
    let seen = read("a.jsonl", &lines);
    assert_eq!((seen.documents.len(), seen.lines), (60_000, 60_000));
    for (offset, text, _) in &seen.documents {
        let start = offset.unwrap() as usize;
        assert!(lines[start..].starts_with(line(text).as_bytes()));
    }
}

#[test]
fn compressed_streams_of_several_members_are_read_whole() {
    let lines = many_lines();
    let (left, right) = lines.split_at(lines.len() / 3 + 7);
    let plain = read("a.jsonl", &lines);
    for (name, compress) in COMPRESSIONS {
        let seen = read(name, &[compress(left), compress(right)].concat());
        assert_eq!(seen, plain, "{name}");
    }
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], zstd_frame(&lines).as_slice()].concat();
    assert_eq!(read("a.jsonl.zst", &skippable), plain);
}

#[test]
fn a_truncated_stream_keeps_what_came_before_and_names_the_place() {
    let lines = many_lines();
    let plain = read("a.jsonl", &lines);
    for (name, compress) in COMPRESSIONS {
        let stream = compress(&lines);
        let seen = read(name, &stream[..stream.len() / 2]);
        assert_eq!(seen.rules(), [InvalidRule::StreamTruncated], "{name}");
        let kept = seen.documents.len();
        assert!(kept > 1000 && kept < 59_000, "{name}: {kept}");
        assert_eq!(seen.documents, plain.documents[..kept], "{name}");
        assert_eq!(seen.lines, kept as u64 + 1, "{name}");
        let (line, offset, _, detail, raw) = &seen.invalid[0];
        assert_eq!(*line, kept as u64, "{name}");
        assert!(lines[offset.unwrap() as usize..].starts_with(raw), "{name}");
        assert!(detail.contains(&format!("compressed byte {} (decompressed byte", stream.len() / 2)), "{detail}");
    }
}

#[test]
fn a_stream_that_ends_with_a_member_is_whole_and_one_byte_less_is_truncated() {
    let lines = line("a").repeat(10);
    for (name, compress) in COMPRESSIONS {
        let stream = compress(lines.as_bytes());
        assert!(read(name, &stream).invalid.is_empty(), "{name}");
        let seen = read(name, &stream[..stream.len() - 1]);
        assert_eq!(seen.rules(), [InvalidRule::StreamTruncated], "{name}");
    }
}

#[test]
fn garbage_after_a_member_is_damage_and_the_lines_before_it_are_kept() {
    for (name, compress) in COMPRESSIONS {
        let stream = [compress(line("a").as_bytes()), b"this is no member of any format".to_vec()].concat();
        let seen = read(name, &stream);
        assert_eq!((seen.texts(), seen.rules()), (vec!["a"], vec![InvalidRule::StreamCorrupt]), "{name}");
    }
}

#[test]
fn a_flipped_bit_is_damage_in_every_format() {
    let lines = many_lines();
    for (name, compress) in COMPRESSIONS {
        let mut stream = compress(&lines);
        let middle = stream.len() / 2;
        stream[middle] ^= 0x10;
        let seen = read(name, &stream);
        assert_eq!(seen.rules().last(), Some(&InvalidRule::StreamCorrupt), "{name}");
    }
}

#[test]
fn zeros_after_gzip_are_padding() {
    let stream = [gzip(line("a").as_bytes()), vec![0; 1000]].concat();
    assert_eq!(read("a.jsonl.gz", &stream).rules(), []);
}

#[test]
fn a_window_that_would_take_too_much_memory_is_refused() {
    // Frame header: no content size, no checksum; window descriptor 18 << 3: 2^(10 + 18) bytes. Then a raw block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 0x09, 0x00, 0x00, b'x'];
    let seen = read("a.jsonl.zst", &frame);
    assert_eq!(seen.rules(), [InvalidRule::StreamCorrupt]);
    assert!(seen.invalid[0].3.contains("memory"), "{}", seen.invalid[0].3);
}

#[test]
fn a_line_beyond_the_limit_costs_itself_alone() {
    let long = "x".repeat(3 << 20);
    let bytes = format!("{}{}{}", line("a"), line(&long), line("b"));
    let seen = read_with("a.jsonl", bytes.as_bytes(), &options(|config| config.max_line_bytes = 1 << 20));
    assert_eq!((seen.texts(), seen.lines), (vec!["a", "b"], 3));
    let (at, offset, rule, detail, raw) = &seen.invalid[0];
    assert_eq!((*at, *offset, *rule), (1, Some(13), InvalidRule::LineTooLong));
    assert_eq!(raw.len(), schemas::columns::RAW_BYTES_MAX);
    assert_eq!(detail, &format!("expected at most {} bytes, found {}", 1 << 20, line(&long).len()));
}

#[test]
fn the_limit_of_a_line_does_not_depend_on_its_place_in_a_block() {
    let exact = line(&"x".repeat(100 - 11)).trim_end().to_owned();
    assert_eq!(exact.len(), 100);
    let options = options(|config| config.max_line_bytes = 100);
    for end in ["\n", "\r\n", ""] {
        assert_eq!(read_with("a.jsonl", format!("{exact}{end}").as_bytes(), &options).rules(), [], "{end:?}");
        let longer = line(&"x".repeat(101 - 11)).trim_end().to_owned();
        let seen = read_with("a.jsonl", format!("{longer}{end}").as_bytes(), &options);
        assert_eq!(seen.rules(), [InvalidRule::LineTooLong], "{end:?}");
    }
}

#[test]
fn a_last_line_that_is_too_long_and_never_ends_is_one_line() {
    let bytes = format!("{}{}", line("a"), "x".repeat(5 << 20));
    let seen = read_with("a.jsonl", bytes.as_bytes(), &options(|config| config.max_line_bytes = 1000));
    assert_eq!((seen.lines, seen.rules()), (2, vec![InvalidRule::LineTooLong]));
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_only() {
    let seen = read("a.jsonl", format!("\u{feff}{}\u{feff}{}", line("a"), line("b")).as_bytes());
    assert_eq!((seen.texts(), seen.rules()), (vec!["a"], vec![InvalidRule::JsonSyntax]));
    assert_eq!(seen.documents[0].0, Some(3));
}

#[test]
fn chinese_encodings_cost_only_the_lines_that_are_damaged() {
    let gb = [b"{\"text\":\"\xc4\xe3\"}\n".as_slice(), b"{\"text\":\"\xff\"}\n", b"{\"text\":\"\xba\xc3\"}\n"].concat();
    let seen = read_with("a.jsonl", &gb, &options(|config| config.encoding = Encoding::Gb18030));
    assert_eq!((seen.texts(), seen.rules()), (vec!["你", "好"], vec![InvalidRule::BadUtf8]));
    let big5 = b"{\"text\":\"\xa7\x41\"}\n";
    assert_eq!(read_with("a.jsonl", big5, &options(|config| config.encoding = Encoding::Big5)).texts(), ["你"]);
}

#[test]
fn unicode_line_separators_do_not_end_lines() {
    let text = "a\u{2028}b\u{85}c\u{b}d";
    let seen = read("a.txt", text.as_bytes());
    assert_eq!(seen.texts(), [text]);
    let seen = read_with("a.txt", text.as_bytes(), &options(|config| config.text_files = TextFiles::Line));
    assert_eq!(seen.texts(), [text]);
}

#[test]
fn a_template_joins_fields_and_a_line_without_any_is_missing_its_text() {
    let lines =
        "{\"title\":\"T\",\"meta\":{\"n\":[1],\"by\":\"\\u4f60\"},\"year\":2026}\n{\"other\":1}\n{\"title\":[1]}\n";
    let options = options(|config| config.text_template = Some("{title}\\n{meta.by}, {year}".to_owned()));
    let seen = read_with("a.jsonl", lines.as_bytes(), &options);
    assert_eq!(seen.texts(), ["T\n你, 2026"]);
    assert_eq!(seen.rules(), [InvalidRule::TextMissing, InvalidRule::TextType]);
    assert_eq!(seen.fields(0).len(), 3);
}

#[test]
fn elements_of_an_array_are_records() {
    let array =
        "[\n {\"text\": \"a, ]\\\"\", \"n\": [1, {\"m\": 2}]},\n {\"text\":\"b\"} , 7, [1,2], {\"text\":\"c\"}\n]\n";
    let seen = read("a.json", array.as_bytes());
    assert_eq!((seen.texts(), seen.lines), (vec!["a, ]\"", "b", "c"], 5));
    assert_eq!(seen.rules(), [InvalidRule::JsonSyntax, InvalidRule::JsonSyntax]);
    assert_eq!(seen.documents[0].0, Some(3));
    assert_eq!(seen.invalid[0].0, 2);
}

#[test]
fn an_array_larger_than_a_block_is_read_whole() {
    let lines = many_lines();
    let array = format!("[{}]", String::from_utf8(lines.clone()).unwrap().trim_end().replace('\n', ",\n"));
    let texts = |seen: &Seen| seen.documents.iter().map(|document| document.1.clone()).collect::<Vec<_>>();
    let seen = read("a.json", array.as_bytes());
    assert_eq!(seen.rules(), []);
    assert_eq!(texts(&seen), texts(&read("a.jsonl", &lines)));
    assert_eq!(texts(&read("a.json.gz", &gzip(array.as_bytes()))), texts(&seen));
}

#[test]
fn a_broken_string_costs_its_element_alone() {
    let array = "[{\"text\":\"a\"},\n{\"text\":\"b},\n{\"text\":\"c\"}]";
    let seen = read("a.json", array.as_bytes());
    assert_eq!((seen.texts(), seen.rules()), (vec!["a", "c"], vec![InvalidRule::JsonSyntax]));
}

#[test]
fn an_array_that_does_not_end_or_goes_on_is_told() {
    for (array, kept, damaged) in [
        ("[]", 0, 0),
        ("[", 0, 1),
        ("[{\"text\":\"a\"}", 1, 1),
        ("[{\"text\":\"a\"},", 1, 1),
        ("[{\"text\":\"a\"}, {\"te", 1, 1),
        ("[{\"text\":\"a\"}] x", 1, 1),
        ("[{\"text\":\"a\"},]", 1, 1),
        ("[,{\"text\":\"a\"}]", 1, 1),
        ("[{\"text\":\"a\"}]]", 1, 1),
    ] {
        let seen = read("a.json", array.as_bytes());
        let expected = vec![InvalidRule::JsonSyntax; damaged];
        assert_eq!((seen.documents.len(), seen.rules()), (kept, expected), "{array}");
    }
}

#[test]
fn an_element_beyond_the_limit_is_skipped() {
    let array = format!("[{{\"text\":\"a\"}},{{\"text\":\"{}\"}},{{\"text\":\"b\"}}]", "x".repeat(3 << 20));
    let seen = read_with("a.json", array.as_bytes(), &options(|config| config.max_line_bytes = 1000));
    assert_eq!((seen.texts(), seen.rules()), (vec!["a", "b"], vec![InvalidRule::LineTooLong]));
    assert_eq!(seen.invalid[0].1, Some(14));
}

#[test]
fn rows_of_csv_are_records_with_typed_cells() {
    let csv = "id,text,score,tag\r\n1,\"a,\n\"\"b\"\"\",0.5,x\r\n\r\n2,plain,,true\r\n3,short\r\n4,,1,2\r\n";
    let seen = read("a.csv", csv.as_bytes());
    assert_eq!(seen.texts(), ["a,\n\"b\"", "plain", ""]);
    assert_eq!((seen.lines, seen.blank, seen.rules()), (5, 1, vec![InvalidRule::CsvSyntax]));
    assert_eq!(seen.fields(0), [("id", "1"), ("score", "0.5"), ("tag", "x")]);
    assert_eq!(seen.fields(1), [("id", "2"), ("score", "null"), ("tag", "true")]);
    assert_eq!(seen.invalid[0].3, "expected 4 cells, found 2");
    assert_eq!(read("a.tsv", b"text\tb\nx\ty\n").fields(0), [("b", "y")]);
}

#[test]
fn a_quote_that_is_never_closed_costs_its_line_alone() {
    let seen = read("a.csv", b"text,n\na,1\n\"b,2\nc,3\nd,4\n");
    assert_eq!((seen.texts(), seen.rules()), (vec!["a", "c", "d"], vec![InvalidRule::CsvSyntax]));
    let long = format!("text,n\na,1\n\"b,2\n{}", "c,3\n".repeat(1 << 20));
    let seen = read_with("a.csv", long.as_bytes(), &options(|config| config.max_line_bytes = 10_000));
    assert_eq!((seen.documents.len(), seen.rules()), (1 + (1 << 20), vec![InvalidRule::CsvSyntax]));
}

#[test]
fn csv_in_a_chinese_encoding_is_decoded_row_by_row() {
    let csv = b"text,\xc3\xfb\n\xc4\xe3,1\n\xff,2\n\xba\xc3,3\n";
    let seen = read_with("a.csv", csv, &options(|config| config.encoding = Encoding::Gb18030));
    assert_eq!((seen.texts(), seen.rules()), (vec!["你", "好"], vec![InvalidRule::BadUtf8]));
    assert_eq!(seen.fields(0), [("名", "1")]);
}

#[test]
fn an_encoding_that_a_format_cannot_have_is_refused() {
    let made = made("a.json", b"[]");
    let part = Part { input: 0, start: 0, end: 2 };
    let error = Reader::open(&made.input, &part, &options(|config| config.encoding = Encoding::Big5)).err().unwrap();
    assert!(matches!(error, Error::EncodingOfFormat { .. }));
}

#[test]
fn a_text_file_is_one_document_or_one_a_line() {
    let text = "a\r\n\nb";
    assert_eq!(read("a.md", text.as_bytes()).texts(), [text]);
    let seen = read_with("a.txt", text.as_bytes(), &options(|config| config.text_files = TextFiles::Line));
    assert_eq!((seen.texts(), seen.blank), (vec!["a", "b"], 1));
    assert_eq!(read("a.txt", b"").lines, 0);
    assert_eq!(read("a.txt", b"\xff").rules(), [InvalidRule::BadUtf8]);
}

fn warc(kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://x/{kind}\r\nContent-Length: {length}\r\n\r\n{body}\r\n\r\n"
    )
}

#[test]
fn warc_records_with_text_are_documents() {
    let http = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>你</p>";
    let records = [warc("warcinfo", "x"), warc("conversion", "你好\n"), warc("request", "GET"), warc("response", http)];
    for (name, bytes) in [
        ("a.wet", records.concat().into_bytes()),
        ("a.warc.gz", records.iter().flat_map(|record| gzip(record.as_bytes())).collect()),
    ] {
        let seen = read(name, &bytes);
        assert_eq!((seen.texts(), seen.lines), (vec!["你好\n", "<p>你</p>"], 2), "{name}");
        assert_eq!(seen.fields(0), [("url", "http://x/conversion")]);
        assert_eq!(seen.documents[0].0, Some(records[0].len() as u64));
    }
}

#[test]
fn a_damaged_warc_record_costs_itself_alone() {
    let good = warc("conversion", "a");
    let cut = warc("conversion", "never there");
    for damaged in ["junk\r\n\r\nmore junk\r\n".to_owned(), good.replace("Content-Length: 1", "Content-Length: x")] {
        let seen = read("a.wet", format!("{good}{damaged}{good}").as_bytes());
        assert_eq!((seen.texts(), seen.rules()), (vec!["a", "a"], vec![InvalidRule::WarcSyntax]), "{damaged}");
    }
    let seen = read("a.wet", format!("{good}{}", &cut[..cut.len() - 10]).as_bytes());
    assert_eq!((seen.texts(), seen.rules()), (vec!["a"], vec![InvalidRule::WarcSyntax]));
}

#[test]
fn a_warc_record_beyond_the_limit_is_skipped() {
    let records = [warc("conversion", "a"), warc("conversion", &"x".repeat(3 << 20)), warc("conversion", "b")];
    let seen = read_with("a.wet", records.concat().as_bytes(), &options(|config| config.max_line_bytes = 1000));
    assert_eq!((seen.texts(), seen.rules()), (vec!["a", "b"], vec![InvalidRule::LineTooLong]));
}

#[test]
fn pages_of_a_wiki_are_documents_and_a_damaged_one_costs_itself() {
    let page = |title: &str| {
        format!("  <page>\n<title>{title}</title><ns>0</ns><revision><text>x &amp; y</text></revision>\n</page>\n")
    };
    let dump = format!("<mediawiki><siteinfo/>\n{}{}{}</mediawiki>", page("A"), page("&bad;"), page("C"));
    let seen = read("a.xml", dump.as_bytes());
    assert_eq!((seen.texts(), seen.rules()), (vec!["x & y", "x & y"], vec![InvalidRule::XmlSyntax]));
    assert_eq!(seen.fields(1), [("title", "C"), ("ns", "0")]);
    let seen = read("a.xml.bz2", &bzip2_stream(&dump.as_bytes()[..dump.len() - 30]));
    assert_eq!((seen.texts().len(), seen.rules()), (1, vec![InvalidRule::XmlSyntax, InvalidRule::XmlSyntax]));
}

mod parquet_files {
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use ::parquet::file::properties::WriterProperties;
    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array,
        ListArray, StringArray, StructArray, TimestampMillisecondArray, UInt64Array,
    };
    use arrow::datatypes::{DataType, Field, Int32Type};
    use arrow::record_batch::RecordBatch;

    use super::*;

    fn written(columns: Vec<(&str, ArrayRef)>, group_rows: usize) -> Vec<u8> {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
        let batch = batch.unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    fn texts(rows: usize) -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("text {row}"))))
    }

    #[test]
    fn every_type_has_the_kind_it_would_have_in_json() {
        let member: ArrayRef = Arc::new(StringArray::from(vec!["a\"b"]));
        let members = StructArray::from(vec![(Arc::new(Field::new("k", DataType::Utf8, true)), member)]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("text", Arc::new(StringArray::from(vec!["你好"]))),
            ("bool", Arc::new(BooleanArray::from(vec![true]))),
            ("int", Arc::new(Int64Array::from(vec![-5]))),
            ("unsigned", Arc::new(UInt64Array::from(vec![u64::MAX]))),
            ("single", Arc::new(Float32Array::from(vec![0.97]))),
            ("double", Arc::new(Float64Array::from(vec![1e300]))),
            ("nan", Arc::new(Float64Array::from(vec![f64::NAN]))),
            ("none", Arc::new(Int64Array::from(vec![None]))),
            ("bytes", Arc::new(BinaryArray::from(vec![b"\xff\x00".as_slice()]))),
            ("date", Arc::new(Date32Array::from(vec![20_000]))),
            ("time", Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_123]))),
            ("money", Arc::new(Decimal128Array::from(vec![12_345]).with_precision_and_scale(9, 2).unwrap())),
            ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]))),
            ("struct", Arc::new(members)),
        ];
        let seen = read("a.parquet", &written(columns, 10));
        assert_eq!(seen.texts(), ["你好"]);
        assert_eq!(seen.documents[0].0, None);
        let expected = [
            ("bool", "true"),
            ("int", "-5"),
            ("unsigned", "18446744073709551615"),
            ("single", "0.97"),
            ("double", "1e+300"),
            ("nan", "null"),
            ("none", "null"),
            ("bytes", "ff00"),
            ("date", "2024-10-04"),
            ("time", "2023-11-14T22:13:20.123"),
            ("money", "123.45"),
            ("list", "[1,null]"),
            ("struct", "{\"k\":\"a\\\"b\"}"),
        ];
        assert_eq!(seen.fields(0), expected);
    }

    #[test]
    fn row_groups_are_read_in_order_and_rows_numbered() {
        let seen = read("a.parquet", &written(vec![("text", texts(2500))], 1000));
        assert_eq!(seen.lines, 2500);
        assert!(seen.texts().iter().enumerate().all(|(row, text)| *text == format!("text {row}")));
    }

    #[test]
    fn a_row_group_belongs_to_one_part() {
        let bytes = written(vec![("text", texts(2500))], 1000);
        let made = made("a.parquet", &bytes);
        let end = bytes.len() as u64;
        for cut in (0..=end).step_by(97) {
            let mut seen = Seen::default();
            for (start, end) in [(0, cut), (cut, end)] {
                read_part(&made.input, &Part { input: 0, start, end }, &options(|_| {}), &mut seen);
            }
            assert_eq!((seen.lines, seen.documents.len()), (2500, 2500), "cut at {cut}");
        }
    }

    #[test]
    fn missing_and_mistyped_texts_cost_their_rows() {
        let columns: Vec<(&str, ArrayRef)> = vec![("text", Arc::new(StringArray::from(vec![Some("a"), None])))];
        let seen = read("a.parquet", &written(columns, 10));
        assert_eq!((seen.texts(), seen.rules()), (vec!["a"], vec![InvalidRule::TextMissing]));
        let seen = read("a.parquet", &written(vec![("text", Arc::new(Int64Array::from(vec![1])))], 10));
        assert_eq!(seen.rules(), [InvalidRule::TextType]);
        let seen = read("a.parquet", &written(vec![("other", texts(1))], 10));
        assert_eq!(seen.rules(), [InvalidRule::TextMissing]);
    }

    #[test]
    fn a_string_that_is_not_utf8_costs_its_row() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["good one", "bad", "good two"]));
        let mut bytes = written(vec![("text", texts)], 10);
        let place = bytes.windows(3).position(|window| window == b"bad").unwrap();
        bytes[place] = 0xff;
        let seen = read("a.parquet", &bytes);
        assert_eq!((seen.texts(), seen.rules()), (vec!["good one", "good two"], vec![InvalidRule::BadUtf8]));
    }

    #[test]
    fn a_file_without_a_footer_is_one_damaged_record_whatever_the_parts() {
        let made = made("a.parquet", b"PAR1 this is not Parquet at all PAR1");
        for cut in [0, 10, 36] {
            let mut seen = Seen::default();
            for (start, end) in [(0, cut), (cut, 36)] {
                if start < end {
                    read_part(&made.input, &Part { input: 0, start, end }, &options(|_| {}), &mut seen);
                }
            }
            assert_eq!((seen.lines, seen.rules()), (1, vec![InvalidRule::StreamCorrupt]), "cut at {cut}");
        }
        assert_eq!(read("a.parquet", b"").rules(), [InvalidRule::StreamCorrupt]);
    }

    #[test]
    fn no_flipped_byte_makes_the_reader_panic_and_other_row_groups_are_kept() {
        let bytes = written(vec![("text", texts(300))], 100);
        let mut told = 0;
        for place in (0..bytes.len()).step_by(11) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0xa5;
            let seen = read("a.parquet", &damaged);
            told += u32::from(seen.rules().contains(&InvalidRule::StreamCorrupt));
        }
        assert!(told > 10, "{told}");
    }
}
