//! Weights, master copy, moments and gradients as flat buffers: one launch updates them all.

use super::device::{Address, Device, Element, Launch, bytes_of, bytes_of_mut};
use super::device::{Arg, refused};
use crate::error::Result;
use crate::model::Parameters;
use crate::ops::elements;
use crate::optimizer::{AdamW, AdamWConfig, Moments};

/// Elements that share one flag of weight decay: tensors start at multiples of it. `kChunk` of adamw.cu.
const CHUNK: usize = 1024;

/// Blocks that sum squares: fixed, so that the norm has one order of sums.
const NORM_BLOCKS: u32 = 512;

/// Where a tensor lies in each flat buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    first: usize,
    elements: usize,
}

/// What `update_control` leaves on the device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Control {
    /// Of the mean gradient.
    pub norm: f64,
    /// What gradients were multiplied by.
    pub scale: f32,
}

/// The flat buffers.
pub struct Flat {
    element: Element,
    places: Vec<Place>,
    elements: usize,
    weights: Address,
    master: Address,
    first: Address,
    second: Address,
    gradients: Address,
    decays: Address,
    squares: Address,
    control: Address,
}

/// Elements of the flat buffers, padding included.
fn places_of(sizes: impl Iterator<Item = usize>) -> (Vec<Place>, usize) {
    let mut end = 0;
    let place = |elements: usize| {
        let first = end;
        end += elements.next_multiple_of(CHUNK);
        Place { first, elements }
    };
    let places = sizes.map(place).collect();
    (places, end)
}

impl Flat {
    /// Bytes that the buffers of these tensors take.
    pub fn bytes(sizes: impl Iterator<Item = usize>, element: Element) -> u64 {
        let (_, elements) = places_of(sizes);
        let weights = if element == Element::F32 { 0 } else { element.bytes() };
        elements as u64 * (16 + weights as u64) + elements as u64 / CHUNK as u64
    }

    /// Allocates the buffers and fills them from the model and its optimizer.
    ///
    /// # Errors
    /// Where memory does not suffice.
    pub fn new(device: &dyn Device, element: Element, parameters: &Parameters, optimizer: &AdamW) -> Result<Flat> {
        let (places, elements) = places_of(parameters.iter().map(|parameter| parameter.var.elem_count()));
        let master = device.allocate(elements * 4)?;
        let flat = Flat {
            element,
            places,
            elements,
            weights: if element == Element::F32 { master } else { device.allocate(elements * element.bytes())? },
            master,
            first: device.allocate(elements * 4)?,
            second: device.allocate(elements * 4)?,
            gradients: device.allocate(elements * 4)?,
            decays: device.allocate(elements / CHUNK)?,
            squares: device.allocate(NORM_BLOCKS as usize * 8)?,
            control: device.allocate(16)?,
        };
        for buffer in [flat.master, flat.first, flat.second, flat.gradients] {
            device.fill(buffer, 0, elements * 4)?;
        }
        flat.upload(device, parameters, optimizer)?;
        Ok(flat)
    }

    fn upload(&self, device: &dyn Device, parameters: &Parameters, optimizer: &AdamW) -> Result<()> {
        let mut decays = vec![0u8; self.elements / CHUNK];
        for ((parameter, place), moments) in parameters.iter().zip(&self.places).zip(optimizer.moments()) {
            let at = place.first as u64 * 4;
            device.copy_in(self.master + at, bytes_of(&elements(&parameter.var)?[..]))?;
            device.copy_in(self.first + at, bytes_of(&moments.first))?;
            device.copy_in(self.second + at, bytes_of(&moments.second))?;
            let chunks = place.first / CHUNK..(place.first + place.elements).div_ceil(CHUNK);
            decays[chunks].fill(u8::from(parameter.decays));
        }
        device.copy_in(self.decays, &decays)?;
        if self.element == Element::F32 {
            return Ok(());
        }
        let kernel = format!("weights_from_master_{}", self.element.suffix());
        let arguments = [Arg::At(self.weights), Arg::At(self.master), Arg::U64(self.elements as u64)];
        device.launch(&kernel, Launch::strided(self.elements as u64, 1), &arguments)
    }

    fn read(&self, device: &dyn Device, buffer: Address, place: Place) -> Result<Vec<f32>> {
        let mut values = vec![0f32; place.elements];
        device.copy_out(bytes_of_mut(&mut values), buffer + place.first as u64 * 4)?;
        Ok(values)
    }

    /// The weights, from the master copy, in the order of the parameters.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn master_weights(&self, device: &dyn Device) -> Result<Vec<Vec<f32>>> {
        self.places.iter().map(|place| self.read(device, self.master, *place)).collect()
    }

    /// The sums of gradients, in the order of the parameters.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn gradient_sums(&self, device: &dyn Device) -> Result<Vec<Vec<f32>>> {
        self.places.iter().map(|place| self.read(device, self.gradients, *place)).collect()
    }

    /// The moments, in the order of the parameters.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn moments(&self, device: &dyn Device) -> Result<Vec<Moments>> {
        let of = |place: &Place| {
            let (first, second) = (self.read(device, self.first, *place)?, self.read(device, self.second, *place)?);
            Ok(Moments { first, second })
        };
        self.places.iter().map(of).collect()
    }

    /// Where a weight lies.
    pub fn weight(&self, index: usize) -> Address {
        self.weights + (self.places[index].first * self.element.bytes()) as u64
    }

    /// Elements of a weight.
    pub fn weight_elements(&self, index: usize) -> usize {
        self.places[index].elements
    }

    /// Where a weight's gradient is summed, in `f32`.
    pub fn gradient(&self, index: usize) -> Address {
        self.gradients + self.places[index].first as u64 * 4
    }

    /// Forgets the gradients.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn clear_gradients(&self, device: &dyn Device) -> Result<()> {
        device.fill(self.gradients, 0, self.elements * 4)
    }

    /// Computes, on the device, the norm of the gradients times `inverse`, and what they will be multiplied by.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn measure(&self, device: &dyn Device, inverse: f64, grad_clip: f64) -> Result<()> {
        let sum = Launch::of(u64::from(NORM_BLOCKS), 256).shared(256 * 8);
        let squares = [Arg::At(self.squares), Arg::At(self.gradients), Arg::U64(self.elements as u64)];
        device.launch("squares_sum", sum, &squares)?;
        let arguments = [
            Arg::At(self.control),
            Arg::At(self.squares),
            Arg::U32(NORM_BLOCKS),
            Arg::F64(inverse),
            Arg::F64(grad_clip),
        ];
        device.launch("update_control", Launch::of(1, 256).shared(256 * 8), &arguments)
    }

    /// What [`Flat::measure`] found; waits for it.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn measured(&self, device: &dyn Device) -> Result<Control> {
        let mut bytes = [0u8; 16];
        device.copy_out(&mut bytes, self.control)?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = bytes;
        Ok(Control { norm: f64::from_le_bytes([a, b, c, d, e, f, g, h]), scale: f32::from_le_bytes([i, j, k, l]) })
    }

    /// AdamW's step number `updates` (from 1) with what [`Flat::measure`] found; the gradients become zero.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn update(&self, device: &dyn Device, config: AdamWConfig, updates: u64, lr: f64) -> Result<()> {
        if updates == 0 {
            return Err(refused(&device.name(), "step numbers start at 1"));
        }
        let correction = |beta: f64| 1.0 - beta.powi(updates.min(i32::MAX as u64) as i32);
        let buffers = [self.weights, self.master, self.first, self.second, self.gradients, self.decays, self.control];
        let constants = [
            config.beta1,
            config.beta2,
            config.eps,
            1.0 - lr * config.weight_decay,
            lr / correction(config.beta1),
            1.0 / correction(config.beta2).sqrt(),
        ];
        let arguments: Vec<Arg> = buffers
            .into_iter()
            .map(Arg::At)
            .chain([Arg::U64(self.elements as u64)])
            .chain(constants.into_iter().map(|constant| Arg::F32(constant as f32)))
            .collect();
        let kernel = format!("adamw_{}", self.element.suffix());
        device.launch(&kernel, Launch::strided(self.elements as u64, 4), &arguments)
    }
}
