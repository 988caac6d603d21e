//! The kernels on the CPU: compiled by the host's C++ compiler over `cuda/host/emulator.h`, opened as a library.
//!
//! Each CUDA thread is a fiber; barriers, shuffles and tensor-core products are carried out as the hardware defines
//! them. A launch checks the number and width of its arguments, which a GPU does not. Memory is the host's.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::process::Command;

use super::device::{Address, Arg, Device, Element, Launch, Operand, Product, refused};
use crate::error::{Error, Result};

/// The sources, so that the program proves its kernels wherever it runs.
const SOURCES: &[(&str, &str)] = &[
    ("common.cuh", include_str!("../../../cuda/common.cuh")),
    ("mma.cuh", include_str!("../../../cuda/mma.cuh")),
    ("attention.cuh", include_str!("../../../cuda/attention.cuh")),
    ("host/emulator.h", include_str!("../../../cuda/host/emulator.h")),
    ("host/emulated_mma.h", include_str!("../../../cuda/host/emulated_mma.h")),
    ("host/emulator.cpp", include_str!("../../../cuda/host/emulator.cpp")),
    ("adamw.cu", include_str!("../../../cuda/adamw.cu")),
    ("attention_backward.cu", include_str!("../../../cuda/attention_backward.cu")),
    ("attention_forward.cu", include_str!("../../../cuda/attention_forward.cu")),
    ("attention_reference.cu", include_str!("../../../cuda/attention_reference.cu")),
    ("cross_entropy.cu", include_str!("../../../cuda/cross_entropy.cu")),
    ("dropout.cu", include_str!("../../../cuda/dropout.cu")),
    ("embedding.cu", include_str!("../../../cuda/embedding.cu")),
    ("moe.cu", include_str!("../../../cuda/moe.cu")),
    ("rms_norm.cu", include_str!("../../../cuda/rms_norm.cu")),
    ("rope.cu", include_str!("../../../cuda/rope.cu")),
    ("swiglu.cu", include_str!("../../../cuda/swiglu.cu")),
    ("tokens.cu", include_str!("../../../cuda/tokens.cu")),
];

const NAME: &str = "emulator";

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

type LaunchFunction = unsafe extern "C" fn(
    name: *const c_char,
    grid: *const u32,
    threads: u32,
    shared_bytes: u32,
    arguments: *mut *mut c_void,
    sizes: *const u32,
    parameters: u32,
    order: u64,
) -> c_int;

/// A device that runs the kernels on the CPU.
pub struct Emulator {
    launch: LaunchFunction,
    /// What the order of threads is drawn from; moves on with each launch.
    order: Cell<u64>,
    blocks: RefCell<Vec<(Address, Layout)>>,
}

fn write_sources(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    std::fs::create_dir_all(folder.join("host")).map_err(Error::io(folder))?;
    for (name, text) in SOURCES {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(Error::io(&path))?;
    }
    let compiled = SOURCES.iter().filter(|(name, _)| name.ends_with(".cu") || name.ends_with(".cpp"));
    Ok(compiled.map(|(name, _)| folder.join(name)).collect())
}

/// Compiles a source with the host's compiler.
fn compile(folder: &Path, source: &Path) -> Result<std::path::PathBuf> {
    let object = source.with_extension("o");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned());
    let output = Command::new(&compiler)
        .args(["-std=c++17", "-O2", "-fPIC", "-Wno-unknown-pragmas", "-x", "c++", "-c", "-I"])
        .arg(folder)
        .arg("-o")
        .args([&object, source])
        .output()
        .map_err(|error| refused(NAME, format!("cannot start the C++ compiler {compiler}: {error}")))?;
    match output.status.success() {
        true => Ok(object),
        false => Err(refused(NAME, format!("{compiler}: {}", String::from_utf8_lossy(&output.stderr)))),
    }
}

fn link(library: &Path, objects: &[std::path::PathBuf]) -> Result<()> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned());
    let status = Command::new(compiler).arg("-shared").arg("-o").arg(library).args(objects).status();
    match status.is_ok_and(|status| status.success()) {
        true => Ok(()),
        false => Err(refused(NAME, "the kernels do not link")),
    }
}

impl Emulator {
    /// Compiles the kernels into `folder`, and opens them. `order` draws the order in which threads run.
    ///
    /// # Errors
    /// Where there is no C++ compiler, or the folder cannot be written.
    pub fn build(folder: &Path, order: u64) -> Result<Emulator> {
        use rayon::prelude::*;
        let library = folder.join("libkernels.so");
        if !library.exists() {
            let sources = write_sources(folder)?;
            let objects: Vec<_> = sources.par_iter().map(|source| compile(folder, source)).collect::<Result<_>>()?;
            link(&library, &objects)?;
        }
        let path = CString::new(library.as_os_str().as_encoded_bytes())
            .map_err(|_| refused(NAME, "the folder's name has a NUL"))?;
        const NOW: c_int = 2;
        // SAFETY: `path` ends with NUL; the library is the one just linked, whose constructors only fill a table.
        let handle = unsafe { dlopen(path.as_ptr(), NOW) };
        if handle.is_null() {
            return Err(refused(NAME, format!("{} does not open", library.display())));
        }
        let name: &CStr = c"emulator_launch";
        // SAFETY: the handle is open, and stays so; the name ends with NUL.
        let symbol = unsafe { dlsym(handle, name.as_ptr()) };
        if symbol.is_null() {
            return Err(refused(NAME, "the library lacks emulator_launch"));
        }
        // SAFETY: emulator.cpp defines `emulator_launch` with this signature.
        let launch = unsafe { std::mem::transmute::<*mut c_void, LaunchFunction>(symbol) };
        Ok(Emulator { launch, order: Cell::new(order), blocks: RefCell::default() })
    }

    /// Element `index` of memory at `at`.
    ///
    /// # Safety
    /// The element lies within an allocation of this device.
    unsafe fn read(at: Address, index: usize, element: Element) -> f32 {
        match element {
            // SAFETY: as the caller promises.
            Element::F32 => unsafe { *(at as *const f32).add(index) },
            // SAFETY: as the caller promises.
            Element::Bf16 => half::bf16::from_bits(unsafe { *(at as *const u16).add(index) }).to_f32(),
            // SAFETY: as the caller promises.
            Element::F16 => half::f16::from_bits(unsafe { *(at as *const u16).add(index) }).to_f32(),
        }
    }

    /// # Safety
    /// As [`Emulator::read`].
    unsafe fn write(at: Address, index: usize, element: Element, value: f32) {
        match element {
            // SAFETY: as the caller promises.
            Element::F32 => unsafe { *(at as *mut f32).add(index) = value },
            // SAFETY: as the caller promises.
            Element::Bf16 => unsafe { *(at as *mut u16).add(index) = half::bf16::from_f32(value).to_bits() },
            // SAFETY: as the caller promises.
            Element::F16 => unsafe { *(at as *mut u16).add(index) = half::f16::from_f32(value).to_bits() },
        }
    }

    fn holds(&self, at: Address, bytes: usize) -> Result<()> {
        let end = at + bytes as u64;
        let inside = |&(start, layout): &(Address, Layout)| start <= at && end <= start + layout.size() as u64;
        match bytes == 0 || self.blocks.borrow().iter().any(inside) {
            true => Ok(()),
            false => Err(refused(NAME, format!("{bytes} bytes at {at:#x} are not its memory"))),
        }
    }

    fn holds_matrix(&self, operand: Operand, rows: usize, columns: usize, element: Element) -> Result<()> {
        let (rows, columns) = if operand.transposed { (columns, rows) } else { (rows, columns) };
        if rows == 0 || columns == 0 {
            return Ok(());
        }
        self.holds(operand.at, ((rows - 1) * operand.stride + columns) * element.bytes())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        for (at, layout) in self.blocks.borrow_mut().drain(..) {
            // SAFETY: each was allocated with this layout, and is given back once.
            unsafe { std::alloc::dealloc(at as *mut u8, layout) };
        }
    }
}

impl Device for Emulator {
    fn name(&self) -> String {
        "CPU emulation of the CUDA kernels".to_owned()
    }

    fn memory_bytes(&self) -> Result<(u64, u64)> {
        Ok((8 << 30, 8 << 30))
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        let layout = Layout::from_size_align(bytes.max(256), 256).map_err(|error| refused(NAME, error.to_string()))?;
        // SAFETY: the layout's size is not zero.
        let at = unsafe { std::alloc::alloc(layout) };
        if at.is_null() {
            return Err(refused(NAME, format!("no {bytes} bytes are left")));
        }
        // SAFETY: the whole allocation is written. NaN in every element type: what a kernel forgets to write shows.
        unsafe { at.write_bytes(0xff, layout.size()) };
        self.blocks.borrow_mut().push((at as Address, layout));
        Ok(at as Address)
    }

    fn fill(&self, to: Address, byte: u8, bytes: usize) -> Result<()> {
        self.holds(to, bytes)?;
        // SAFETY: the range was just checked to be ours.
        unsafe { (to as *mut u8).write_bytes(byte, bytes) };
        Ok(())
    }

    fn copy_in(&self, to: Address, from: &[u8]) -> Result<()> {
        self.holds(to, from.len())?;
        // SAFETY: the range was just checked to be ours; `from` is memory of someone else.
        unsafe { (to as *mut u8).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
        Ok(())
    }

    fn copy_out(&self, to: &mut [u8], from: Address) -> Result<()> {
        self.holds(from, to.len())?;
        // SAFETY: as in `copy_in`.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from as *const u8, to.len()) };
        Ok(())
    }

    fn launch(&self, kernel: &str, launch: Launch, arguments: &[Arg]) -> Result<()> {
        let name = CString::new(kernel).map_err(|_| refused(NAME, "a kernel's name has a NUL"))?;
        let mut pointers: Vec<*mut c_void> = arguments.iter().map(Arg::pointer).collect();
        let sizes: Vec<u32> = arguments.iter().map(Arg::bytes).collect();
        let order = self.order.get();
        self.order.set(order.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
        // SAFETY: pointers and sizes are those of live arguments; the callee checks their number and widths, and the
        // kernel's memory accesses are what is being tested.
        let status = unsafe {
            (self.launch)(
                name.as_ptr(),
                launch.grid.as_ptr(),
                launch.threads,
                launch.shared_bytes,
                pointers.as_mut_ptr(),
                sizes.as_ptr(),
                arguments.len() as u32,
                order,
            )
        };
        match status {
            0 => Ok(()),
            1 => Err(refused(NAME, format!("no kernel {kernel}"))),
            2 => Err(refused(NAME, format!("{kernel} does not take {} arguments", arguments.len()))),
            3 => Err(refused(NAME, format!("{kernel}: an argument has another width than its parameter"))),
            _ => Err(refused(NAME, format!("{kernel}: no such launch: {launch:?}"))),
        }
    }

    fn multiply(&self, product: &Product) -> Result<()> {
        let Product { m, n, k, a, b, element, .. } = *product;
        self.holds_matrix(a, m, k, element)?;
        self.holds_matrix(b, k, n, element)?;
        self.holds_matrix(Operand::new(product.out, product.out_stride), m, n, product.out_element)?;
        let at = |operand: Operand, row: usize, column: usize| {
            let (row, column) = if operand.transposed { (column, row) } else { (row, column) };
            row * operand.stride + column
        };
        for row in 0..m {
            for column in 0..n {
                let place = row * product.out_stride + column;
                // SAFETY: both operands and the result were just checked to be our memory.
                unsafe {
                    let mut sum = if product.add { Self::read(product.out, place, product.out_element) } else { 0.0 };
                    for i in 0..k {
                        let (x, y) = (at(a, row, i), at(b, i, column));
                        sum += Self::read(a.at, x, element) * Self::read(b.at, y, element);
                    }
                    Self::write(product.out, place, product.out_element, sum);
                }
            }
        }
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}
