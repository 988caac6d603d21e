//! What a device offers: memory, launches of kernels by name, and matrix products.

use crate::error::{Error, Result};

/// A place in device memory.
pub type Address = u64;

/// Element types of activations and weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32 bits.
    F32,
    /// 16 bits, 8 of exponent.
    Bf16,
    /// 16 bits, 5 of exponent: its training scales the loss.
    F16,
}

impl Element {
    /// Bytes of one.
    pub fn bytes(self) -> usize {
        if self == Element::F32 { 4 } else { 2 }
    }

    /// How kernels over it end their name.
    pub fn suffix(self) -> &'static str {
        match self {
            Element::F32 => "f32",
            Element::Bf16 => "bf16",
            Element::F16 => "f16",
        }
    }
}

/// A kernel's argument; its width must be that of the parameter.
#[derive(Debug, Clone, Copy)]
pub enum Arg {
    /// A pointer; 0 is null.
    At(Address),
    /// `uint32_t`.
    U32(u32),
    /// `uint64_t`.
    U64(u64),
    /// `float`.
    F32(f32),
    /// `double`.
    F64(f64),
}

impl Arg {
    /// Bytes.
    pub fn bytes(&self) -> u32 {
        match self {
            Arg::U32(_) | Arg::F32(_) => 4,
            Arg::At(_) | Arg::U64(_) | Arg::F64(_) => 8,
        }
    }

    /// Where its value lies, as a launch wants it.
    pub fn pointer(&self) -> *mut std::ffi::c_void {
        match self {
            Arg::At(value) | Arg::U64(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Arg::U32(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Arg::F32(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Arg::F64(value) => std::ptr::from_ref(value).cast_mut().cast(),
        }
    }
}

/// How a kernel is spread over a device.
#[derive(Debug, Clone, Copy)]
pub struct Launch {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads a block, a multiple of 32.
    pub threads: u32,
    /// Bytes of shared memory a block asks for at launch.
    pub shared_bytes: u32,
}

impl Launch {
    /// A grid of one dimension without shared memory.
    pub fn of(blocks: u64, threads: u32) -> Launch {
        Launch { grid: [blocks.clamp(1, u64::from(u32::MAX)) as u32, 1, 1], threads, shared_bytes: 0 }
    }

    /// For kernels in which a thread takes `per_thread` of `elements` at a time, and goes on with a stride.
    pub fn strided(elements: u64, per_thread: u64) -> Launch {
        // 4,096 blocks of 256 fill any GPU several times over.
        Launch::of(elements.div_ceil(per_thread * 256).min(4096), 256)
    }

    /// For kernels with a warp a row, of 4 warps.
    pub fn warps(rows: u64) -> Launch {
        Launch::of(rows.div_ceil(4), 128)
    }

    /// The same with shared memory.
    pub fn shared(self, bytes: usize) -> Launch {
        Launch { shared_bytes: bytes as u32, ..self }
    }
}

/// A row-major operand of a matrix product.
#[derive(Debug, Clone, Copy)]
pub struct Operand {
    /// Its first element.
    pub at: Address,
    /// Elements between rows, as they lie in memory.
    pub stride: usize,
    /// Whether it enters transposed.
    pub transposed: bool,
}

impl Operand {
    /// As it lies.
    pub fn new(at: Address, stride: usize) -> Operand {
        Operand { at, stride, transposed: false }
    }

    /// Transposed.
    pub fn t(at: Address, stride: usize) -> Operand {
        Operand { at, stride, transposed: true }
    }
}

/// `out [m, n] (+)= a [m, k] b [k, n]`, summed in `f32`.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    /// Rows, columns, and the size summed over.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Summed over.
    pub k: usize,
    /// Left.
    pub a: Operand,
    /// Right.
    pub b: Operand,
    /// Of both operands.
    pub element: Element,
    /// Where the result goes.
    pub out: Address,
    /// Elements between its rows.
    pub out_stride: usize,
    /// Of the result.
    pub out_element: Element,
    /// Whether the result is added to what is there.
    pub add: bool,
}

/// A device. Work is done in the order it is asked for; only `copy_out` and `synchronize` wait.
pub trait Device {
    /// What it is called.
    fn name(&self) -> String;

    /// Bytes free, and in all.
    ///
    /// # Errors
    /// Where the device does not answer.
    fn memory_bytes(&self) -> Result<(u64, u64)>;

    /// Memory of its own until the device is dropped, aligned to 256 bytes, content undefined.
    ///
    /// # Errors
    /// Where there is not enough.
    fn allocate(&self, bytes: usize) -> Result<Address>;

    /// Fills memory with a byte.
    ///
    /// # Errors
    /// Where the device fails.
    fn fill(&self, to: Address, byte: u8, bytes: usize) -> Result<()>;

    /// Copies from the host, which may change `from` afterwards.
    ///
    /// # Errors
    /// Where the device fails.
    fn copy_in(&self, to: Address, from: &[u8]) -> Result<()>;

    /// Copies to the host, after all work asked for.
    ///
    /// # Errors
    /// Where the device, or work asked for, failed.
    fn copy_out(&self, to: &mut [u8], from: Address) -> Result<()>;

    /// Launches a kernel.
    ///
    /// # Errors
    /// Where there is no such kernel, or the launch is refused.
    fn launch(&self, kernel: &str, launch: Launch, arguments: &[Arg]) -> Result<()>;

    /// A matrix product.
    ///
    /// # Errors
    /// Where it is refused.
    fn multiply(&self, product: &Product) -> Result<()>;

    /// Waits for all work asked for.
    ///
    /// # Errors
    /// Where it failed.
    fn synchronize(&self) -> Result<()>;
}

/// An error of a device.
pub fn refused(device: &str, problem: impl Into<String>) -> Error {
    Error::Device { device: device.to_owned(), problem: problem.into() }
}

/// The bytes of plain numbers.
pub fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: `Plain` types have no padding, so each byte is initialised; the slice covers exactly them.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bytes of plain numbers, to be overwritten.
pub fn bytes_of_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `bytes_of`, and any bytes are a value of a `Plain` type.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// Numbers without padding of which any bit pattern is a value.
pub trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for u64 {}
impl Plain for f32 {}
impl Plain for f64 {}
