//! A plain reader of GGML files and their blocks, written from the formats' description.

use std::collections::BTreeMap;

use half::f16;

pub(crate) struct Parsed {
    pub(crate) header: Vec<u32>,
    pub(crate) tokens: Vec<Vec<u8>>,
    /// Type and values by name.
    pub(crate) tensors: BTreeMap<String, (u32, Vec<f32>)>,
}

pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let mut rest = Rest(bytes);
    let header = rest.numbers(12);
    let filters = rest.numbers(2);
    rest.take((filters[0] * filters[1] * 4) as usize);
    let mut tokens = Vec::new();
    for _ in 0..rest.number() {
        let length = rest.number();
        tokens.push(rest.take(length as usize).to_vec());
    }
    let mut tensors = BTreeMap::new();
    while !rest.0.is_empty() {
        let [n_dims, n_name, ty] = rest.numbers(3).try_into().unwrap();
        let elements = rest.numbers(n_dims as usize).into_iter().product::<u32>() as usize;
        let name = String::from_utf8(rest.take(n_name as usize).to_vec()).unwrap();
        let values = match ty {
            0 => {
                rest.take(elements * 4).chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
            }
            1 => {
                rest.take(elements * 2).chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            _ => {
                let size =
                    [(2, 18), (3, 20), (6, 22), (7, 24), (8, 34)].into_iter().find(|s| s.0 == ty).unwrap().1;
                rest.take(elements / 32 * size).chunks(size).flat_map(|block| dequantize(ty, block)).collect()
            }
        };
        tensors.insert(name, (ty, values));
    }
    Parsed { header, tokens, tensors }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        head
    }

    fn number(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn numbers(&mut self, n: usize) -> Vec<u32> {
        (0..n).map(|_| self.number()).collect()
    }
}

/// One block's weights.
fn dequantize(ty: u32, block: &[u8]) -> Vec<f32> {
    let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    let nibbles = |from: usize| {
        let low = block[from..].iter().map(|b| b & 15);
        low.chain(block[from..].iter().map(|b| b >> 4)).map(u32::from).collect::<Vec<_>>()
    };
    let fives = |bits: usize| {
        let high = u32::from_le_bytes(block[bits..bits + 4].try_into().unwrap());
        nibbles(bits + 4)
            .into_iter()
            .enumerate()
            .map(move |(i, n)| n | (high >> i & 1) << 4)
            .collect::<Vec<_>>()
    };
    let signed =
        |values: Vec<u32>, zero: f32| values.into_iter().map(|n| (n as f32 - zero) * half(0)).collect();
    let ranged = |values: Vec<u32>| values.into_iter().map(|n| n as f32 * half(0) + half(2)).collect();
    match ty {
        2 => signed(nibbles(2), 8.0),
        3 => ranged(nibbles(4)),
        6 => signed(fives(2), 16.0),
        7 => ranged(fives(4)),
        8 => block[2..].iter().map(|b| f32::from(*b as i8) * half(0)).collect(),
        other => panic!("type {other}"),
    }
}
