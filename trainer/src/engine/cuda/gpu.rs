//! A CUDA GPU: the driver and cuBLAS, opened when one is asked for.
//!
//! cudarc opens both libraries at run time, so the same program starts on machines without them. One stream carries
//! all work. Kernels are the fatbins that `build.rs` made: machine code for sm_80, sm_89 and sm_90, and PTX for later
//! ones.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_int, c_void};

use cudarc::cublas::sys as blas;
use cudarc::driver::{result as driver, sys as cuda};

use super::device::{Address, Arg, Device, Element, Launch, Operand, Product, refused};
use crate::error::{Error, Result};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// Shared memory a block may have without opting in.
const SHARED_BYTES_PLAIN: u32 = 48 << 10;

/// Of cuBLAS: what NVIDIA recommends for Hopper. Given by us, so that products allocate nothing.
const WORKSPACE_BYTES: usize = 32 << 20;

/// A GPU.
pub struct Gpu {
    name: String,
    ordinal: cuda::CUdevice,
    stream: cuda::CUstream,
    blas: blas::cublasHandle_t,
    modules: Vec<cuda::CUmodule>,
    functions: RefCell<HashMap<String, Function>>,
    allocations: RefCell<Vec<Address>>,
}

/// A kernel, and the dynamic shared memory it has been allowed.
#[derive(Clone, Copy)]
struct Function {
    handle: cuda::CUfunction,
    shared_bytes: u32,
}

fn failed(name: &str, what: &str, error: impl std::fmt::Debug) -> Error {
    refused(name, format!("{what}: {error:?}"))
}

/// Which library is missing, in one line; `None` where none is.
fn missing() -> Option<String> {
    // SAFETY: opening a library runs its constructors; these are NVIDIA's own.
    unsafe {
        if !cuda::is_culib_present() {
            return Some("no NVIDIA driver on this machine (libcuda.so.1 not found)".to_owned());
        }
        if !blas::is_culib_present() {
            let hint = "set LD_LIBRARY_PATH to its folder; PyTorch brings one in site-packages/nvidia/*/lib";
            return Some(format!("cuBLAS not found (libcublas.so); {hint}"));
        }
    }
    None
}

impl Gpu {
    /// The GPU of this number, from `cuda` or `cuda:N`.
    ///
    /// # Errors
    /// As [`Gpu::locate`], and where it does not start.
    pub fn open(device: &str) -> Result<Gpu> {
        let (name, ordinal) = Self::locate(device)?;
        Self::start(name, ordinal)
    }

    /// The name and handle of the GPU of this number; starts nothing on it.
    ///
    /// # Errors
    /// Where driver, cuBLAS or the GPU is missing, or it is older than sm_80.
    pub fn locate(device: &str) -> Result<(String, cuda::CUdevice)> {
        let number = device.strip_prefix("cuda").map(|rest| rest.strip_prefix(':').unwrap_or("0"));
        let Some(number) = number.and_then(|number| number.parse::<c_int>().ok()) else {
            return Err(refused(device, "unknown; use cpu or cuda:N"));
        };
        if let Some(problem) = missing() {
            return Err(refused(device, problem));
        }
        let error = |what: &'static str| move |error: driver::DriverError| failed(device, what, error);
        driver::init().map_err(error("the driver does not start"))?;
        let count = driver::device::get_count().map_err(error("the driver counts no devices"))?;
        if number >= count {
            return Err(refused(device, format!("this machine has {count} CUDA devices, numbered from 0")));
        }
        let ordinal = driver::device::get(number).map_err(error("no such device"))?;
        let name = driver::device::get_name(ordinal).map_err(error("no name"))?;
        Self::refuse_old(device, &name, ordinal)?;
        Ok((name, ordinal))
    }

    fn refuse_old(device: &str, name: &str, ordinal: cuda::CUdevice) -> Result<()> {
        use cuda::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR;
        // SAFETY: the device was just got from the driver.
        let major = unsafe { driver::device::get_attribute(ordinal, MAJOR) };
        let major = major.map_err(|error| failed(device, "no compute capability", error))?;
        if major < 8 {
            let problem = format!("{name} has compute capability {major}.x; bf16 tensor cores start at 8.0 (A100)");
            return Err(refused(device, problem));
        }
        Ok(())
    }

    fn start(name: String, ordinal: cuda::CUdevice) -> Result<Gpu> {
        let error = |what: &'static str| {
            let name = name.clone();
            move |error: driver::DriverError| failed(&name, what, error)
        };
        // SAFETY: the context is the device's primary one, retained for the life of the process and current on this
        // thread, on which all later calls are made; images are whole fatbins.
        unsafe {
            let context = driver::primary_ctx::retain(ordinal).map_err(error("no context"))?;
            driver::ctx::set_current(context).map_err(error("no context"))?;
            let stream = driver::stream::create(driver::stream::StreamKind::NonBlocking).map_err(error("no stream"))?;
            let load = |image: &&[u8]| {
                driver::module::load_data(image.as_ptr().cast::<c_void>()).map_err(error("kernels do not load"))
            };
            let modules = KERNELS.iter().map(load).collect::<Result<_>>()?;
            let blas = cudarc::cublas::result::create_handle()
                .and_then(|handle| {
                    cudarc::cublas::result::set_stream(handle, stream.cast())?;
                    Ok(handle)
                })
                .map_err(|error| failed(&name, "cuBLAS does not start", error))?;
            let gpu = Gpu {
                name: name.clone(),
                ordinal,
                stream,
                blas,
                modules,
                functions: RefCell::default(),
                allocations: RefCell::default(),
            };
            let workspace = gpu.allocate(WORKSPACE_BYTES)? as *mut c_void;
            blas::cublasSetWorkspace_v2(gpu.blas, workspace, WORKSPACE_BYTES)
                .result()
                .map_err(|error| failed(&name, "cuBLAS takes no workspace", error))?;
            Ok(gpu)
        }
    }

    fn error(&self, what: &str, error: impl std::fmt::Debug) -> Error {
        failed(&self.name, what, error)
    }

    fn find(&self, kernel: &str) -> Result<cuda::CUfunction> {
        let name = CString::new(kernel).map_err(|_| refused(&self.name, "a kernel's name has a NUL"))?;
        // SAFETY: the modules were loaded at start and stay.
        let find = |module: &cuda::CUmodule| unsafe { driver::module::get_function(*module, name.clone()) };
        let found = self.modules.iter().find_map(|module| find(module).ok());
        found.ok_or_else(|| refused(&self.name, format!("no kernel {kernel}")))
    }

    /// The kernel, allowed the shared memory it is launched with.
    fn function(&self, kernel: &str, shared_bytes: u32) -> Result<cuda::CUfunction> {
        let known = self.functions.borrow().get(kernel).copied();
        let mut function = match known {
            Some(function) => function,
            None => Function { handle: self.find(kernel)?, shared_bytes: SHARED_BYTES_PLAIN },
        };
        if shared_bytes > function.shared_bytes {
            let attribute = cuda::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the handle is of a loaded module.
            let set =
                unsafe { driver::function::set_function_attribute(function.handle, attribute, shared_bytes as i32) };
            set.map_err(|error| self.error(&format!("{kernel}: {shared_bytes} bytes of shared memory"), error))?;
            function.shared_bytes = shared_bytes;
        }
        if known.is_none_or(|known| known.shared_bytes != function.shared_bytes) {
            self.functions.borrow_mut().insert(kernel.to_owned(), function);
        }
        Ok(function.handle)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: all work is waited for, then each allocation is given back once. The context goes with the process.
        unsafe {
            let _ = driver::stream::synchronize(self.stream);
            let _ = cudarc::cublas::result::destroy_handle(self.blas);
            for at in self.allocations.borrow_mut().drain(..) {
                let _ = driver::free_sync(at);
            }
        }
    }
}

fn data_type(element: Element) -> blas::cudaDataType {
    match element {
        Element::F32 => blas::cudaDataType_t::CUDA_R_32F,
        Element::Bf16 => blas::cudaDataType_t::CUDA_R_16BF,
        Element::F16 => blas::cudaDataType_t::CUDA_R_16F,
    }
}

fn operation(operand: Operand) -> blas::cublasOperation_t {
    match operand.transposed {
        true => blas::cublasOperation_t::CUBLAS_OP_T,
        false => blas::cublasOperation_t::CUBLAS_OP_N,
    }
}

impl Device for Gpu {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn memory_bytes(&self) -> Result<(u64, u64)> {
        let free = driver::mem_get_info().map_err(|error| self.error("no memory figures", error))?.0;
        // SAFETY: the device was got from the driver.
        let all = unsafe { driver::device::total_mem(self.ordinal) };
        Ok((free as u64, all.map_err(|error| self.error("no memory figures", error))? as u64))
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        // SAFETY: memory is handed out as an address; whoever reads it writes it first.
        let at = unsafe { driver::malloc_sync(bytes.max(1)) };
        let at = at.map_err(|error| self.error(&format!("cannot allocate {bytes} bytes"), error))?;
        self.allocations.borrow_mut().push(at);
        Ok(at)
    }

    fn fill(&self, to: Address, byte: u8, bytes: usize) -> Result<()> {
        // SAFETY: `to` is memory of this device, of at least `bytes`: addresses come from `allocate` alone.
        let filled = unsafe { driver::memset_d8_async(to, byte, bytes, self.stream) };
        filled.map_err(|error| self.error("cannot fill memory", error))
    }

    fn copy_in(&self, to: Address, from: &[u8]) -> Result<()> {
        // SAFETY: as in `fill`; from pageable memory the driver has read `from` when the call returns.
        let copied = unsafe { driver::memcpy_htod_async(to, from, self.stream) };
        copied.map_err(|error| self.error("cannot copy to the device", error))
    }

    fn copy_out(&self, to: &mut [u8], from: Address) -> Result<()> {
        // SAFETY: as in `fill`; the stream is waited for before `to` is used.
        let copied = unsafe { driver::memcpy_dtoh_async(to, from, self.stream) };
        copied.map_err(|error| self.error("cannot copy from the device", error))?;
        self.synchronize()
    }

    fn launch(&self, kernel: &str, launch: Launch, arguments: &[Arg]) -> Result<()> {
        let function = self.function(kernel, launch.shared_bytes)?;
        let mut pointers: Vec<*mut c_void> = arguments.iter().map(Arg::pointer).collect();
        let [x, y, z] = launch.grid;
        let (grid, block) = ((x, y, z), (launch.threads, 1, 1));
        // SAFETY: the emulator's tests launch every kernel with these arguments and check their number and widths;
        // the driver copies the values before it returns.
        let launched =
            unsafe { driver::launch_kernel(function, grid, block, launch.shared_bytes, self.stream, &mut pointers) };
        launched.map_err(|error| self.error(kernel, error))
    }

    fn multiply(&self, product: &Product) -> Result<()> {
        let Product { m, n, k, a, b, element, out, out_stride, out_element, add } = *product;
        let (alpha, beta) = (1f32, if add { 1f32 } else { 0f32 });
        // cuBLAS counts columns first: out^T = b^T a^T over the same memory, so the operands change places.
        // SAFETY: the addresses are of this device; the emulator's tests check every product's extents.
        let multiplied = unsafe {
            cudarc::cublas::result::gemm_ex(
                self.blas,
                operation(b),
                operation(a),
                n as c_int,
                m as c_int,
                k as c_int,
                (&raw const alpha).cast(),
                b.at as *const c_void,
                data_type(element),
                b.stride as c_int,
                a.at as *const c_void,
                data_type(element),
                a.stride as c_int,
                (&raw const beta).cast(),
                out as *mut c_void,
                data_type(out_element),
                out_stride as c_int,
                blas::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                blas::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        multiplied.map_err(|error| self.error("matrix product", error))
    }

    fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream was created at start.
        let waited = unsafe { driver::stream::synchronize(self.stream) };
        waited.map_err(|error| self.error("work on the device failed", error))
    }
}
