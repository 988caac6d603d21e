//! A ring of TCP connections: each rank sends to the next and hears from the one before.
//!
//! Ranks meet at rank 0, which tells everyone where all listen. A sum is a reduce-scatter and an all-gather around the
//! ring (Patarasuk & Yuan 2009): each rank sends twice its data, whatever their number, and part `i` is always added up
//! in the same order of ranks. Sending has a thread of its own, so that all may send at once.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Patience, Place};
use crate::error::{Error, Result};

/// What a rank says first: protocol and version.
const MAGIC: u64 = u64::from_le_bytes(*b"SHMLRNK1");
/// Between attempts to reach a rank that does not listen yet.
const RETRY: Duration = Duration::from_millis(50);
/// Longest message accepted; more is a foreign connection or a fault.
const MESSAGE_BYTES_MAX: u64 = 1 << 40;

/// The connections of a rank.
pub(super) struct Ring {
    rank: usize,
    size: usize,
    /// Bytes for the next rank, and the thread that sends them; both are there until the ring is dropped.
    sender: Option<SyncSender<Vec<u8>>>,
    sending: Option<JoinHandle<()>>,
    previous: TcpStream,
    silence: Duration,
    bytes: Vec<u8>,
}

type Told<T> = std::result::Result<T, String>;

/// What a rank tells rank 0.
struct Hello {
    rank: u64,
    size: u64,
    fingerprint: u64,
    port: u64,
}

impl Hello {
    fn write(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let words = [MAGIC, self.rank, self.size, self.fingerprint, self.port];
        stream.write_all(&words.map(u64::to_le_bytes).concat())
    }

    fn read(stream: &mut TcpStream) -> std::io::Result<Option<Hello>> {
        let mut words = [0u64; 5];
        for word in &mut words {
            *word = read_word(stream)?;
        }
        let [magic, rank, size, fingerprint, port] = words;
        Ok((magic == MAGIC).then_some(Hello { rank, size, fingerprint, port }))
    }
}

fn read_word(stream: &mut TcpStream) -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Where each rank listens; rank 0 at the address by which it was reached.
type Table = Vec<SocketAddr>;

fn write_table(stream: &mut TcpStream, table: &[SocketAddr]) -> std::io::Result<()> {
    let text = table.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ");
    stream.write_all(&(text.len() as u64).to_le_bytes())?;
    stream.write_all(text.as_bytes())
}

/// Reads rank 0's answer: the table, or nothing where it refused.
fn read_table(stream: &mut TcpStream) -> Told<Table> {
    let gone = |error: std::io::Error| format!("rank 0 has gone before all ranks had come: {error}");
    let length = read_word(stream).map_err(gone)?;
    if length == 0 || length > 1 << 24 {
        return Err("rank 0 refused this rank: it has other settings, or its rank is taken".to_owned());
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text).map_err(gone)?;
    let text = String::from_utf8_lossy(&text);
    let address = |word: &str| word.parse().map_err(|_| format!("rank 0 told the address {word:?}"));
    text.split(' ').map(address).collect()
}

/// Accepts a connection before the deadline.
fn accept(listener: &TcpListener, deadline: Instant) -> std::io::Result<Option<(TcpStream, SocketAddr)>> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, address)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(Duration::from_secs(30)))?;
                return Ok(Some((stream, address)));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    return Ok(None);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Connects, again and again until the deadline.
fn connect(address: impl ToSocketAddrs, deadline: Instant) -> std::io::Result<TcpStream> {
    loop {
        match TcpStream::connect(&address) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}

/// Rank 0: waits for all, checks them, and tells them where all listen.
fn meet_as_first(place: &Place, fingerprint: u64, ring_port: u16, deadline: Instant) -> Told<Table> {
    let listener = TcpListener::bind(("0.0.0.0", place.port))
        .map_err(|error| format!("cannot listen on port {}: {error}; set MASTER_PORT", place.port))?;
    let mut ranks: Vec<Option<(TcpStream, SocketAddr)>> = (0..place.size).map(|_| None).collect();
    let missing = |ranks: &[Option<_>]| -> Vec<String> {
        (1..place.size).filter(|rank| ranks[*rank].is_none()).map(|rank| rank.to_string()).collect()
    };
    let mut own_address = None;
    while !missing(&ranks).is_empty() {
        let come = accept(&listener, deadline).map_err(|error| error.to_string())?;
        let Some((mut stream, address)) = come else {
            return Err(format!("ranks {} did not come", missing(&ranks).join(", ")));
        };
        // A connection that says something else, or nothing, is none of ours.
        let Ok(Some(hello)) = Hello::read(&mut stream) else { continue };
        let rank = hello.rank as usize;
        let fits = hello.size == place.size as u64 && hello.fingerprint == fingerprint;
        let free = rank > 0 && ranks.get(rank).is_some_and(Option::is_none);
        if !fits || !free {
            // The refused rank reports this too; whether it heard does not matter.
            let _ = stream.write_all(&0u64.to_le_bytes());
            let problem = if fits { "comes a second time" } else { "was started with other settings" };
            return Err(format!("rank {rank} at {address} {problem}"));
        }
        own_address = own_address.or(stream.local_addr().ok().map(|address| address.ip()));
        ranks[rank] = Some((stream, SocketAddr::new(address.ip(), hello.port as u16)));
    }
    let own_ip = own_address.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let own = SocketAddr::new(own_ip, ring_port);
    let table: Table = ranks.iter().map(|rank| rank.as_ref().map_or(own, |(_, address)| *address)).collect();
    for (stream, address) in ranks.iter_mut().flatten() {
        write_table(stream, &table).map_err(|error| format!("the rank at {address} has gone: {error}"))?;
    }
    Ok(table)
}

/// Any other rank: tells rank 0 where it listens, and hears where all do.
fn meet_as_other(place: &Place, fingerprint: u64, ring_port: u16, deadline: Instant) -> Told<Table> {
    let at = format!("{}:{}", place.master, place.port);
    let mut stream = connect(&at, deadline).map_err(|error| format!("rank 0 is not at {at}: {error}"))?;
    let (rank, size) = (place.rank as u64, place.size as u64);
    let hello = Hello { rank, size, fingerprint, port: u64::from(ring_port) };
    hello.write(&mut stream).map_err(|error| format!("rank 0 at {at} has gone: {error}"))?;
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_secs(5);
    stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
    let mut table = read_table(&mut stream)?;
    // Rank 0 may know itself by an address that is not reached from here.
    if let (Some(first), Ok(reached)) = (table.first_mut(), stream.peer_addr()) {
        first.set_ip(reached.ip());
    }
    Ok(table)
}

impl Ring {
    /// Meets the other ranks and connects to both neighbours.
    pub(super) fn form(place: &Place, fingerprint: u64, patience: Patience) -> Result<Ring> {
        let form = || {
            let deadline = Instant::now() + patience.rendezvous;
            let listener = TcpListener::bind("0.0.0.0:0").map_err(|error| format!("cannot listen: {error}"))?;
            let ring_port = listener.local_addr().map_err(|error| error.to_string())?.port();
            let table = match place.rank {
                0 => meet_as_first(place, fingerprint, ring_port, deadline)?,
                _ => meet_as_other(place, fingerprint, ring_port, deadline)?,
            };
            Ring::close(place, &listener, &table, patience)
        };
        form().map_err(|problem| Error::Distributed { rank: place.rank, size: place.size, problem })
    }

    /// Connects to the next rank, and accepts the one before.
    fn close(place: &Place, listener: &TcpListener, table: &[SocketAddr], patience: Patience) -> Told<Ring> {
        let (rank, size) = (place.rank, place.size);
        let next = (rank + 1) % size;
        let address = *table.get(next).ok_or_else(|| format!("rank 0 told of {} ranks", table.len()))?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut to_next = connect(address, deadline).map_err(|error| format!("rank {next} at {address}: {error}"))?;
        to_next.write_all(&[MAGIC, rank as u64].map(u64::to_le_bytes).concat()).map_err(|e| gone(next, &e))?;
        let expected = (rank + size - 1) % size;
        let previous = loop {
            let come = accept(listener, deadline).map_err(|error| error.to_string())?;
            let Some((mut stream, _)) = come else { return Err(format!("rank {expected} did not connect")) };
            let said = (read_word(&mut stream).ok(), read_word(&mut stream).ok());
            if said == (Some(MAGIC), Some(expected as u64)) {
                break stream;
            }
        };
        let set = |stream: &TcpStream| stream.set_nodelay(true);
        set(&to_next).and(set(&previous)).map_err(|error| error.to_string())?;
        previous.set_read_timeout(Some(patience.silence)).map_err(|error| error.to_string())?;
        to_next.set_write_timeout(Some(patience.silence)).map_err(|error| error.to_string())?;
        let (sender, sending) = start_sender(to_next)?;
        let (sender, sending) = (Some(sender), Some(sending));
        Ok(Ring { rank, size, sender, sending, previous, silence: patience.silence, bytes: Vec::new() })
    }

    fn next(&self) -> usize {
        (self.rank + 1) % self.size
    }

    fn before(&self) -> usize {
        (self.rank + self.size - 1) % self.size
    }

    fn send(&self, payload: impl Iterator<Item = u8>, length: usize) -> Told<()> {
        let mut message = Vec::with_capacity(8 + length);
        message.extend((length as u64).to_le_bytes());
        message.extend(payload);
        // The thread ends when its connection does.
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(message).is_ok());
        if sent { Ok(()) } else { Err(format!("rank {} has gone", self.next())) }
    }

    /// Receives a message of `expected` bytes.
    fn receive(&mut self, expected: usize) -> Told<&[u8]> {
        let before = self.before();
        let (silence, previous) = (self.silence, &mut self.previous);
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                format!("rank {before} said nothing for {} s: it hangs or is not reached", silence.as_secs())
            }
            _ => gone(before, &error),
        };
        let length = read_word(previous).map_err(failed)?;
        if length != expected as u64 || length > MESSAGE_BYTES_MAX {
            return Err(format!("rank {before} sent {length} bytes where {expected} were due: it runs something else"));
        }
        self.bytes.resize(expected, 0);
        previous.read_exact(&mut self.bytes).map_err(failed)?;
        Ok(&self.bytes)
    }

    /// Replaces `values` by their sums over all ranks.
    pub(super) fn sum(&mut self, values: &mut [f32]) -> Told<()> {
        let (rank, size) = (self.rank, self.size);
        let bound = |part: usize| values.len() * part / size;
        let parts: Vec<std::ops::Range<usize>> = (0..size).map(|part| bound(part)..bound(part + 1)).collect();
        // After step s this rank holds the sum over s + 2 ranks of part (rank - s - 1).
        for step in 0..size - 1 {
            self.send_part(&values[parts[(rank + size - step) % size].clone()])?;
            let part = &mut values[parts[(rank + 2 * size - step - 1) % size].clone()];
            let bytes = self.receive(size_of_val(part))?;
            for (value, term) in part.iter_mut().zip(floats(bytes)) {
                *value += term;
            }
        }
        for step in 0..size - 1 {
            self.send_part(&values[parts[(rank + 1 + size - step) % size].clone()])?;
            let part = &mut values[parts[(rank + size - step) % size].clone()];
            let bytes = self.receive(size_of_val(part))?;
            part.iter_mut().zip(floats(bytes)).for_each(|(value, sum)| *value = sum);
        }
        Ok(())
    }

    fn send_part(&self, part: &[f32]) -> Told<()> {
        self.send(part.iter().flat_map(|value| value.to_le_bytes()), size_of_val(part))
    }

    /// The values of every rank, by rank.
    pub(super) fn gather(&mut self, values: &[f64]) -> Told<Vec<Vec<f64>>> {
        let (rank, size, bytes) = (self.rank, self.size, size_of_val(values));
        let mut of_ranks: Vec<Vec<f64>> = vec![Vec::new(); size];
        of_ranks[rank] = values.to_vec();
        for step in 0..size - 1 {
            let passed_on = &of_ranks[(rank + size - step) % size];
            self.send(passed_on.iter().flat_map(|value| value.to_le_bytes()), bytes)?;
            let received = self.receive(bytes)?.chunks_exact(8);
            let of_rank =
                received.map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).collect();
            of_ranks[(rank + 2 * size - step - 1) % size] = of_rank;
        }
        Ok(of_ranks)
    }
}

impl Drop for Ring {
    /// What was sent last must leave before the process does: the neighbour waits for it.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(sending) = self.sending.take() {
            let _ = sending.join();
        }
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn gone(rank: usize, error: &std::io::Error) -> String {
    format!("rank {rank} has gone: {error}")
}

/// A thread that sends messages in turn; it ends with its connection, or with the ring.
fn start_sender(mut stream: TcpStream) -> Told<(SyncSender<Vec<u8>>, JoinHandle<()>)> {
    let (sender, messages) = sync_channel::<Vec<u8>>(2);
    let job = move || {
        for message in messages {
            if stream.write_all(&message).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("ring-sender".to_owned()).spawn(job);
    Ok((sender, thread.map_err(|error| format!("cannot start a thread: {error}"))?))
}
