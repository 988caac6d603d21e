//! `trainer serve`.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::Context;

use super::console::event;
use super::{Outcome, find_checkpoint, use_threads};
use crate::checkpoint::load_model;
use crate::generate::TextCodec;
use crate::serve::{Engine, Limits, serve};

/// Arguments of `trainer serve`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// A checkpoint, the output folder of a run (its latest checkpoint), or any folder of a Llama
    #[arg(long)]
    checkpoint: PathBuf,
    /// The address to listen at; anyone who reaches it may ask
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// The model's name for clients [default: the name of the checkpoint's folder]
    #[arg(long)]
    name: Option<String>,
    /// Connections at a time
    #[arg(long, default_value_t = Limits::default().connections)]
    max_connections: usize,
    /// Bytes of a request, at most
    #[arg(long, default_value_t = Limits::default().body_bytes)]
    max_body_bytes: usize,
    /// tokenizer.json, or its folder [default: the checkpoint's]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// cpu
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads that compute [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Print an event of JSON when the server listens
    #[arg(long)]
    json: bool,
}

/// Runs the command; ends when interrupted.
///
/// # Errors
/// Where the checkpoint or tokenizer does not load, or the address cannot be had.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let device = super::host_device(&args.device)?;
    use_threads(args.threads)?;
    let folder = find_checkpoint(&args.checkpoint)?;
    let codec = TextCodec::open(args.tokenizer.as_deref().unwrap_or(&folder))?;
    let of_folder = || folder.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
    let name = args.name.clone().unwrap_or_else(of_folder);
    let engine = Engine::new(load_model(&folder, &device)?, codec, name);
    let listener = TcpListener::bind((args.host, args.port));
    let listener = listener.with_context(|| format!("cannot listen at {}:{}", args.host, args.port))?;
    let address = listener.local_addr()?;
    eprintln!("serving {} at http://{address}/v1", engine.name());
    if args.json {
        event(&serde_json::json!({"event": "listening", "address": address, "model": engine.name()}))?;
    }
    let limits = Limits { connections: args.max_connections.max(1), body_bytes: args.max_body_bytes };
    serve(&listener, engine, limits)?;
    Ok(Outcome::Done)
}
