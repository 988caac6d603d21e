//! Matrix product over slices: a checked front of the `gemm` crate, which candle uses too.
//!
//! Called directly because it can add to its destination and take any strides, which candle's `matmul` does not offer:
//! gradients of shared weights accumulate without a copy, and attention reads heads where they lie.

use gemm::Parallelism;

/// A matrix in a slice; the element at row `i`, column `j` lies at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

fn extent(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + (columns - 1) * column_stride + 1 }
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` elements, `row_stride` apart.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(extent(rows, columns, row_stride, 1) <= data.len(), "matrix exceeds its slice");
        Matrix { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// Rows one after the other.
    pub fn dense(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// The transposed matrix, in the same place.
    pub fn t(self) -> Self {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// What becomes of the destination's old content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// It is replaced.
    Replace,
    /// The product is added to it.
    Add,
}

/// Where the product runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// On the threads of the current rayon pool.
    AllThreads,
    /// On the calling thread, which is one of many.
    ThisThread,
}

/// `out (+)= a b`; `out` has rows `out_stride` apart.
pub fn gemm(out: &mut [f32], out_stride: usize, write: Write, a: Matrix, b: Matrix, on: On) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "inner sizes differ");
    assert!(extent(m, n, out_stride, 1) <= out.len() && out_stride >= n, "product exceeds its slice");
    let parallelism = match on {
        On::AllThreads => Parallelism::Rayon(0),
        On::ThisThread => Parallelism::None,
    };
    // SAFETY: both operands were checked against their slices when they were made, the destination just above; the
    // slices live through the call, and `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            write == Write::Add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_of_strided_and_transposed_matrices_adds_to_its_destination() {
        // a = [[1, 2], [3, 4]] in rows of 3; b = [[5, 6], [7, 8]] held transposed.
        let (a, b_t) = ([1., 2., 0., 3., 4., 0.], [5., 7., 6., 8.]);
        let mut out = [100., 100., -1., 100., 100., -1.];
        let (a, b) = (Matrix::strided(&a, 2, 2, 3), Matrix::dense(&b_t, 2, 2).t());
        gemm(&mut out, 3, Write::Add, a, b, On::ThisThread);
        assert_eq!(out, [119., 122., -1., 143., 150., -1.]);
        gemm(&mut out, 3, Write::Replace, a, b, On::AllThreads);
        assert_eq!(out, [19., 22., -1., 43., 50., -1.]);
    }

    #[test]
    #[should_panic(expected = "exceeds its slice")]
    fn a_matrix_larger_than_its_slice_is_refused() {
        Matrix::dense(&[0.0; 5], 2, 3);
    }

    #[test]
    fn the_product_is_the_same_bits_for_any_number_of_threads() {
        let a: Vec<f32> = (0..300 * 500).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..500 * 200).map(|i| (i as f32 * 0.11).cos()).collect();
        let product = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![0f32; 300 * 200];
            let (a, b) = (Matrix::dense(&a, 300, 500), Matrix::dense(&b, 500, 200));
            pool.install(|| gemm(&mut out, 200, Write::Replace, a, b, On::AllThreads));
            out
        };
        let one = product(1);
        assert_eq!(one, product(2));
        assert_eq!(one, product(3));
    }
}
