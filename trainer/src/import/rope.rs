//! The two ways to pair the elements of a head for rotary embedding.
//!
//! Meta's code turns neighbours (2i, 2i + 1), Hugging Face's the i-th of each half (i, i + D/2). The rows of `q_proj`
//! and `k_proj` in another order make one of the other: queries and keys are permuted alike, so that their products
//! stay.

/// How the elements of a head are paired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RopeLayout {
    /// Element i with element i + D/2: Hugging Face's.
    Half,
    /// Element 2i with element 2i + 1: Meta's, the notebook's, GGUF's.
    Interleaved,
}

fn is_rotated(name: &str) -> bool {
    name.ends_with("self_attn.q_proj.weight") || name.ends_with("self_attn.k_proj.weight")
}

/// The rows of a rotated weight in the order `source` gives within each head; none for another weight.
fn reordered(
    name: &str,
    shape: &[usize],
    values: &[f32],
    head_dim: usize,
    source: impl Fn(usize) -> usize,
) -> Option<Vec<f32>> {
    let &[rows, columns] = shape else { return None };
    if !is_rotated(name) || head_dim == 0 || !rows.is_multiple_of(head_dim) || values.len() != rows * columns {
        return None;
    }
    let row = |row: usize| {
        let start = (row / head_dim * head_dim + source(row % head_dim)) * columns;
        &values[start..start + columns]
    };
    Some((0..rows).flat_map(row).copied().collect())
}

/// A weight for neighbours as one for halves; none where it is not rotated.
pub fn to_halves(name: &str, shape: &[usize], values: &[f32], head_dim: usize) -> Option<Vec<f32>> {
    let half = head_dim / 2;
    reordered(name, shape, values, head_dim, |row| if row < half { 2 * row } else { 2 * (row - half) + 1 })
}

/// A weight for halves as one for neighbours; none where it is not rotated.
pub fn to_neighbours(name: &str, shape: &[usize], values: &[f32], head_dim: usize) -> Option<Vec<f32>> {
    let half = head_dim / 2;
    reordered(name, shape, values, head_dim, |row| row / 2 + (row % 2) * half)
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: &str = "model.layers.0.self_attn.q_proj.weight";

    #[test]
    fn neighbours_go_to_the_two_halves_of_their_head() {
        let values: Vec<f32> = (0..8).map(|x| x as f32).collect();
        assert_eq!(to_halves(Q, &[8, 1], &values, 4).unwrap(), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }

    #[test]
    fn one_way_undoes_the_other() {
        let values: Vec<f32> = (0..48).map(|x| x as f32).collect();
        let there = to_halves(Q, &[16, 3], &values, 8).unwrap();
        assert_ne!(there, values);
        assert_eq!(to_neighbours(Q, &[16, 3], &there, 8).unwrap(), values);
    }

    #[test]
    fn other_weights_stay() {
        assert_eq!(to_halves("model.layers.0.self_attn.v_proj.weight", &[8, 1], &[0.0; 8], 4), None);
    }

    /// Scores of rotated queries and keys, by the definition of each pairing.
    #[test]
    fn both_pairings_give_the_same_scores() {
        let pairs_half = |i: usize| (i, i + 2);
        let pairs_next = |i: usize| (2 * i, 2 * i + 1);
        let turned = |x: &[f32], position: f32, pair: &dyn Fn(usize) -> (usize, usize)| {
            let mut out = vec![0f32; 4];
            for i in 0..2 {
                let ((a, b), (sin, cos)) = (pair(i), (position / 10f32.powi(i as i32)).sin_cos());
                (out[a], out[b]) = (x[a] * cos - x[b] * sin, x[a] * sin + x[b] * cos);
            }
            out
        };
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        let (q, k) = ([0.3, -1.0, 2.0, 0.7], [1.1, 0.4, -0.2, 0.9]);
        let (q_half, k_half) = (to_halves(Q, &[4, 1], &q, 4).unwrap(), to_halves(Q, &[4, 1], &k, 4).unwrap());
        let next = dot(&turned(&q, 5.0, &pairs_next), &turned(&k, 2.0, &pairs_next));
        let half = dot(&turned(&q_half, 5.0, &pairs_half), &turned(&k_half, 2.0, &pairs_half));
        assert!((next - half).abs() < 1e-6, "{next} {half}");
    }
}
