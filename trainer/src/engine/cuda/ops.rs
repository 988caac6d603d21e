//! The list's operations as kernel launches and matrix products over one device.

use super::device::{Address, Arg, Device, Element, Launch, Operand, Product, bytes_of, bytes_of_mut, refused};
use super::flat::Flat;
use super::rows::SortedRows;
use crate::data::{Batch, IGNORED};
use crate::engine::activations::Need;
use crate::engine::ops::{Attended, Heads, Ops, Turn, Write};
use crate::engine::plan::Plan;
use crate::error::Result;
use crate::ops::LossParts;

/// Logits held at once, in elements.
const CHUNK_LOGITS: usize = 1 << 26;

/// Blocks that keep a share of a normalisation weight's gradient.
const NORM_PARTS: usize = 264;

/// Threads of a row-wise block of cross-entropy.
const ROW_THREADS: u32 = 256;

/// A matrix of activations in device memory: as many rows as the micro-batch has.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// Its first element.
    pub at: Address,
    /// Elements a row.
    pub width: usize,
}

/// Which attention kernels run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionKernels {
    /// Tensor cores where there is a kernel for the head size and precision.
    Fastest,
    /// By the definition.
    Reference,
}

/// Memory of a micro-batch beside its activations.
#[derive(Debug, Clone, Copy)]
struct Scratch {
    /// Ids, then targets.
    tokens: Address,
    tokens_u16: Address,
    firsts: Address,
    order: Address,
    pieces: Address,
    targets: Address,
    split_ids: Address,
    split_starts: Address,
    split_sums: Address,
    norm_parts: Address,
    delta: Address,
    logits: Address,
    /// Of each row, then the squares that z-loss is made of.
    losses: Address,
    /// Their sums.
    total: Address,
}

/// Counts what a list of buffers takes, or gives out their places.
struct Places {
    next: Address,
}

impl Places {
    fn take(&mut self, bytes: usize) -> Address {
        let at = self.next;
        self.next += bytes.next_multiple_of(256) as u64;
        at
    }
}

impl Scratch {
    fn place(places: &mut Places, plan: &Plan, rows: usize, element: Element) -> Scratch {
        let split = SortedRows::split_pieces_max(rows);
        let stride = plan.vocab_size.next_multiple_of(8);
        Scratch {
            tokens: places.take(rows * 8),
            tokens_u16: places.take(rows * 4),
            firsts: places.take(rows * 4),
            order: places.take(rows * 4),
            pieces: places.take(rows * 4 + 4),
            targets: places.take(rows * 4),
            split_ids: places.take(split * 4),
            split_starts: places.take(split * 4 + 4),
            split_sums: places.take(split * plan.hidden * 4),
            norm_parts: places.take(NORM_PARTS * plan.hidden * 4),
            delta: places.take(rows * plan.heads * 4),
            logits: places.take(chunk_rows(plan, rows) * stride * element.bytes()),
            losses: places.take(rows * 8),
            total: places.take(16),
        }
    }
}

/// Rows whose logits are held at once.
fn chunk_rows(plan: &Plan, rows: usize) -> usize {
    (CHUNK_LOGITS / plan.vocab_size).clamp(16, rows.max(16)).min(rows)
}

/// Places of activations and scratch from `start` on, and where they end.
fn lay_out(
    plan: &Plan,
    element: Element,
    rows: usize,
    recompute: bool,
    start: Address,
) -> (crate::engine::activations::Activations<Rows>, Scratch, Address) {
    let mut places = Places { next: start };
    let scratch = Scratch::place(&mut places, plan, rows, element);
    let make = |need| {
        let (width, bytes) = match need {
            Need::Rows(width) => (width, element.bytes()),
            Need::Normalizers => (plan.heads, 4),
        };
        Ok::<_, std::convert::Infallible>(Rows { at: places.take(rows * width * bytes), width })
    };
    let Ok(activations) = crate::engine::activations::Activations::new(plan, recompute, make);
    (activations, scratch, places.next)
}

/// Bytes that micro-batches of `rows` rows take beside weights and optimizer.
pub fn micro_batch_bytes(plan: &Plan, element: Element, rows: usize, recompute: bool) -> u64 {
    lay_out(plan, element, rows, recompute, 0).2
}

/// The operations over a device, with weights, and with memory for micro-batches of up to `rows_max` rows.
pub struct CudaOps<D> {
    pub device: D,
    pub plan: Plan,
    pub element: Element,
    pub flat: Flat,
    /// What gradients are multiplied by until the update; 1 but for `f16`.
    pub loss_scale: f64,
    pub attention: AttentionKernels,
    /// Weight of the z-loss, where gradients are wanted.
    pub z_loss: f64,
    rows_max: usize,
    scratch: Scratch,
    cosines: Address,
    sines: Address,
    /// Of the micro-batch at hand.
    sequences: usize,
    positions: usize,
    /// Targets that count.
    targets: u64,
    masked: bool,
    pieces: usize,
    split: usize,
}

impl<D: Device> CudaOps<D> {
    /// Allocates activations, scratch and tables; returns the activations beside the operations.
    ///
    /// # Errors
    /// Where memory does not suffice.
    pub fn new(
        device: D,
        plan: Plan,
        element: Element,
        flat: Flat,
        rows_max: usize,
        recompute: bool,
    ) -> Result<(CudaOps<D>, crate::engine::activations::Activations<Rows>)> {
        let start = device.allocate(micro_batch_bytes(&plan, element, rows_max, recompute) as usize)?;
        let (activations, scratch, _) = lay_out(&plan, element, rows_max, recompute, start);
        let (cosines, sines) = (plan.rope.cosines(), plan.rope.sines());
        let (cosines_at, sines_at) = (device.allocate(cosines.len() * 4)?, device.allocate(sines.len() * 4)?);
        device.copy_in(cosines_at, bytes_of(cosines))?;
        device.copy_in(sines_at, bytes_of(sines))?;
        let ops = CudaOps {
            device,
            plan,
            element,
            flat,
            loss_scale: 1.0,
            attention: AttentionKernels::Fastest,
            z_loss: 0.0,
            rows_max,
            scratch,
            cosines: cosines_at,
            sines: sines_at,
            sequences: 0,
            positions: 0,
            targets: 0,
            masked: false,
            pieces: 0,
            split: 0,
        };
        Ok((ops, activations))
    }

    /// Brings a micro-batch to the device.
    ///
    /// # Errors
    /// Where it has more rows than there is memory for.
    pub fn load(&mut self, batch: &Batch) -> Result<()> {
        let rows = batch.inputs.len();
        if rows > self.rows_max {
            let problem = format!("a micro-batch of {rows} tokens, but memory was laid out for {}", self.rows_max);
            return Err(refused(&self.device.name(), problem));
        }
        (self.sequences, self.positions) = (batch.sequences, batch.positions);
        (self.targets, self.masked) = (batch.tokens(), batch.starts.is_some());
        if let Some(starts) = &batch.starts {
            self.device.copy_in(self.scratch.firsts, bytes_of(starts))?;
        }
        self.load_tokens(batch)?;
        let sorted = SortedRows::new(&batch.inputs, self.plan.vocab_size);
        (self.pieces, self.split) = (sorted.targets.len(), sorted.split_ids.len());
        let lists = [
            (self.scratch.order, &sorted.order),
            (self.scratch.pieces, &sorted.pieces),
            (self.scratch.targets, &sorted.targets),
            (self.scratch.split_ids, &sorted.split_ids),
            (self.scratch.split_starts, &sorted.split_starts),
        ];
        lists.into_iter().try_for_each(|(to, list)| self.device.copy_in(to, bytes_of(list)))
    }

    /// Ids and targets, as uint16 where they fit.
    fn load_tokens(&self, batch: &Batch) -> Result<()> {
        let both = || batch.inputs.iter().chain(batch.targets.iter());
        if self.plan.vocab_size > 1 << 16 || both().any(|id| *id == IGNORED) {
            let ids: Vec<u32> = both().copied().collect();
            return self.device.copy_in(self.scratch.tokens, bytes_of(&ids));
        }
        let ids: Vec<u16> = both().map(|&id| id as u16).collect();
        self.device.copy_in(self.scratch.tokens_u16, bytes_of(&ids))?;
        let arguments = [Arg::At(self.scratch.tokens), Arg::At(self.scratch.tokens_u16), Arg::U32(ids.len() as u32)];
        self.device.launch("tokens_widen", Launch::of((ids.len() as u64).div_ceil(256), 256), &arguments)
    }

    fn rows(&self) -> usize {
        self.sequences * self.positions
    }

    /// Where each position's document starts; null where documents are not masked.
    fn firsts(&self) -> Address {
        if self.masked { self.scratch.firsts } else { 0 }
    }

    fn targets(&self) -> Address {
        self.scratch.tokens + self.rows() as u64 * 4
    }

    /// Elements of 16 bytes that a thread takes.
    fn pack(&self) -> u64 {
        16 / self.element.bytes() as u64
    }

    fn launch(&self, kernel: &str, launch: Launch, arguments: &[Arg]) -> Result<()> {
        self.device.launch(&format!("{kernel}_{}", self.element.suffix()), launch, arguments)
    }

    fn u32(&self, value: usize) -> Arg {
        Arg::U32(value as u32)
    }

    /// Whether there are tensor-core kernels for this model.
    fn on_tensor_cores(&self) -> bool {
        self.attention == AttentionKernels::Fastest
            && self.element != Element::F32
            && matches!(self.plan.head_dim, 32 | 64 | 128)
    }

    /// No dropout: keys, threshold, factor.
    fn no_dropout() -> [Arg; 3] {
        [Arg::At(0), Arg::U32(0), Arg::F32(1.0)]
    }

    fn attention_sizes(&self) -> [Arg; 4] {
        let scale = (self.plan.head_dim as f32).powf(-0.5);
        [self.u32(self.positions), self.u32(self.plan.heads), self.u32(self.plan.kv_heads), Arg::F32(scale)]
    }

    /// A grid of blocks of `rows` positions, by heads, by sequences.
    fn attention_grid(&self, rows: usize, heads: usize) -> Launch {
        let grid = [self.positions.div_ceil(rows) as u32, heads as u32, self.sequences as u32];
        Launch { grid, threads: 128, shared_bytes: 0 }
    }

    /// Bytes of shared memory of tiles with `rows` rows in all.
    fn tile_bytes(&self, rows: usize) -> usize {
        rows * (self.plan.head_dim + 8) * 2
    }

    fn attention_delta(&self, gave: &Attended<Rows>, dout: &Rows) -> Result<()> {
        let addresses = [self.scratch.delta, gave.out.at, dout.at].map(Arg::At);
        let sizes = [self.positions, self.plan.heads, self.plan.head_dim].map(|size| self.u32(size));
        let arguments: Vec<Arg> = addresses.into_iter().chain(sizes).collect();
        self.launch("attention_delta", self.attention_grid(4, self.plan.heads), &arguments)
    }

    /// One of the two backward kernels.
    fn attention_gradient(
        &self,
        kernel: &str,
        outputs: &[Address],
        of: &Heads<Rows>,
        gave: &Attended<Rows>,
        dout: &Rows,
    ) -> Result<()> {
        let inputs = [of.q.at, of.k.at, of.v.at, dout.at, gave.normalizers.at, self.scratch.delta, self.firsts()];
        let mut arguments: Vec<Arg> = outputs.iter().copied().chain(inputs).map(Arg::At).collect();
        arguments.extend(self.attention_sizes());
        let keys = kernel == "keys";
        let heads = if keys { self.plan.kv_heads } else { self.plan.heads };
        if self.on_tensor_cores() {
            arguments.extend(Self::no_dropout());
            // N of attention_backward.cu.
            let queries = if self.plan.head_dim == 128 { 32 } else { 64 };
            let rows = if keys { 2 * (64 + queries) } else { 4 * 64 };
            let launch = self.attention_grid(64, heads).shared(self.tile_bytes(rows));
            return self.launch(&format!("attention_backward_{kernel}_{}", self.plan.head_dim), launch, &arguments);
        }
        arguments.push(self.u32(self.plan.head_dim));
        arguments.extend(Self::no_dropout());
        self.launch(&format!("attention_backward_{kernel}_reference"), self.attention_grid(4, heads), &arguments)
    }

    fn multiply(&self, out: Rows, write: Write, [m, n, k]: [usize; 3], a: Operand, b: Operand) -> Result<()> {
        self.device.multiply(&Product {
            m,
            n,
            k,
            a,
            b,
            element: self.element,
            out: out.at,
            out_stride: out.width,
            out_element: self.element,
            add: write == Write::Add,
        })
    }

    /// Adds `dy^T x` to a weight's gradient, in `f32`.
    fn add_to_gradient(&self, weight: usize, [m, n, k]: [usize; 3], dy: Operand, x: Operand) -> Result<()> {
        self.device.multiply(&Product {
            m,
            n,
            k,
            a: dy,
            b: x,
            element: self.element,
            out: self.flat.gradient(weight),
            out_stride: n,
            out_element: Element::F32,
            add: true,
        })
    }

    fn norm_forward(&self, sum: Address, y: &Rows, x: &Rows, delta: Address, weight: usize) -> Result<()> {
        let addresses = [sum, y.at, x.at, delta, self.flat.weight(weight)].map(Arg::At);
        let sizes = [self.u32(self.rows()), self.u32(x.width), Arg::F32(self.plan.eps), self.u32(self.positions)];
        let arguments: Vec<Arg> = addresses.into_iter().chain(sizes).chain(Self::no_dropout()).collect();
        self.launch("rms_norm_forward", Launch::warps(self.rows() as u64), &arguments)
    }

    /// The means of losses and squares over the targets that count; the host waits for them.
    fn loss_sums(&self) -> Result<[f64; 2]> {
        self.device.fill(self.scratch.total, 0, 16)?;
        for part in 0..2 {
            let arguments = [
                Arg::At(self.scratch.total + part * 8),
                Arg::At(self.scratch.losses + part * self.rows() as u64 * 4),
                self.u32(self.rows()),
                Arg::F64(1.0 / self.targets.max(1) as f64),
            ];
            self.device.launch("losses_sum", Launch::of(1, 256).shared(256 * 8), &arguments)?;
        }
        let mut sums = [0f64; 2];
        self.device.copy_out(bytes_of_mut(&mut sums), self.scratch.total)?;
        Ok(sums)
    }

    /// Loss and, in place, gradient of the rows from `first` on.
    fn loss_chunk(&self, first: usize, count: usize, normed: &Rows, dnormed: Option<&Rows>) -> Result<()> {
        let (hidden, vocabulary) = (self.plan.hidden, self.plan.vocab_size);
        let logits = Rows { at: self.scratch.logits, width: vocabulary.next_multiple_of(8) };
        let weight = self.flat.weight(self.plan.output);
        let of_chunk = |rows: &Rows| rows.at + (first * hidden * self.element.bytes()) as u64;
        let x = Operand::new(of_chunk(normed), hidden);
        self.multiply(logits, Write::Replace, [count, vocabulary, hidden], x, Operand::t(weight, hidden))?;
        let share = self.loss_scale / self.rows() as f64;
        let arguments = [
            Arg::At(logits.at),
            Arg::At(self.scratch.losses + first as u64 * 4),
            Arg::At(self.scratch.losses + (self.rows() + first) as u64 * 4),
            Arg::At(self.targets() + first as u64 * 4),
            self.u32(vocabulary),
            self.u32(logits.width),
            Arg::F32(share as f32),
            Arg::F32(self.z_loss as f32),
            Arg::U32(u32::from(dnormed.is_some())),
        ];
        let launch = Launch::of(count as u64, ROW_THREADS).shared(ROW_THREADS as usize * 8);
        self.launch("cross_entropy", launch, &arguments)?;
        let Some(dnormed) = dnormed else { return Ok(()) };
        let dx = Rows { at: of_chunk(dnormed), width: hidden };
        let dlogits = Operand::new(logits.at, logits.width);
        self.multiply(dx, Write::Replace, [count, hidden, vocabulary], dlogits, Operand::new(weight, hidden))?;
        let transposed = Operand::t(logits.at, logits.width);
        self.add_to_gradient(self.plan.output, [vocabulary, hidden, count], transposed, x)
    }
}

impl<D: Device> Ops for CudaOps<D> {
    type Rows = Rows;

    fn embed(&mut self, x: &mut Rows) -> Result<()> {
        let addresses = [x.at, self.flat.weight(self.plan.embedding), self.scratch.tokens].map(Arg::At);
        let arguments = [addresses[0], addresses[1], addresses[2], self.u32(self.rows()), self.u32(x.width)];
        self.launch("embedding_forward", Launch::strided((self.rows() * x.width) as u64, self.pack()), &arguments)
    }

    fn embed_back(&mut self, dx: &Rows) -> Result<()> {
        let (scratch, table) = (&self.scratch, self.flat.gradient(self.plan.embedding));
        let addresses = [table, scratch.split_sums, dx.at, scratch.order, scratch.pieces, scratch.targets];
        let mut arguments: Vec<Arg> = addresses.into_iter().map(Arg::At).collect();
        arguments.extend([self.u32(self.plan.vocab_size), self.u32(dx.width), Arg::F32(1.0)]);
        self.launch("embedding_backward", Launch::of(self.pieces as u64, 128), &arguments)?;
        if self.split == 0 {
            return Ok(());
        }
        let addresses = [table, scratch.split_sums, scratch.split_ids, scratch.split_starts].map(Arg::At);
        let arguments: Vec<Arg> = addresses.into_iter().chain([self.u32(dx.width)]).collect();
        self.device.launch("embedding_backward_sum", Launch::of(self.split as u64, 256), &arguments)
    }

    fn norm(&mut self, y: &mut Rows, x: &Rows, weight: usize) -> Result<()> {
        self.norm_forward(0, y, x, 0, weight)
    }

    fn add_norm(&mut self, sum: &mut Rows, y: &mut Rows, x: &Rows, delta: &Rows, weight: usize) -> Result<()> {
        self.norm_forward(sum.at, y, x, delta.at, weight)
    }

    fn norm_back(&mut self, dx: &mut Rows, write: Write, x: &Rows, weight: usize, dy: &Rows) -> Result<()> {
        let (rows, width) = (self.rows(), x.width);
        if write == Write::Replace {
            self.device.fill(dx.at, 0, rows * width * self.element.bytes())?;
        }
        // One copy of the weight's gradient a warp, within the 48 KiB that need no opting in.
        let warps = [8, 4, 2].into_iter().find(|warps| warps * width * 4 <= 48 << 10).unwrap_or(1);
        let parts = rows.div_ceil(warps).min(NORM_PARTS);
        let addresses = [dx.at, self.scratch.norm_parts, x.at, self.flat.weight(weight), dy.at].map(Arg::At);
        let sizes = [self.u32(rows), self.u32(width), Arg::F32(self.plan.eps)];
        let arguments: Vec<Arg> = addresses.into_iter().chain(sizes).collect();
        let launch = Launch::of(parts as u64, 32 * warps as u32).shared(warps * width * 4);
        self.launch("rms_norm_backward", launch, &arguments)?;
        let arguments = [
            Arg::At(self.flat.gradient(weight)),
            Arg::At(self.scratch.norm_parts),
            self.u32(parts),
            self.u32(width),
            Arg::F32(1.0),
        ];
        let launch = Launch::of((width as u64).div_ceil(32), 256).shared(256 * 4);
        self.device.launch("columns_sum", launch, &arguments)
    }

    fn project(&mut self, y: &mut Rows, x: &Rows, weight: usize) -> Result<()> {
        let (a, b) = (Operand::new(x.at, x.width), Operand::t(self.flat.weight(weight), x.width));
        self.multiply(*y, Write::Replace, [self.rows(), y.width, x.width], a, b)
    }

    fn project_back(&mut self, dx: &mut Rows, write: Write, dy: &Rows, weight: usize) -> Result<()> {
        let (a, b) = (Operand::new(dy.at, dy.width), Operand::new(self.flat.weight(weight), dx.width));
        self.multiply(*dx, write, [self.rows(), dx.width, dy.width], a, b)
    }

    fn project_weight(&mut self, weight: usize, dy: &Rows, x: &Rows) -> Result<()> {
        let (a, b) = (Operand::t(dy.at, dy.width), Operand::new(x.at, x.width));
        self.add_to_gradient(weight, [dy.width, x.width, self.rows()], a, b)
    }

    fn rotate(&mut self, x: &mut Rows, heads: usize, turn: Turn) -> Result<()> {
        let half = self.plan.head_dim / 2;
        let sizes = [self.rows(), self.positions, heads, half, 0].map(|size| self.u32(size));
        let sign = Arg::F32(if turn == Turn::Forward { 1.0 } else { -1.0 });
        let addresses = [x.at, self.cosines, self.sines, self.firsts()].map(Arg::At);
        let arguments: Vec<Arg> = addresses.into_iter().chain(sizes).chain([sign]).collect();
        self.launch("rope", Launch::strided((self.rows() * heads * half) as u64, self.pack()), &arguments)
    }

    fn attend(&mut self, to: &mut Attended<Rows>, of: &Heads<Rows>) -> Result<()> {
        let addresses = [to.out.at, to.normalizers.at, of.q.at, of.k.at, of.v.at, self.firsts()];
        let mut arguments: Vec<Arg> = addresses.into_iter().map(Arg::At).collect();
        if self.on_tensor_cores() {
            arguments.extend(self.attention_sizes());
            arguments.extend(Self::no_dropout());
            let launch = self.attention_grid(64, self.plan.heads).shared(self.tile_bytes(2 * 64));
            return self.launch(&format!("attention_forward_{}", self.plan.head_dim), launch, &arguments);
        }
        let [_, heads, kv_heads, scale] = self.attention_sizes();
        let sizes = [self.plan.head_dim, self.positions, 0, self.positions].map(|size| self.u32(size));
        arguments.extend([heads, kv_heads, scale]);
        arguments.extend(sizes);
        arguments.extend(Self::no_dropout());
        self.launch("attention_forward_reference", self.attention_grid(4, self.plan.heads), &arguments)
    }

    fn attend_back(
        &mut self,
        gradients: &mut Heads<Rows>,
        of: &Heads<Rows>,
        gave: &Attended<Rows>,
        dout: &Rows,
    ) -> Result<()> {
        self.attention_delta(gave, dout)?;
        self.attention_gradient("keys", &[gradients.k.at, gradients.v.at], of, gave, dout)?;
        self.attention_gradient("queries", &[gradients.q.at], of, gave, dout)
    }

    fn swiglu(&mut self, y: &mut Rows, gate: &Rows, up: &Rows) -> Result<()> {
        let elements = (self.rows() * y.width) as u64;
        let arguments = [Arg::At(y.at), Arg::At(gate.at), Arg::At(up.at), Arg::U64(elements)];
        self.launch("swiglu_forward", Launch::strided(elements, self.pack()), &arguments)
    }

    fn swiglu_back(&mut self, gate: &mut Rows, up: &mut Rows, dy: &Rows) -> Result<()> {
        let elements = (self.rows() * dy.width) as u64;
        let arguments = [Arg::At(gate.at), Arg::At(up.at), Arg::At(dy.at), Arg::U64(elements)];
        self.launch("swiglu_backward", Launch::strided(elements, self.pack()), &arguments)
    }

    fn loss(&mut self, normed: &Rows, dnormed: Option<&mut Rows>) -> Result<LossParts> {
        let (rows, z_loss) = (self.rows(), if dnormed.is_some() { self.z_loss } else { 0.0 });
        let dnormed = dnormed.map(|dnormed| *dnormed);
        let chunk = chunk_rows(&self.plan, self.rows_max);
        for first in (0..rows).step_by(chunk) {
            self.loss_chunk(first, chunk.min(rows - first), normed, dnormed.as_ref())?;
        }
        let [cross_entropy, squares] = self.loss_sums()?;
        Ok(LossParts { cross_entropy, z: z_loss * squares, targets: self.targets })
    }
}
