//! The longest token that a text begins with.
//!
//! A trie over characters: a Chinese character is one step, not three. Tokens that begin or end inside a character have
//! edges of single bytes there. A node knows the longest token on the way to it, so that a walk that ends anywhere has
//! its answer.
//!
//! Near the root, edges are in a hash table. Where few nodes are left below, they lie side by side in the order of a
//! walk through the tree, and are read one after another: the tables of a large vocabulary are in no near cache, so what
//! counts is how many places of memory a token is spread over.

use std::collections::HashMap;

use super::classes::decode;
use super::merges::ID_LIMIT;

/// No token.
pub const NONE: u32 = u32::MAX;

/// A token and its length in bytes, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match(u32);

impl Match {
    /// No token, of no length.
    pub const NONE: Match = Match(ID_LIMIT - 1);
    /// Tokens are shorter than this.
    pub const LENGTH_LIMIT: usize = 1 << 12;

    /// A token of a length below [`LENGTH_LIMIT`](Self::LENGTH_LIMIT).
    pub fn new(token: u32, length: usize) -> Match {
        if token == NONE { Match::NONE } else { Match((length as u32) << 20 | token) }
    }

    /// The token; [`ID_LIMIT`] - 1 for none.
    #[inline(always)]
    pub fn token(self) -> u32 {
        self.0 & (ID_LIMIT - 1)
    }

    /// The token, or [`NONE`].
    pub fn token_or_none(self) -> u32 {
        if self == Match::NONE { NONE } else { self.token() }
    }

    /// The token's length; 0 for none.
    #[inline(always)]
    pub fn length(self) -> usize {
        (self.0 >> 20) as usize
    }
}

const EMPTY: u64 = u64::MAX;
const ROOT: u32 = 0;
/// Symbols from here on are single bytes of a character.
const BYTE: u32 = 0x11_0000;
/// Nodes are below this: they have 20 bits in an edge.
const NODE_LIMIT: usize = ID_LIMIT as usize;

/// Tokens as a trie.
pub struct Trie {
    /// Edges from nodes with many below them: `from << 43 | symbol << 22 | to << 2 | flags`, or [`EMPTY`].
    edges: Vec<u64>,
    shift: u32,
    /// Each node before those below it.
    nodes: Vec<Node>,
    /// By code point below U+10000: the edge from the root, or none and the longest token that is a part of the
    /// character. Most walks begin here.
    first: Vec<First>,
}

/// In one word: the symbol on the edge to the node, how many nodes its subtree has, itself counted, and the longest
/// token that is the node's text or begins it.
#[derive(Clone, Copy)]
struct Node(u64);

const SIZE: u32 = 21;
const LONGEST: u32 = 32;
const SIZE_MAX: usize = (1 << (LONGEST - SIZE)) - 1;
/// Most nodes of a subtree that is read instead of looked up.
const FEW: usize = 16;

impl Node {
    fn new(symbol: u32, longest: Match) -> Node {
        Node(u64::from(longest.0) << LONGEST | u64::from(symbol))
    }

    fn set_size(&mut self, size: usize) {
        self.0 |= (size.min(SIZE_MAX) as u64) << SIZE;
    }

    #[inline(always)]
    fn symbol(self) -> u32 {
        self.0 as u32 & ((1 << SIZE) - 1)
    }

    #[inline(always)]
    fn size(self) -> usize {
        (self.0 >> SIZE) as usize & SIZE_MAX
    }

    #[inline(always)]
    fn longest(self) -> Match {
        Match((self.0 >> LONGEST) as u32)
    }
}

/// Where a walk from the root goes with its first character.
#[derive(Clone, Copy)]
struct First {
    /// Node and flags as in an edge, 0 where nothing is behind the character.
    edge: u32,
    /// The longest token so far.
    longest: Match,
}

const FIRST_CHARS: usize = 0x1_0000;

/// The node's subtree is read: it has at most [`FEW`] nodes, and no edges of single bytes.
const READ: u64 = 1;
/// An edge of a single byte leaves the node.
const PARTIAL: u64 = 2;

/// The bits of an edge that say where it leads.
const EDGE_END: u32 = (1 << 22) - 1;

/// A trie under construction: nodes are numbered in the order of a walk through the tree, but for those of tokens that
/// begin or end inside a character, which come last.
struct Nodes {
    /// The path to the last token: symbols and nodes.
    path: Vec<(u32, u32)>,
    nodes: Vec<Node>,
    /// By node.
    parents: Vec<u32>,
    /// Nodes that edges of single bytes leave.
    partial: Vec<bool>,
    /// Nodes of which not all below are in the order of a walk.
    apart: Vec<bool>,
}

impl Trie {
    /// A trie of tokens that are sorted by their bytes; None if there are too many. `prefix(token)` is the longest token
    /// that begins a token, itself not counted.
    pub fn new<'a>(sorted: &[u32], bytes: impl Fn(u32) -> &'a [u8], prefix: impl Fn(u32) -> u32) -> Option<Trie> {
        let longest_within = |token: u32, end: usize| {
            let mut longest = token;
            while longest != NONE && bytes(longest).len() > end {
                longest = prefix(longest);
            }
            Match::new(longest, if longest == NONE { 0 } else { bytes(longest).len() })
        };
        let root = Node::new(0, Match::NONE);
        let mut nodes =
            Nodes { path: Vec::new(), nodes: vec![root], parents: vec![ROOT], partial: vec![false], apart: vec![true] };
        let mut broken = Vec::new();
        for token in sorted {
            match std::str::from_utf8(bytes(*token)) {
                Ok(text) => nodes.insert(text, |end| longest_within(*token, end)),
                Err(_) => broken.push(*token),
            }
        }
        let whole = nodes.nodes.len();
        let mut children: HashMap<(u32, u32), u32> = HashMap::new();
        if !broken.is_empty() {
            let edge = |(to, node): (usize, &Node)| Some(((*nodes.parents.get(to)?, node.symbol()), to as u32));
            children.extend(nodes.nodes.iter().enumerate().skip(1).filter_map(edge));
        }
        for token in broken {
            nodes.insert_broken(&mut children, bytes(token), |end| longest_within(token, end));
        }
        (nodes.nodes.len() <= NODE_LIMIT).then(|| Trie::lay_out(nodes, whole))
    }

    /// Puts the edges in their table. The first `whole` nodes are in the order of a walk.
    fn lay_out(mut nodes: Nodes, whole: usize) -> Trie {
        let mut sizes = vec![1_usize; nodes.nodes.len()];
        for node in (1..nodes.nodes.len()).rev() {
            let (size, parent) = (sizes.get(node).copied().unwrap_or(1), nodes.parents.get(node).copied());
            if let Some(above) = parent.and_then(|parent| sizes.get_mut(parent as usize)) {
                *above += size;
            }
        }
        let is_read = |node: usize| {
            node < whole && sizes.get(node).is_some_and(|size| *size <= FEW) && nodes.apart.get(node) == Some(&false)
        };
        let read: Vec<bool> = (0..nodes.nodes.len()).map(is_read).collect();
        let looked_up = |node: &usize| {
            let parent = nodes.parents.get(*node).copied().unwrap_or(ROOT);
            read.get(parent as usize) == Some(&false)
        };
        let count = (1..nodes.nodes.len()).filter(looked_up).count();
        let bits = (count.max(4) * 3 / 2).next_power_of_two().trailing_zeros();
        let mut trie =
            Trie { edges: vec![EMPTY; 1 << bits], shift: u64::BITS - bits, nodes: Vec::new(), first: Vec::new() };
        for to in (1..nodes.nodes.len()).filter(looked_up) {
            let (from, symbol) = (nodes.parents.get(to).copied(), nodes.nodes.get(to).map(|node| node.symbol()));
            let read = if read.get(to) == Some(&true) { READ } else { 0 };
            let partial = if nodes.partial.get(to) == Some(&true) { PARTIAL } else { 0 };
            trie.add(from.unwrap_or(ROOT), symbol.unwrap_or_default(), (to as u64) << 2 | read | partial);
        }
        nodes.nodes.iter_mut().zip(&sizes).for_each(|(node, size)| node.set_size(*size));
        trie.nodes = nodes.nodes;
        trie.first = (0..FIRST_CHARS as u32).map(|code_point| trie.first_of(code_point)).collect();
        trie
    }

    fn add(&mut self, from: u32, symbol: u32, edge_end: u64) {
        let key = edge_key(from, symbol);
        let mask = self.edges.len() - 1;
        let mut slot = slot_of(key, self.shift);
        while self.edges.get(slot).is_some_and(|edge| *edge != EMPTY) {
            slot = (slot + 1) & mask;
        }
        if let Some(edge) = self.edges.get_mut(slot) {
            *edge = key << 22 | edge_end;
        }
    }

    #[inline(always)]
    fn edge(&self, from: u32, symbol: u32) -> Option<u64> {
        let key = edge_key(from, symbol);
        let mask = self.edges.len() - 1;
        let mut slot = slot_of(key, self.shift);
        loop {
            let edge = self.edges.get(slot).copied().unwrap_or(EMPTY);
            if edge >> 22 == key {
                return Some(edge);
            }
            if edge == EMPTY {
                return None;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn first_of(&self, code_point: u32) -> First {
        if let Some(edge) = self.edge(ROOT, code_point) {
            let node = self.node(to_of(edge));
            let behind = node.size() > 1 || edge & PARTIAL != 0;
            return First { edge: if behind { edge as u32 & EDGE_END } else { 0 }, longest: node.longest() };
        }
        let mut buffer = [0; 4];
        let text = char::from_u32(code_point).map_or("", |c| c.encode_utf8(&mut buffer));
        First { edge: 0, longest: self.longest_of(self.bytes_from(ROOT, text.as_bytes(), 0)) }
    }

    #[inline(always)]
    fn node(&self, node: u32) -> Node {
        self.nodes.get(node as usize).copied().unwrap_or(Node(0))
    }

    #[inline(always)]
    fn longest_of(&self, node: u32) -> Match {
        self.node(node).longest()
    }

    /// The longest token at `start`.
    #[inline(always)]
    pub fn longest_at(&self, text: &[u8], start: usize) -> Match {
        let (symbol, length) = symbol(text, start);
        match self.first.get(symbol as usize) {
            Some(first) if first.edge == 0 => first.longest,
            Some(first) => self.walk(u64::from(first.edge), text, start + length),
            None => self.walk(PARTIAL, text, start),
        }
    }

    /// Goes on from the node that an edge leads to.
    #[inline(always)]
    fn walk(&self, mut edge: u64, text: &[u8], mut at: usize) -> Match {
        while edge & READ == 0 && at < text.len() {
            let (symbol, length) = symbol(text, at);
            let Some(next) = self.edge(to_of(edge), symbol) else {
                if edge & PARTIAL != 0 {
                    return self.longest_of(self.bytes_from(to_of(edge), text, at));
                }
                return self.longest_of(to_of(edge));
            };
            edge = next;
            at += length;
        }
        if edge & READ == 0 { self.longest_of(to_of(edge)) } else { self.read(to_of(edge) as usize, text, at) }
    }

    /// Goes on from a node below which there are few.
    #[inline(always)]
    fn read(&self, node: usize, text: &[u8], mut at: usize) -> Match {
        let all = self.nodes.get(node..).unwrap_or_default();
        let Some((root, mut below)) = all.split_first() else { return Match::NONE };
        let mut longest = root.longest();
        below = below.get(..root.size() - 1).unwrap_or_default();
        while !below.is_empty() && at < text.len() {
            let (symbol, length) = symbol(text, at);
            loop {
                let Some(child) = below.first() else { return longest };
                if child.symbol() == symbol {
                    longest = child.longest();
                    at += length;
                    below = below.get(1..child.size()).unwrap_or_default();
                    break;
                }
                below = below.get(child.size()..).unwrap_or_default();
            }
        }
        longest
    }

    /// The node behind as many bytes of the character at `at` as there are edges for.
    #[inline(never)]
    fn bytes_from(&self, mut node: u32, text: &[u8], at: usize) -> u32 {
        for byte in text.get(at..).unwrap_or_default() {
            match self.edge(node, BYTE + u32::from(*byte)) {
                Some(edge) => node = to_of(edge),
                None => break,
            }
        }
        node
    }
}

impl Nodes {
    /// Inserts a token of whole characters, the next in the order of bytes, which is that of characters.
    fn insert(&mut self, token: &str, longest: impl Fn(usize) -> Match) {
        let shared =
            self.path.iter().zip(token.chars()).take_while(|((kept, _), new)| *kept == u32::from(*new)).count();
        self.path.truncate(shared);
        for (start, c) in token.char_indices().skip(shared) {
            let from = self.path.last().map_or(ROOT, |(_, node)| *node);
            let to = self.add(from, u32::from(c), longest(start + c.len_utf8()));
            self.path.push((u32::from(c), to));
        }
    }

    /// Inserts a token that begins or ends inside a character: few do.
    fn insert_broken(
        &mut self,
        children: &mut HashMap<(u32, u32), u32>,
        token: &[u8],
        longest: impl Fn(usize) -> Match,
    ) {
        let mut node = ROOT;
        for (symbol, end) in symbols(token) {
            let leaves = [(&mut self.apart, true), (&mut self.partial, symbol >= BYTE)];
            for (flags, is_set) in leaves {
                if let Some(flag) = flags.get_mut(node as usize) {
                    *flag |= is_set;
                }
            }
            node = *children.entry((node, symbol)).or_insert_with(|| self.add(node, symbol, longest(end)));
        }
    }

    /// A new node behind an edge.
    fn add(&mut self, from: u32, symbol: u32, longest: Match) -> u32 {
        self.nodes.push(Node::new(symbol, longest));
        self.parents.push(from);
        self.partial.push(false);
        self.apart.push(false);
        self.nodes.len() as u32 - 1
    }
}

fn edge_key(from: u32, symbol: u32) -> u64 {
    u64::from(from) << 21 | u64::from(symbol)
}

/// The node that an edge leads to.
#[inline(always)]
fn to_of(edge: u64) -> u32 {
    (edge >> 2) as u32 & (ID_LIMIT - 1)
}

fn slot_of(key: u64, shift: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
}

/// The symbol at a place of a text: a character, or a byte where a character's rest stands.
#[inline(always)]
fn symbol(text: &[u8], at: usize) -> (u32, usize) {
    match text.get(at) {
        Some(byte) if (0x80..0xc0).contains(byte) => (BYTE + u32::from(*byte), 1),
        _ => decode(text, at),
    }
}

/// The symbols of a token with their ends: whole characters, and bytes where it begins or ends inside one.
fn symbols(mut text: &[u8]) -> Vec<(u32, usize)> {
    let (mut symbols, mut end) = (Vec::new(), 0);
    while !text.is_empty() {
        let valid = std::str::from_utf8(text).unwrap_or_else(|error| {
            text.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or_default()
        });
        for c in valid.chars() {
            end += c.len_utf8();
            symbols.push((c as u32, end));
        }
        text = text.get(valid.len()..).unwrap_or_default();
        if let Some((byte, rest)) = text.split_first() {
            end += 1;
            symbols.push((BYTE + u32::from(*byte), end));
            text = rest;
        }
    }
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_finds_longest(mut tokens: Vec<&[u8]>, text: &[u8]) {
        tokens.sort_unstable();
        let prefix = |token: u32| {
            let starts = |other: &u32| tokens[token as usize].starts_with(tokens[*other as usize]);
            (0..token).filter(starts).max_by_key(|other| tokens[*other as usize].len()).unwrap_or(NONE)
        };
        let ids: Vec<u32> = (0..tokens.len() as u32).collect();
        let trie = Trie::new(&ids, |token| tokens[token as usize], prefix).unwrap();
        for start in 0..text.len() {
            let all = ids.iter().filter(|id| text[start..].starts_with(tokens[**id as usize]));
            let expected = all.max_by_key(|id| tokens[**id as usize].len()).copied().unwrap_or(NONE);
            let expected =
                if expected == NONE { Match::NONE } else { Match::new(expected, tokens[expected as usize].len()) };
            assert_eq!(trie.longest_at(text, start), expected, "at {start}");
        }
    }

    #[test]
    fn the_longest_token_is_found_from_any_byte() {
        let tokens: Vec<&[u8]> = vec![
            b"a",
            b"ab",
            b"abcd",
            b" ",
            b"\xe4",
            b"\xe4\xbd",
            b"\xe4\xbd\xa0",
            "\u{4f60}\u{597d}".as_bytes(),
            b"\xbd",
            b"\xa0",
            b"\xa0\xe5",
            "a\u{4f60}b".as_bytes(),
            b"a\xe4\xbd",
            b"\xe5\xa5",
            b"\xbd\xa0\xe5\xa5\xbd",
            "\u{1f600}".as_bytes(),
            b"\xf0\x9f",
            b"\x98\x80",
            b"\xe4\xb8",
            "\u{4e2d}".as_bytes(),
            b"\xe4\xbe",
            b"\xb8\xad",
        ];
        assert_finds_longest(
            tokens,
            "abcabcd \u{4f60}\u{597d}a\u{4f60}\u{4f61}a\u{4f61}a\u{4f60}b\u{1f600}\u{1f601}\u{4e2d}\u{4e2e}\u{4f80}"
                .as_bytes(),
        );
    }

    #[test]
    fn a_token_that_ends_inside_a_character_is_found_behind_one_that_does_not() {
        let tokens: Vec<&[u8]> =
            vec![b"\xe4", "\u{4f60}".as_bytes(), b"\xe4\xbd\xa0\xe5\xa5", "\u{4f60}\u{597d}\u{5417}".as_bytes()];
        assert_finds_longest(tokens, "\u{4f60}\u{597d}\u{5418}\u{4f60}\u{597d}\u{5417}".as_bytes());
    }
}
