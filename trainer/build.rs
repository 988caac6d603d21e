//! Compiles the CUDA kernels into fatbins, with feature `cuda` alone: sm_80, sm_89, sm_90, and PTX for later GPUs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

fn nvcc() -> PathBuf {
    let of_variable = |name| std::env::var_os(name).map(PathBuf::from);
    let home = of_variable("CUDA_HOME").map(|home| home.join("bin/nvcc"));
    let local = Path::new("../target/cuda/nvidia/cu13/bin/nvcc");
    let local = local.exists().then(|| local.to_path_buf());
    of_variable("NVCC").or(home).or(local).unwrap_or_else(|| "nvcc".into())
}

fn start(nvcc: &Path, source: &Path, fatbin: &Path) -> Child {
    Command::new(nvcc)
        .args(["-std=c++17", "-O3", "-lineinfo", "--fatbin"])
        .args(["-gencode=arch=compute_80,code=sm_80", "-gencode=arch=compute_89,code=sm_89"])
        .arg("-gencode=arch=compute_90,code=[sm_90,compute_90]")
        .arg("-o")
        .args([fatbin, source])
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}\nhint: CUDA_HOME=$(scripts/cuda-toolkit)", nvcc.display()))
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo:rerun-if-changed=cuda");
    ["NVCC", "CUDA_HOME"].iter().for_each(|name| println!("cargo:rerun-if-env-changed={name}"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let entries = std::fs::read_dir("cuda").expect("trainer/cuda").flatten().map(|entry| entry.path());
    let mut sources: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "cu")).collect();
    sources.sort();
    let fatbin = |source: &Path| out.join(source.with_extension("fatbin").file_name().unwrap_or_default());
    let nvcc = nvcc();
    for pair in sources.chunks(std::thread::available_parallelism().map_or(2, Into::into)) {
        let children: Vec<Child> = pair.iter().map(|source| start(&nvcc, source, &fatbin(source))).collect();
        for (mut child, source) in children.into_iter().zip(pair) {
            let status = child.wait().expect("nvcc was started");
            assert!(status.success(), "nvcc failed on {}", source.display());
        }
    }
    let mut table = String::from("/// The kernels' fatbins.\nconst KERNELS: &[&[u8]] = &[\n");
    for source in &sources {
        let _ = writeln!(table, "    include_bytes!({:?}),", fatbin(source));
    }
    std::fs::write(out.join("kernels.rs"), table + "];\n").expect("OUT_DIR is writable");
}
