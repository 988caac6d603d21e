//! fastText classifiers (`.bin`, and `.ftz` with product-quantised matrices): labels and scores as fastText gives them.
//!
//! The arithmetic is fastText's, in its order and width: rows of the input matrix (words, their character n-grams, word
//! n-grams, hashed) are averaged in float32 and multiplied with the output matrix. Its own traps are kept: the hash
//! sign-extends bytes, the last word of a text is its line end, a score is the probability plus 1e-5.

use std::collections::HashMap;

use crate::measure::Error;
use crate::measure::model_file::ModelFile;

const MAGIC: i32 = 793_712_314;
const LABEL_PREFIX: &[u8] = b"__label__";
const END_OF_LINE: &[u8] = b"</s>";

/// How scores become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    HierarchicalSoftmax,
    Softmax,
    /// Every label by itself: negative sampling, one versus all.
    Logistic,
}

/// A loaded classifier.
#[derive(Debug)]
pub(in crate::measure) struct FastText {
    loss: Loss,
    word_ngrams: usize,
    bucket: u64,
    ngram_chars: (usize, usize),
    words: HashMap<Box<[u8]>, u32>,
    n_words: u32,
    labels: Vec<String>,
    /// Where pruning kept only some of the hashed rows, the rows they have.
    pruned: Option<HashMap<u64, u32>>,
    input: Matrix,
    output: Matrix,
    tree: Vec<Node>,
}

/// What a thread keeps from text to text.
#[derive(Debug, Default)]
pub(in crate::measure) struct FastTextScratch {
    lower: String,
    rows: Vec<u32>,
    word_hashes: Vec<u32>,
    wrapped: Vec<u8>,
    hidden: Vec<f32>,
}

#[derive(Debug)]
enum Matrix {
    Dense { columns: usize, values: Vec<f32> },
    Quantized { codes: Vec<u8>, quantizer: Quantizer, norms: Option<(Vec<u8>, Quantizer)> },
}

/// A product quantiser: each run of `width` values is one of 256 centroids.
#[derive(Debug)]
struct Quantizer {
    parts: usize,
    width: usize,
    last_width: usize,
    centroids: Vec<f32>,
}

/// A node of the Huffman tree of hierarchical softmax.
#[derive(Debug, Clone, Copy)]
struct Node {
    left: usize,
    right: usize,
}

impl FastText {
    /// Reads a classifier, and the hash of its file.
    ///
    /// # Errors
    /// [`Error::Model`] where the file is none, is cut off, or is of another kind (word vectors, another version).
    pub fn read(path: &std::path::Path) -> Result<(FastText, String), Error> {
        let mut file = ModelFile::open(path)?;
        let model = read_model(&mut file)?;
        Ok((model, file.finish()?))
    }

    /// The best label of a text, without its prefix, and its score; None where the text has no known feature.
    pub fn classify(&self, text: &str, scratch: &mut FastTextScratch) -> Option<(&str, f32)> {
        let mut lower = std::mem::take(&mut scratch.lower);
        lower.clear();
        lower.push_str(&text.to_lowercase());
        self.features(lower.as_bytes(), scratch);
        scratch.lower = lower;
        if scratch.rows.is_empty() {
            return None;
        }
        self.average(scratch);
        let (label, score) = self.best(&scratch.hidden)?;
        Some((self.labels.get(label)?, score))
    }

    /// Rows of the input matrix that a text has.
    fn features(&self, text: &[u8], scratch: &mut FastTextScratch) {
        let FastTextScratch { rows, word_hashes, wrapped, .. } = scratch;
        rows.clear();
        word_hashes.clear();
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c | 0);
        let words = text.split(is_space).filter(|word| !word.is_empty());
        for word in words.take_while(|word| *word != END_OF_LINE).chain([END_OF_LINE]) {
            let known = self.words.get(word).copied();
            if known.is_none() && word.starts_with(LABEL_PREFIX) {
                continue;
            }
            word_hashes.push(hash(word));
            rows.extend(known);
            if word != END_OF_LINE && (known.is_none() || self.ngram_chars.1 > 0) {
                wrapped.clear();
                wrapped.push(b'<');
                wrapped.extend_from_slice(word);
                wrapped.push(b'>');
                self.character_ngrams(wrapped, rows);
            }
        }
        self.word_ngrams(word_hashes, rows);
    }

    fn character_ngrams(&self, word: &[u8], rows: &mut Vec<u32>) {
        let (least, most) = self.ngram_chars;
        let continues = |byte: u8| byte & 0xc0 == 0x80;
        for start in 0..word.len() {
            if word.get(start).is_none_or(|byte| continues(*byte)) {
                continue;
            }
            let (mut end, mut hash) = (start, FNV_OFFSET);
            for chars in 1..=most {
                let Some(byte) = word.get(end) else { break };
                hash = hash_byte(hash, *byte);
                end += 1;
                while let Some(byte) = word.get(end).filter(|byte| continues(**byte)) {
                    hash = hash_byte(hash, *byte);
                    end += 1;
                }
                if chars >= least && !(chars == 1 && (start == 0 || end == word.len())) {
                    self.push_hashed(u64::from(hash), rows);
                }
            }
        }
    }

    /// The C++ code keeps hashes as int32 and multiplies as uint64: they are sign-extended.
    fn word_ngrams(&self, hashes: &[u32], rows: &mut Vec<u32>) {
        let extended = |hash: &u32| i64::from(*hash as i32) as u64;
        for (start, first) in hashes.iter().enumerate() {
            let mut gram = extended(first);
            for next in hashes.get(start + 1..).unwrap_or_default().iter().take(self.word_ngrams.saturating_sub(1)) {
                gram = gram.wrapping_mul(116_049_371).wrapping_add(extended(next));
                self.push_hashed(gram, rows);
            }
        }
    }

    fn push_hashed(&self, hash: u64, rows: &mut Vec<u32>) {
        let Some(bucket) = hash.checked_rem(self.bucket) else { return };
        match &self.pruned {
            None => rows.push(self.n_words + bucket as u32),
            Some(kept) => rows.extend(kept.get(&bucket).map(|row| self.n_words + row)),
        }
    }

    fn average(&self, scratch: &mut FastTextScratch) {
        let FastTextScratch { rows, hidden, .. } = scratch;
        hidden.clear();
        hidden.resize(self.output.columns(), 0.0);
        rows.iter().for_each(|row| self.input.add_row(*row as usize, hidden));
        let scale = (1.0 / rows.len() as f64) as f32;
        hidden.iter_mut().for_each(|value| *value *= scale);
    }

    fn best(&self, hidden: &[f32]) -> Option<(usize, f32)> {
        match self.loss {
            Loss::HierarchicalSoftmax => {
                let mut best = None;
                self.descend(self.tree.len().checked_sub(1)?, 0.0, hidden, &mut best);
                best.map(|(label, log)| (label, libm::exp(f64::from(log)) as f32))
            }
            Loss::Softmax => {
                let scores = self.scores(hidden);
                let most = scores.iter().copied().fold(f32::MIN, f32::max);
                let powers: Vec<f32> = scores.iter().map(|score| libm::exp(f64::from(score - most)) as f32).collect();
                let sum: f32 = powers.iter().sum();
                first_most(&powers).map(|(label, power)| (label, power / sum + 1e-5))
            }
            Loss::Logistic => {
                first_most(&self.scores(hidden)).map(|(label, score)| (label, sigmoid_of_table(score) + 1e-5))
            }
        }
    }

    fn scores(&self, hidden: &[f32]) -> Vec<f32> {
        (0..self.labels.len()).map(|label| self.output.dot_row(label, hidden)).collect()
    }

    /// Depth first, left branch first, cutting what cannot become the best.
    fn descend(&self, node: usize, log: f32, hidden: &[f32], best: &mut Option<(usize, f32)>) {
        if best.is_some_and(|(_, most)| log < most) {
            return;
        }
        let labels = self.labels.len();
        if node < labels {
            if best.is_none_or(|(_, most)| log > most) {
                *best = Some((node, log));
            }
            return;
        }
        let Some(Node { left, right }) = self.tree.get(node).copied() else { return };
        let score = self.output.dot_row(node - labels, hidden);
        let turn_right = (1.0 / (1.0 + libm::exp(-f64::from(score)))) as f32;
        self.descend(left, log + logarithm(1.0 - f64::from(turn_right)), hidden, best);
        self.descend(right, log + logarithm(f64::from(turn_right)), hidden, best);
    }
}

fn logarithm(probability: f64) -> f32 {
    libm::log(f64::from(probability as f32) + 1e-5) as f32
}

fn first_most(values: &[f32]) -> Option<(usize, f32)> {
    values.iter().copied().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// fastText's sigmoid is a table of 513 values from -8 to 8.
fn sigmoid_of_table(value: f32) -> f32 {
    const TABLE_SIZE: f32 = 512.0;
    const MOST: f32 = 8.0;
    if value < -MOST {
        return 0.0;
    }
    if value > MOST {
        return 1.0;
    }
    let step = ((value + MOST) * TABLE_SIZE / MOST / 2.0) as i64 as f32;
    let at = step * 2.0 * MOST / TABLE_SIZE - MOST;
    (1.0 / (1.0 + libm::exp(-f64::from(at)))) as f32
}

const FNV_OFFSET: u32 = 2_166_136_261;

fn hash_byte(hash: u32, byte: u8) -> u32 {
    (hash ^ (byte as i8) as u32).wrapping_mul(16_777_619)
}

fn hash(word: &[u8]) -> u32 {
    word.iter().fold(FNV_OFFSET, |hash, byte| hash_byte(hash, *byte))
}

impl Matrix {
    fn columns(&self) -> usize {
        match self {
            Matrix::Dense { columns, .. } => *columns,
            Matrix::Quantized { quantizer, .. } => {
                (quantizer.parts.max(1) - 1) * quantizer.width + quantizer.last_width
            }
        }
    }

    fn dense_row(values: &[f32], columns: usize, row: usize) -> &[f32] {
        values.get(row * columns..(row + 1) * columns).unwrap_or_default()
    }

    fn add_row(&self, row: usize, sum: &mut [f32]) {
        match self {
            Matrix::Dense { columns, values } => {
                sum.iter_mut().zip(Matrix::dense_row(values, *columns, row)).for_each(|(sum, value)| *sum += value);
            }
            Matrix::Quantized { codes, quantizer, norms } => {
                let norm = norm_of(norms.as_ref(), row);
                quantizer.each_part(codes, row, |start, centroid| {
                    let part = sum.get_mut(start..start + centroid.len()).unwrap_or_default();
                    part.iter_mut().zip(centroid).for_each(|(sum, value)| *sum += norm * value);
                });
            }
        }
    }

    fn dot_row(&self, row: usize, vector: &[f32]) -> f32 {
        match self {
            Matrix::Dense { columns, values } => {
                Matrix::dense_row(values, *columns, row).iter().zip(vector).map(|(a, b)| a * b).sum()
            }
            Matrix::Quantized { codes, quantizer, norms } => {
                let mut sum = 0.0;
                quantizer.each_part(codes, row, |start, centroid| {
                    let part = vector.get(start..start + centroid.len()).unwrap_or_default();
                    part.iter().zip(centroid).for_each(|(a, b)| sum += a * b);
                });
                sum * norm_of(norms.as_ref(), row)
            }
        }
    }
}

fn norm_of(norms: Option<&(Vec<u8>, Quantizer)>, row: usize) -> f32 {
    norms.map_or(1.0, |(codes, quantizer)| {
        let code = codes.get(row).copied().unwrap_or_default();
        quantizer.centroid(0, code).first().copied().unwrap_or(1.0)
    })
}

impl Quantizer {
    fn centroid(&self, part: usize, code: u8) -> &[f32] {
        let (start, width) = if part + 1 == self.parts {
            (part * 256 * self.width + usize::from(code) * self.last_width, self.last_width)
        } else {
            ((part * 256 + usize::from(code)) * self.width, self.width)
        };
        self.centroids.get(start..start + width).unwrap_or_default()
    }

    fn each_part(&self, codes: &[u8], row: usize, mut each: impl FnMut(usize, &[f32])) {
        let codes = codes.get(row * self.parts..(row + 1) * self.parts).unwrap_or_default();
        for (part, code) in codes.iter().enumerate() {
            each(part * self.width, self.centroid(part, *code));
        }
    }
}

fn read_model(file: &mut ModelFile) -> Result<FastText, Error> {
    let magic = file.i32("the magic number of fastText")?;
    if magic != MAGIC {
        return Err(file.wrong("a fastText model (.bin or .ftz)", format!("a file that starts with {magic:#x}")));
    }
    let version = file.i32("the version")?;
    if !(11..=12).contains(&version) {
        return Err(file.wrong("fastText model version 11 or 12", version.to_string()));
    }
    let mut arguments = [0; 12];
    for argument in &mut arguments {
        *argument = file.i32("an argument")?;
    }
    file.bytes(8, "the sampling threshold")?;
    let [_, _, _, _, _, word_ngrams, loss, kind, bucket, least, most, _] = arguments;
    if kind != 3 {
        return Err(file.wrong("a classifier (supervised model)", format!("model kind {kind}, word vectors")));
    }
    let loss = match loss {
        1 => Loss::HierarchicalSoftmax,
        2 | 4 => Loss::Logistic,
        3 => Loss::Softmax,
        other => return Err(file.wrong("loss 1 (hs), 2 (ns), 3 (softmax) or 4 (ova)", other.to_string())),
    };
    // Version 11 wrote a largest n-gram that its classifiers did not use.
    let most = if version == 11 { 0 } else { most.clamp(0, 1 << 10) };
    let dictionary = read_dictionary(file)?;
    let quantized = file.u8("whether matrices are quantised")? != 0;
    let input = read_matrix(file, quantized)?;
    let quantized_output = file.u8("whether the output matrix is quantised")? != 0;
    let output = read_matrix(file, quantized && quantized_output)?;
    let tree = if loss == Loss::HierarchicalSoftmax { huffman(&dictionary.label_counts) } else { Vec::new() };
    Ok(FastText {
        loss,
        word_ngrams: word_ngrams.max(1) as usize,
        bucket: bucket.max(0) as u64,
        ngram_chars: (least.max(0) as usize, most as usize),
        n_words: dictionary.n_words,
        words: dictionary.words,
        labels: dictionary.labels,
        pruned: dictionary.pruned,
        input,
        output,
        tree,
    })
}

struct Dictionary {
    words: HashMap<Box<[u8]>, u32>,
    n_words: u32,
    labels: Vec<String>,
    label_counts: Vec<i64>,
    pruned: Option<HashMap<u64, u32>>,
}

fn read_dictionary(file: &mut ModelFile) -> Result<Dictionary, Error> {
    let size = file.i32("the size of the dictionary")?;
    let n_words = file.i32("the number of words")?;
    file.i32("the number of labels")?;
    file.i64("the number of tokens")?;
    let pruned_size = file.i64("the size of the pruning table")?;
    let size = file.count(i64::from(size), 10, "words and labels")?;
    let mut dictionary = Dictionary {
        words: HashMap::new(),
        n_words: n_words.max(0) as u32,
        labels: Vec::new(),
        label_counts: Vec::new(),
        pruned: (pruned_size >= 0).then(HashMap::new),
    };
    for index in 0..size {
        let word = file.c_string("a word")?;
        let count = file.i64("a count")?;
        match file.u8("the kind of a word")? {
            0 => {
                dictionary.words.insert(word.into(), index as u32);
            }
            _ => {
                let label = word.strip_prefix(LABEL_PREFIX).unwrap_or(&word);
                dictionary.labels.push(String::from_utf8_lossy(label).into_owned());
                dictionary.label_counts.push(count);
            }
        }
    }
    for _ in 0..file.count(pruned_size.max(0), 8, "kept rows")? {
        let (from, to) = (file.i32("a row")?, file.i32("a row")?);
        if let Some(pruned) = &mut dictionary.pruned {
            pruned.insert(from as u64, to as u32);
        }
    }
    Ok(dictionary)
}

fn read_matrix(file: &mut ModelFile, quantized: bool) -> Result<Matrix, Error> {
    let has_norms = quantized && file.u8("whether norms are quantised")? != 0;
    let rows = file.i64("rows")?;
    let columns = file.i64("columns")?;
    if !quantized {
        let columns = file.count(columns, 4, "columns")?;
        let rows = file.count(rows, 4 * columns as u64, "rows")?;
        return Ok(Matrix::Dense { columns, values: file.floats(rows * columns, "a matrix")? });
    }
    let codes = file.i32("the size of the codes")?;
    let codes = file.count(i64::from(codes), 1, "codes")?;
    let codes = file.bytes(codes, "codes")?;
    let quantizer = read_quantizer(file)?;
    let norms = match has_norms {
        true => {
            let rows = file.count(rows, 1, "rows")?;
            Some((file.bytes(rows, "codes of norms")?, read_quantizer(file)?))
        }
        false => None,
    };
    Ok(Matrix::Quantized { codes, quantizer, norms })
}

fn read_quantizer(file: &mut ModelFile) -> Result<Quantizer, Error> {
    let mut sizes = [0; 4];
    for size in &mut sizes {
        let value = file.i32("a size of the quantiser")?;
        *size = file.count(i64::from(value), 4, "a size of the quantiser")?;
    }
    let [columns, parts, width, last_width] = sizes;
    let centroids = file.floats(columns.saturating_mul(256), "centroids")?;
    Ok(Quantizer { parts, width, last_width, centroids })
}

/// fastText's Huffman tree over label counts, which come in descending order: the two lightest of what is left, one
/// pointer into the leaves, one into the inner nodes. Returns all nodes; the root is the last.
fn huffman(counts: &[i64]) -> Vec<Node> {
    const UNSET: i64 = 1_000_000_000_000_000;
    let leaves = counts.len();
    let mut weights = counts.to_vec();
    weights.resize((2 * leaves).saturating_sub(1), UNSET);
    let mut nodes = vec![Node { left: 0, right: 0 }; weights.len()];
    let (mut leaf, mut inner) = (leaves, leaves);
    for at in leaves..weights.len() {
        let mut take = || {
            let weight = |index: usize| weights.get(index).copied().unwrap_or(UNSET);
            if leaf > 0 && weight(leaf - 1) < weight(inner) {
                leaf -= 1;
                leaf
            } else {
                inner += 1;
                inner - 1
            }
        };
        let (left, right) = (take(), take());
        let weight = |index: usize| weights.get(index).copied().unwrap_or(UNSET);
        let sum = weight(left).saturating_add(weight(right));
        if let (Some(node), Some(weight)) = (nodes.get_mut(at), weights.get_mut(at)) {
            *node = Node { left, right };
            *weight = sum;
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A classifier of two words, two labels and two dimensions, as fastText writes it.
    fn model_file(kind: i32) -> Vec<u8> {
        let mut bytes: Vec<u8> = [MAGIC, 12, 2, 5, 1, 1, 5, 1, 3, kind, 0, 0, 0, 100].map(i32::to_le_bytes).concat();
        bytes.extend(1e-4_f64.to_le_bytes());
        bytes.extend([4, 2, 2].map(i32::to_le_bytes).concat());
        bytes.extend([9_i64, -1].map(i64::to_le_bytes).concat());
        for (word, is_label) in [("a", 0), ("b", 0), ("__label__x", 1), ("__label__y", 1)] {
            bytes.extend(word.bytes().chain([0]).chain(3_i64.to_le_bytes()).chain([is_label]));
        }
        for rows in [[1.0_f32, 0.0, 0.0, 1.0], [2.0, 0.0, 0.0, 2.0]] {
            bytes.push(0);
            bytes.extend([2_i64, 2].map(i64::to_le_bytes).concat());
            bytes.extend(rows.map(f32::to_le_bytes).concat());
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<FastText, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        FastText::read(file.path()).map(|(model, _)| model)
    }

    #[test]
    fn a_text_has_the_softmax_of_its_mean_row() {
        let model = read(&model_file(3)).unwrap();
        let (label, score) = model.classify("A a\nb zz", &mut FastTextScratch::default()).unwrap();
        // The mean row is (2/3, 1/3), the scores 4/3 and 2/3.
        assert_eq!(label, "x");
        assert!((score - (0.660_757 + 1e-5)).abs() < 1e-5, "{score}");
        assert!(model.classify("zz", &mut FastTextScratch::default()).is_none());
    }

    #[test]
    fn a_file_that_ends_early_is_refused_wherever_it_ends() {
        let whole = model_file(3);
        for end in 0..whole.len() {
            let error = read(&whole[..end]).unwrap_err();
            assert!(matches!(error, Error::Model { .. }), "{end}: {error}");
        }
    }

    #[test]
    fn word_vectors_are_refused_by_name() {
        let message = read(&model_file(2)).unwrap_err().to_string();
        assert!(message.contains("word vectors"), "{message}");
    }
}
